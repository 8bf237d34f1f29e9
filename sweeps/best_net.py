"""The best net on disk and back: weights, params, history and a HOWTO that works when pasted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML
from safetensors import SafetensorError
from safetensors.torch import save_file
from sklearn.base import clone
from skorch import NeuralNet

from search_spaces.labels import import_object, is_import_string
from sweeps.errors import Problem, SpecError, SweepStateError
from sweeps.howto import HOWTO, howto_text, is_lost, load_argument, weights_file
from sweeps.plan import SweepPlan
from sweeps.records import TrialRecord
from sweeps.sources import import_net
from sweeps.storage import SweepPaths
from sweeps.strict_json import as_json
from trainables import checkpoint
from trainables.net_state import learning_modules
from trainables.splits import Split
from trainables.tensors import TensorData
from trainables.training import NetTraining
from trainables.trial import resolve_params, trial_seed
from trainables.user_code import told

# Whose weights they are: a driver may be killed after a better trial was recorded and before they are replaced.
_WHOSE = "trial.json"


def write_best(paths: SweepPaths, manifest: Mapping[str, Any], plan: SweepPlan, record: TrialRecord) -> None:
    """Makes the sweep's ``best/``; replaces an earlier one.

    Under cross-validation no trial's net has seen all rows: the best config is trained once more, on all of them, for
    as many epochs as its mean score was best at.

    Parameters
    ----------
    paths : SweepPaths
        Where.
    manifest : mapping
        The sweep's manifest.
    plan : SweepPlan
        What was run.
    record : TrialRecord
        The best trial.

    Raises
    ------
    SweepStateError
        The best epoch's weights are not there, or the training on all rows failed.
    """
    beside = paths.best.with_name(".best.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    if len(plan.job.data.splits) > 1:
        modules = _refit(plan, record, beside)
    else:
        modules = _copy_weights(_checkpoint_of(paths, record), beside)
    (beside / _WHOSE).write_text(as_json(_whose(record)), encoding="utf-8")
    text = StringIO()
    YAML().dump(record.best_params, text)
    (beside / "params.yaml").write_text(text.getvalue(), encoding="utf-8")
    rows = [record.rows[epoch] for epoch in sorted(record.rows)]
    (beside / "history.json").write_text(as_json(rows), encoding="utf-8")
    params = _without_compilation(record.best_params or {}, plan.job.net)
    (beside / HOWTO).write_text(howto_text(paths, manifest, record, params, modules), encoding="utf-8")
    shutil.rmtree(paths.best, ignore_errors=True)
    os.replace(beside, paths.best)


def load_best_net(
    paths: SweepPaths,
    manifest: Mapping[str, Any],
    record: TrialRecord,
    net: NeuralNet | None,
    objects: Mapping[str, Mapping[str, Any]],
) -> NeuralNet:
    """The best net, initialized, with its weights; not compiled (``net.module_.compile()`` does that).

    Imports the net, classes and functions that the sweep's manifest and params name, and so runs their modules, as
    running its sweep.yaml would: trust the sweep as you would a script.

    Raises
    ------
    SweepStateError
        The weights are missing, or not those of such a net.
    SpecError
        There is no net to put them into, or one of its parameters was an object that is not at hand.
    """
    if not paths.best.is_dir():
        raise SweepStateError(f"{paths.best}: missing: the sweep has not ended, or its best net was not written")
    refuse_stale(paths, record)
    template = net if net is not None else _net_of(paths, manifest)
    params = _with_objects(record.best_params or {}, manifest, objects)
    best = clone(template).set_params(**_without_compilation(params, template), **_classes(template, manifest))
    if not torch.cuda.is_available():
        best.set_params(device="cpu")
    best.initialize()
    for name, module in learning_modules(best).items():
        if module.state_dict():
            _load_weights(best, name, paths.best / weights_file(name))
    return best


def is_current(paths: SweepPaths, record: TrialRecord) -> bool:
    """Whether ``best/`` holds the weights of a record's best epoch."""
    try:
        return bool(json.loads((paths.best / _WHOSE).read_text(encoding="utf-8")) == _whose(record))
    except (OSError, ValueError):
        return False


def refuse_stale(paths: SweepPaths, record: TrialRecord) -> None:
    """Refuses a ``best/`` that holds other weights than those of a record's best epoch.

    Raises
    ------
    SweepStateError
        It does; the message says how it is written anew.
    """
    if not is_current(paths, record):
        raise SweepStateError(
            f"{paths.best}: is not of epoch {record.best_epoch} of trial {record.trial}, the best by now: the sweep "
            f"was cut off before it was written anew; `{paths.resume_command}` does that"
        )


def _whose(record: TrialRecord) -> dict[str, Any]:
    return {"trial": record.trial, "epoch": record.best_epoch, "score": record.best_value}


def _load_weights(net: NeuralNet, module: str, weights: Path) -> None:
    if not weights.is_file():
        raise SweepStateError(f"{weights}: missing, so the net's {module}_ would keep random weights")
    try:
        net.load_params(**{load_argument(module): str(weights)}, use_safetensors=True)
    except (SafetensorError, RuntimeError) as error:
        raise SweepStateError(f"{weights}: cannot be loaded into the net's {module}_: {error}") from error


def _net_of(paths: SweepPaths, manifest: Mapping[str, Any]) -> NeuralNet:
    reference = manifest.get("net")
    if not reference:
        given = f"the sweep in {paths.location} was given its net as an object"
        text = f"{given}; hand it over: SweepResult.load(..., net=net)"
        raise SpecError(Problem(text, "net"))
    return import_net(reference, [Path(folder) for folder in manifest["search_path"]])


def _checkpoint_of(paths: SweepPaths, record: TrialRecord) -> Path:
    folder = paths.trials / checkpoint.trial_name(record.trial)
    found, _ = checkpoint.newest_best(folder)
    if found is None:
        raise SweepStateError(f"{folder}: no usable checkpoint, so the weights of trial {record.trial} are lost")
    kept = checkpoint.verify_best(found)["best_epoch"]
    if kept != record.best_epoch:
        raise SweepStateError(
            f"{found}: holds the weights of epoch {kept}, but trial {record.trial} was best in {record.best_epoch}"
        )
    return found


def _copy_weights(source: Path, target: Path) -> list[str]:
    """Copies the best epoch's weights; returns the names of their modules."""
    files = {path.name.split(".")[1]: path for path in sorted(source.glob("best.*.safetensors"))}
    for name, path in files.items():
        shutil.copyfile(path, target / weights_file(name))
    return list(files)


def _refit(plan: SweepPlan, record: TrialRecord, target: Path) -> list[str]:
    """Trains the best config on all rows and writes the weights; returns the names of their modules."""
    with _RefitErrors(record):
        net = _trained_on_all_rows(plan, record)
    states = {name: module.state_dict() for name, module in learning_modules(net).items()}
    written = {name: state for name, state in states.items() if state}
    for name, state in written.items():
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
        save_file(tensors, target / weights_file(name))
    return list(written)


def _trained_on_all_rows(plan: SweepPlan, record: TrialRecord) -> NeuralNet:
    job = plan.job if torch.cuda.is_available() else plan.job.on_device("cpu")
    params = resolve_params(record.best_params or {}, job.objects)
    every = np.arange(job.data.n_rows)
    # Validated on the rows that it trains on, for the sake of callbacks that watch the validation.
    data = replace(job.data, splits=(Split(every, every),))
    training = NetTraining(
        job.net,
        TensorData(data),
        params,
        trial_seed(job.seed, record.trial),
        scorers=job.scorers,
        matmul_precision=job.matmul_precision,
    )
    # max_epochs stays as the folds had it, since schedules are made from it.
    while training.epoch < (record.best_epoch or 0) and not training.finished:
        training.run_epoch()
    return training.net


class _RefitErrors:
    """Turns what a net raises on all rows, SystemExit included, into a SweepStateError: the sweep's end goes on."""

    def __init__(self, record: TrialRecord) -> None:
        self._record = record

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, (Exception, SystemExit)):
            text = f"training the params of trial {self._record.trial} on all rows raised {told(error)}"
            raise SweepStateError(text) from error


def _with_objects(
    params: Mapping[str, Any], manifest: Mapping[str, Any], objects: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    known = resolve_params(params, objects)
    problems = [
        Problem(f"was {value}, an object of the program that made the sweep; {HOWTO} loads the weights", name)
        for name, value in known.items()
        if is_lost(name, value, manifest)
    ]
    for name, value in known.items():
        try:
            known[name] = import_object(value) if is_import_string(value) else value
        except ValueError as error:
            problems.append(Problem(str(error), f"parameters.{name}"))
    if problems:
        raise SpecError(*problems)
    return known


def _classes(net: NeuralNet, manifest: Mapping[str, Any]) -> dict[str, Any]:
    classes = manifest.get("classes")
    wanted = classes is not None and "classes" in net.get_params() and net.classes is None
    return {"classes": classes} if wanted else {}


def _without_compilation(params: Mapping[str, Any], net: NeuralNet) -> dict[str, Any]:
    # The weights are the same, and where the net goes there may be no compiler.
    kept = {name: value for name, value in params.items() if name.partition("__")[0] != "compile"}
    return kept | ({"compile": False} if net.compile or "compile" in params else {})
