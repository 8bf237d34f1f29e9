"""Names against real nets: what `set_params` takes and training uses is known, and nothing else."""

from __future__ import annotations

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNet, NeuralNetClassifier
from skorch.callbacks import EarlyStopping, LRScheduler
from skorch.callbacks.lr_scheduler import WarmRestartLR
from torch import nn

from search_spaces import SearchSpace, SpaceError, check_names, unknown_names


class Module(nn.Module):
    def __init__(self, hidden=8, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, hidden), nn.Dropout(dropout), nn.Linear(hidden, 2), nn.Softmax(-1))

    def forward(self, X):
        return self.layers(X)


class AnyKeyword(Module):
    def __init__(self, hidden=8, **options):
        super().__init__(hidden)


class TwoModules(NeuralNet):
    def __init__(self, *args, generator=Module, **kwargs):
        self.generator = generator
        super().__init__(*args, **kwargs)


def make_net(**options):
    options = {"callbacks": [("stop", EarlyStopping()), LRScheduler, EarlyStopping(), EarlyStopping], **options}
    return NeuralNetClassifier(Module, **options)


KNOWN = [
    "lr",
    "max_epochs",
    "batch_size",
    "module",
    "module__hidden",
    "module__dropout",
    "criterion__weight",
    "optimizer",
    "optimizer__momentum",
    "optimizer__lr",
    "optimizer__param_groups",
    "iterator_train__shuffle",
    "iterator_valid__batch_size",
    "dataset__length",
    "train_split",
    "compile__mode",
    "callbacks",
    "callbacks__valid_acc__scoring",
    "callbacks__print_log",
    "callbacks__stop__patience",
    "callbacks__LRScheduler__policy",
    "callbacks__EarlyStopping_1__patience",
    "callbacks__EarlyStopping_2",
]
UNKNOWN = {
    "learning_rate": None,
    "max_epoch": "max_epochs",
    "modul__hidden": "module__hidden",
    "module__hiden": "module__hidden",
    "module_hidden": "module__hidden",
    "optimizer__momentun": "optimizer__momentum",
    "optimizer__beta1": None,
    "optimizer__params": "optimizer__param_groups",
    "iterator_train__shufle": "iterator_train__shuffle",
    "train_split__cv": "train_split",
    "callbacks__stop__patiences": "callbacks__stop__patience",
    "callbacks__EarlyStopping": "callbacks__EarlyStopping_2",
    "history_": None,
    "_params_to_validate": None,
}


@pytest.mark.parametrize("initialised", [False, True])
def test_what_a_net_takes_is_known(initialised):
    net = make_net().initialize() if initialised else make_net()
    assert unknown_names(KNOWN, net) == []


@pytest.mark.parametrize("name", [name for name in KNOWN if name.count("__") and not name.startswith("compile")])
def test_skorch_agrees_that_it_takes_what_is_known(name):
    values = {
        "criterion__weight": torch.ones(2),
        "optimizer__param_groups": [("layers.0.*", {"lr": 0.5})],
        "callbacks__valid_acc__scoring": "accuracy",
        "callbacks__print_log": None,
        "callbacks__EarlyStopping_2": None,
        "callbacks__LRScheduler__policy": WarmRestartLR,
        "dataset__length": 20,
        "module__dropout": 0.5,
        "optimizer__momentum": 0.5,
        "optimizer__lr": 0.5,
    }
    net = make_net(max_epochs=1, verbose=0)
    net.set_params(**{name: values.get(name, 2)})
    net.fit(torch.rand(20, 4), torch.arange(20) % 2)


@pytest.mark.parametrize("name", [name for name in UNKNOWN if name not in ("history_", "_params_to_validate")])
def test_skorch_agrees_that_it_does_not_take_what_is_unknown(name):
    net = make_net(max_epochs=1, verbose=0)
    with pytest.raises((AttributeError, TypeError, ValueError)):
        net.set_params(**{name: 2}).fit(torch.rand(20, 4), torch.arange(20) % 2)


@pytest.mark.parametrize("initialised", [False, True])
def test_what_a_net_does_not_take_is_told_with_a_suggestion(initialised):
    net = make_net().initialize() if initialised else make_net()
    told = dict(unknown_names([*KNOWN, *UNKNOWN], net))
    assert list(told) == list(UNKNOWN)
    for name, suggestion in UNKNOWN.items():
        assert suggestion is None or f"did you mean {suggestion!r}?" in told[name], told[name]
        assert "NeuralNetClassifier has no such parameter" in told[name]


def test_candidates_of_the_space_count_beside_the_nets_own():
    net = make_net()
    assert [name for name, _ in unknown_names(["optimizer__betas", "module__width"], net)] == [
        "optimizer__betas",
        "module__width",
    ]
    space = SearchSpace(
        {
            "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
            "optimizer__betas": {"values": [[0.9, 0.99]], "when": {"optimizer": "torch.optim:Adam"}},
            "optimizer__momentum": {"values": [0.9], "when": {"optimizer": "torch.optim:SGD"}},
        }
    )
    check_names(space, net)


def test_candidate_callbacks_count_too():
    callbacks = [("decay", LRScheduler()), EarlyStopping()]
    objects = {"callbacks": {"some": callbacks}}
    names = ["callbacks__decay__policy", "callbacks__EarlyStopping__patience"]
    assert unknown_names(names, NeuralNetClassifier(Module), objects) == []
    assert len(unknown_names(names, NeuralNetClassifier(Module))) == 2


def test_a_module_that_takes_any_keyword_takes_any_name():
    assert unknown_names(["module__anything"], NeuralNetClassifier(AnyKeyword)) == []
    assert len(unknown_names(["modulo__anything"], NeuralNetClassifier(AnyKeyword))) == 1


def test_an_instance_stands_for_its_class_and_a_function_for_itself():
    def make(hidden):
        return Module(hidden)

    assert unknown_names(["module__hidden"], NeuralNetClassifier(Module())) == []
    assert unknown_names(["module__hidden"], NeuralNetClassifier(make)) == []
    assert len(unknown_names(["module__dropout"], NeuralNetClassifier(make))) == 1


def test_modules_of_a_subclass_have_prefixes_of_their_own():
    net = TwoModules(Module, nn.MSELoss)
    assert unknown_names(["generator__hidden"], net) == []
    assert len(unknown_names(["generator__hiden"], net)) == 1


def test_an_estimator_that_is_no_net_has_the_names_of_get_params():
    ((name, message),) = unknown_names(["C", "c", "max_iter"], LogisticRegression())
    assert name == "c"
    assert "LogisticRegression has no such parameter" in message


def test_a_net_in_a_pipeline_has_its_names_behind_the_step():
    pipeline = make_pipeline(StandardScaler(), make_net())
    prefix = "neuralnetclassifier__"
    assert unknown_names([f"{prefix}{name}" for name in KNOWN], pipeline) == []
    assert unknown_names(["standardscaler__with_mean"], pipeline) == []
    assert len(unknown_names(["module__hidden", f"{prefix}module__hiden"], pipeline)) == 2


def test_check_names_tells_every_unknown_name():
    with pytest.raises(SpaceError) as raised:
        check_names(SearchSpace({"lr": 1, "lrr": 2, "module": {"hiden": 3}}), make_net())
    assert [name for name, _ in raised.value.problems] == ["lrr", "module__hiden"]


def test_a_component_without_a_signature_takes_any_name():
    assert unknown_names(["module__anything"], NeuralNetClassifier(dict)) == []
