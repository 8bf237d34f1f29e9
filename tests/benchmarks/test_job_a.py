"""Job A is one job: the same rows, configs and split for every peer, of which none but ours knows this project."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest

from benchmarks import job_a
from benchmarks.run import PEERS

FOLDER = Path(job_a.__file__).parent / "peers"
OURS = {"search_spaces", "sweeps", "trainables"}


def imported(path: Path) -> set[str]:
    nodes = list(ast.walk(ast.parse(path.read_text())))
    plain = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    named = [
        f"{node.module}.{alias.name}" for node in nodes if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    return {*plain, *named}


@pytest.mark.parametrize("module", sorted({module for module, *_ in PEERS.values()}))
def test_a_peer_takes_the_job_from_its_one_definition_and_only_ours_imports_us(module):
    names = imported(FOLDER / f"{module}.py")
    assert "benchmarks.job_a" in names
    assert bool({name.split(".")[0] for name in names} & OURS) == (module == "ours")


def test_the_job_itself_imports_nothing_of_ours():
    assert not {name.split(".")[0] for name in imported(Path(job_a.__file__))} & OURS


def test_more_configs_begin_with_the_same_ones_and_all_differ():
    configs = job_a.draw_configs(256)
    assert job_a.draw_configs(24) == configs[:24]
    assert len({tuple(config.values()) for config in configs}) == 256


def test_every_config_is_one_that_the_net_takes():
    for config in job_a.draw_configs(3):
        net = job_a.make_net(**config).initialize()
        assert net.max_epochs == job_a.MAX_EPOCHS
        assert net.module_.net[0].out_features == config["module__hidden"]


def test_both_forms_of_the_split_name_the_same_rows():
    X, y = job_a.make_data()
    (_, y_train), (X_valid, y_valid) = job_a.split(X, y)
    judged = job_a.fold_of_rows() == 0
    assert np.array_equal(X[judged], X_valid)
    assert len(y_train) == job_a.N_TRAIN
    assert set(y_train) == set(y_valid) == set(range(job_a.N_CLASSES))
