"""The best net on disk and back: weights, params, history and a HOWTO that works when pasted."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from io import StringIO
from pathlib import Path
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
from trainables.splits import Split
from trainables.tensors import TensorData
from trainables.training import NetTraining
from trainables.trial import resolve_params, trial_seed

WEIGHTS = "model.safetensors"
HOWTO = "HOWTO.md"


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
        The best epoch's weights are not there.
    """
    beside = paths.best.with_name(".best.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    if len(plan.job.data.splits) > 1:
        _refit(plan, record, beside / WEIGHTS)
    else:
        shutil.copyfile(_weights_of(paths, record), beside / WEIGHTS)
    text = StringIO()
    YAML().dump(record.best_params, text)
    (beside / "params.yaml").write_text(text.getvalue(), encoding="utf-8")
    rows = [record.rows[epoch] for epoch in sorted(record.rows)]
    (beside / "history.json").write_text(as_json(rows), encoding="utf-8")
    (beside / HOWTO).write_text(_howto(paths, manifest, record), encoding="utf-8")
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

    Raises
    ------
    SweepStateError
        The weights are missing, or not those of such a net.
    SpecError
        There is no net to put them into, or one of its parameters was an object that is not at hand.
    """
    weights = paths.best / WEIGHTS
    if not weights.is_file():
        raise SweepStateError(f"{weights}: missing: the sweep has not ended, or its best net was not written")
    template = net if net is not None else _net_of(paths, manifest)
    params = _with_objects(record.best_params or {}, manifest, objects)
    best = clone(template).set_params(**params, **_classes(template, manifest))
    if not torch.cuda.is_available():
        best.set_params(device="cpu")
    best.initialize()
    try:
        best.load_params(f_params=str(weights), use_safetensors=True)
    except (SafetensorError, RuntimeError) as error:
        raise SweepStateError(f"{weights}: cannot be loaded into the net: {error}") from error
    return best


def _net_of(paths: SweepPaths, manifest: Mapping[str, Any]) -> NeuralNet:
    reference = manifest.get("net")
    if not reference:
        text = f"the sweep in {paths.root} was given its net as an object; hand it over: SweepResult.load(..., net=net)"
        raise SpecError(Problem(text, "net"))
    return import_net(reference, [Path(folder) for folder in manifest["search_path"]])


def _weights_of(paths: SweepPaths, record: TrialRecord) -> Path:
    folder = paths.trials / checkpoint.trial_name(record.trial)
    found, _ = checkpoint.newest(folder)
    if found is None:
        raise SweepStateError(f"{folder}: no usable checkpoint, so the weights of trial {record.trial} are lost")
    kept = checkpoint.verify(found)["best_epoch"]
    if kept != record.best_epoch:
        raise SweepStateError(
            f"{found}: holds the weights of epoch {kept}, but trial {record.trial} was best in {record.best_epoch}"
        )
    return found / "best.module.safetensors"


def _refit(plan: SweepPlan, record: TrialRecord, target: Path) -> None:
    params = resolve_params(record.best_params or {}, plan.job.objects) | {"max_epochs": record.best_epoch}
    seed = trial_seed(plan.job.seed, record.trial)
    every = np.arange(plan.job.data.n_rows)
    # Validated on the rows that it trains on, for the sake of callbacks that watch the validation.
    data = replace(plan.job.data, splits=(Split(every, every),))
    training = NetTraining(plan.job.net, TensorData(data), params, seed, scorers=plan.job.scorers)
    while not training.finished:
        training.run_epoch()
    weights = training.net.module_.state_dict()
    save_file({key: value.detach().cpu().contiguous().clone() for key, value in weights.items()}, target)


def _with_objects(
    params: Mapping[str, Any], manifest: Mapping[str, Any], objects: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    known = resolve_params(params, objects)
    problems = [
        Problem(f"was {value}, an object of the program that made the sweep; {HOWTO} loads the weights", name)
        for name, value in known.items()
        if _is_lost(name, value, manifest)
    ]
    if problems:
        raise SpecError(*problems)
    return {name: import_object(value) if is_import_string(value) else value for name, value in known.items()}


def _is_lost(name: str, value: Any, manifest: Mapping[str, Any]) -> bool:
    return isinstance(value, str) and value in manifest["objects"].get(name, ())


def _classes(net: NeuralNet, manifest: Mapping[str, Any]) -> dict[str, Any]:
    classes = manifest.get("classes")
    wanted = classes is not None and "classes" in net.get_params() and net.classes is None
    return {"classes": classes} if wanted else {}


def _howto(paths: SweepPaths, manifest: Mapping[str, Any], record: TrialRecord) -> str:
    params = dict(record.best_params or {})
    imports, written = _as_code(params, manifest)
    classes = manifest.get("classes")
    if classes is not None and manifest.get("takes_classes"):
        written["classes"] = json.dumps(classes) + ","
    arguments = "".join(f"    {name}={text}\n" for name, text in written.items())
    module, _, attribute = (manifest.get("net") or "your_module:make_net").partition(":")
    name = attribute.split(".")[0]
    is_callable = manifest["net_is_callable"]
    call = f"{attribute}()" if is_callable else f"clone({attribute})"
    needs_clone = "" if is_callable else "from sklearn.base import clone\n"
    folders = "".join(f"sys.path.insert(0, {json.dumps(folder)})\n" for folder in manifest["search_path"])
    score = f"{manifest['metric']} = {record.best_value:.6g} after epoch {record.best_epoch} of trial {record.trial}"
    return (
        f"# The best net of {paths.name}\n\n{score}.\n\n"
        "It needs skorch, safetensors and the code that makes the net, no Ray and no sweep:\n\n"
        f"```python\nimport sys\n\n{folders}{needs_clone}{imports}from {module} import {name}\n\n"
        f"net = {call}\nnet.set_params(\n{arguments})\nnet.initialize()\n"
        f"net.load_params(f_params={json.dumps(str(paths.best / WEIGHTS))}, use_safetensors=True)\n"
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
