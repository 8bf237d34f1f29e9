"""What a peer found, as the one line of JSON that it prints at its end. Measures only the time since its start."""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import psutil
import torch


def begin(description: str | None) -> int:
    """Reads how many configs to try from the command line, and keeps torch to one thread."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("configs", type=int, help="how many of the job's configs to try")
    torch.set_num_threads(1)
    return int(parser.parse_args().configs)


def report(name: str, configs: int, *, best_score: float, epochs: int, **more: Any) -> None:
    """Prints the outcome.

    Parameters
    ----------
    name : str
        Of the peer.
    configs : int
        How many configs it tried.
    best_score : float
        The highest accuracy on the valid rows that any config had after the last epoch it was trained for.
    epochs : int
        Epochs trained in all.
    **more
        What else is worth keeping.
    """
    wall_s = time.time() - psutil.Process().create_time()
    found = {"name": name, "configs": configs, "best_score": best_score, "epochs": epochs, "wall_s": wall_s}
    print(json.dumps(found | more), flush=True)
