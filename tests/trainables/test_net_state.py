"""Weights, optimisers and history of a net; that trainings go on with them is in test_training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from faithful_cases import Body, classifier
from skorch import NeuralNetClassifier
from torch.utils.data import RandomSampler

from trainables.net_state import learning_modules, load_net_state, net_state
from trainables.plain import NotPlainError


def make_net(**params):
    return classifier(module=Body, **params).initialize()


def test_frozen_parameters_stay_frozen_and_others_do_not():
    net, other = make_net(), make_net()
    net.module_.a.weight.requires_grad_(False)
    other.module_.b.weight.requires_grad_(False)
    load_net_state(other, net_state(net))
    assert not other.module_.a.weight.requires_grad
    assert other.module_.b.weight.requires_grad


def test_a_state_is_no_view_of_the_net():
    net = make_net()
    before = net.module_.a.weight.clone()
    state = net_state(net)
    with torch.no_grad():
        net.module_.a.weight.zero_()
    load_net_state(net, state)
    assert torch.equal(net.module_.a.weight, before)


def test_gradients_are_kept_only_for_a_net_that_may_gather_them():
    class Gathers(NeuralNetClassifier):
        def train_step(self, batch, **fit_params):
            return self.train_step_single(batch, **fit_params)

    for kind, kept in ((NeuralNetClassifier, set()), (Gathers, {"a.bias"})):
        net, other = make_net(kind=kind), make_net(kind=kind)
        net.module_.a.bias.grad = torch.ones(12)
        load_net_state(other, net_state(net))
        found = {name for name, parameter in other.module_.named_parameters() if parameter.grad is not None}
        assert found == kept


@pytest.mark.parametrize("name", ["iterator_train__generator", "iterator_train__sampler"])
def test_generators_among_the_parameters_go_on(name):
    def make():
        generator = torch.Generator().manual_seed(3)
        return generator if name.endswith("generator") else RandomSampler(range(4), generator=generator)

    def draw(net):
        part = net.get_params(deep=False)[name]
        return torch.rand(1, generator=getattr(part, "generator", part)).item()

    net, other = make_net(**{name: make()}), make_net(**{name: make()})
    first = draw(net)
    load_net_state(other, net_state(net))
    assert draw(other) == draw(net) != first


def test_numbers_of_numpy_and_torch_in_the_history_become_numbers():
    net, other = make_net(), make_net()
    net.history.new_epoch()
    net.history.record("a", np.float32(0.1))
    net.history.record("b", np.arange(2))
    net.history.record("c", torch.tensor(3))
    load_net_state(other, net_state(net))
    assert other.history[0] == {"batches": [], "a": float(np.float32(0.1)), "b": [0, 1], "c": 3}
    assert other.history[:, "c"] == [3]


def test_a_history_that_cannot_be_stored_is_refused():
    net = make_net()
    net.history.new_epoch()
    net.history.record("what", {1, 2})
    with pytest.raises(NotPlainError, match="history holds a set"):
        net_state(net)


def test_a_criterion_without_weights_is_a_module_too():
    assert list(learning_modules(make_net())) == ["module", "criterion"]


def test_own_options_are_kept_group_by_group():
    def grouped(**params):
        groups = [("a.*", {"lr": params.pop("group_lr")})]
        return make_net(optimizer__param_groups=groups, **params)

    net, other = grouped(group_lr=0.5, lr=0.1), grouped(group_lr=0.25, lr=0.2)
    load_net_state(other, net_state(net), keep_options=True)
    assert [group["lr"] for group in other.optimizer_.param_groups] == [0.25, 0.2]
    load_net_state(other, net_state(net))
    assert [group["lr"] for group in other.optimizer_.param_groups] == [0.5, 0.1]
