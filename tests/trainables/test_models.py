import numpy as np
import pytest
import torch
from skorch import NeuralNetBinaryClassifier, NeuralNetClassifier
from torch import nn

from trainables.models import MLP, ConvNet


def widths(module):
    return [(layer.in_features, layer.out_features) for layer in module.modules() if isinstance(layer, nn.Linear)]


def kinds(module):
    return [type(layer) for layer in module.net]


def test_mlp_has_the_layers_and_nodes_asked_for():
    assert widths(MLP(20, 5, layers=3, nodes=7)) == [(20, 7), (7, 7), (7, 7), (7, 5)]


def test_mlp_without_hidden_layers_is_linear():
    assert kinds(MLP(4, 2, layers=0)) == [nn.Linear]


def test_mlp_puts_norm_nonlinearity_and_dropout_in_order():
    net = MLP(4, 2, layers=1, dropout=0.5, batch_norm=True, nonlinearity=nn.Tanh)
    assert kinds(net) == [nn.Linear, nn.BatchNorm1d, nn.Tanh, nn.Dropout, nn.Linear]


def test_mlp_takes_the_numpy_numbers_that_samplers_give():
    assert widths(MLP(4, 2, layers=np.int64(1), nodes=np.int64(3), dropout=np.float64(0.1))) == [(4, 3), (3, 2)]


def test_mlp_flattens_images_and_squeezes_one_output():
    assert MLP(64, 1, squeeze_output=True)(torch.zeros(3, 8, 8)).shape == (3,)
    assert MLP(64, 1)(torch.zeros(3, 8, 8)).shape == (3, 1)


def test_mlp_names_every_bad_argument_at_once():
    with pytest.raises(ValueError, match="n_features") as error:
        MLP(0, 2, layers=-1, nodes=64.0, dropout=1.0, nonlinearity="torch.nn:Tanh", squeeze_output=True)
    for name in ("n_features=0", "layers=-1", "nodes=64.0", "dropout=1.0", "nonlinearity='torch.nn:Tanh'", "squeeze"):
        assert name in str(error.value)


def test_mlp_refuses_an_instance_as_nonlinearity_because_layers_would_share_it():
    with pytest.raises(ValueError, match="give a class"):
        MLP(4, 2, nonlinearity=nn.PReLU())


@pytest.mark.parametrize("rows", [(5, 64), (5, 8, 8), (5, 1, 8, 8)])
def test_convnet_takes_flat_rows_and_images(rows):
    assert ConvNet()(torch.zeros(rows)).shape == (5, 10)


def test_convnet_pools_only_while_both_sides_are_above_two_pixels():
    pools = [layer for layer in ConvNet((1, 8, 8), layers=5).net if isinstance(layer, nn.MaxPool2d)]
    assert len(pools) == 2
    assert ConvNet((3, 2, 28), layers=3)(torch.zeros(1, 3, 2, 28)).shape == (1, 10)


def test_convnet_never_mixes_rows_of_the_wrong_size():
    with pytest.raises(ValueError, match="image_shape"):
        ConvNet((1, 8, 8))(torch.zeros(4, 32))


def test_convnet_names_every_bad_argument_at_once():
    with pytest.raises(ValueError, match="image_shape=") as error:
        ConvNet((8, 8), layers=0, channels=True, dropout=-0.1)
    assert all(name in str(error.value) for name in ("layers=0", "channels=True", "dropout=-0.1"))


@pytest.mark.parametrize("module", [MLP(4, 3, nodes=8), ConvNet((1, 2, 2), 3, channels=2, nodes=4)])
def test_probabilities_of_a_classifier_with_cross_entropy_sum_to_one(module):
    X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    y = np.arange(30) % 3
    net = NeuralNetClassifier(module, criterion=nn.CrossEntropyLoss, max_epochs=1, verbose=0).fit(X, y)
    proba = net.predict_proba(X)
    np.testing.assert_allclose(proba.sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(proba.argmax(axis=1), net.predict(X))


@pytest.mark.parametrize("squeeze_output", [False, True])
def test_a_binary_classifier_trains_on_one_output(squeeze_output):
    X = np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32)
    y = (X[:, 0] > 0).astype(np.float32)
    module = MLP(4, 1, nodes=8, squeeze_output=squeeze_output)
    net = NeuralNetBinaryClassifier(module, max_epochs=40, lr=0.5, verbose=0).fit(X, y)
    assert (net.predict(X) == y).mean() > 0.9
