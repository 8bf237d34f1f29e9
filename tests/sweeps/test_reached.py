"""How a cluster is reached: what the process's environment is then. No cluster is."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from sweeps.errors import SpecError
from sweeps.reached import reached


def test_the_clusters_token_file_beats_a_token_in_the_environment(monkeypatch):
    @contextmanager
    def tunnel(cluster, port):
        yield "http://127.0.0.1:1"

    monkeypatch.setattr("sweeps.tunnel.tunnel", tunnel)
    monkeypatch.setattr("sweeps.reached.dashboard_port", lambda cluster: 8265)
    monkeypatch.setattr("sweeps.jobs.Jobs", lambda url: url)
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, "of another cluster")
    cluster = SimpleNamespace(token_file=Path("/keys/token"), path=Path("cluster.yaml"))
    with reached(cluster, None) as there:
        assert (there.jobs, there.where) == ("http://127.0.0.1:1", "--cluster cluster.yaml")
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == "/keys/token"


def test_a_cluster_is_named_in_exactly_one_way():
    with pytest.raises(SpecError, match="either --cluster FILE"), reached(None, None):
        pass
