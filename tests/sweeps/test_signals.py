"""What a signal does while a sweep runs, and that all is as before afterwards."""

from __future__ import annotations

import signal
import threading

import pytest

from sweeps.signals import Interrupts, Signals


@pytest.fixture
def received():
    """Signals that reached a handler from before; SIGTERM's is none that ends the process."""
    numbers = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


def test_the_first_signal_is_noted_and_told(received):
    lines = []
    with Signals(lines.append) as signals:
        assert not signals.asked()
        signal.raise_signal(signal.SIGTERM)
        assert signals.asked()
    assert signals.caught == signal.SIGTERM
    assert len(lines) == 1
    assert "once more to quit" in lines[0]
    assert received == []


def test_a_second_signal_does_what_it_did_before(received):
    with Signals(lambda line: None) as signals:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert received == [signal.SIGTERM]
    assert signals.caught == signal.SIGHUP


def test_a_second_signal_that_would_end_the_process_interrupts_it_instead():
    with Signals(lambda line: None):
        signal.raise_signal(signal.SIGUSR1)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGUSR1)


def test_handlers_are_as_before_at_the_end(received):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    with Interrupts(), Signals(lambda line: None):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts, Signals(lambda line: None) as signals:
            signal.raise_signal(signal.SIGHUP)
            assert not signals.asked()
        assert interrupts.caught is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_signal_that_another_library_took_is_taken_back():
    with Signals(lambda line: None) as signals:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        signals.asked()
        signal.raise_signal(signal.SIGUSR1)
        assert signals.caught == signal.SIGUSR1


def test_an_interrupt_that_was_swallowed_is_known_further_inside():
    with Interrupts() as interrupts:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        with Signals(lambda line: None) as signals:
            assert signals.caught == interrupts.caught == signal.SIGTERM


def test_a_signal_in_the_middle_of_writing_is_noted_although_it_cannot_be_told():
    def tell(line: str) -> None:
        raise RuntimeError("reentrant call inside <_io.BufferedWriter name='<stderr>'>")

    with Signals(tell) as signals:
        signal.raise_signal(signal.SIGTERM)
    assert signals.caught == signal.SIGTERM


def test_outside_the_main_thread_nothing_changes():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def use() -> None:
        with Interrupts(), Signals(lambda line: None) as signals:
            seen.append((signal.getsignal(signal.SIGTERM), signals.asked()))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert seen == [(before, False)]
