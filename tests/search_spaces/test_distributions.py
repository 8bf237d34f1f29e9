"""Normal and scipy distributions as domains."""

from __future__ import annotations

import json
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces import Normal, Quantile, SpaceError, as_domain

shares = st.floats(0, 1, exclude_max=True)
normals = st.builds(
    Normal, st.floats(-50, 50), st.floats(1e-3, 10), st.booleans(), st.sampled_from([None, 0.1, 0.25, 5.0])
)


@given(normals, shares)
def test_a_normal_contains_what_it_draws(domain, share):
    value = domain.at(share)
    assert type(value) is float
    assert domain.contains(value)


@given(normals)
def test_a_normal_reads_back_as_it_was(domain):
    assert as_domain(json.loads(json.dumps(domain.plain()))) == domain


def test_a_normal_has_its_mean_and_spread(rng):
    draws = [Normal(3, 2).sample(rng) for _ in range(4000)]
    assert np.mean(draws) == pytest.approx(3, abs=0.15)
    assert np.std(draws) == pytest.approx(2, abs=0.15)


def test_mu_and_sigma_of_a_lognormal_are_of_the_logarithm(rng):
    draws = np.log([Normal(-2, 0.5, log=True).sample(rng) for _ in range(4000)])
    assert draws.mean() == pytest.approx(-2, abs=0.05)
    assert draws.std() == pytest.approx(0.5, abs=0.05)


def test_a_normal_does_not_contain_what_it_cannot_draw():
    assert not any(map(Normal(0, 1).contains, [math.nan, math.inf, True, "1", None]))
    assert not any(map(Normal(0, 1, log=True).contains, [0, -1.0]))
    assert not any(map(Normal(0, 1, q=0.1).contains, [0.15, 1.7e308 / 3]))


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        ({"mu": None, "sigma": "1"}, ["mu is missing", "sigma must be a number"]),
        ({"mu": 0, "sigma": 0, "q": -1}, ["sigma must be greater than 0", "q must be greater than 0"]),
        ({"mu": 900, "sigma": 1, "log": True}, ["are of the logarithm"]),
        ({"mu": 1e300, "sigma": 1, "q": 1e-300}, ["q 1e-300 is too small"]),
    ],
)
def test_a_normal_refuses_what_it_cannot_be(arguments, messages):
    with pytest.raises(SpaceError) as raised:
        Normal(**arguments)
    told = [message for _, message in raised.value.problems]
    assert all(expected in message for expected, message in zip(messages, told, strict=True))


@given(shares)
def test_a_scipy_distribution_draws_by_its_quantiles(share):
    beta = Quantile("beta", (2, 5), {"scale": 10})
    value = beta.at(share)
    assert type(value) is float
    assert 0 <= value <= 10
    assert beta.contains(value)


def test_a_discrete_one_draws_whole_numbers(rng):
    poisson = Quantile("poisson", (3,))
    draws = [poisson.sample(rng) for _ in range(2000)]
    assert {type(value) for value in draws} == {int}
    assert np.mean(draws) == pytest.approx(3, abs=0.2)
    assert poisson.contains(4)
    assert not any(map(poisson.contains, [-1, 4.0, True]))


@pytest.mark.parametrize("domain", [Quantile("beta", (2, 5), {"scale": 10}), Quantile("poisson", (3,))])
def test_a_scipy_distribution_reads_back_and_survives_pickling(domain):
    assert as_domain(json.loads(json.dumps(domain.plain()))) == domain
    again = pickle.loads(pickle.dumps(domain))
    assert again == domain
    assert again.at(0.3) == domain.at(0.3)


@pytest.mark.parametrize("share", [0.0, math.nextafter(1, 0)])
@pytest.mark.parametrize("domain", [Quantile("t", (5,)), Normal(0, 1), Quantile("poisson", (3,))])
def test_the_outermost_draws_are_finite(domain, share):
    assert math.isfinite(domain.at(share))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("betta", (1, 2)), "no distribution 'betta'; did you mean 'beta'?"),
        (("describe",), "no distribution 'describe'"),
        (("beta", (-1, 2)), "has no values for args"),
        (("beta", (1, 2, 3, 4, 5, 6)), "refuses args"),
        (("beta", (), {"a": 1}), "refuses args"),
        (("beta", 3), "args must be a list"),
        (("beta", (), [1]), "kwds must be a mapping"),
        ((None,), "name is missing"),
        ((3,), "name must be a string"),
    ],
)
def test_a_scipy_distribution_that_does_not_exist_is_refused(arguments, message):
    with pytest.raises(SpaceError) as raised:
        Quantile(*arguments)
    assert message in str(raised.value)
