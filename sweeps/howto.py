"""HOWTO.md: code that makes the best net from its weights when it is pasted. Reads and writes no file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from search_spaces.labels import is_import_string
from sweeps.records import TrialRecord
from sweeps.storage import SweepPaths

HOWTO = "HOWTO.md"
"""Name of the file in ``best/``."""


def weights_file(module: str) -> str:
    """Name of the file with a module's weights."""
    return "model.safetensors" if module == "module" else f"model.{module}.safetensors"


def load_argument(module: str) -> str:
    """The argument of skorch's ``load_params`` for a module's weights."""
    return "f_params" if module == "module" else f"f_{module}"


def is_lost(name: str, value: Any, manifest: Mapping[str, Any]) -> bool:
    """Whether a param was an object of the program that made the sweep, which only its label is left of."""
    return isinstance(value, str) and value in manifest["objects"].get(name, ())


def howto_text(
    paths: SweepPaths,
    manifest: Mapping[str, Any],
    record: TrialRecord,
    params: Mapping[str, Any],
    modules: Iterable[str],
) -> str:
    """The text of `HOWTO`.

    Parameters
    ----------
    paths : SweepPaths
        Where the weights are.
    manifest : mapping
        The sweep's manifest.
    record : TrialRecord
        The best trial.
    params : mapping
        Its params, as the net shall be made with them.
    modules : iterable of str
        Modules whose weights there are.
    """
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
    files = {load_argument(module): str(paths.best / weights_file(module)) for module in modules}
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
        elif is_lost(name, value, manifest):
            written[name] = f"...,  # {value}: put the object of your program here"
        else:
            written[name] = f"{value!r},"
    return imports, written
