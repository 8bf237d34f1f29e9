"""Whether a cluster is still there: its head answers, and some machine can run a trial. Ends nothing itself."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import Event, Thread

from sweeps.config import ResourcesConfig
from sweeps.records import SweepState
from sweeps.resources import Node, fits, share_of
from sweeps.stop_rules import DESERTED, HEADLESS, Rule, every

HEAD_LOST_S = 20.0
"""Seconds without an answer after which a head counts as lost; short cuts of a network are waited for."""

HEAD_LOST = "the head of the Ray cluster does not answer any more; what was found is saved"
"""What is said of it."""

_EVERY_S = 2.0
_LOOK_S = 5.0
# Seconds that the driver may take to its end once the head counts as lost: Ray's calls wait for it, some for a minute.
_PATIENCE_S = 20.0


class HeadWatch:
    """Asks a cluster's head again and again whether it is there, in a thread of its own.

    Only whether its port accepts connections: calls of Ray itself wait for a head that is lost, and block.

    Parameters
    ----------
    address : str
        ``host:port`` of the head's GCS.
    give_up : callable
        Called from that thread when the head has long been lost and the block has not ended.
    """

    def __init__(self, address: str, give_up: Callable[[], None]) -> None:
        host, _, port = address.rpartition(":")
        self._where = host.strip("[]"), int(port)
        self._answered_at = time.monotonic()
        self._ended = Event()
        self._give_up = give_up

    @property
    def silent_s(self) -> float:
        """Seconds since the last answer."""
        return time.monotonic() - self._answered_at

    def answers(self) -> bool:
        """Whether the head is there right now; asks it."""
        try:
            socket.create_connection(self._where, timeout=_EVERY_S).close()
        except OSError:
            return False
        return True

    def is_lost(self) -> bool:
        """Whether the head has not answered for `HEAD_LOST_S`."""
        return self.silent_s > HEAD_LOST_S

    @contextmanager
    def watching(self) -> Iterator[HeadWatch]:
        """Asks until the block ends."""
        thread = Thread(target=self._watch, name="sweeps-head", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._ended.set()
            thread.join(2 * _EVERY_S)

    def _watch(self) -> None:
        while not self._ended.wait(_EVERY_S):
            if self.answers():
                self._answered_at = time.monotonic()
            elif self.silent_s > HEAD_LOST_S + _PATIENCE_S:
                self._give_up()
                return


def headless(watch: HeadWatch) -> Rule:
    """Ends when the head is lost."""
    return lambda: HEADLESS if watch.is_lost() else None


def deserted(
    resources: ResourcesConfig, state: SweepState, machines: Callable[[], Sequence[Node] | None], limit_s: float
) -> Rule:
    """Ends when for so long no machine could run any of the trials that are open.

    Parameters
    ----------
    resources : ResourcesConfig
        What trials ask for.
    state : SweepState
        Kept up to date.
    machines : callable
        Those that are there now; None where nobody can tell.
    limit_s : float
        Seconds.
    """
    since: float | None = None

    def look() -> str | None:
        nonlocal since
        if (nodes := machines()) is None:
            return None
        now = time.monotonic()
        waiting = {share_of(resources, record.params) for record in state.trials.values() if not record.status.is_end}
        is_deserted = bool(waiting) and not any(fits(share, node) for share in waiting for node in nodes)
        since = (since or now) if is_deserted else None
        return DESERTED if since is not None and now - since >= limit_s else None

    return every(min(_LOOK_S, limit_s), look)
