"""Hosts for the tests that need several machines, and what was measured on them: printed at the end."""

from __future__ import annotations

from collections import defaultdict

import pytest

_TALLIES = pytest.StashKey()
_TITLES = ["fault", "n", "lost", "duplicated", "redone epochs", "noticed, s: median / most", "running again, s"]


@pytest.fixture(scope="session")
def tallies(pytestconfig):
    """By fault, what was found; a test may add to it."""
    from cluster.history import Tally

    return pytestconfig.stash.setdefault(_TALLIES, defaultdict(Tally))


@pytest.fixture(scope="module")
def make_hosts():
    """Makes so many hosts, which end with the module; skips where none can be made."""
    from contextlib import ExitStack

    from cluster.hosts import Hosts, what_is_missing

    if reason := what_is_missing():
        pytest.skip(reason)
    with ExitStack() as stack:
        yield lambda n: stack.enter_context(Hosts(n))


def pytest_terminal_summary(terminalreporter, config):
    found = config.stash.get(_TALLIES, {})
    rows = [_TITLES, *([name, *tally.cells()] for name, tally in found.items())] if found else []
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        terminalreporter.write_line("  ".join(map(str.ljust, row, widths)).rstrip())
