"""What Python gives a Sweep, in the form of a spec."""

from __future__ import annotations

import nets
import numpy as np
import pytest

from sweeps import Sweep
from sweeps.errors import SpecError
from sweeps.given import as_pair, default_name, searcher_section


def test_a_default_name_is_one_that_a_sweep_may_have():
    private = type("_Priv", (), {})()
    assert default_name(private).startswith("Priv-")
    assert len(default_name(type("N" * 200, (), {})())) <= 64


@pytest.mark.parametrize(
    ("searcher", "num_samples", "expected"),
    [
        ("grid", None, {"name": "grid"}),
        ("random", None, {"name": "random", "num_samples": 10, "seed": 7}),
        ("hyperopt", 3, {"name": "hyperopt", "num_samples": 3, "seed": 7}),
        ({"name": "random", "num_samples": 4}, None, {"name": "random", "num_samples": 4, "seed": 7}),
        ({"name": "random", "seed": 1}, 5, {"name": "random", "num_samples": 5, "seed": 1}),
    ],
)
def test_the_seed_of_the_sweep_is_the_searchers_unless_it_has_its_own(searcher, num_samples, expected):
    assert searcher_section(searcher, num_samples, 7) == expected


def test_a_number_of_configs_given_twice_is_refused():
    with pytest.raises(SpecError, match="keep one"):
        searcher_section({"name": "random", "num_samples": 4}, 5, 0)


def test_data_are_a_pair_or_something_that_says_what_is_missing():
    X, y = np.zeros((3, 2)), np.zeros(3)
    assert as_pair([X, y])[1] is y
    with pytest.raises(SpecError, match=r"3 parts; give a pair"):
        as_pair((X, y, 1))
    with pytest.raises(SpecError, match=r"a ndarray; give a pair"):
        as_pair(X)


def test_callable_scorers_and_objects_among_the_parameters_reach_the_plan():
    scorers = {"half": lambda net, X, y: 0.5}
    sweep = Sweep(
        nets.make_net(), nets.make_data(), {"lr": [0.1]}, metric="valid_half", searcher="grid", scoring=scorers
    )
    assert "valid_half" in sweep.plan().probe.metrics
