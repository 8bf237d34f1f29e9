"""The best net on disk and back: weights, params, history and a HOWTO that works when pasted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping
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

HOWTO = "HOWTO.md"
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
    (beside / HOWTO).write_text(_howto(paths, manifest, record, modules), encoding="utf-8")
    shutil.rmtree(paths.best, ignore_errors=True)
    os.replace(beside, paths.best)


def load_best_net(
    paths: SweepPaths,
    manifest: Mapping[str, Any],
    record: TrialRecord,
    net: NeuralNet | None,
    objects: Mapping[str, Mapping[str, Any]],
) -> NeuralNet:
    """The best net, initialized, with its weights.

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
    best = clone(template).set_params(**params, **_classes(template, manifest))
    if not torch.cuda.is_available():
        best.set_params(device="cpu")
    best.initialize()
    for name, module in learning_modules(best).items():
        if module.state_dict():
            _load_weights(best, name, paths.best / _weights_file(name))
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


def _weights_file(module: str) -> str:
    return "model.safetensors" if module == "module" else f"model.{module}.safetensors"


def _load_argument(module: str) -> str:
    """The argument of skorch's ``load_params`` for a module's weights."""
    return "f_params" if module == "module" else f"f_{module}"


def _load_weights(net: NeuralNet, module: str, weights: Path) -> None:
    if not weights.is_file():
        raise SweepStateError(f"{weights}: missing, so the net's {module}_ would keep random weights")
    try:
        net.load_params(**{_load_argument(module): str(weights)}, use_safetensors=True)
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
        shutil.copyfile(path, target / _weights_file(name))
    return list(files)


def _refit(plan: SweepPlan, record: TrialRecord, target: Path) -> list[str]:
    """Trains the best config on all rows and writes the weights; returns the names of their modules."""
    with _RefitErrors(record):
        net = _trained_on_all_rows(plan, record)
    states = {name: module.state_dict() for name, module in learning_modules(net).items()}
    written = {name: state for name, state in states.items() if state}
    for name, state in written.items():
        tensors = {key: value.detach().cpu().contiguous().clone() for key, value in state.items()}
        save_file(tensors, target / _weights_file(name))
    return list(written)


def _trained_on_all_rows(plan: SweepPlan, record: TrialRecord) -> NeuralNet:
    job = plan.job if torch.cuda.is_available() else plan.job.on_device("cpu")
    params = resolve_params(record.best_params or {}, job.objects)
    every = np.arange(job.data.n_rows)
    # Validated on the rows that it trains on, for the sake of callbacks that watch the validation.
    data = replace(job.data, splits=(Split(every, every),))
    training = NetTraining(job.net, TensorData(data), params, trial_seed(job.seed, record.trial), scorers=job.scorers)
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
        if _is_lost(name, value, manifest)
    ]
    for name, value in known.items():
        try:
            known[name] = import_object(value) if is_import_string(value) else value
        except ValueError as error:
            problems.append(Problem(str(error), f"parameters.{name}"))
    if problems:
        raise SpecError(*problems)
    return known


def _is_lost(name: str, value: Any, manifest: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and value in manifest["objects"].get(name, ())


def _classes(net: NeuralNet, manifest: Mapping[str, Any]) -> dict[str, Any]:
    classes = manifest.get("classes")
    wanted = classes is not None and "classes" in net.get_params() and net.classes is None
    return {"classes": classes} if wanted else {}


def _howto(paths: SweepPaths, manifest: Mapping[str, Any], record: TrialRecord, modules: Iterable[str]) -> str:
    params = dict(record.best_params or {})
    imports, written = _as_code(params, manifest)
    classes = manifest.get("classes")
    if classes is not None and manifest.get("takes_classes"):
        written["classes"] = json.dumps(classes) + ","
    arguments = "".join(f"    {name}={text}\n" for name, text in written.items())
    source, _, attribute = (manifest.get("net") or "your_module:make_net").partition(":")
    name = attribute.split(".")[0]
    is_callable = manifest["net_is_callable"]
    call = f"{attribute}()" if is_callable else f"clone({attribute})"
    needs_clone = "" if is_callable else "from sklearn.base import clone\n"
    folders = "".join(f"sys.path.insert(0, {json.dumps(folder)})\n" for folder in manifest["search_path"])
    files = {_load_argument(module): str(paths.best / _weights_file(module)) for module in modules}
    weights = "".join(f"{argument}={json.dumps(file)}, " for argument, file in files.items())
    score = f"{manifest['metric']} = {record.best_value:.6g} after epoch {record.best_epoch} of trial {record.trial}"
    return (
        f"# The best net of {paths.name}\n\n{score}.\n\n"
        "It needs skorch, safetensors and the code that makes the net, no Ray and no sweep:\n\n"
        f"```python\nimport sys\n\n{folders}{needs_clone}{imports}from {source} import {name}\n\n"
        f"net = {call}\nnet.set_params(\n{arguments})\nnet.initialize()\n"
        f"net.load_params({weights}use_safetensors=True)\n"
        "# net.predict(X), with X as the sweep's data was: float32, columns in the same order\n```\n"
        + ("" if manifest.get("net") else "\nThe sweep was given its net as an object: put your own in its place.\n")
    )


def _as_code(params: Mapping[str, Any], manifest: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    imports, written = "", {}
    for name, value in params.items():
        if is_import_string(value):
            module, _, attribute = value.partition(":")
            imports += f"import {module}\n"
            written[name] = f"{module}.{attribute},"
        elif _is_lost(name, value, manifest):
            written[name] = f"...,  # {value}: put the object of your program here"
        else:
            written[name] = f"{value!r},"
    return imports, written
