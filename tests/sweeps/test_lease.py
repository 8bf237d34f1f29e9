"""Leases where requests are held up: a driver that was followed by another meanwhile gives way to it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from sweeps import lease
from sweeps.errors import SweepStateError
from sweeps.hold import Holder
from sweeps.lease import leased
from trainables.remote import RemoteFolder


@pytest.fixture
def folder(tmp_path: Path) -> RemoteFolder:
    return RemoteFolder((tmp_path / "lock").as_uri())


def wait_for(condition) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def names(folder: RemoteFolder) -> list[str]:
    return [entry.name for entry in folder.entries()]


def test_a_heart_goes_on_beating_while_others_contend(folder, monkeypatch):
    monkeypatch.setattr(lease, "_EVERY_S", 0.01)
    with leased(folder, "the sweep") as held:
        (own,) = folder.entries()
        with pytest.raises(SweepStateError, match="is in use by process"), leased(folder, "the sweep"):
            pass
        wait_for(lambda: folder.entries()[0].mtime > own.mtime)
        held.refuse_lost()


def test_a_sign_of_life_that_arrives_after_another_took_over_brings_nothing_back(folder, monkeypatch):
    write = lease._write
    other = Holder("elsewhere", 1, 1e9, "other kernel")

    def held_up(place: RemoteFolder, name: str, me: Holder, state: str) -> None:
        if "other.json" not in names(place):
            place.delete(name)
            write(place, "other.json", other, "holder")
        write(place, name, me, state)

    monkeypatch.setattr(lease, "_EVERY_S", 0.01)
    with leased(folder, "the sweep") as held:
        monkeypatch.setattr(lease, "_write", held_up)
        wait_for(held.is_lost)
        assert names(folder) == ["other.json"]
        with pytest.raises(SweepStateError, match="the sweep was taken over by another driver"):
            held.refuse_lost()
