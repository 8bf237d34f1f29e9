"""The net and the data of the diabetes sweep: a skorch regressor, inputs and target scaled."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetRegressor

from trainables import MLP


def load() -> tuple[np.ndarray, np.ndarray]:
    """Load X (442, 10) and y (442, 1), each column with mean 0 and standard deviation 1.

    The scale comes from all rows, the held-out ones included. That is harmless here, where scikit-learn has scaled X by
    all rows already and R² does not depend on y's scale; fit the scaler on other rows for data of your own.
    """
    X, y = load_diabetes(return_X_y=True)
    return StandardScaler().fit_transform(X), StandardScaler().fit_transform(y.reshape(-1, 1))


def make_net() -> NeuralNetRegressor:
    """Make the template. A regressor of skorch wants one column per target, so y is (rows, 1) and so is the output."""
    return NeuralNetRegressor(
        MLP,
        module__n_features=10,
        module__n_outputs=1,
        module__layers=1,
        module__nodes=32,
        optimizer=torch.optim.Adam,
        iterator_train__shuffle=True,
    )
