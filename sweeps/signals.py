"""Signals that ask a sweep to stop: each becomes the interrupt that Tune stops on. They save nothing themselves."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self

# What systems send to end a session, or, batch systems, to warn that they will.
_STOPPING = ("SIGTERM", "SIGHUP", "SIGUSR1")


class Signals:
    """While in use, SIGTERM, SIGHUP and SIGUSR1 stop the sweep as Ctrl-C does.

    Outside the main thread, where Python takes no signals, nothing is changed.

    Attributes
    ----------
    caught : int or None
        Number of the signal that came; None for none, or for SIGINT alone.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in _STOPPING if hasattr(signal, name)]
            self._before = {number: signal.signal(number, self._pass_on) for number in numbers}
            # Tune takes SIGINT over while it runs, and never gives it back.
            self._before[signal.SIGINT] = signal.getsignal(signal.SIGINT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self.caught = number
        os.kill(os.getpid(), signal.SIGINT)
