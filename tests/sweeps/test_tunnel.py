"""Ways to the head, with ssh and rsync replaced by scripts."""

from __future__ import annotations

import os
import shlex
import sys
from http.client import HTTPConnection

import pytest
from cluster_files import write_cluster

from sweeps.cluster_file import load_cluster
from sweeps.errors import InfeasibleError
from sweeps.tunnel import fetch, on_head, ssh_of, tunnel

# Takes the place of ssh -N -L: serves the folder where it runs on the port that it is given.
SERVER = """\
import http.server, sys
port = int(sys.argv[sys.argv.index("-L") + 1].split(":")[1])
http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    """Three named hosts, and a folder for programs before all others."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("HOME", str(tmp_path))
    return load_cluster(write_cluster(tmp_path))


@pytest.fixture
def program(tmp_path, cluster):
    """Put a script in the place of a program."""

    def put(name, text):
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{text}\n")
        path.chmod(0o755)

    return put


def test_a_tunnel_is_open_while_its_context_lasts(program, cluster):
    program("ssh", f'exec {shlex.quote(sys.executable)} -c {shlex.quote(SERVER)} "$@"')
    with tunnel(cluster) as url:
        assert url.startswith("http://127.0.0.1:")
        place = url.removeprefix("http://")
        connection = HTTPConnection(place, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
    with pytest.raises(ConnectionRefusedError):
        HTTPConnection(place, timeout=30).connect()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("me@x: Permission denied (publickey).", r"^192.0.2.1 refused the key .*/key for user me"),
        ("ssh: connect to host x port 22: No route to host", r"^192.0.2.1 cannot be reached by ssh \(.*No route"),
        ("Host key verification failed.", r"^192.0.2.1 is not the machine it was.*ssh-keygen -R 192.0.2.1 -f "),
    ],
)
def test_what_keeps_a_tunnel_from_opening_is_told_in_one_line(program, cluster, said, told):
    program("ssh", f"echo {shlex.quote(said)} >&2; exit 255")
    with pytest.raises(InfeasibleError, match=told) as caught, tunnel(cluster):
        pass
    assert len(str(caught.value).splitlines()) == 1


def test_a_command_on_the_head_gives_its_output_and_a_failing_one_its_last_words(program, cluster):
    program("ssh", 'eval "${@: -1}"')
    assert on_head(cluster, "echo 'two words'") == "two words\n"
    with pytest.raises(InfeasibleError, match=r"^192.0.2.1: oh dear$"):
        on_head(cluster, "echo oh dear >&2; exit 3")
    with pytest.raises(InfeasibleError, match=r"did not answer within 0.2 s"):
        on_head(cluster, "exec sleep 100", timeout_s=0.2)


def test_a_folder_is_fetched_without_what_is_excluded(program, cluster, tmp_path):
    program("rsync", f'printf "%s\\n" "$@" > {tmp_path}/words')
    fetch(cluster, "/results/a sweep", tmp_path / "here", ["*.ckpt"])
    words = (tmp_path / "words").read_text().splitlines()
    assert words[-3:] == ["--exclude=*.ckpt", "me@192.0.2.1:/results/a sweep/", f"{tmp_path}/here/"]
    assert str(tmp_path / "key") in words[words.index("--rsh") + 1]


def test_ssh_never_asks_and_remembers_hosts_in_a_file_of_its_own(cluster, tmp_path):
    words = ssh_of(cluster).command("x")
    assert {"BatchMode=yes", "StrictHostKeyChecking=accept-new", "IdentitiesOnly=yes"} <= set(words)
    assert f"UserKnownHostsFile={tmp_path}/.cache/skorch-sweeps/known_hosts" in words
