"""What another machine is told to install."""

from __future__ import annotations

import shlex
import subprocess
from importlib.metadata import distribution
from pathlib import Path

import pytest

from sweeps.errors import SpecError
from sweeps.origin import direct_origin, folder_origin, index_origin, installed_origin, public_version

ROOT = Path(__file__).resolve().parents[2]


def words(arguments: str, home: str = "/home/you") -> list[str]:
    """What a program would be given."""
    script = f"printf '%s\\n' {arguments}"
    return subprocess.run(
        ["bash", "-c", script], env={"HOME": home}, capture_output=True, text=True
    ).stdout.splitlines()


def test_a_folder_is_copied_in_the_parts_that_pip_needs_and_installed_with_its_constraints():
    origin = direct_origin({"url": ROOT.as_uri(), "dir_info": {"editable": True}})
    assert origin.folder == ROOT
    assert origin.mounts["~/skorch-sweeps/sweeps"] == str(ROOT / "sweeps")
    assert not [local for local in origin.mounts.values() if Path(local).name in ("tests", ".venv", ".git")]
    source = "/home/you/skorch-sweeps"
    assert words(origin.arguments) == ["-c", f"{source}/constraints.txt", "-e", f"{source}[cluster]"]


def test_the_parts_are_all_that_the_build_reads(tmp_path):
    for remote, local in folder_origin(ROOT).mounts.items():
        target = tmp_path / remote.removeprefix("~/skorch-sweeps/")
        target.symlink_to(local)
    text = (tmp_path / "pyproject.toml").read_text()
    for named in ("README.md", "LICENSE", *("search_spaces", "sweeps", "trainables")):
        assert named in text
        assert (tmp_path / named).exists()


def test_an_installation_is_out_of_date_when_the_versions_of_its_folder_are_others():
    identity = folder_origin(ROOT).identity
    assert identity == "cat ~/skorch-sweeps/pyproject.toml ~/skorch-sweeps/constraints.txt"


def test_an_encoded_path_of_a_folder_is_read(tmp_path):
    with pytest.raises(SpecError, match=r"a b: the source that was installed lacks constraints.txt, LICENSE"):
        direct_origin({"url": (tmp_path / "a b").as_uri(), "dir_info": {}})


def test_a_wheel_is_copied_and_installed_from_the_copy(tmp_path):
    wheel = tmp_path / "skorch_sweeps-0.1.0-py3-none-any.whl"
    with pytest.raises(SpecError, match=r"no longer there; install skorch-sweeps again"):
        direct_origin({"url": wheel.as_uri(), "archive_info": {}})
    wheel.touch()
    origin = direct_origin({"url": wheel.as_uri(), "archive_info": {}})
    assert origin.mounts == {f"~/{wheel.name}": str(wheel)}
    assert words(origin.arguments) == [f"/home/you/{wheel.name}[cluster]"]
    assert words(origin.identity.removeprefix("echo ")) == words(origin.arguments)


def test_a_repository_is_installed_at_its_very_commit():
    vcs = {"vcs": "git", "requested_revision": "main", "commit_id": "0f4c" * 10}
    origin = direct_origin({"url": "https://example.com/skorch-sweeps.git", "vcs_info": vcs})
    assert not origin.mounts
    [requirement] = words(origin.arguments)
    assert requirement == f"skorch-sweeps[cluster] @ git+https://example.com/skorch-sweeps.git@{'0f4c' * 10}"


def test_an_archive_of_a_server_is_installed_from_there():
    origin = direct_origin({"url": "https://example.com/skorch_sweeps-0.1.0.tar.gz", "archive_info": {}})
    assert words(origin.arguments) == ["skorch-sweeps[cluster] @ https://example.com/skorch_sweeps-0.1.0.tar.gz"]


def test_from_an_index_come_the_versions_of_all_that_is_required_and_no_development_tools():
    package = distribution("skorch-sweeps")
    pins = dict(shlex.split(pin)[0].split("==") for pin in shlex.split(index_origin(package).arguments))
    assert pins["skorch-sweeps[cluster]"] == package.version
    assert {"ray[default]", "ray[tune]", "torch", "skorch", "hyperopt", "pyarrow", "scikit-learn"} <= set(pins)
    assert not {"pytest", "ruff", "mypy", "pre-commit"} & set(pins)
    assert pins["torch"] == public_version("torch")
    assert not [version for version in pins.values() if "+" in version]


def test_this_installation_is_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    elsewhere = installed_origin()
    monkeypatch.chdir(ROOT)
    assert installed_origin() == elsewhere
