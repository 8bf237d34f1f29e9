"""What short jobs say, and a Jobs server that does not answer. A real server is part of the cluster tests."""

from __future__ import annotations

import socket

import pytest

from sweeps.errors import InfeasibleError
from sweeps.jobs import Jobs, Said

LOG = (
    'INFO -- Runtime env is setting up.\nRunning entrypoint for job a: {x}\nnote: odd\n{\n "sweep": {"a": 1}\n}\nlate\n'
)


def test_an_answer_is_the_json_among_what_ray_and_others_wrote():
    assert Said(0, LOG).value == {"sweep": {"a": 1}}
    assert Said(0, "{not json\n" + LOG).value == {"sweep": {"a": 1}}
    assert Said(4, "error: no sweep\n").value is None


def test_an_error_is_what_was_marked_as_one_else_the_last_line():
    assert Said(4, "INFO -- x\nerror: no sweep\nnoise\n").error == "no sweep"
    assert Said(1, "INFO -- x\nModuleNotFoundError: sweeps\n\n").error == "ModuleNotFoundError: sweeps"
    assert Said(None, "").error == ""


def test_nobody_there_is_said_at_once_and_on_one_line():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(InfeasibleError, match=f"nobody answers at http://127.0.0.1:{port}") as caught:
        Jobs(f"http://127.0.0.1:{port}")
    assert "\n" not in str(caught.value)
