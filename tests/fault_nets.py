"""Nets whose epochs take their time and tell, outside of the sweep, that they were trained."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import nets
from skorch.callbacks import Callback


class Paced(Callback):
    """Each epoch from ``since`` on takes ``sleep_s`` longer; its begin and its end are lines in ``log``."""

    def __init__(self, sleep_s: float = 0.0, since: int = 1, log: str = "") -> None:
        self.sleep_s = sleep_s
        self.since = since
        self.log = log

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self._tell(net, "begun")
        if len(net.history) >= self.since:
            time.sleep(self.sleep_s)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self._tell(net, "trained")

    def _tell(self, net: Any, what: str) -> None:
        if not self.log:
            return
        said = {"what": what, "lr": net.lr, "epoch": len(net.history), "pid": os.getpid()}
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, json.dumps(said).encode() + b"\n")
        os.close(descriptor)


def make_net() -> Any:
    """`nets.make_net` with `Paced` as callback ``paced``."""
    return nets.make_net(callbacks=[("paced", Paced())], max_epochs=4)


def make_data() -> Any:
    """A small problem."""
    return nets.make_data(96)


def told(log: Path, what: str) -> list[dict[str, Any]]:
    """What the nets said of epochs that were ``begun`` or ``trained``, in order."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [said for said in map(json.loads, lines) if said["what"] == what]
