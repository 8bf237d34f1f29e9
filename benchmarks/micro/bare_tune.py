"""Ray Tune as it comes but without loggers, with a trainable that does nothing: what its driver takes for a result."""

from __future__ import annotations

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.experiment import Trial


class Nothing(tune.Trainable):
    """Reports one number a step."""

    def step(self) -> dict[str, Any]:
        return {"epoch": self.iteration + 1, "valid_loss": 1.0}


class Times(tune.Callback):
    """Keeps when each result came."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.seen.append(time.time())


@contextmanager
def as_quiet_as_ours() -> Iterator[None]:
    """Without Tune's own log files, which take longest, and without what it prints."""
    values = {
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
        "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
        "RAY_AIR_NEW_OUTPUT": "0",
    }
    before = dict(os.environ)
    os.environ.update(values)
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in values.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def result_times(slots: int, steps: int) -> list[float]:
    """When each result came, in seconds since 1970, of ``slots`` trials that report ``steps`` times each."""
    times = Times()
    with tempfile.TemporaryDirectory() as storage, as_quiet_as_ours():
        tune.Tuner(
            Nothing,
            tune_config=tune.TuneConfig(num_samples=slots),
            run_config=tune.RunConfig(
                storage_path=storage,
                callbacks=[times],
                verbose=0,
                stop={"training_iteration": steps},
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    return times.seen
