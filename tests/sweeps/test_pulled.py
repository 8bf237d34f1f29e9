"""A copy of a sweep: whole, readable, and never in the place of something else."""

from __future__ import annotations

import json
from functools import partial

import pytest

from sweeps import Sweep
from sweeps.errors import SweepStateError
from sweeps.pulled import copy_sweep, place
from sweeps.results import SweepResult


@pytest.fixture
def there(record_sweep):
    paths = record_sweep("demo", storage="cluster")
    (paths.root / "trials" / "trial_00000").mkdir(parents=True)
    paths.stop.write_text("{}")
    (paths.root / "lock").write_text("")
    return paths


def test_a_copy_reads_as_the_sweep_and_has_tables_but_no_checkpoints(there, tmp_path):
    copy = place(tmp_path / "results" / "demo", partial(copy_sweep, there.root))
    assert SweepResult(copy).best_score == SweepResult(there).best_score
    assert len(SweepResult(copy).state.trials) == 4
    assert copy.trials_table.is_file()
    assert not [path for path in (copy.trials, copy.stop, copy.lock) if path.exists()]


def test_a_copy_of_the_same_sweep_is_brought_up_to_date(there, tmp_path):
    target = tmp_path / "results" / "demo"
    (place(target, partial(copy_sweep, there.root)).root / "old").write_text("")
    copy = place(target, partial(copy_sweep, there.root))
    assert not (copy.root / "old").exists()
    assert [path.name for path in target.parent.iterdir()] == ["demo"]


def test_another_sweep_or_anything_else_is_never_overwritten(there, tmp_path):
    target = tmp_path / "results" / "demo"
    copy = place(target, partial(copy_sweep, there.root))
    manifest = json.loads(copy.manifest.read_text())
    copy.manifest.write_text(json.dumps(manifest | {"created": "2020-01-01T00:00:00Z"}))
    with pytest.raises(SweepStateError, match="is another sweep"):
        place(target, partial(copy_sweep, there.root))
    (tmp_path / "mine").mkdir()
    with pytest.raises(SweepStateError, match="is no sweep"):
        place(tmp_path / "mine", partial(copy_sweep, there.root))
    assert [path.name for path in target.parent.iterdir()] == ["demo"]


def test_a_copy_that_fails_leaves_what_was_there(there, tmp_path):
    target = tmp_path / "results" / "demo"
    place(target, partial(copy_sweep, there.root))
    with pytest.raises(SweepStateError):
        place(target, lambda beside: (beside / "half").write_text(""))
    assert SweepResult(SweepResult.load(target).paths).best_score
    assert [path.name for path in target.parent.iterdir()] == ["demo"]


def test_a_copy_is_only_for_reading(there, tmp_path):
    copy = place(tmp_path / "results" / "demo", partial(copy_sweep, there.root))
    with pytest.raises(SweepStateError, match="was pulled from a cluster"):
        Sweep.resume(copy.root, progress=False, backend="inline")
    assert SweepResult(copy).best_score
