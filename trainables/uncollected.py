"""Imports without garbage collection: what is imported stays, and to look through it again and again takes a second.

Imports nothing heavy itself.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def uncollected() -> Iterator[None]:
    """Lets what is made in the context stay for good, and collects none of it meanwhile."""
    gc.disable()
    try:
        yield
    finally:
        stay()


def stay() -> None:
    """Lets all that there is stay for good, and collects what is made from now on."""
    gc.freeze()
    gc.enable()
