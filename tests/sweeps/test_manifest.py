"""How a sweep was made, in a file that holds neither secrets nor anything that would be executed."""

from __future__ import annotations

import json
from dataclasses import replace

import nets
import pytest
import torch
from inline_sweeps import plan_of
from skorch.callbacks import Callback

from sweeps.manifest import make_manifest


def manifest_of(parameters, net="nets:make_net", made=None, **options):
    plan = plan_of(parameters, net=made, **options)
    job = replace(plan.job, trials=plan.job.trials.absolute() / "inline" / "trials")
    return make_manifest(replace(plan, job=job), net, [])


def test_it_is_plain_json_with_what_readers_need():
    manifest = manifest_of({"lr": [0.1, 0.2], "max_epochs": 9}, seed=7, scheduler={"name": "asha"})
    assert json.loads(json.dumps(manifest)) == manifest
    assert manifest["uri"].startswith("file:///")
    assert manifest["uri"].endswith("/inline")
    assert (manifest["name"], manifest["metric"], manifest["goal"], manifest["seed"]) == (
        "inline",
        "valid_acc",
        "maximize",
        7,
    )
    assert (manifest["n_trials"], manifest["max_epochs"], manifest["rungs"]) == (2, 9, [1, 3])
    assert (manifest["classes"], manifest["takes_classes"]) == ([0, 1, 2], True)
    assert manifest["data"]["rows"] == 240
    assert manifest["net_description"]["module"].startswith("nets:Tiny (source ")
    assert manifest["versions"]["torch"] == torch.__version__.partition("+")[0] or "+" in manifest["versions"]["torch"]


def test_nothing_of_the_environment_gets_into_it(monkeypatch):
    monkeypatch.setenv("WANDB_API_KEY", "secret-of-the-environment")
    assert "secret-of-the-environment" not in json.dumps(manifest_of({"lr": [0.1]}))


@pytest.mark.parametrize(("net", "expected"), [("nets:make_net", True), ("ready_net:NET", False), (None, True)])
def test_it_tells_whether_the_net_is_to_be_called(net, expected, tmp_path, monkeypatch):
    (tmp_path / "ready_net.py").write_text("import nets\nNET = nets.make_net()\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert manifest_of({"lr": [0.1]}, net)["net_is_callable"] is expected


class Uploads(Callback):
    def __init__(self, folder="/home/someone/seen", api_token="secret-of-the-net"):
        self.folder, self.api_token = folder, api_token


def test_secrets_and_places_of_the_net_stay_out_of_it():
    text = json.dumps(manifest_of({"lr": [0.1]}, made=nets.make_net(callbacks=[("uploads", Uploads())])))
    assert "Uploads (source " in text
    assert "secret-of-the-net" not in text
    assert "/home/someone" not in text


def test_the_classes_that_a_space_offers_are_described():
    description = manifest_of({"module": ["nets:Tiny"]})["net_description"]
    assert description["module=nets:Tiny"] == description["module"]


def test_objects_that_cannot_be_imported_are_named():
    parameters = {"criterion__weight": [None, torch.ones(3)], "optimizer": [torch.optim.SGD, torch.optim.Adam]}
    assert manifest_of(parameters)["objects"] == {"criterion__weight": ["tensor([1., 1., 1.])"]}
