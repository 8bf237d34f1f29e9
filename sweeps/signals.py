"""Signals that ask a sweep to stop, and what they do: interrupt at once, or be noted first. They save nothing."""

from __future__ import annotations

import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

# Ctrl-C, and what systems send to end a session or, batch systems, to warn that they will.
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


class _Handlers(ABC):
    """While in use, takes the signals that ask to stop, but for those that are ignored, as under ``nohup``.

    Outside the main thread, where Python takes no signals, nothing is changed. Handlers are as before at the end, also
    those that Ray and Tune put in their place meanwhile.

    Attributes
    ----------
    caught : int or None
        Number of the first signal.
    """

    def __init__(self) -> None:
        self.caught: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in _STOPPING if hasattr(signal, name)]
            before = {number: signal.getsignal(number) for number in numbers}
            self._before = {number: how for number, how in before.items() if how not in (signal.SIG_IGN, None)}
        self._take()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _take(self) -> None:
        for number in self._before:
            if signal.getsignal(number) != self._handle:
                signal.signal(number, self._handle)

    @abstractmethod
    def _handle(self, number: int, frame: FrameType | None) -> None: ...


class Interrupts(_Handlers):
    """While in use, a signal that asks to stop raises KeyboardInterrupt, as Ctrl-C does.

    What is interrupted may swallow that; ``caught`` tells of it nevertheless, and so does a `Signals` that is entered
    later inside.

    Parameters
    ----------
    on_first : callable
        Told the number of the first signal, also of one that a `Signals` inside has taken.
    """

    def __init__(self, on_first: Callable[[int], None] = lambda number: None) -> None:
        super().__init__()
        self._on_first = on_first

    def notice(self, number: int) -> None:
        """Takes note of a signal."""
        if self.caught is None:
            self.caught = number
            self._on_first(number)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.notice(number)
        # Not by ``raise``, by which a net's callbacks end their training.
        signal.default_int_handler(number, frame)


class Signals(_Handlers):
    """While in use, notes the first signal that asks to stop; a further one interrupts what runs, as it did before.

    Parameters
    ----------
    tell : callable
        Told a line when the first signal comes.
    """

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell
        self._around: list[Interrupts] = []

    def __enter__(self) -> Self:
        super().__enter__()
        around = {getattr(handler, "__self__", None) for handler in self._before.values()}
        self._around = [one for one in around if isinstance(one, Interrupts)]
        self.caught = self.caught or next((one.caught for one in self._around if one.caught), None)
        return self

    def asked(self) -> bool:
        """Whether one came; takes back the signals that others have taken meanwhile, as Tune does with SIGUSR1."""
        self._take()
        return self.caught is not None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.caught is not None:
            before = self._before[number]
            interrupt = before if callable(before) else signal.default_int_handler
            interrupt(number, frame)
            return
        self.caught = number
        for one in self._around:
            one.notice(number)
        with suppress(RuntimeError):  # that Python raises where a signal comes in the middle of writing to stderr
            self._tell("stopping: running trials are saved at the end of their epoch; once more to quit without that")
