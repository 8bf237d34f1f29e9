"""Whether a faster way pays: what its epochs save in the sweep against what it costs each trial to compile."""

from __future__ import annotations

import pytest

from search_spaces.space import SearchSpace
from sweeps.speed_advice import advise_speed, speed_notes, speed_rows
from sweeps.speed_probe import AS_IT_IS, Timing

BASE = Timing(AS_IT_IS, 2.0, 0.1, 0.1, 0.9)
COMPILED = Timing("compile", 1.0, 20.1, 1.1, 0.9)


def judged(*timings, n_trials=10, n_epochs=100, **parameters):
    space = SearchSpace({"lr": {"min": 0.01, "max": 0.1}, **parameters})
    return advise_speed((BASE, *timings), {"lr": 0.1}, space, "valid_acc", n_trials=n_trials, n_epochs=n_epochs)


def told(*timings, **more):
    return judged(*timings, **more).variants[1].sentence


def test_trials_of_one_shape_compile_it_once_and_then_find_it_in_the_cache():
    advice = judged(COMPILED)
    assert advice.n_shapes == 1
    assert advice.variants[1].saves_s == pytest.approx(100 - 20 - 9 * 1)
    assert advice.variants[1].pays
    assert advice.variants[0].sentence == ""
    assert told(COMPILED) == (
        "worth it for this sweep (1:40 saved in about 100 epochs, less 29 s of compilation in 10 trials); "
        "write compile: true below parameters"
    )


@pytest.mark.parametrize(
    ("parameters", "n_shapes"),
    [
        ({"batch_size": [32, 64], "optimizer__momentum": [0.1, 0.2]}, 2),
        ({"batch_size": [32, 64], "module__nodes": {"min": 1, "max": 4}}, 8),
        ({"batch_size": [32, 64], "module__nodes": {"min": 1, "max": 400}}, 10),
        ({"module__dropout": {"min": 0.0, "max": 0.5}}, 10),
        ({"module__layers": 3}, 1),
    ],
)
def test_every_shape_is_compiled_anew(parameters, n_shapes):
    assert judged(COMPILED, **parameters).n_shapes == n_shapes


def test_compilation_that_costs_more_than_it_saves_is_not_worth_it():
    sentence = told(COMPILED, module__nodes={"min": 1, "max": 400})
    assert sentence == (
        "not worth it for this sweep (1:40 saved in about 100 epochs, less 3:20 of compilation in 10 trials)"
    )


def test_an_epoch_that_takes_longer_loses():
    sentence = told(Timing("compile", 2.5, 20.1, 1.1, 0.9))
    assert sentence.startswith("not worth it for this sweep (50 s lost in about 100 epochs, and 29 s of compilation")


def test_a_gain_that_may_be_noise_is_not_worth_it_and_what_needs_no_compilation_says_none():
    assert told(Timing("TF32", 1.9, 0.1, 0.1, 0.9)) == "not worth it for this sweep (10 s saved in about 100 epochs)"
    assert "matmul_precision: high at the top level" in told(Timing("TF32", 1.5, 0.0, 0.0, 0.9))


@pytest.mark.parametrize("base", [BASE, Timing(AS_IT_IS, problem="out of memory")])
def test_what_was_not_measured_says_why(base):
    space = SearchSpace({"lr": [0.1]})
    timings = (base, Timing("compile", problem="no compiler"))
    advice = advise_speed(timings, {"lr": 0.1}, space, "valid_acc", n_trials=1, n_epochs=1)
    assert speed_notes(advice)[-1] == "compile: not measured: no compiler"
    assert [row["variant"] for row in speed_rows(advice)] == ([AS_IT_IS] if base is BASE else [])
    assert not advice.variants[1].pays


def test_nothing_is_said_where_nothing_was_tried():
    assert speed_notes(judged()) == []
