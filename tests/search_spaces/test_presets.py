"""Presets are plain data that fit a skorch net around the MLP."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from skorch import NeuralNetClassifier

from search_spaces import SearchSpace, check_names, presets
from trainables.models import MLP

ALL = [
    presets.batch_size,
    presets.epochs,
    presets.hidden_layers,
    presets.learning_rate,
    presets.mlp,
    presets.nodes_per_layer,
    presets.optimizer,
]


@pytest.mark.parametrize("preset", ALL)
def test_a_preset_is_plain_data_and_a_space(preset):
    assert json.loads(json.dumps(preset())) == preset()
    SearchSpace(preset())


@pytest.mark.parametrize("preset", ALL)
def test_a_preset_may_be_changed_without_changing_the_next_one(preset):
    changed = preset()
    changed.clear()
    assert preset()


def test_the_epochs_may_be_given():
    assert presets.epochs(81) == {"max_epochs": 81}


def test_every_draw_trains_an_mlp():
    net = NeuralNetClassifier(
        MLP,
        criterion=torch.nn.CrossEntropyLoss,
        module__n_features=4,
        module__n_outputs=2,
        verbose=0,
    )
    space = SearchSpace(presets.mlp())
    check_names(space, net)
    objects = space.objects()
    rng = np.random.default_rng(0)
    for _ in range(4):
        params = {name: objects.get(name, {}).get(value, value) for name, value in space.sample(rng).items()}
        net.set_params(**params | {"max_epochs": 1}).fit(torch.rand(20, 4), torch.arange(20) % 2)
