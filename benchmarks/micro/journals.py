"""What the journal costs: recording a sweep of many trials, and reading it back; beside bare files and bare JSON."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.micro.figures import Figure
from benchmarks.simulate import OBJECTIVE, Scene, Simulation
from sweeps import journal
from sweeps.records import SweepState

COUNTS = (1_000, 10_000)


def measure(*, counts: tuple[int, ...] = COUNTS) -> Iterator[Figure]:
    """Figures of each number of trials, of which each reported its epochs one by one until ASHA stopped it."""
    for trials in counts:
        with tempfile.TemporaryDirectory() as folder:
            yield from _measure(Path(folder), trials)


def _measure(folder: Path, trials: int) -> Iterator[Figure]:
    journal.create(folder / "simulated")
    with journal.Journal(folder / "simulated") as simulated:
        Simulation(Scene(workers=100, trials=trials), simulated).run()
    events = list(journal.read(folder / "simulated"))
    lines = [json.dumps(event).encode() + b"\n" for event in events]
    name = f"journal of {trials:,} trials ({len(events):,} records)".replace(",", " ")
    synced = _ours_s(folder / "synced", events, every=1), _bare_s(folder / "bare", lines, every=1)
    together = _ours_s(folder / "together", events, every=100), _bare_s(folder / "bare", lines, every=100)
    for what, (ours, floor) in {"each synced": synced, "100 synced together": together}.items():
        ms = 1e3 / len(events)
        yield Figure(f"{name}: a record, {what}", ours * ms, "ms", floor * ms, "json, write, fsync")
    replay_s, _ = _seconds(lambda: SweepState.replay(OBJECTIVE, journal.read(folder / "synced")))
    parse_s, _ = _seconds(lambda: [json.loads(line) for line in lines])
    yield Figure(f"{name}: replay", replay_s, "s", parse_s, "json.loads of each line")
    size = sum(path.stat().st_size for path in (folder / "synced").iterdir())
    yield Figure(f"{name}: size", size / 1e6, "MB", sum(map(len, lines)) / 1e6, "the same as bare JSON")


def _ours_s(folder: Path, events: list[journal.Event], *, every: int) -> float:
    journal.create(folder)
    contents = [{key: value for key, value in event.items() if key != "seq"} for event in events]

    def write() -> None:
        with journal.Journal(folder) as target:
            for number, content in enumerate(contents, start=1):
                target.append(content)
                if number % every == 0:
                    target.flush(force=True)

    return _seconds(write)[0]


def _bare_s(path: Path, lines: list[bytes], *, every: int) -> float:
    values = [json.loads(line) for line in lines]

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for first in range(0, len(values), every):
                file.write(b"".join(json.dumps(value).encode() + b"\n" for value in values[first : first + every]))
                os.fsync(file.fileno())

    return _seconds(write)[0]


def _seconds(action: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    found = action()
    return time.perf_counter() - began, found
