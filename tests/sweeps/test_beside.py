"""A context entered in a thread: begun once, waited for, left in the thread that entered it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from sweeps.beside import Beside


class Scene:
    """What happened, and in which thread."""

    def __init__(self, error: Exception | None = None) -> None:
        self.events: list[tuple[str, int]] = []
        self.may_enter = threading.Event()
        self._error = error

    @contextmanager
    def context(self) -> Iterator[str]:
        self.note("begun")
        if not self.may_enter.wait(10):
            raise TimeoutError
        if self._error:
            raise self._error
        try:
            yield "given"
        finally:
            self.note("left")

    def note(self, what: str) -> None:
        self.events.append((what, threading.get_ident()))

    @property
    def names(self) -> list[str]:
        return [what for what, _ in self.events]


def test_what_is_never_begun_is_never_entered():
    scene = Scene()
    with Beside(scene.context()):
        pass
    assert scene.names == []


def test_the_caller_goes_on_while_it_is_entered_and_one_other_thread_does_it_all():
    scene = Scene()
    with Beside(scene.context()) as beside:
        beside.begin()
        beside.begin()
        scene.note("meanwhile")
        scene.may_enter.set()
        assert beside.result() == beside.result() == "given"
        scene.note("used")
    assert sorted(scene.names) == ["begun", "left", "meanwhile", "used"]
    assert scene.names[-2:] == ["used", "left"]
    [thread] = {thread for what, thread in scene.events if what in ("begun", "left")}
    assert thread != threading.get_ident()


def test_an_interrupted_caller_leaves_it_all_the_same():
    scene = Scene()
    beside = Beside(scene.context())
    beside.begin()
    alarm = signal.signal(signal.SIGUSR2, signal.default_int_handler)
    try:
        interrupt = threading.Timer(0.1, os.kill, [os.getpid(), signal.SIGUSR2])
        interrupt.start()
        with pytest.raises(KeyboardInterrupt):
            beside.__exit__(None, None, None)  # waits, as nothing may be entered yet
    finally:
        interrupt.join()
        signal.signal(signal.SIGUSR2, alarm)
    scene.may_enter.set()
    deadline = time.monotonic() + 10
    while "left" not in scene.names and time.monotonic() < deadline:
        time.sleep(0.001)
    assert scene.names == ["begun", "left"]


def test_an_error_while_leaving_reaches_the_caller():
    @contextmanager
    def context() -> Iterator[None]:
        yield
        raise ConnectionError("lost")

    with pytest.raises(ConnectionError, match="lost"), Beside(context()) as beside:
        beside.result()


def test_to_wait_is_to_begin():
    scene = Scene()
    scene.may_enter.set()
    with Beside(scene.context()) as beside:
        assert beside.result() == "given"


def test_its_error_reaches_who_waits_and_nobody_else():
    scene = Scene(error=ConnectionError("no answer"))
    scene.may_enter.set()
    with Beside(scene.context()) as beside:
        beside.begin()
        for _ in range(2):
            with pytest.raises(ConnectionError, match="no answer"):
                beside.result()


def test_an_error_of_the_caller_leaves_what_was_begun():
    scene, beside = Scene(), None

    def fail() -> Any:
        nonlocal beside
        with Beside(scene.context()) as beside:
            beside.begin()
            scene.may_enter.set()
            raise LookupError("the caller's own")

    with pytest.raises(LookupError, match="the caller's own"):
        fail()
    assert scene.names == ["begun", "left"]
