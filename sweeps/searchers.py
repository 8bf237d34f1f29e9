"""SweepSearcher: hands Tune one config after another, ours by number. What they are is decided in `proposals`."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from sweeps.proposals import Proposals
from sweeps.records import SweepState


class SweepSearcher(Searcher):
    """Proposals as Tune's search algorithm.

    Tune calls ``suggest`` whenever a slot may need a trial, ``on_trial_complete`` when one has ended in whatever way.
    The searcher keeps no state that a journal would not give back.

    Parameters
    ----------
    proposals : Proposals
        Where configs come from.
    state : SweepState
        Read for the outcomes so far.
    n_trials : int
        How many trials the sweep is to have.
    announce : callable
        Told ``(trial, params)`` of each new trial before Tune knows it.
    max_concurrent : int or None
        Most trials at once; None leaves it to the resources.

    Attributes
    ----------
    shortfall : int
        How many trials fewer there were, because no further distinct config was found.
    is_closed : bool
        Whether it was told to hand out no further trial.
    """

    def __init__(
        self,
        proposals: Proposals,
        state: SweepState,
        n_trials: int,
        announce: Callable[[int, dict[str, Any]], None],
        max_concurrent: int | None = None,
    ) -> None:
        super().__init__(metric=state.objective.metric, mode="max" if state.objective.maximize else "min")
        self._proposals = proposals
        self._state = state
        self._n_trials = n_trials
        self.shortfall = 0
        self._announce = announce
        self._max_concurrent = max_concurrent
        self._again: deque[int] = deque()
        self._open: set[str] = set()
        self.is_closed = False

    def suggest(self, trial_id: str) -> Any:
        """The next config; None for "not now", FINISHED only when no trial can come back for another try."""
        if self._max_concurrent is not None and len(self._open) >= self._max_concurrent:
            return None
        if self.is_closed:
            return self._none_left()
        if self._again:
            return self._config(trial_id, self._again.popleft())
        number = len(self._state.trials)
        if number < self._n_trials:
            params = self._proposals.propose(number, list(self._state.trials.values()))
            if params is not None:
                self._announce(number, params)
                return self._config(trial_id, number)
            self.shortfall, self._n_trials = self._n_trials - number, number
        return self._none_left()

    @property
    def is_done(self) -> bool:
        """Whether every trial that the sweep is to have was handed out and has ended."""
        return len(self._state.trials) >= self._n_trials and not self._again and not self._open

    def try_again(self, trial: int) -> None:
        """Queues a trial that was cut off; it goes on from its checkpoint."""
        self._again.append(trial)

    def close(self) -> None:
        """Hands out no further trial: those that run are the last ones."""
        self.is_closed = True

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Frees the trial's slot; its outcome is in the records."""
        self._open.discard(trial_id)

    def save(self, checkpoint_path: str) -> None:
        """Leaves a file for Tune; the journal is the searcher's state."""
        Path(checkpoint_path).write_text("", encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Refused: a sweep resumes from its journal."""
        raise NotImplementedError("a sweep resumes from its journal, never from Tune's own files")

    def __getstate__(self) -> dict[str, Any]:
        return {}  # Tune pickles its searcher for a restore that is never made

    def _none_left(self) -> str | None:
        return None if self._open else str(Searcher.FINISHED)

    def _config(self, trial_id: str, number: int) -> dict[str, Any]:
        self._open.add(trial_id)
        return {"trial": number, "params": dict(self._state.trials[number].params)}
