"""Claim: which attempt of a sweep may write in the folder of its trials. Holds no lock and stops no process."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from trainables.remote import RemoteFolder

_FILE = "attempt"


@dataclass(frozen=True)
class Claim:
    """An attempt's right to write in the folder of the trials, until a later attempt takes it over.

    The workers of a driver that was killed outlive it by some seconds, or by longer on a machine that is cut off from
    the others, and may still train what the next attempt trains already. So a driver takes the claim before it starts
    any trial, and a worker checks it before it replaces or deletes anything. A worker of an earlier attempt can then
    only lose work of its own.

    Attributes
    ----------
    trials : Path
        Folder of the trials.
    attempt : int
        Number of the attempt, from 1.
    mirror : RemoteFolder or None
        The folder of the trials on an object store, where the claim is then kept instead.
    """

    trials: Path
    attempt: int
    mirror: RemoteFolder | None = None

    def take(self) -> None:
        """Lets this attempt's workers write, and those of the others no more; for the driver that holds the sweep.

        The attempt must be in the journal by then, so that no other is ever given its number.
        """
        if self.mirror is not None:
            self.mirror.write_bytes(_FILE, f"{self.attempt}\n".encode())
            return
        self.trials.mkdir(exist_ok=True)
        beside = self.trials / f".{_FILE}.part"
        beside.write_text(f"{self.attempt}\n", encoding="utf-8")
        os.replace(beside, self.trials / _FILE)

    def check(self) -> None:
        """Refuses to go on when a later attempt has taken over; where none was ever taken, all may write.

        Raises
        ------
        RuntimeError
            It has, or the file that says so is damaged.
        """
        path = self.trials / _FILE
        try:
            content = path.read_bytes() if self.mirror is None else self.mirror.read_bytes(_FILE)
        except FileNotFoundError:
            return
        text = content.decode(errors="replace").strip()
        if not text.isdecimal():
            raise RuntimeError(f"{path}: damaged: {text!r} is no attempt's number; a resume of the sweep mends it")
        if int(text) > self.attempt:
            raise RuntimeError(
                f"{path}: attempt {text} of this sweep has taken its trials over; this process is of attempt "
                f"{self.attempt} and writes nothing more"
            )
