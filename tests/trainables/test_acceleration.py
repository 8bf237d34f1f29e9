"""Compiled nets train as plain ones do, and a precision holds for as long as a net trains."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import nets
import pytest
import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.callbacks.training import InputShapeSetter
from torch import nn

from trainables import checkpoint
from trainables.acceleration import compile_in_place, float32_matmuls
from trainables.data import TrialData
from trainables.training import NetTraining

EAGER = {"compile": True, "compile__backend": "eager"}
AT_ONCE, BEFORE = 4, 2
X, Y = nets.make_data(100)


class Probabilities(nets.Tiny):
    """Returns what skorch's own criterion, NLLLoss, wants: it takes the logarithm itself."""

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        return torch.softmax(super().forward(X), dim=-1)


def training(net=None, **params):
    data = TrialData.make(X, Y, target="classifier")
    return NetTraining(net or nets.make_net(), data, {"max_epochs": AT_ONCE} | params, 0)


def trained(net=None, n_epochs=AT_ONCE, **params):
    found = training(net, **params)
    while found.epoch < n_epochs:
        found.run_epoch()
    return found


def weights(found):
    return {name: value.tolist() for name, value in found.net.module_.state_dict().items()}


def compiled_frames():
    from torch._dynamo.utils import counters

    return counters["frames"]["ok"]


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
def test_a_compiled_net_is_compiled_and_learns_what_a_plain_one_learns(backend):
    before = compiled_frames()
    found = trained(compile=True, compile__backend=backend)
    assert compiled_frames() > before
    plain = trained()
    assert weights(found) == weights(plain)
    assert found.best.weights["module"].keys() == plain.best.weights["module"].keys()
    assert [row["valid_loss"] for row in found.log] == [row["valid_loss"] for row in plain.log]


def test_the_loss_of_skorchs_default_criterion_stays_the_same():
    def net():
        return NeuralNetClassifier(Probabilities, lr=0.1, batch_size=32, verbose=0)

    found = trained(net(), **EAGER)
    assert found.log[-1]["train_loss"] == trained(net()).log[-1]["train_loss"] > 0


def test_groups_of_the_optimiser_find_their_weights_by_name():
    found = training(optimizer__param_groups=[("layers.0*", {"lr": 0.5})], **EAGER)
    assert [(len(group["params"]), group["lr"]) for group in found.net.optimizer_.param_groups] == [(2, 0.5), (2, 0.1)]


def test_modules_that_callbacks_make_anew_are_compiled_in_place_too():
    net = nets.make_net(callbacks=[InputShapeSetter(param_name="nodes")], module__nodes=3)
    assert next(iter(weights(trained(net, 1, **EAGER)))) == "layers.0.weight"


def test_a_module_that_the_net_leaves_out_stays_plain():
    class Chooses(NeuralNetClassifier):
        def torch_compile(self, module, name):
            return module if name == "module" else super().torch_compile(module, name)

    found = training(Chooses(nets.Tiny, criterion=nn.CrossEntropyLoss), **EAGER)
    assert found.net.module_._compiled_call_impl is None
    assert found.net.criterion_._compiled_call_impl is not None


@pytest.mark.parametrize(("device", "expected"), [("cuda", [1.0, 2.0]), ("cpu", [2.0, 2.0])])
def test_on_a_card_an_answer_outlives_the_next_one(device, expected):
    answer = torch.zeros(1)

    def graph_that_writes_to_one_place(graph, inputs):
        return lambda *args: (answer.copy_(graph(*args)[0].detach()),)

    net = NeuralNetClassifier(nn.Identity, compile=True, device=device).set_params(
        compile__backend=graph_that_writes_to_one_place
    )
    compile_in_place(net)
    double = net.torch_compile(Double(), "module")
    answers = [double(torch.tensor([value])) for value in (0.5, 1.0)]
    assert [one.item() for one in answers] == expected


class Double(nn.Module):
    def forward(self, X):
        return X * 2


def test_many_shapes_in_one_process_are_all_compiled():
    before = compiled_frames()
    trained(n_epochs=1, **EAGER)
    each = compiled_frames() - before
    for nodes in range(11, 21):  # PyTorch's own limit is 8
        trained(n_epochs=1, module__nodes=nodes, **EAGER)
    assert compiled_frames() - before == 11 * each


def test_a_compiled_net_survives_pickling():
    found = trained(n_epochs=1, **EAGER)
    again = pickle.loads(pickle.dumps(found.net))
    assert again.predict(X).tolist() == found.net.predict(X).tolist()


def test_a_compiled_net_goes_on_in_another_process_compiled_or_not(tmp_path):
    checkpoint.save(trained(n_epochs=BEFORE, **EAGER).state(), tmp_path / "saved", epoch=BEFORE)
    expected = weights(trained())
    code = (
        f"import sys; sys.path[:0] = [{str(Path(nets.__file__).parent)!r}, {str(Path(__file__).parent)!r}]\n"
        f"import test_acceleration as tests\nprint(tests.go_on({str(tmp_path / 'saved')!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == repr([expected, expected]), done.stderr


def go_on(directory):
    """The weights at the end of a training that goes on from a checkpoint, compiled and plain."""
    found = []
    for params in (EAGER, {}):
        again = training(**params)
        again.load_state(checkpoint.load(Path(directory)))
        while not again.finished:
            again.run_epoch()
        found.append(weights(again))
    return found


class Sees(Callback):
    """Notes the precision in which each epoch multiplies."""

    def initialize(self):
        self.seen = []
        return self

    def on_batch_end(self, net, **kwargs):
        self.seen.append(torch.get_float32_matmul_precision())


@pytest.fixture
def process_precision():
    outside = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    yield "medium"
    torch.set_float32_matmul_precision(outside)


@pytest.mark.parametrize("precision", ["highest", "high", None])
def test_a_precision_holds_while_an_epoch_runs_and_is_put_back(process_precision, precision):
    data = TrialData.make(X, Y, target="classifier")
    net = nets.make_net(callbacks=[("sees", Sees())])
    found = NetTraining(net, data, {}, 0, matmul_precision=precision)
    found.run_epoch()
    assert set(dict(found.net.callbacks_)["sees"].seen) == {precision or process_precision}
    assert torch.get_float32_matmul_precision() == process_precision


def test_a_precision_is_put_back_after_an_error(process_precision):
    with pytest.raises(ZeroDivisionError), float32_matmuls("high"):
        raise ZeroDivisionError
    assert torch.get_float32_matmul_precision() == process_precision
