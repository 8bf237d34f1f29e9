"""Signals that ask a sweep to stop: the first is noted, a second one interrupts at once. They save nothing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Self

# Ctrl-C, and what systems send to end a session or, batch systems, to warn that they will.
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


class Signals:
    """While in use, notes the first signal that asks to stop, for a stop rule to act on.

    Outside the main thread, where Python takes no signals, nothing is changed. Handlers are as before at the end, also
    those that Ray and Tune put in their place meanwhile.

    Parameters
    ----------
    tell : callable
        Told a line when the first signal comes.

    Attributes
    ----------
    caught : int or None
        Number of the first signal.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        self.caught: int | None = None
        self._tell = tell
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in _STOPPING if hasattr(signal, name)]
            self._before = {number: signal.signal(number, self._note) for number in numbers}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.caught is not None:
            raise KeyboardInterrupt
        self.caught = number
        self._tell("stopping: running trials are saved at the end of their epoch; once more to quit without that")
