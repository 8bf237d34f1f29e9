"""Ways to the head, with ssh and rsync replaced by scripts."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
import sys
import threading
import time
from http.client import HTTPConnection

import pytest
from cluster_files import CLOUD, LOCAL, write_cluster

from sweeps.cluster_file import load_cluster
from sweeps.errors import InfeasibleError
from sweeps.tunnel import fetch, find_head, head_address, on_head, ssh_of, tunnel

# Takes the place of ssh -L: serves the folder where it runs on the port that it is given, while the command lasts.
SERVER = """\
import http.server, subprocess, sys, threading
port = int(sys.argv[sys.argv.index("-L") + 1].split(":")[1])
server = http.server.HTTPServer(("127.0.0.1", port), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
subprocess.run(sys.argv[-1], shell=True)
"""
CLIENT = """\
import sys, time
from sweeps.cluster_file import load_cluster
from sweeps.tunnel import tunnel
with tunnel(load_cluster(sys.argv[1])) as url:
    print(url, flush=True)
    time.sleep(1000)
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


def is_open(port):
    with socket.socket() as found:
        return found.connect_ex(("127.0.0.1", port)) == 0


def test_a_tunnel_is_open_while_its_context_lasts(program, cluster):
    program("ssh", f'exec {shlex.quote(sys.executable)} -c {shlex.quote(SERVER)} "$@"')
    with tunnel(cluster) as url:
        assert url.startswith("http://127.0.0.1:")
        place = url.removeprefix("http://")
        connection = HTTPConnection(place, timeout=30)
        connection.request("GET", "/")
        assert connection.getresponse().status == 200
    port = int(place.rpartition(":")[2])
    pause = threading.Event()  # another test may have the port by now, for a moment
    assert any(not is_open(port) or pause.wait(0.1) for _ in range(100))


def test_a_tunnel_ends_with_the_process_that_opened_it(program, cluster):
    program("ssh", f'exec {shlex.quote(sys.executable)} -c {shlex.quote(SERVER)} "$@"')
    with subprocess.Popen([sys.executable, "-c", CLIENT, cluster.path], stdout=subprocess.PIPE, text=True) as client:
        port = int(client.stdout.readline().rpartition(":")[2])
        client.kill()
    until = time.monotonic() + 30
    while is_open(port) and time.monotonic() < until:
        time.sleep(0.05)
    assert not is_open(port)


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
    assert f'UserKnownHostsFile="{tmp_path}/.cache/skorch-sweeps/known_hosts"' in words


def test_a_home_with_a_blank_is_one_word_for_ssh_and_for_rsync(program, tmp_path, monkeypatch):
    home = tmp_path / "a home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    cluster = load_cluster(write_cluster(tmp_path))
    read = subprocess.run([*ssh_of(cluster).command("-G", "x")], capture_output=True, text=True, check=True).stdout
    assert f"userknownhostsfile {home}/.cache/skorch-sweeps/known_hosts\n" in read
    program("rsync", f'printf "%s\\n" "$@" > {tmp_path}/words')
    fetch(cluster, "/results", tmp_path / "here")
    words = (tmp_path / "words").read_text().splitlines()
    assert f"""'UserKnownHostsFile="{home}/.cache/skorch-sweeps/known_hosts"'""" in words[words.index("--rsh") + 1]


def test_rsync_gets_an_ipv6_address_in_brackets(program, cluster, tmp_path):
    ipv6 = load_cluster(write_cluster(tmp_path, LOCAL, ("head_ip: 192.0.2.1", 'head_ip: "2001:db8::1"')))
    program("rsync", f'printf "%s\\n" "$@" > {tmp_path}/words')
    fetch(ipv6, "/results", tmp_path / "here")
    assert "me@[2001:db8::1]:/results/" in (tmp_path / "words").read_text().splitlines()


@pytest.mark.parametrize(
    ("said", "code", "told"),
    [
        (
            "Head node (i-1) is in state setting-up.\nRuntimeError: Head node of cluster (cloud) not found!",
            1,
            "setting-",
        ),
        ("botocore.exceptions.EndpointConnectionError: Could not connect", 1, "does not say whether cloud has a head"),
    ],
)
def test_only_a_provider_that_says_so_has_no_head(program, tmp_path, monkeypatch, said, code, told):
    program("ray", f"echo {shlex.quote(said)} >&2; exit {code}")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "ray"))
    with pytest.raises(InfeasibleError, match=told):
        find_head(load_cluster(write_cluster(tmp_path, CLOUD)))


def test_a_provider_without_a_head_says_so(program, tmp_path, monkeypatch):
    program("ray", "echo 'RuntimeError: Head node of cluster (cloud) not found!' >&2; exit 1")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "ray"))
    cluster = load_cluster(write_cluster(tmp_path, CLOUD))
    assert find_head(cluster) is None
    with pytest.raises(InfeasibleError, match="cloud has no head; sweeps cluster up "):
        head_address(cluster)
