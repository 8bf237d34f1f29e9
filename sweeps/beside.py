"""Beside: a context that a thread enters and leaves while the caller does something else. Knows not what it is."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Beside(Generic[T]):
    """A thread that enters a context once `begin` is called, and leaves it with this one.

    The thread lives as long as the context: Linux ends processes that a thread has started, as Ray's are, with it.

    Parameters
    ----------
    context : context manager
        Entered at most once, and left only if it was.
    """

    def __init__(self, context: AbstractContextManager[T]) -> None:
        self._context = context
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._entered: Future[T] | None = None

    def begin(self) -> None:
        """Begins to enter; does nothing when called again."""
        self._begun()

    @property
    def has_begun(self) -> bool:
        """Whether it was begun."""
        return self._entered is not None

    def result(self) -> T:
        """Waits for what the context gives.

        Raises
        ------
        Exception
            What entering it raised.
        """
        return self._begun().result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._entered is None:
            return
        # Queued before anything is waited for: the thread leaves what it enters even if an interrupt ends the waiting.
        left = self._thread.submit(self._leave, self._entered)
        self._thread.shutdown(wait=False)
        left.result()

    def _leave(self, entered: Future[T]) -> None:
        if entered.exception() is None:
            self._context.__exit__(None, None, None)

    def _begun(self) -> Future[T]:
        if self._entered is None:
            self._entered = self._thread.submit(self._context.__enter__)
        return self._entered
