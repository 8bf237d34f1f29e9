"""What a machine says of itself: plain data, without torch where it is not asked, and every listening address."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sweeps.node_facts import NodeFacts, listening_addresses, node_facts

ROOT = Path(__file__).resolve().parents[2]


def test_facts_are_plain_data_and_all_of_them():
    found = node_facts({"storage": "/no/such/folder"}, asks_torch=False)
    facts = NodeFacts(**json.loads(json.dumps(found)))
    assert facts.source == str(ROOT)
    assert facts.cards is None
    assert facts.disks["storage"]["total"] >= facts.disks["storage"]["free"] > 0
    assert facts.packages["ray"].startswith("2.")


def test_facts_import_neither_torch_nor_ray():
    code = "import sys; from sweeps.node_facts import *; node_facts({}, asks_torch=False); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "ray", "sklearn", "pyarrow"} & set(done.stdout.split())


def version_of(folder):
    code = "import json; from sweeps.node_facts import *; print(json.dumps(node_facts({}, asks_torch=False)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["packages"]["skorch-sweeps"]


def test_a_changed_source_file_changes_the_version(tmp_path, monkeypatch):
    monkeypatch.delenv("PYTHONPATH")
    for package in ("search_spaces", "sweeps", "trainables"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    before = version_of(tmp_path)
    (tmp_path / "trainables" / "net.py").write_text("changed = True\n")
    assert before.partition("+")[0] == version_of(tmp_path).partition("+")[0]
    assert before != version_of(tmp_path)


def test_a_token_file_tells_its_mode(tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    assert node_facts({}, asks_torch=False)["token_mode"] == 0o644


@pytest.mark.skipif(sys.byteorder != "little", reason="the tables are as a little-endian kernel writes them")
def test_listening_addresses_are_read_and_others_not(tmp_path):
    head = "  sl  local_address rem_address   st tx_queue rx_queue\n"
    (tmp_path / "tcp").write_text(
        head
        + "   0: 0100007F:2049 00000000:0000 0A 00000000:00000000\n"
        + "   1: 0102A8C0:2049 00000000:0000 01 00000000:00000000\n"
        + "   2: 0202A8C0:204A 00000000:0000 0A 00000000:00000000\n"
    )
    (tmp_path / "tcp6").write_text(head + f"   0: {'0' * 24}01000000:2049 {'0' * 32}:0000 0A 0:0\n")
    assert listening_addresses(0x2049, tmp_path) == ["127.0.0.1", "::1"]
    assert listening_addresses(0x2049, tmp_path / "missing") == []
