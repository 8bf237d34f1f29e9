"""Run on a cluster's head, where it is sent as text: writes what Ray knows of the nodes as one line of JSON.

Imports nothing of ours, since the head may have none of it.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

import ray

_LOG = Path("/tmp/ray/session_latest/logs/monitor.out")
_LOG_BYTES = 60_000


def main() -> None:
    """Connects to the Ray of this machine and writes the line, which begins with what is given as an argument."""
    ray.init(address="auto", log_to_driver=False, logging_level=logging.ERROR)
    available = ray._private.state.available_resources_per_node()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
    nodes = [
        {
            "ip": node["NodeManagerAddress"],
            "id": node["NodeID"],
            "is_head": "node:__internal_head__" in node["Resources"],
            "total": {key: node["Resources"].get(key, 0) for key in ("CPU", "GPU")},
            "free": {key: available.get(node["NodeID"], {}).get(key, 0) for key in ("CPU", "GPU")},
        }
        for node in ray.nodes()  # type: ignore[no-untyped-call]  # Ray leaves it untyped
        if node["Alive"]
    ]
    status = subprocess.run(["ray", "status"], capture_output=True, text=True, check=False)
    log = _LOG.read_bytes()[-_LOG_BYTES:].decode(errors="replace") if _LOG.exists() else ""
    report = {"ray": ray.__version__, "nodes": nodes, "status": status.stdout, "log": log}
    sys.stdout.write(f"\n{sys.argv[1]}{json.dumps(report)}\n")


if __name__ == "__main__":
    main()
