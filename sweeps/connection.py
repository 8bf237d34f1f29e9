"""A quiet connection to a cluster that fails fast, and says in one line why. Starts no Ray and runs no sweep."""

from __future__ import annotations

import logging
import os
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from sweeps.errors import InfeasibleError

_CONNECT_S = 5.0


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connects this process to a cluster for as long as the block lasts; as `connect`."""
    connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def connect(address: str, runtime_env: Mapping[str, Any] | None = None) -> None:
    """Connects this process to a cluster, quietly.

    Parameters
    ----------
    address : str
        ``auto`` or ``host:port``.
    runtime_env : mapping, optional
        Of the workers, as Ray takes it.

    Raises
    ------
    InfeasibleError
        Nobody is there, it has another token, or another version of Ray or Python.
    """
    _knock(os.environ.get("RAY_ADDRESS", "") if address == "auto" else address)
    with tempfile.TemporaryFile() as said:
        try:
            with _stderr_to(said.fileno()):
                ray.init(address, log_to_driver=False, logging_level=logging.ERROR, runtime_env=dict(runtime_env or {}))
        except (AuthenticationError, ConnectionError, RuntimeError) as error:
            said.seek(0)
            raise InfeasibleError(_refusal(address, error, said.read().decode(errors="replace"))) from error


def _knock(address: str) -> None:
    # Ray itself would try for two minutes, and then end this process.
    host, separator, port = address.rpartition(":")
    if not separator or not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_S).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise InfeasibleError(
            f"no Ray cluster answers at {address} ({error}): start it, or give its address"
        ) from error


def _refusal(address: str, error: Exception, said: str) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, AuthenticationError) or "AuthToken" in said:
        mode = os.environ.get("RAY_AUTH_MODE", "not set")
        which = "this process has no token" if "no authentication token" in text else "this process has another token"
        if mode != "token":
            which = "this process sends no token"
        remedy = "set RAY_AUTH_MODE=token and put the cluster's token into ~/.ray/auth_token (mode 0600)"
        return f"the Ray cluster at {address} asks for a token and {which} (RAY_AUTH_MODE is {mode}): {remedy}"
    if "ersion mismatch" in text:
        return f"the Ray cluster at {address} has other versions; install the same ones here: {text}"
    return f"no Ray cluster answers at {address}: {text}"


@contextmanager
def _stderr_to(descriptor: int) -> Iterator[None]:
    # What Ray's C++ part says of a refused token stands nowhere else.
    before = os.dup(2)
    os.dup2(descriptor, 2)
    try:
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
