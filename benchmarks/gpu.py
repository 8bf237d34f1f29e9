"""How much trains on one GPU with 1, 2, 4, 8 and 16 trials on it at once: epochs a second, and the GPU's memory.

    python -m benchmarks.gpu --out benchmarks/results

Each trial is one of a sweep, with its share of the GPU. All of them train until ``--seconds`` have passed since the
last one began, and only the time in which every one of them trains is counted. Without a GPU it refuses.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback

from benchmarks.machine import describe
from benchmarks.tables import markdown_table
from sweeps import Sweep, SweepResult
from trainables import MLP, ConvNet

TRIALS_PER_GPU = (1, 2, 4, 8, 16)
HEADINGS = (
    "net", "trials on the GPU", "epochs/s in all", "epochs/s a trial", "times one alone", "GPU memory MB",
    "peak a trial MB",
)  # fmt: skip
_MOST_EPOCHS = 1_000_000
_ROWS = 8192


@dataclass(frozen=True)
class Rate:
    """How fast some trials trained while all of them did.

    Attributes
    ----------
    epochs_per_s : float
        Of all trials together.
    per_trial : float
        Of one of them, on average.
    window_s : float
        Seconds that were counted.
    """

    epochs_per_s: float
    per_trial: float
    window_s: float


@dataclass(frozen=True)
class Measured:
    """One net with so many trials on the GPU.

    Attributes
    ----------
    net : str
        Its name.
    trials : int
        On the GPU at once.
    rate : Rate or None
        None where it failed.
    gpu_bytes : int
        Most that all processes took of the GPU, contexts included, beyond what was taken before.
    trial_bytes : int
        Most that the tensors of one trial took.
    problem : str, default=""
        Why there is no rate.
    """

    net: str
    trials: int
    rate: Rate | None
    gpu_bytes: int
    trial_bytes: int
    problem: str = ""


class Clock(Callback):
    """Writes down when each epoch ends, and ends the training some seconds after the last trial has begun.

    Parameters
    ----------
    folder : str
        Where each trial leaves a file when it begins.
    trials : int
        How many there are.
    seconds : float
        For which all of them train.
    driver : int
        Process that only probes the net.
    """

    def __init__(self, folder: str, trials: int, seconds: float, driver: int) -> None:
        self.folder = folder
        self.trials = trials
        self.seconds = seconds
        self.driver = driver

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        if os.getpid() != self.driver:
            Path(self.folder, str(os.getpid())).touch()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        net.history.record("ended_at", time.time())
        begun = [path.stat().st_mtime for path in Path(self.folder).iterdir()]
        if len(begun) == self.trials and time.time() - max(begun) > self.seconds:
            net.set_params(max_epochs=len(net.history))


def rate(ended_at: Sequence[Sequence[float]]) -> Rate:
    """How fast trials trained while all of them did.

    Parameters
    ----------
    ended_at : sequence of sequence of float
        For each trial, when its epochs ended, in seconds. The first epoch of each, which pays for what is done once, is
        not counted.

    Raises
    ------
    ValueError
        There was no such time.
    """
    if any(len(times) < 2 for times in ended_at) or not ended_at:
        raise ValueError("a trial trained less than two epochs; train longer (--seconds)")
    begin, end = max(min(times) for times in ended_at), min(max(times) for times in ended_at)
    if end <= begin:
        raise ValueError("at no time did all trials train; train longer (--seconds)")
    epochs = sum(sum(begin < moment <= end for moment in times) for times in ended_at)
    per_s = epochs / (end - begin)
    return Rate(per_s, per_s / len(ended_at), end - begin)


def cells(found: Sequence[Measured]) -> list[tuple[str, ...]]:
    """Lines of a table, under `HEADINGS`; the rate of one trial alone is the first of its net's."""
    alone = {each.net: each.rate.epochs_per_s for each in found if each.trials == 1 and each.rate is not None}
    return [_line(each, alone.get(each.net)) for each in found]


def _line(each: Measured, alone: float | None) -> tuple[str, ...]:
    memory = (f"{each.gpu_bytes / 1e6:.0f}", f"{each.trial_bytes / 1e6:.0f}")
    if each.rate is None:
        return each.net, str(each.trials), each.problem, "-", "-", *memory
    times = f"{each.rate.epochs_per_s / alone:.2f}" if alone else "-"
    return each.net, str(each.trials), f"{each.rate.epochs_per_s:.2f}", f"{each.rate.per_trial:.2f}", times, *memory


def make_mlp() -> NeuralNetClassifier:
    """An MLP of three layers of 512, batches of 256."""
    sizes = {"module__n_features": 64, "module__n_outputs": 10, "module__layers": 3, "module__nodes": 512}
    return NeuralNetClassifier(MLP, criterion=torch.nn.CrossEntropyLoss, batch_size=256, **sizes)


def make_convnet() -> NeuralNetClassifier:
    """A ConvNet of two layers of 32 channels for images of 28 x 28, batches of 128."""
    sizes = {"module__image_shape": (1, 28, 28), "module__layers": 2, "module__channels": 32}
    return NeuralNetClassifier(ConvNet, criterion=torch.nn.CrossEntropyLoss, batch_size=128, **sizes)


NETS: dict[str, tuple[Callable[[], NeuralNetClassifier], tuple[int, ...]]] = {
    "MLP": (make_mlp, (64,)),
    "ConvNet": (make_convnet, (1, 28, 28)),
}
"""Name -> net, and shape of a row."""


def measure(name: str, trials: int, seconds: float) -> Measured:
    """Trains a net in so many trials on the GPU at once."""
    with tempfile.TemporaryDirectory() as folder, _gpu_peak() as peak:
        begun = Path(folder, "begun")
        begun.mkdir()
        result = _run(name, trials, Path(folder), Clock(str(begun), trials, seconds, os.getpid()))
        return _measured(name, trials, result, peak)


def _run(name: str, trials: int, folder: Path, clock: Clock) -> SweepResult:
    make, shape = NETS[name]
    rng = np.random.default_rng(0)
    X, y = rng.random((_ROWS, *shape), dtype=np.float32), rng.integers(0, 10, _ROWS)
    cores = os.cpu_count() or 1
    return Sweep(
        make().set_params(callbacks=[("clock", clock)]),
        (X, y),
        {"lr": [0.01 / (number + 1) for number in range(trials)], "max_epochs": _MOST_EPOCHS},
        searcher="grid",
        scheduler="fifo",
        resources={"cpu": min(1.0, cores / trials), "gpu": int(10_000 / trials) / 10_000},
        storage=folder,
        name="gpu",
    ).run()


def _measured(name: str, trials: int, result: SweepResult, peak: list[int]) -> Measured:
    trial_bytes = int(np.nan_to_num(result.trials.peak_memory_bytes.astype(float)).max())
    failed = [str(record.error) for record in result.state.trials.values() if str(record.status) != "COMPLETED"]
    if failed:
        return Measured(name, trials, None, peak[0], trial_bytes, f"{len(failed)} failed: {failed[0]}")
    times = [list(rows.ended_at) for _, rows in result.metrics.groupby("trial")]
    try:
        return Measured(name, trials, rate(times), peak[0], trial_bytes)
    except ValueError as error:
        return Measured(name, trials, None, peak[0], trial_bytes, str(error))


@contextmanager
def _gpu_peak() -> Iterator[list[int]]:
    """Most bytes that are taken of the first GPU meanwhile, beyond those taken now; looks ten times a second."""
    before, peak, over = torch.cuda.mem_get_info(0)[0], [0], threading.Event()

    def look() -> None:
        while not over.wait(0.1):
            peak[0] = max(peak[0], before - torch.cuda.mem_get_info(0)[0])

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield peak
    finally:
        over.set()
        watching.join()


def write(found: Sequence[Measured], device: str, out: Path) -> Path:
    """Writes ``gpu-<device>.json`` and, beside it, the table in Markdown; returns the former."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"gpu-{'-'.join(re.findall(r'[a-z0-9]+', device.lower()))}.json"
    content = {"device": device, "machine": describe(), "measured": [asdict(each) for each in found]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown_table(HEADINGS, cells(found)), encoding="utf-8")
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the JSON and the table")
    parser.add_argument("--seconds", type=float, default=15.0, help="for which all trials train (default: 15)")
    parser.add_argument("--trials", type=int, nargs="+", default=TRIALS_PER_GPU, help="on the GPU at once")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    given = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        sys.exit(f"benchmarks.gpu: PyTorch {torch.__version__} finds no CUDA device here, and nothing else is measured")
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    device, found = torch.cuda.get_device_name(0), []
    for name in given.nets:
        for trials in given.trials:
            found.append(measure(name, trials, given.seconds))
            print(*cells(found)[-1], sep="  ", flush=True)
            path = write(found, device, given.out)
    print(path)


if __name__ == "__main__":
    main()
