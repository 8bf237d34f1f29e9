"""Damaged directories of sweeps: each is mended, and that is said, or refused by an error that names the file.

What recovers must find what an undamaged sweep found, to the bit; none starts over unnoticed, and none ends with an
error of another kind. Readers answer, or refuse with exit code 4.
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults.drivers import Place, Setting, drive, warm_up
from faults.supervisor import Aim, live
from inline_sweeps import Told

from sweeps import Sweep
from sweeps.cli import main
from sweeps.errors import SweepStateError
from sweeps.records import SweepState
from sweeps.results import SweepResult
from trainables.scoring import SECONDS

pytestmark = pytest.mark.faults

# Trial 0 has ended, trial 1 has checkpoints of its first two epochs of four, trial 2 has not begun.
SETTING = Setting("grid", n_trials=3, max_epochs=4)
INTERRUPTING = Aim("epoch", 7)
JOURNAL, MARK, LOCK = "journal/events.jsonl", "journal/acknowledged.json", "lock.json"
NEWEST = "trials/trial_00001/checkpoint-000002"

Mutate = Callable[[Path], None]


@dataclass(frozen=True)
class Mutation:
    """A damage, and what is to come of it.

    Attributes
    ----------
    mutate : callable
        Given the sweep's directory.
    says : str or None
        Part of the note that a resume of an interrupted sweep tells; None where there is nothing to tell.
    refuses : str or None
        The file that a resume refuses.
    readers : bool
        Whether readers refuse what a resume refuses.
    finished : str or None
        As ``says``, of a finished sweep.
    """

    mutate: Mutate
    says: str | None = None
    refuses: str | None = None
    readers: bool = True
    finished: str | None = None


def write(name: str, content: bytes) -> Mutate:
    return lambda root: _put(root / name, content)


def remove(name: str) -> Mutate:
    return lambda root: shutil.rmtree(root / name) if (root / name).is_dir() else (root / name).unlink(missing_ok=True)


def cut(share: float, *, at_border: bool) -> Mutate:
    """Cuts the journal at the border of the line that a share of its bytes falls in, or within that line."""

    def mutate(root: Path) -> None:
        content = (root / JOURNAL).read_bytes()
        border = content.rindex(b"\n", 0, int(len(content) * share)) + 1
        (root / JOURNAL).write_bytes(content[: border if at_border else border + 20])

    return mutate


def flip(name: str, where: Callable[[bytes], int]) -> Mutate:
    """Flips the lowest bit of a byte."""

    def mutate(root: Path) -> None:
        content = bytearray((root / name).read_bytes())
        content[where(bytes(content))] ^= 1
        (root / name).write_bytes(content)

    return mutate


def other_format(name: str) -> Mutate:
    def mutate(root: Path) -> None:
        path = root / name
        path.write_text(path.read_text().replace('"format": 1', '"format": 99', 1))

    return mutate


def other_journal_format(root: Path) -> None:
    first, rest = (root / JOURNAL).read_bytes().split(b"\n", 1)
    body = first.rpartition(b',"crc"')[0].replace(b'"format":1', b'"format":99') + b"}"
    (root / JOURNAL).write_bytes(b'%s,"crc":"%08x"}\n' % (body[:-1], zlib.crc32(body)) + rest)


def of_newest(mutate: Callable[[Path], Any]) -> Mutate:
    """A damage to the newest checkpoint of trial 1."""
    return lambda root: mutate(max((root / "trials/trial_00001").glob("checkpoint-*")))


def halve(checkpoint: Path) -> None:
    os.truncate(checkpoint / "state.pt", (checkpoint / "state.pt").stat().st_size // 2)


def empty(checkpoint: Path) -> None:
    shutil.rmtree(checkpoint)
    checkpoint.mkdir()


def swap(checkpoint: Path) -> None:
    """Puts another trial's in its place."""
    shutil.rmtree(checkpoint)
    shutil.copytree(max((checkpoint.parent.parent / "trial_00000").glob("checkpoint-*")), checkpoint)


def leave_parts(root: Path) -> None:
    for name in ("trials/trial_00001/.checkpoint-000003.01.1.part", ".best.part"):
        (root / name).mkdir()
        (root / name / "state.pt").write_bytes(b"half")
    (root / ".trials.parquet.part").write_bytes(b"half")


MUTATIONS = {
    "journal missing": Mutation(remove(JOURNAL), refuses=JOURNAL),
    "journal folder missing": Mutation(remove("journal"), refuses=JOURNAL),
    "journal empty": Mutation(write(JOURNAL, b""), refuses=JOURNAL),
    "journal without its first line": Mutation(lambda root: _cut_head(root), refuses=JOURNAL),
    "journal of another version": Mutation(other_journal_format, refuses=JOURNAL),
    **{
        f"journal cut at {share} % {'between' if at_border else 'in'} lines": Mutation(
            cut(share / 100, at_border=at_border), says="events.jsonl ends at record", finished="events.jsonl ends at"
        )
        for share in (25, 50, 75)
        for at_border in (True, False)
    },
    "bit flipped amid the journal": Mutation(flip(JOURNAL, lambda text: len(text) // 2), refuses=JOURNAL),
    "bit flipped in the last line": Mutation(flip(JOURNAL, lambda text: text.rindex(b"{")), refuses=JOURNAL),
    "bit flipped in a checksum": Mutation(flip(JOURNAL, lambda text: text.index(b'crc":"') + 7), refuses=JOURNAL),
    "line doubled": Mutation(lambda root: _double_line(root), refuses=JOURNAL),
    "manifest missing": Mutation(remove("manifest.json"), refuses="manifest.json"),
    "manifest empty": Mutation(write("manifest.json", b""), refuses="manifest.json"),
    "manifest garbage": Mutation(write("manifest.json", b"\xff\x00garbage"), refuses="manifest.json"),
    "manifest of another kind": Mutation(write("manifest.json", b"[1]"), refuses="manifest.json"),
    "manifest without its content": Mutation(write("manifest.json", b'{"format": 1}'), refuses="manifest.json"),
    "manifest of another version": Mutation(other_format("manifest.json"), refuses="manifest.json"),
    "sweep.yaml missing": Mutation(remove("sweep.yaml"), refuses="sweep.yaml", readers=False),
    "sweep.yaml empty": Mutation(write("sweep.yaml", b""), refuses="sweep.yaml", readers=False),
    "sweep.yaml garbage": Mutation(write("sweep.yaml", b"\xff{]: - ["), refuses="sweep.yaml", readers=False),
    "checkpoint missing": Mutation(of_newest(shutil.rmtree), says="trial 1 goes on from epoch 1, though epoch 2"),
    "checkpoint empty": Mutation(of_newest(empty), says=f"{NEWEST}/manifest.json"),
    "checkpoint truncated": Mutation(of_newest(halve), says=f"{NEWEST}/state.pt"),
    "checkpoint with a flipped bit": Mutation(
        of_newest(flip("state.pt", lambda text: len(text) // 2)), says=f"{NEWEST}/state.pt"
    ),
    "checkpoint of another version": Mutation(of_newest(other_format("manifest.json")), says=f"{NEWEST}/manifest.json"),
    "checkpoint of another trial": Mutation(of_newest(swap), says=f"{NEWEST}: was reached with other params"),
    "all checkpoints of a trial missing": Mutation(remove("trials/trial_00001"), says="trial 1 begins anew"),
    "folder of the trials missing": Mutation(remove("trials"), says="trial 1 begins anew"),
    "claim garbage": Mutation(write("trials/attempt", b"\xffgarbage")),
    "holder garbage": Mutation(write(LOCK, b"\xffgarbage")),
    "holder of another kind": Mutation(write(LOCK, b"[1]")),
    "mark garbage": Mutation(write(MARK, b"\xffgarbage")),
    "mark of another kind": Mutation(write(MARK, b"[1]")),
    "mark missing": Mutation(remove(MARK)),
    "stop request left over": Mutation(write("stop.json", b'{"now": true}\n')),
    "unfinished writes left over": Mutation(leave_parts),
    "best net missing": Mutation(remove("best")),
}


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory: Any) -> dict[str, Place]:
    """A sweep that was killed and one that came to its end."""
    warm_up(tmp_path_factory.mktemp("warm"))
    places = {}
    for name, aim in (("interrupted", INTERRUPTING), ("finished", None)):
        places[name] = Place(tmp_path_factory.mktemp(name))
        places[name].storage.mkdir()
        live(partial(drive, SETTING, places[name]), aim, places[name].errors)
        # As a driver has it that ran for longer than a second.
        content = (places[name].root / JOURNAL).read_bytes()
        mark = {"seq": content.count(b"\n"), "bytes": len(content)}
        (places[name].root / MARK).write_text(json.dumps(mark))
    return places


@pytest.fixture
def damaged(sweeps: dict[str, Place], tmp_path: Path) -> Callable[[str, Mutation], Place]:
    def copy(kind: str, mutation: Mutation) -> Place:
        place = Place(tmp_path / kind)
        shutil.copytree(sweeps[kind].folder, place.folder)
        mutation.mutate(place.root)
        return place

    return copy


@pytest.fixture(scope="module")
def expected(sweeps: dict[str, Place]) -> list[dict[str, Any]]:
    return found_in(SweepResult.load(sweeps["finished"].root).state)


def found_in(state: SweepState) -> list[dict[str, Any]]:
    """All that a sweep found, but for seconds."""
    return [
        {
            "status": str(record.status),
            "params": record.params,
            "best": record.best_epoch,
            "rows": [{key: value for key, value in row.items() if key not in SECONDS} for row in record.rows.values()],
        }
        for record in state.trials.values()
    ]


def resume(place: Place, told: Told) -> SweepResult:
    net, data = SETTING.net(place), SETTING.data()
    return Sweep.resume(place.root, net=net, data=data, backend="inline", progress=told)


@pytest.mark.parametrize("kind", ["interrupted", "finished"])
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_damaged_sweep_is_mended_aloud_or_refused_by_the_name_of_the_file(name, kind, damaged, expected):
    mutation, told = MUTATIONS[name], Told()
    place = damaged(kind, mutation)
    if mutation.refuses:
        with pytest.raises(SweepStateError) as caught:
            resume(place, told)
        assert str(place.root / mutation.refuses) in str(caught.value)
        return
    result = resume(place, told)
    assert found_in(result.state) == expected
    assert result.best_net.history is not None
    wanted = (mutation.says if kind == "interrupted" else mutation.finished) or ""
    assert [line for line in told.lines if wanted in line], told.lines
    left = {path.parent.name for path in place.root.rglob("*.part")}
    assert left <= (set() if kind == "interrupted" else {"trial_00001"})  # which is not trained, so gc finds it


@pytest.mark.parametrize("kind", ["interrupted", "finished"])
@pytest.mark.parametrize("name", MUTATIONS)
def test_readers_of_a_damaged_sweep_answer_or_refuse_it_by_the_name_of_the_file(name, kind, damaged, capsys):
    mutation = MUTATIONS[name]
    place = damaged(kind, mutation)
    before = _contents(place.root)
    code = main(["show", str(place.root)])
    said = capsys.readouterr()
    if mutation.refuses and mutation.readers:
        assert code == 4
        assert str(place.root / mutation.refuses) in said.err
        with pytest.raises(SweepStateError, match=mutation.refuses):
            SweepResult.load(place.root)
    else:
        assert code == 0, said.err
        assert len(SweepResult.load(place.root).trials)
    assert _contents(place.root) == before  # a reader changes nothing


def _put(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _cut_head(root: Path) -> None:
    path = root / JOURNAL
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])


def _double_line(root: Path) -> None:
    lines = (root / JOURNAL).read_bytes().splitlines(keepends=True)
    (root / JOURNAL).write_bytes(b"".join([*lines[:5], *lines[4:]]))


def _contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}
