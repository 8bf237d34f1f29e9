"""Training state <-> a directory: verified, versioned, whole or absent. Knows nothing of trials, Ray or retention."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from trainables.claim import Claim
from trainables.plain import from_plain
from trainables.whole import whole_directory

FORMAT = 1
"""Version of the layout; another one is refused."""

MANIFEST = "manifest.json"
STATE = "state.pt"
LOG = "log.json"
BEST = "best"
"""Beside a trial's checkpoints: the best epoch's weights of a trial that is not trained on, without its state."""


# What torch's reader raises for content that is no state, beside its own error.
_UNREADABLE = (
    pickle.UnpicklingError,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged or of another version; the message names the file."""


def save(
    state: Mapping[str, Any],
    directory: Path,
    *,
    epoch: int,
    best_epoch: int = 0,
    log: Sequence[Mapping[str, float]] = (),
    claim: Claim | None = None,
) -> None:
    """Writes a training's state so that ``directory`` exists only when it is whole.

    Parameters
    ----------
    state : mapping
        `NetTraining.state`, or a mapping of plain values and tensors. The best epoch's weights in it are written once
        more as ``best.<module>.safetensors``, which skorch's ``load_params`` reads.
    directory : Path
        Must not exist, or hold an earlier checkpoint, which is replaced.
    epoch : int
        Epoch after which the state was taken.
    best_epoch : int, default=0
        Epoch whose weights are kept as the best.
    log : sequence of mapping, default=()
        Metrics of each epoch so far, for `read_log`.
    claim : Claim, optional
        Checked once more before ``directory`` appears.

    Raises
    ------
    RuntimeError
        The claim is over; nothing is left behind.
    """
    with whole_directory(directory, delete, claim) as part:
        torch.save(dict(state), part / STATE)
        (part / LOG).write_text(json.dumps(list(log)), encoding="utf-8")
        for name, weights in best_weights(state).items():
            separate = {key: value.contiguous().clone() for key, value in weights.items()}
            save_file(separate, part / f"best.{name}.safetensors")
        files = {path.name: _digest(path) for path in sorted(part.iterdir())}
        about = {"format": FORMAT, "epoch": epoch, "best_epoch": best_epoch, "torch": torch.__version__}
        _write_manifest(part, {**about, "files": files})


def keep_best(directory: Path) -> Path:
    """Keeps of a checkpoint what the best epoch left, as `BEST` beside it, which replaces an earlier one.

    That is verified as a checkpoint is, by a manifest of its own, but holds no state to go on from, and neither `load`
    nor `newest` takes it for a checkpoint. The checkpoint itself stays.

    Parameters
    ----------
    directory : Path
        The checkpoint.

    Returns
    -------
    Path
        The new directory.

    Raises
    ------
    CheckpointError
        As `verify` says.
    """
    manifest = verify(directory)
    files = {name: about for name, about in manifest["files"].items() if name != STATE}
    target = directory.with_name(BEST)
    with whole_directory(target, delete) as part:
        for name in files:
            _link(directory / name, part / name)
        _write_manifest(part, {**manifest, "files": files})
    return target


def delete(directory: Path) -> None:
    """Deletes a checkpoint, or what `keep_best` made; one that is half deleted does not verify.

    What another process deletes at the same time is no error.
    """
    with suppress(FileNotFoundError):
        (directory / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(directory)


def load(directory: Path) -> dict[str, Any]:
    """Reads a verified state; executes nothing that is stored in it.

    Raises
    ------
    CheckpointError
        As `verify` says, or the state holds something else than plain values and tensors.
    """
    verify(directory)
    path = directory / STATE
    try:
        return dict(torch.load(path, map_location="cpu", weights_only=True))
    except _UNREADABLE as error:
        raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error


def read_log(directory: Path) -> list[dict[str, float]]:
    """Metrics of each epoch of a verified checkpoint, from epoch 1; needs no torch to understand.

    Raises
    ------
    CheckpointError
        As `verify` says, or the log is none.
    """
    verify(directory)
    path = directory / LOG
    try:
        return [dict(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error


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
    return _verify(directory, {STATE, LOG})


def verify_best(directory: Path) -> dict[str, Any]:
    """As `verify`, of a directory whose best epoch's weights are wanted: a checkpoint, or what `keep_best` made."""
    return _verify(directory, {LOG})


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


def newest_best(folder: Path) -> tuple[Path | None, list[str]]:
    """Where in a trial's folder its best epoch's weights are: the newest checkpoint, or what `keep_best` left of one.

    Returns
    -------
    tuple of (Path or None) and list of str
        The directory, and one message for each that cannot be trusted.
    """
    found, passed_over = newest(folder)
    best = folder / BEST
    if found is not None or not best.exists():
        return found, passed_over
    try:
        verify_best(best)
    except CheckpointError as error:
        return None, [*passed_over, str(error)]
    return best, passed_over


def directory_name(epoch: int) -> str:
    """``checkpoint-000009``: names sort by epoch."""
    return f"checkpoint-{epoch:06d}"


def trial_name(number: int) -> str:
    """``trial_00012``: the folder of a trial."""
    return f"trial_{number:05d}"


def best_weights(state: Mapping[str, Any]) -> dict[str, dict[str, torch.Tensor]]:
    """Module name -> tensors of the best epoch, out of a state as `NetTraining.state` describes it."""
    best = from_plain(state["best"]) if "best" in state else {}
    return dict(best.get("weights", {}))


def _verify(directory: Path, needed: Set[str]) -> dict[str, Any]:
    manifest = _read_manifest(directory / MANIFEST, needed)
    for name, expected in manifest["files"].items():
        path = directory / name
        try:
            found = _digest(path)
        except FileNotFoundError:
            raise CheckpointError(f"{path}: missing, though the checkpoint's manifest lists it") from None
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
        if found != expected:
            raise CheckpointError(f"{path}: damaged: its size or sha256 differs from the manifest's")
    return manifest


def _write_manifest(directory: Path, manifest: Mapping[str, Any]) -> None:
    (directory / MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # takes no space, which may be scarce when checkpoints are deleted
    except OSError:  # a filesystem without hard links
        shutil.copyfile(source, target)


def _read_manifest(path: Path, needed: Set[str]) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path}: missing, so this is no whole checkpoint") from None
    except (ValueError, OSError, RecursionError) as error:
        raise CheckpointError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error
    if not isinstance(manifest, dict) or "format" not in manifest:
        raise CheckpointError(f"{path}: damaged: no manifest of a checkpoint")
    if manifest["format"] != FORMAT:
        raise CheckpointError(f"{path}: format {manifest['format']!r} is not known; this version reads format {FORMAT}")
    if not _is_complete(manifest, needed):
        raise CheckpointError(f"{path}: damaged: its epochs or its list of files is missing or wrong")
    return manifest


def _is_complete(manifest: Mapping[str, Any], needed: Set[str]) -> bool:
    files, epochs = manifest.get("files"), (manifest.get("epoch"), manifest.get("best_epoch"))
    if not isinstance(files, dict) or not needed <= files.keys() or not all(type(epoch) is int for epoch in epochs):
        return False
    return all(Path(name).name == name for name in files)


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        return {"size": path.stat().st_size, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}
