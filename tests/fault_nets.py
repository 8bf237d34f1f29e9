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
    """Each epoch from ``since`` on takes ``sleep_s`` longer; every one is a line in ``log``, written at once."""

    def __init__(self, sleep_s: float = 0.0, since: int = 1, log: str = "") -> None:
        self.sleep_s = sleep_s
        self.since = since
        self.log = log

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) >= self.since:
            time.sleep(self.sleep_s)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if not self.log:
            return
        line = json.dumps({"lr": net.lr, "epoch": len(net.history), "pid": os.getpid(), "time": time.time()}) + "\n"
        descriptor = os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(descriptor, line.encode())
        os.close(descriptor)


def make_net() -> Any:
    """`nets.make_net` with `Paced` as callback ``paced``."""
    return nets.make_net(callbacks=[("paced", Paced())], max_epochs=4)


def make_data() -> Any:
    """A small problem."""
    return nets.make_data(96)


def trained(log: Path) -> list[dict[str, Any]]:
    """What the nets wrote, in order."""
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
