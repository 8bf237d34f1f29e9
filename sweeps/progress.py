"""Progress: what a terminal shows while a sweep runs. Reads the state, changes nothing, and knows nothing of Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from sweeps.output import brief, columns, duration, fields
from sweeps.records import SweepState
from sweeps.snapshot import FailureCount, Snapshot, snapshot

_WIDTH = 78  # of the panel; one as wide as what it says would jump from frame to frame
_REDRAW_S = 0.25
_LINE_S = 5.0
_BEST_LINE_S = 1.0
# A sweep of many thousand trials takes longer to count: counting gets at most this share of the time.
_MOST_SHARE = 0.05


def as_line(found: Snapshot) -> str:
    """A snapshot on one line, for logs."""
    parts = [f"{found.n_ended}/{found.n_trials} trials ended ({_counts(found)})", _epochs(found)]
    parts += [f"best {_best(found)}"] if found.best else []
    parts += [f"{failure.trials} failed: {failure.error}" for failure in found.failures[:1]]
    parts += [f"{failure.trials} retried: {failure.error}" for failure in found.retries[:1]]
    parts.append(f"after {duration(found.elapsed_s)}")
    parts += [f"about {duration(found.eta_s)} left"] if found.eta_s else []
    return " | ".join(parts)


def as_panel(found: Snapshot) -> RenderableType:
    """A snapshot as a panel, for a terminal."""
    left = f", about {duration(found.eta_s)} left" if found.eta_s else ""
    lines = {
        "trials": f"{found.n_ended}/{found.n_trials} ended: {_counts(found)}",
        "training": _epochs(found),
        "best": _best(found) if found.best else "no score yet",
        "time": f"{duration(found.elapsed_s)}{left}",
    }
    lines |= {name: _causes(some) for name, some in (("failed", found.failures), ("retried", found.retries)) if some}
    bar = Table.grid()
    bar.add_row(ProgressBar(total=max(1, found.n_trials), completed=found.n_ended, width=60))
    rows = [{"epoch": rung.epoch, "reached": rung.reached, "stopped": rung.stopped} for rung in found.rungs]
    below: list[RenderableType] = ["", columns(rows)] if rows else []
    return Panel(Group(bar, fields(lines), *below), width=_WIDTH)


class Watcher(Protocol):
    """What a running sweep tells of itself."""

    def __call__(self, state: SweepState) -> None:
        """Told the state whenever something was recorded, some hundred times a second."""

    def tell(self, line: str) -> None:
        """Told, a line each, what is being done and what a person should know."""

    def give_up(self, text: str) -> None:
        """Told, from another thread, that Ray holds up the end of a sweep whose cluster is lost, and why it ends."""


class Silent:
    """A watcher that shows nothing."""

    def __call__(self, state: SweepState) -> None:
        """Shows nothing."""

    def tell(self, line: str) -> None:
        """Shows nothing."""

    def give_up(self, text: str) -> None:
        """Waits on: the process is not this watcher's."""


@contextmanager
def watching(progress: Watcher | bool) -> Iterator[Watcher]:
    """The watcher that is given; True makes one that writes to stderr, False a silent one."""
    if isinstance(progress, bool):
        with Progress(Console(stderr=True)) if progress else nullcontext(Silent()) as made:
            yield made
    else:
        yield progress


class Progress:
    """Shows a running sweep: in place on a terminal, as lines elsewhere.

    A context manager. An instance is what `Sweep.run` takes as ``progress``; it and its `tell` may be called at any
    rate.

    Parameters
    ----------
    console : rich.console.Console
        Where to show it: of stderr.
    clock : callable, optional
        Seconds from some moment on.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._state: SweepState | None = None
        self._started: float | None = None
        self._epochs_before = 0
        self._drawn_at = float("-inf")
        self._wait_s = 0.0
        self._best: float | None = None

    def tell(self, line: str) -> None:
        """Shows a line that stays."""
        self._console.print(line, markup=False, highlight=False, soft_wrap=True)

    def give_up(self, text: str) -> None:
        """Waits on: the process is not this watcher's."""

    def __call__(self, state: SweepState) -> None:
        """Takes notice of a new state; draws it if it is time."""
        if not state.trials:
            return
        if self._state is None and len(state.attempts) > 1:
            self._epochs_before = state.epochs
        self._state = state
        if self._is_due():
            self._draw(state)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._state is not None:
            self._draw(self._state)
        if self._live is not None:
            self._live.stop()

    def _is_due(self) -> bool:
        waited_s = self._clock() - self._drawn_at
        if waited_s >= self._wait_s:
            return True
        return self._live is None and waited_s >= _BEST_LINE_S and self._best != _score(self._state)

    def _draw(self, state: SweepState) -> None:
        began = self._clock()
        if self._started is None and any(record.started for record in state.trials.values()):
            self._started = began
        attempt = state.attempts[-1]
        elapsed_s = 0.0 if self._started is None else began - self._started
        found = snapshot(state, attempt["n_trials"], attempt["rungs"], elapsed_s, self._epochs_before)
        if self._live is None:
            self.tell(as_line(found))
        else:
            self._live.start()
            self._live.update(as_panel(found), refresh=True)
        self._best, self._drawn_at = _score(state), self._clock()
        least_s = _LINE_S if self._live is None else _REDRAW_S
        self._wait_s = max(least_s, (self._drawn_at - began) / _MOST_SHARE)


def _score(state: SweepState | None) -> float | None:
    return None if state is None or state.best is None else state.best.best_value


def _counts(found: Snapshot) -> str:
    return ", ".join(f"{count} {standing.lower()}" for standing, count in found.counts.items())


def _epochs(found: Snapshot) -> str:
    if not found.epochs and not found.n_ended:
        return "no epoch yet: the first workers are starting"
    return "1 epoch" if found.epochs == 1 else f"{found.epochs} epochs"


def _best(found: Snapshot) -> str:
    best = found.best
    return f"{found.metric} {brief(best.score)} (trial {best.trial}, epoch {best.epoch})" if best else ""


def _causes(failures: Sequence[FailureCount]) -> str:
    return "\n".join(f"{failure.trials} ({failure.cause}): {failure.error}" for failure in failures)
