"""Whole spaces: reading, sampling, conditions, merging, splitting and writing."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from ray import tune
from scipy import stats

from search_spaces import Choice, Constant, Float, Integer, Normal, SearchSpace, SpaceError

MLP = {
    "lr": {"distribution": "loguniform", "min": 1e-4, "max": 1e-1},
    "batch_size": [32, 64, 128],
    "module": {"layers": {"min": 1, "max": 4}, "nodes": {"distribution": "int_loguniform", "min": 16, "max": 256}},
    "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
    "optimizer__momentum": {"min": 0.0, "max": 0.95, "when": {"optimizer": "torch.optim:SGD"}},
    "optimizer__nesterov": {"values": [True, False], "when": {"optimizer__momentum": {"min": 0.5}}},
    "max_epochs": 27,
}


def problems_of(parameters):
    with pytest.raises(SpaceError) as raised:
        SearchSpace(parameters)
    return raised.value.problems


def test_a_nested_mapping_is_a_prefix():
    space = SearchSpace({"module": {"layers": [1, 2], "nodes": {"min": 16, "max": 64}, "deep": {"er": 3}}})
    assert space.domains == {
        "module__layers": Choice((1, 2)),
        "module__nodes": Integer(16, 64),
        "module__deep__er": Constant(3),
    }


def test_every_kind_of_spec_may_have_a_condition():
    when = {"a": 1}
    space = SearchSpace(
        {
            "a": [1, 2],
            "list": {"domain": [1, 2], "when": when},
            "scipy": {"domain": stats.norm(0, 1), "when": when},
            "ray": {"domain": tune.uniform(0, 1), "when": when},
            "constant": {"value": 3, "when": when},
            "mapping": {"domain": {"min": 0.0, "max": 1}, "when": when},
        }
    )
    assert list(space.domains.values())[1:] == [Choice((1, 2)), Normal(0, 1), Float(0, 1), Constant(3), Float(0, 1)]
    assert set(space.conditions) == {"list", "scipy", "ray", "constant", "mapping"}


def test_a_condition_on_a_class_fits_the_class_and_its_name():
    for optimizers in (["torch.optim:SGD", "torch.optim:Adam"], [torch.optim.SGD, torch.optim.Adam]):
        for value in ("torch.optim:SGD", torch.optim.SGD):
            space = SearchSpace({"optimizer": optimizers, "m": {"values": [1, 2], "when": {"optimizer": value}}})
            assert space.size() == 3


@given(st.integers(0, 2**32))
def test_a_space_contains_what_it_samples(seed):
    space = SearchSpace(MLP)
    params = space.sample(np.random.default_rng(seed))
    assert space.contains(params)
    assert space.contains(json.loads(json.dumps(params)))
    assert space.active(params) == params


def test_samples_have_only_active_parameters(rng):
    samples = [SearchSpace(MLP).sample(rng) for _ in range(300)]
    assert {params["optimizer"] == "torch.optim:SGD" for params in samples} == {True, False}
    for params in samples:
        assert ("optimizer__momentum" in params) == (params["optimizer"] == "torch.optim:SGD")
        assert ("optimizer__nesterov" in params) == (params.get("optimizer__momentum", 0) >= 0.5)


def test_samples_repeat_with_their_seed_and_parameters_do_not_shift_each_other():
    one, two = (SearchSpace(MLP | {"batch_size": batch}) for batch in ([32, 64, 128], 32))
    first = [one.sample(np.random.default_rng(7)) for _ in range(2)]
    assert first[0] == first[1]
    assert two.sample(np.random.default_rng(7)) == first[0] | {"batch_size": 32}
    streams = [np.random.default_rng(0), np.random.default_rng(0)]
    for _ in range(20):
        one.sample(streams[0])
    streams[1].random(20 * len(one.domains))
    assert streams[0].random() == streams[1].random()


def test_a_condition_does_not_need_to_stand_after_its_parent(rng):
    space = SearchSpace({"c": {"value": 1, "when": {"b": 1}}, "b": {"values": [1, 2], "when": {"a": 1}}, "a": [1, 2]})
    assert space.active({"c": 1, "b": 1, "a": 2}) == {"a": 2}
    assert space.active({"c": 1, "b": 2, "a": 1}) == {"b": 2, "a": 1}
    assert list(space.sample(rng)) in (["a"], ["b", "a"], ["c", "b", "a"])


def test_active_keeps_names_that_the_space_does_not_know():
    assert SearchSpace(MLP).active({"other": 1, "optimizer__momentum": 0.5}) == {"other": 1}


def test_active_leaves_what_it_was_given_alone():
    given_params = {"optimizer": "torch.optim:Adam", "optimizer__momentum": 0.5}
    SearchSpace(MLP).active(given_params)
    assert len(given_params) == 2


@pytest.mark.parametrize(
    "changed",
    [
        {"batch_size": 48},
        {"lr": 0.2},
        {"module__layers": 5},
        {"max_epochs": 9},
        {"unknown": 1},
        {"optimizer": "torch.optim:Adam"},
        {"optimizer__momentum": 0.2},
        {"optimizer": "torch.optim:Adam", "optimizer__momentum": None},
    ],
)
def test_a_space_does_not_contain_what_it_cannot_sample(changed):
    params = {
        "lr": 0.01,
        "batch_size": 32,
        "module__layers": 2,
        "module__nodes": 64,
        "optimizer": "torch.optim:SGD",
        "optimizer__momentum": 0.9,
        "optimizer__nesterov": True,
        "max_epochs": 27,
    }
    space = SearchSpace(MLP)
    assert space.contains(params)
    assert not space.contains(params | changed)
    del params["lr"]
    assert not space.contains(params)


def test_a_space_reads_back_from_json_as_it_was():
    space = SearchSpace(
        MLP
        | {
            "a": stats.beta(2, 5),
            "b": tune.qlograndint(4, 12, 4),
            "c": tune.grid_search([1, 2]),
            "d": [[1, 2], None],
            "e": {"value": {"x": [1]}},
            "f": {"domain": [1, 2], "when": {"lr": {"max": 0.05}}},
            "g": {"domain": tune.grid_search([True]), "when": {"f": [1, 2]}},
            "h": {"value": [1, 2], "when": {"c": 1}},
        }
    )
    again = SearchSpace(json.loads(json.dumps(space.plain())))
    assert again == space
    assert list(again.domains) == list(space.domains)
    assert again.plain() == space.plain()


def test_a_space_equals_only_a_space_with_the_same_domains_and_conditions():
    assert SearchSpace(MLP) == SearchSpace(MLP)
    assert SearchSpace(MLP) != SearchSpace(MLP | {"optimizer__momentum": {"min": 0.0, "max": 0.95}})
    assert SearchSpace(MLP) != SearchSpace(MLP | {"lr": 0.1})
    assert SearchSpace(MLP) != MLP


def test_a_space_survives_pickling_and_copying():
    space = SearchSpace(MLP)
    assert pickle.loads(pickle.dumps(space)) == copy.deepcopy(space) == space


def test_merging_lets_the_other_win():
    merged = SearchSpace(MLP).merge(SearchSpace({"new": [1, 2], "lr": 0.1, "optimizer__momentum": 0.9}))
    assert next(iter(merged.domains)) == "lr"
    assert list(merged.domains)[-1] == "new"
    assert merged.domains["lr"] == Constant(0.1)
    assert set(merged.conditions) == {"optimizer__nesterov"}
    assert merged.domains["batch_size"] == Choice((32, 64, 128))


def test_merging_keeps_objects_and_refuses_a_condition_that_no_longer_fits():
    relu = torch.nn.ReLU()
    assert SearchSpace({"act": [relu, None]}).merge(SearchSpace({})).objects() == {"act": {"ReLU()": relu}}
    with pytest.raises(SpaceError, match=r"optimizer is never 'torch\.optim:SGD'"):
        SearchSpace(MLP).merge(SearchSpace({"optimizer": ["torch.optim:Adam"]}))


def test_splitting_separates_the_explicit_grid_axes():
    space = SearchSpace(
        {
            "a": {"distribution": "grid", "values": [1, 2]},
            "b": {"domain": {"grid_search": [3, 4]}, "when": {"a": 1}},
            "c": [5, 6],
            "d": {"values": [7, 8], "when": {"a": 1}},
            "e": {"values": [9], "when": {"c": 5}},
        }
    )
    axes, rest = space.split_grid()
    assert list(axes.domains) == ["a", "b"]
    assert list(rest.domains) == ["c", "d", "e"]
    assert set(axes.conditions) == {"b"}
    assert set(rest.conditions) == {"e"}
    assert axes.grid_size() == 3
    assert space.active({"a": 2, "c": 6, "d": 7}) == {"a": 2, "c": 6}


def test_all_the_problems_of_all_the_parameters_are_told():
    assert problems_of(
        {
            "lr": {"min": 3, "max": 1, "distribution": "loguniform", "qq": 1},
            "batch_size": [],
            1: [2],
            "module": {"layers": {}, "x": 1},
            "module__x": 2,
            "momentum": {"minn": 0, "values": [1], "when": {"optimzer": 1, "lr": 1}},
            "optimizer": ["torch.optim:SGD"],
            "nesterov": {"when": {}},
        }
    ) == (
        ("lr", "unknown key 'qq'; did you mean 'q'? (allowed here: distribution, min, max, q)"),
        ("lr", "min 3 is greater than max 1; swap them"),
        ("batch_size", "values is empty; give at least one"),
        ("1", "1 is not a parameter name; give a string such as 'lr'"),
        ("module__layers", "cannot tell what {} is; give distribution, min and max, values or value"),
        ("module__x", "is given twice; a nested mapping means prefix__name"),
        ("momentum", "unknown key 'minn' (allowed here: distribution, values)"),
        ("nesterov", "cannot tell what {} is; give distribution, min and max, values or value"),
        ("nesterov", "when: must map parameters to values, such as {'optimizer': 'torch.optim:SGD'}, not {}"),
    )


@pytest.mark.parametrize(
    ("when", "message"),
    [
        ({"optimzer": 1}, "when: there is no parameter 'optimzer'; did you mean 'optimizer'?"),
        (
            {"optimizer": "torch.optim:SDG"},
            "when: optimizer is never 'torch.optim:SDG'; did you mean 'torch.optim:SGD'?",
        ),
        ({"layers": [1, 9]}, "when: layers is never 9"),
        ({"layers": {"min": 5}}, "when: layers never lies within {'min': 5}"),
        ({"layers": {"max": 0}}, "when: layers never lies within {'max': 0}"),
        ({"batch": {"min": 33, "max": 63}}, "when: batch never lies within"),
        ({"constant": 2}, "when: constant is never 2"),
        ({"self": 1}, "when: the conditions run in a circle, self -> self"),
    ],
)
def test_a_condition_that_can_never_hold_is_refused(when, message):
    parameters = {
        "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
        "layers": {"min": 1, "max": 4},
        "batch": [32, 64],
        "constant": 1,
        "self": {"values": [1, 2], "when": when},
    }
    ((name, told),) = problems_of(parameters)
    assert name == "self"
    assert told.startswith(message)


def test_a_circle_of_conditions_is_refused():
    told = problems_of({"a": {"values": [1, 2], "when": {"b": 1}}, "b": {"values": [1, 2], "when": {"a": 1}}})
    assert "when: the conditions run in a circle" in told[0][1]


@pytest.mark.parametrize("parameters", [None, [{"lr": 1}], "lr"])
def test_parameters_that_are_no_mapping_are_refused(parameters):
    assert "must map names to domains" in problems_of(parameters)[0][1]


def test_an_unbounded_parent_may_have_any_bounds():
    space = SearchSpace({"a": {"mu": 0, "sigma": 1}, "b": {"value": 1, "when": {"a": {"min": 3}}}})
    assert space.active({"a": 4, "b": 1}) == {"a": 4, "b": 1}
