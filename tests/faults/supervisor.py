"""Kills drivers with SIGKILL, at random and at aimed moments. Knows no sweep and judges nothing.

A driver is forked from this process, whose imports are done, so that a life takes some hundred milliseconds at most,
and leaves by SIGKILL or `os._exit`. What it does comes back in files that it appends to with single writes: these
survive it as they survive a crash of the program (not one of the machine, as the kernel keeps what it was given).
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from sweeps.journal_files import GrowingFile
from trainables import checkpoint

PATIENCE_S = 120.0

# What a driver does to the world outside: where the function is, and what of it happens when it is cut off midway.
BOUNDARY: dict[str, tuple[Any, str, Callable[..., None] | None]] = {
    "fsync": (os, "fsync", None),
    "replace": (os, "replace", None),
    "rename": (os, "rename", None),
    "unlink": (os, "unlink", None),
    "rmdir": (os, "rmdir", None),
    "mkdir": (os, "mkdir", None),
    "link": (os, "link", None),
    "rmtree": (shutil, "rmtree", lambda folder, *_, **__: half_delete(Path(folder))),
    "journal": (GrowingFile, "write", lambda file, lines: file._file.write(lines[: len(lines) * 2 // 3])),
    "state": (torch, "save", lambda state, path: path.write_bytes(b"PK" * 1000)),
    "weights": (checkpoint, "save_file", lambda weights, path: path.write_bytes(b"\0" * 100)),
    "table": (pq, "write_table", lambda table, path: path.write_bytes(b"PAR1" * 10)),
}


@dataclass(frozen=True)
class Aim:
    """The moment of a kill.

    Attributes
    ----------
    what : str
        A key of `BOUNDARY`; ``epoch``, the end of one; or ``time``.
    n : int
        At the so-manieth call in this life.
    when : {"before", "after", "within"}
        Of the call.
    after_s : float
        For ``time``: so many seconds after the life began.
    """

    what: str
    n: int = 1
    when: str = "before"
    after_s: float = 0.0

    def __str__(self) -> str:
        return f"after {self.after_s * 1000:.0f} ms" if self.what == "time" else f"{self.when} {self.what} {self.n}"


class Log:
    """A file of JSON lines, each of them one write."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def add(self, said: Any) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, json.dumps(said).encode() + b"\n")
        finally:
            os.close(descriptor)

    def read(self) -> list[Any]:
        return [json.loads(line) for line in self.path.read_bytes().splitlines()] if self.path.exists() else []


class Boundary:
    """In a driver: counts its calls to the outside, and kills it at one of them.

    `os.fsync` does nothing meanwhile, as a killed process loses nothing that the kernel has.
    """

    def __init__(self, aim: Aim | None) -> None:
        self.calls: Counter[str] = Counter()
        self._aim = aim

    def watch(self) -> None:
        """Puts itself between this process and the world, for good."""
        for what, (owner, name, part) in BOUNDARY.items():
            setattr(owner, name, self._counted(what, getattr(owner, name), part))

    def count(self, what: str, act: Callable[[], Any], part: Callable[[], Any] | None = None) -> Any:
        """Does something, unless its time has come."""
        self.calls[what] += 1
        aim = self._aim
        if aim is None or (aim.what, aim.n) != (what, self.calls[what]):
            return act()
        if aim.when == "after":
            act()
        elif aim.when == "within" and part is not None:
            part()
        os.kill(os.getpid(), signal.SIGKILL)

    def _counted(self, what: str, real: Any, part: Any) -> Any:
        def act(*args: Any, **kwargs: Any) -> Any:
            done = (lambda: None) if what == "fsync" else (lambda: real(*args, **kwargs))
            return self.count(what, done, part and (lambda: part(*args, **kwargs)))

        return act


def half_delete(folder: Path) -> None:
    """Deletes the first file of a folder."""
    for path in sorted(folder.iterdir())[:1] if folder.is_dir() else []:
        if path.is_file():
            path.unlink()


def live(driver: Callable[[Boundary], None], aim: Aim | None, errors: Path) -> bool:
    """Forks a driver and waits for its end.

    Returns
    -------
    bool
        Whether it was killed; else it came to its end before.
    """
    began = time.monotonic()
    pid = os.fork()
    if pid == 0:
        _be(driver, aim, errors)
    killed_at = began + (aim.after_s if aim is not None and aim.what == "time" else PATIENCE_S)
    while (found := os.waitpid(pid, os.WNOHANG))[0] == 0:
        if time.monotonic() >= killed_at:
            os.kill(pid, signal.SIGKILL)
            found = os.waitpid(pid, 0)
            break
        time.sleep(0.0005)
    if time.monotonic() - began >= PATIENCE_S:
        raise TimeoutError(f"a driver hung and was killed after {PATIENCE_S:.0f} s; its aim was {aim}")
    if os.WIFSIGNALED(found[1]) and os.WTERMSIG(found[1]) == signal.SIGKILL:
        return True
    if found[1]:
        raise RuntimeError(f"a driver failed (status {found[1]}, its aim was {aim}):\n{errors.read_text()}")
    return False


def _be(driver: Callable[[Boundary], None], aim: Aim | None, errors: Path) -> None:
    status = 70
    try:
        boundary = Boundary(aim)
        boundary.watch()
        driver(boundary)
        status = 0
    except BaseException:
        errors.write_text(traceback.format_exc())
    finally:
        os._exit(status)  # neither pytest's nor anyone else's business at exit
