"""What travels with a job: the files that Ray would zip, and no others."""

from __future__ import annotations

import logging
from zipfile import ZipFile

import pytest

from sweeps.errors import SpecError
from sweeps.package import limit_bytes, make_package


@pytest.fixture
def folder(tmp_path):
    """A project with what usually lies in one."""
    root = tmp_path / "project"
    for name, size in {
        "sweep.yaml": 10,
        "model.py": 20,
        "src/net.py": 30,
        "src/__pycache__/net.pyc": 99,
        ".git/HEAD": 99,
        ".venv-gpu/lib/torch.py": 99,
        "results/digits/manifest.json": 99,
        "data/big.npz": 5000,
        "data/.gitignore": 0,
        "notes/draft.md": 99,
        "notes/keep.md": 7,
        "cache/blob": 99,
        "empty/.keep": 0,
        ".env": 99,
        "keys/head.pem": 99,
        "keys/.ssh/config": 99,
        "id_rsa.pub": 99,
        "id_tables.py": 8,
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
    (root / ".gitignore").write_text("notes/*\n!notes/keep.md\n")
    (root / ".rayignore").write_text("cache/\n")
    (root / "data" / ".gitignore").write_text("*.tmp\n")
    (root / "data" / "half.tmp").write_bytes(b"x" * 99)
    (root / "gone").symlink_to(root / "nowhere")
    return root


def test_what_no_trial_needs_stays_here(folder):
    package = make_package(folder, ["empty"])
    assert set(package.sizes) == {
        *(".gitignore", ".rayignore", "sweep.yaml", "model.py", "src/net.py", "id_tables.py"),
        *("data/big.npz", "data/.gitignore", "notes/keep.md"),
    }
    assert package.size_bytes == sum(path.stat().st_size for path in map(folder.joinpath, package.sizes))


@pytest.mark.parametrize("environment", [{}, {"RAY_RUNTIME_ENV_IGNORE_GITIGNORE": "1"}])
def test_it_is_what_ray_zips(folder, tmp_path, environment):
    from ray._private.runtime_env.packaging import create_package

    package = make_package(folder, ["/model.py", "!/keys/head.pem"], environment)
    create_package(
        str(folder),
        tmp_path / "package.zip",
        include_gitignore=not environment,
        excludes=list(package.excludes),
        logger=logging.getLogger("quiet"),
    )
    with ZipFile(tmp_path / "package.zip") as zipped:
        sizes = {info.filename: info.file_size for info in zipped.infolist() if not info.is_dir()}
    assert dict(package.sizes) == sizes
    assert ("notes/draft.md" in sizes) == bool(environment)
    assert {name for name in sizes if name.startswith(("keys", ".env", "id_"))} == {"keys/head.pem", "id_tables.py"}


def test_the_bound_is_rays(monkeypatch):
    from ray._private.runtime_env.packaging import GCS_STORAGE_MAX_SIZE

    assert limit_bytes({}) == GCS_STORAGE_MAX_SIZE
    assert limit_bytes({"RAY_max_grpc_message_size": "1000"}) == 1000


def test_ray_may_be_told_to_leave_out_more(folder):
    package = make_package(folder, environment={"RAY_OVERRIDE_RUNTIME_ENV_DEFAULT_EXCLUDES": "src, data"})
    assert not [name for name in package.sizes if name.startswith(("src", "data"))]


def test_too_large_names_the_largest(folder):
    package = make_package(folder)
    package.refuse_too_large(20_000)
    with pytest.raises(SpecError, match=r"(?s)takes less than 4\.0 kB.*--exclude.*\n  5\.0 kB  data/big\.npz"):
        package.refuse_too_large(4000)


def test_the_largest_are_told_only_of_a_large_package(folder):
    assert not [line for line in make_package(folder).lines() if "big.npz" in line]
    with (folder / "data" / "big.npz").open("r+b") as file:
        file.truncate(20_000_000)
    first, _, second, *_ = make_package(folder).lines()
    assert "20.0 MB" in first
    assert second == "  20.0 MB  data/big.npz"


def test_a_folder_of_which_nothing_travels_is_refused(folder, tmp_path):
    with pytest.raises(SpecError, match="no file is left"):
        make_package(folder, ["*"])
    with pytest.raises(SpecError, match="no such folder"):
        make_package(tmp_path / "elsewhere")


def test_what_looks_like_a_secret_stays_here_unless_it_is_asked_for(folder):
    (folder / "data" / ".gitignore").write_text("*.pem\n")
    (folder / "data" / "own.pem").write_text("x")
    package = make_package(folder)
    assert package.withheld == (".env", "id_rsa.pub", "keys/.ssh", "keys/head.pem")
    assert ".env, id_rsa.pub, keys/.ssh, keys/head.pem" in package.lines()[1]
    asked = make_package(folder, ["!.env", "/keys/"])
    assert ".env" in asked.sizes
    assert asked.withheld == ("id_rsa.pub",)


@pytest.mark.parametrize(
    "links", [{"one": ".", "two": "."}, {"src/two": ".."}, {"src/a": "../data", "data/b": "../src"}]
)
def test_a_folder_that_goes_in_a_circle_is_refused(folder, links):
    for name, target in links.items():
        (folder / name).symlink_to(target)
    with pytest.raises(SpecError, match="links to a folder that it lies in"):
        make_package(folder)
    assert "src/net.py" in make_package(folder, list(links)).sizes
