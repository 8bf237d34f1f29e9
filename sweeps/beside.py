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
        self._left: Future[bool | None] | None = None

    def begin(self) -> None:
        """Begins to enter; does nothing when called again."""
        self._begun()

    def result(self) -> T:
        """Waits for what the context gives.

        Raises
        ------
        Exception
            What entering it raised.
        """
        return self._begun().result()

    def leave(self) -> None:
        """Begins to leave, once it is entered; does nothing where nothing was begun, or when called again."""
        if self._entered is not None and self._left is None and self._entered.exception() is None:
            self._left = self._thread.submit(self._context.__exit__, None, None, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with self._thread:
            self.leave()
        if self._left is not None:
            self._left.result()  # raises what leaving raised

    def _begun(self) -> Future[T]:
        if self._entered is None:
            self._entered = self._thread.submit(self._context.__enter__)
        return self._entered
