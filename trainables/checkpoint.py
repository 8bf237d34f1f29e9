"""Training state <-> a directory: verified, versioned, whole or absent. Knows nothing of trials, Ray or retention."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

FORMAT = 1
"""Version of the layout; another one is refused."""

MANIFEST = "manifest.json"
STATE = "state.pt"


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another version; the message names the file."""


def save(state: Mapping[str, Any], directory: Path, *, epoch: int, best_epoch: int = 0) -> None:
    """Writes a training's state so that ``directory`` exists only when it is whole.

    Parameters
    ----------
    state : mapping
        `NetTraining.state`, or a mapping of plain values and tensors. The tensors under ``state["best"]["weights"]`` are
        written once more as ``best.<module>.safetensors``, which skorch's ``load_params`` reads.
    directory : Path
        Must not exist, or hold an earlier checkpoint, which is replaced.
    epoch : int
        Epoch after which the state was taken.
    best_epoch : int, default=0
        Epoch whose weights are kept as the best.
    """
    beside = directory.with_name(f".{directory.name}.{os.getpid()}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    torch.save(dict(state), beside / STATE)
    for name, weights in best_weights(state).items():
        save_file(
            {key: value.contiguous().clone() for key, value in weights.items()}, beside / f"best.{name}.safetensors"
        )
    files = {path.name: _digest(path) for path in sorted(beside.iterdir())}
    about = {"format": FORMAT, "epoch": epoch, "best_epoch": best_epoch, "torch": torch.__version__}
    manifest = {**about, "files": files}
    (beside / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    for path in beside.iterdir():
        _flush(path)
    shutil.rmtree(directory, ignore_errors=True)
    os.replace(beside, directory)


def load(directory: Path) -> dict[str, Any]:
    """Reads a verified state; executes nothing that is stored in it.

    Raises
    ------
    CheckpointError
        As `verify` says.
    """
    verify(directory)
    state: dict[str, Any] = torch.load(directory / STATE, map_location="cpu", weights_only=True)
    return state


def verify(directory: Path) -> dict[str, Any]:
    """Checks that every file is there, of its size and of its sha256.

    Returns
    -------
    dict
        The manifest: ``format``, ``epoch``, ``best_epoch``, ``torch`` and ``files`` (name -> size in bytes and sha256).

    Raises
    ------
    CheckpointError
        A file is missing or damaged, or the format is another one.
    """
    manifest = _read_manifest(directory / MANIFEST)
    for name, expected in manifest["files"].items():
        path = directory / name
        if not path.is_file():
            raise CheckpointError(f"{path}: missing, though the checkpoint's manifest lists it")
        if _digest(path) != expected:
            raise CheckpointError(f"{path}: damaged: its size or sha256 differs from the manifest's")
    return manifest


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """The checkpoint of the latest epoch in a trial's folder that can be trusted.

    Parameters
    ----------
    folder : Path
        Holds directories ``checkpoint-<epoch>``; need not exist.

    Returns
    -------
    tuple of (Path or None) and list of str
        The checkpoint, and one message for each newer one that was passed over.
    """
    passed_over: list[str] = []
    for directory in sorted(folder.glob("checkpoint-*"), reverse=True):
        try:
            verify(directory)
        except CheckpointError as error:
            passed_over.append(str(error))
        else:
            return directory, passed_over
    return None, passed_over


def directory_name(epoch: int) -> str:
    """``checkpoint-000009``: names sort by epoch."""
    return f"checkpoint-{epoch:06d}"


def trial_name(number: int) -> str:
    """``trial_00012``: the folder of a trial."""
    return f"trial_{number:05d}"


def best_weights(state: Mapping[str, Any]) -> dict[str, dict[str, torch.Tensor]]:
    """Module name -> tensors of the best epoch, out of a state as `NetTraining.state` describes it."""
    from_best = state.get("best", {}).get("items", [])
    weights = dict(from_best).get("weights", {}).get("items", [])
    return {name: dict(tensors["items"]) for name, tensors in weights}


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found, _ = manifest["format"], manifest["files"]
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing, so this is no whole checkpoint") from None
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    if found != FORMAT:
        raise CheckpointError(f"{path}: format {found!r} is not known; this version reads format {FORMAT}")
    return dict(manifest)


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def _flush(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
