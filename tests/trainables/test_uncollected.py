"""The garbage collector is kept from imports, and nobody is left without it."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from trainables.uncollected import stay, uncollected


@pytest.fixture(autouse=True)
def as_before():
    yield
    gc.enable()
    gc.unfreeze()


def test_what_is_made_meanwhile_is_not_looked_through_again():
    before = gc.get_freeze_count()
    with uncollected():
        assert not gc.isenabled()
        made = [[] for _ in range(1000)]
    assert gc.isenabled()
    assert gc.get_freeze_count() >= before + len(made)


def test_a_failed_import_leaves_the_collector_on():
    with pytest.raises(ImportError), uncollected():
        raise ImportError
    assert gc.isenabled()


def test_a_worker_collects_nothing_until_it_has_what_it_needs():
    found = "import gc, trainables.worker_start; print(gc.isenabled())"
    found += "; from trainables.uncollected import stay; stay(); print(gc.isenabled(), gc.get_freeze_count() > 0)"
    told = subprocess.run([sys.executable, "-c", found], capture_output=True, text=True, check=True).stdout
    assert told.split() == ["False", "True", "True"]


def test_garbage_that_is_made_later_is_collected():
    stay()
    cycle: list[object] = []
    cycle.append(cycle)
    del cycle
    assert gc.collect() >= 1
