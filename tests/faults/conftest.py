"""What the fault injection found, in figures: kept for the session and printed at its end."""

from __future__ import annotations

from collections import defaultdict

import pytest

_FIGURES = pytest.StashKey()


@pytest.fixture(scope="session")
def figures(pytestconfig):
    """By what was tested, figures that a test may add to."""
    from faults.checker import Figures

    return pytestconfig.stash.setdefault(_FIGURES, defaultdict(Figures))


def pytest_terminal_summary(terminalreporter, config):
    for name, found in config.stash.get(_FIGURES, {}).items():
        terminalreporter.write_line(f"{name}: {found}")
