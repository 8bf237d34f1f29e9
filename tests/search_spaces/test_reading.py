"""Specs of YAML, Ray Tune and scipy.stats become the domains that they mean, or are refused with what to write."""

from __future__ import annotations

import numpy as np
import pytest
from ray import tune
from scipy import stats

from search_spaces import Choice, Constant, Float, Integer, Normal, Quantile, SpaceError, as_domain


def problems_of(spec):
    with pytest.raises(SpaceError) as raised:
        as_domain(spec)
    assert {name for name, _ in raised.value.problems} == {""}
    return [message for _, message in raised.value.problems]


@pytest.mark.parametrize(
    ("spec", "domain"),
    [
        ({"distribution": "uniform", "min": 0, "max": 1}, Float(0, 1)),
        ({"distribution": "uniform", "min": 0, "max": 1, "q": 0.5}, Float(0, 1, q=0.5)),
        ({"distribution": "loguniform", "min": 1e-4, "max": 0.1}, Float(1e-4, 0.1, log=True)),
        ({"distribution": "quniform", "min": 0, "max": 1, "q": 0.1}, Float(0, 1, q=0.1)),
        ({"distribution": "qloguniform", "min": 0.1, "max": 1, "q": 0.1}, Float(0.1, 1, log=True, q=0.1)),
        ({"distribution": "int_uniform", "min": 1, "max": 4}, Integer(1, 4)),
        ({"distribution": "int_uniform", "min": 1e1, "max": 1e3}, Integer(10, 1000)),
        ({"distribution": "int_loguniform", "min": 16, "max": 256, "q": 8}, Integer(16, 256, log=True, q=8)),
        ({"distribution": "normal", "mu": 0, "sigma": 1}, Normal(0, 1)),
        ({"distribution": "qnormal", "mu": 0, "sigma": 1, "q": 0.5}, Normal(0, 1, q=0.5)),
        ({"distribution": "lognormal", "mu": 0, "sigma": 1}, Normal(0, 1, log=True)),
        ({"distribution": "choice", "values": [1, "a"]}, Choice((1, "a"))),
        ({"distribution": "grid", "values": [1, 2]}, Choice((1, 2), is_grid=True)),
        ({"distribution": "constant", "value": [1]}, Constant([1])),
        ({"distribution": "scipy", "name": "beta", "args": [2, 5]}, Quantile("beta", (2, 5))),
        ({"min": 1, "max": 4}, Integer(1, 4)),
        ({"min": 16, "max": 256, "q": 16}, Integer(16, 256, q=16)),
        ({"min": 1, "max": 4.0}, Float(1, 4)),
        ({"min": 0, "max": 1, "q": 0.1}, Float(0, 1, q=0.1)),
        ({"values": ["torch.optim:SGD", None]}, Choice(("torch.optim:SGD", None))),
        ({"value": None}, Constant(None)),
        ({"mu": 0, "sigma": 1, "q": 1}, Normal(0, 1, q=1)),
        ({"domain": stats.norm(0, 2)}, Normal(0, 2)),
        ({"grid_search": [1, 2]}, Choice((1, 2), is_grid=True)),
        ([1, 2], Choice((1, 2))),
        ((1, 2), Choice((1, 2))),
        (range(3), Choice((0, 1, 2))),
        (np.array([0.5, 1.5]), Choice((0.5, 1.5))),
        (np.float64(0.5), Constant(0.5)),
        (27, Constant(27)),
        ("cpu", Constant("cpu")),
        (None, Constant(None)),
        (True, Constant(True)),
        (Integer(1, 4), Integer(1, 4)),
    ],
)
def test_a_plain_spec_is_read(spec, domain):
    read = as_domain(spec)
    assert read == domain
    assert type(read) is type(domain)


def test_any_object_is_a_constant():
    assert as_domain(Normal).objects == {"search_spaces:Normal": Normal}


@pytest.mark.parametrize(
    ("spec", "domain"),
    [
        (tune.uniform(0, 1), Float(0, 1)),
        (tune.quniform(0, 1, 0.25), Float(0, 1, q=0.25)),
        (tune.loguniform(1e-4, 0.1), Float(1e-4, 0.1, log=True)),
        (tune.qloguniform(0.1, 1, 0.1), Float(0.1, 1, log=True, q=0.1)),
        (tune.randint(1, 5), Integer(1, 4)),
        (tune.qrandint(4, 12, 4), Integer(4, 12, q=4)),
        (tune.qrandint(4, 12, 1), Integer(4, 11)),
        (tune.lograndint(1, 5), Integer(1, 4, log=True)),
        (tune.qlograndint(4, 12, 4), Integer(4, 12, log=True, q=4)),
        (tune.qlograndint(4, 12, 1), Integer(4, 11, log=True)),
        (tune.randn(1, 2), Normal(1, 2)),
        (tune.qrandn(1, 2, 0.5), Normal(1, 2, q=0.5)),
        (tune.choice([1, "a"]), Choice((1, "a"))),
        (tune.grid_search([1, 2]), Choice((1, 2), is_grid=True)),
    ],
)
def test_a_ray_domain_keeps_its_values(spec, domain):
    assert as_domain(spec) == domain


@pytest.mark.parametrize(
    "spec",
    [
        tune.quniform(0, 1, 0.25),
        tune.qloguniform(0.1, 1, 0.1),
        tune.randint(1, 5),
        tune.qrandint(3, 13, 4),
        tune.qrandint(4, 12, 1),
        tune.lograndint(1, 5),
        tune.qlograndint(4, 12, 4),
    ],
)
def test_a_ray_domain_and_ours_draw_the_same_values(spec, rng):
    domain = as_domain(spec)
    theirs = {round(value, 9) for value in spec.sample(size=3000, random_state=np.random.default_rng(0))}
    assert theirs == {round(value, 9) for value in domain.axis()}
    assert {round(domain.sample(rng), 9) for _ in range(3000)} == theirs


def test_a_ray_function_is_refused_with_what_to_do():
    (message,) = problems_of(tune.sample_from(lambda config: 1))
    assert "sample_from" in message
    assert "`when`" in message


def test_an_empty_ray_range_is_refused():
    assert problems_of(tune.randint(5, 5)) == ["min 5 is greater than max 4; swap them"]


@pytest.mark.parametrize(
    "values",
    [
        [tune.uniform(0, 1), 2],
        [{"lr": tune.uniform(0, 1)}],
        [stats.norm(0, 1)],
        [Float(0, 1)],
    ],
)
def test_a_domain_inside_a_choice_is_refused(values):
    for spec in (values, tune.choice(values), {"values": values}):
        assert "the choice holds a domain" in problems_of(spec)[0]


@pytest.mark.parametrize(
    ("spec", "domain"),
    [
        (stats.uniform(1, 2), Float(1, 3)),
        (stats.uniform(loc=1, scale=2), Float(1, 3)),
        (stats.loguniform(1e-4, 0.1), Float(1e-4, 0.1, log=True)),
        (stats.reciprocal(a=1e-4, b=0.1), Float(1e-4, 0.1, log=True)),
        (stats.loguniform(1, 10, scale=2), Float(2, 20, log=True)),
        (stats.loguniform(1, 10, loc=2), Quantile("loguniform", (1, 10), {"loc": 2})),
        (stats.randint(1, 5), Integer(1, 4)),
        (stats.randint(low=1, high=5, loc=3), Integer(4, 7)),
        (stats.randint(1, 5, 0.5), Quantile("randint", (1, 5, 0.5))),
        (stats.norm(1, 2), Normal(1, 2)),
        (stats.norm(), Normal(0, 1)),
        (stats.beta(2, b=5), Quantile("beta", (2,), {"b": 5})),
        (stats.poisson(3), Quantile("poisson", (3,))),
    ],
)
def test_a_scipy_distribution_is_read(spec, domain):
    read = as_domain(spec)
    assert read == domain
    assert type(read) is type(domain)


class OnlyDraws:
    def rvs(self):
        return 1


@pytest.mark.parametrize(
    "spec",
    [
        stats.uniform,
        stats.Normal(mu=0, sigma=1),
        stats.multivariate_normal([0, 0]),
        stats.rv_discrete(values=([1, 2], [0.5, 0.5]))(),
        stats.rv_histogram(np.histogram([1, 2, 3]))(),
        OnlyDraws(),
    ],
)
def test_what_only_resembles_a_frozen_distribution_is_refused(spec):
    (message,) = problems_of(spec)
    assert "scipy.stats" in message


@pytest.mark.parametrize(
    ("spec", "messages"),
    [
        ({"distribution": "log_uniform", "min": -4, "max": -1}, ["did you mean 'loguniform'? Bounds here are values"]),
        ({"distribution": "log_uniform_values", "min": 1, "max": 2}, ["did you mean 'loguniform'?"]),
        ({"distribution": "q_uniform"}, ["did you mean 'quniform'?"]),
        ({"distribution": "categorical"}, ["did you mean 'choice'?"]),
        ({"distribution": "unifrom"}, ["did you mean 'uniform'?"]),
        ({"distribution": ["uniform"]}, ["unknown distribution ['uniform']"]),
        ({"distribution": None}, ["unknown distribution None"]),
        ({"distribution": "uniform"}, ["min is missing", "max is missing"]),
        ({"distribution": "quniform", "min": 0, "max": 1}, ["q is missing"]),
        ({"distribution": "choice"}, ["values is missing"]),
        ({"distribution": "constant"}, ["value is missing"]),
        ({"distribution": "scipy", "arg": []}, ["unknown key 'arg'; did you mean 'args'?", "name is missing"]),
        (
            {"distribution": "loguniform", "min": 0, "maxx": 1},
            ["unknown key 'maxx'; did you mean 'max'?", "max is missing", "min must be greater than 0"],
        ),
        ({"min": 5, "max": 1, "q": 0}, ["min 5 is greater than max 1", "q must be greater than 0"]),
        ({"min": "1e-4", "max": True}, ["min must be a number, not '1e-4'", "max must be a number, not True"]),
        ({"values": [1, 2], "min": 0}, ["unknown key 'min'"]),
        ({"values": {"a": 1}}, ["values must be a list"]),
        ({"values": 3}, ["values must be a list"]),
        ({"domain": [1], "min": 3}, ["unknown key 'min'"]),
        ({}, ["cannot tell"]),
        ({"q": 3}, ["cannot tell"]),
        ({"values": [1], "when": {"a": 1}}, ["belongs to a parameter"]),
        ([], ["values is empty"]),
        ({1, 2}, ["a set has no order"]),
    ],
)
def test_a_spec_that_cannot_be_read_is_refused_with_every_problem(spec, messages):
    told = problems_of(spec)
    assert len(told) == len(messages), told
    assert all(expected in message for expected, message in zip(messages, told, strict=True))
