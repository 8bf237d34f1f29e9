"""The files that a sweep begins with."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from sweeps.errors import SpecError
from sweeps.spec import load_spec
from sweeps.starter import Template, next_steps, starter_files, write_starter
from sweeps.sweep import Sweep

every_template = pytest.mark.parametrize("template", [Template.CLASSIFIER, Template.REGRESSOR, Template.IMAGE])


@pytest.fixture
def forget_the_model(monkeypatch):
    """Let the next test import another module of the same name."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("model", None)


@every_template
@pytest.mark.usefixtures("forget_the_model")
def test_a_template_passes_the_whole_check(template, tmp_path):
    write_starter(starter_files(tmp_path / "new", template))
    plan = Sweep.from_yaml(tmp_path / "new" / "sweep.yaml").plan()
    assert plan.n_trials > 1


@every_template
def test_every_choice_in_the_comments_is_valid(template, tmp_path):
    (spec, text) = next(iter(starter_files(tmp_path, template).items()))
    choices = re.findall(r"^# (\w+: *[{\[][^#\n]*[}\]])", text, flags=re.MULTILINE)
    assert len(choices) > 10
    spec.write_text(text)
    for choice in choices:
        key, _, value = choice.partition(": ")
        whole = [f"{key}={value}"]
        if "grid" in value:  # which has no room for ranges of fractions
            whole += ["parameters={batch_size: [32, 64], max_epochs: 3}"]
        load_spec(spec, whole, needs=("net", "data"))


@every_template
def test_parameters_in_the_comments_are_valid(template, tmp_path):
    (spec, text) = next(iter(starter_files(tmp_path, template).items()))
    text, n_changed = re.subn(r"^  # (\w+: )", r"  \1", text, flags=re.MULTILINE)
    assert n_changed == 3
    spec.write_text(text)
    parameters = load_spec(spec).parameters
    assert parameters["optimizer__momentum"]["when"] == {"optimizer": "torch.optim:SGD"}


def test_nothing_is_written_where_a_file_exists(tmp_path):
    (tmp_path / "model.py").write_text("mine")
    with pytest.raises(SpecError, match=r"model\.py: exists already"):
        write_starter(starter_files(tmp_path, Template.IMAGE))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.py"]
    assert (tmp_path / "model.py").read_text() == "mine"


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match=r"file/sweep\.yaml: cannot be written"):
        write_starter(starter_files(Path(tmp_path / "file"), Template.CLASSIFIER))


@pytest.mark.parametrize(
    ("template", "lines"),
    [
        (Template.IMAGE, ["sweeps validate a/sweep.yaml", "sweeps preview a/sweep.yaml", "sweeps run a/sweep.yaml"]),
        (
            Template.CLUSTER_GCP,
            [
                "put your machines and keys into a/cluster.yaml",
                "sweeps cluster validate a/cluster.yaml",
                "sweeps cluster up a/cluster.yaml",
            ],
        ),
        (Template.KUBERAY, ["put your image and volume into a/rayjob.yaml", "kubectl apply -f a/rayjob.yaml"]),
    ],
)
def test_the_next_steps_name_the_file_that_was_written(template, lines):
    assert next_steps(template, starter_files(Path("a"), template)) == lines


def test_a_cluster_is_one_file_beside_which_a_sweep_can_be_written(tmp_path):
    for template in (Template.CLUSTER_AWS, Template.KUBERAY, Template.CLASSIFIER):
        write_starter(starter_files(tmp_path, template))
    assert {path.name for path in tmp_path.iterdir()} == {"cluster.yaml", "rayjob.yaml", "sweep.yaml", "model.py"}
