"""SweepConfig accepts what a sweep.yaml may say and refuses everything that it would otherwise ignore."""

from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from sweeps.config import ResourcesConfig, SchedulerConfig, SearcherConfig, StopConfig, SweepConfig
from sweeps.config_problems import config_problems


def make(**changes):
    values = {
        "name": "digits",
        "metric": {"name": "valid_acc", "goal": "maximize"},
        "parameters": {"lr": [0.1, 0.2], "batch_size": 32},
        "searcher": {"name": "random", "num_samples": 4},
    }
    return SweepConfig.model_validate(values | changes)


def problems_of(call, *args, **kwargs):
    with pytest.raises(ValidationError) as caught:
        call(*args, **kwargs)
    return [str(problem) for problem in config_problems(caught.value)]


def parts(model):
    yield model
    for field in model.model_fields.values():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from parts(field.annotation)


def test_defaults_are_those_of_the_documented_sweep():
    config = make()
    assert config.scheduler == SchedulerConfig(name="asha", grace_period=1, reduction_factor=3)
    assert (config.validation.type, config.validation.size) == ("holdout", 0.2)
    assert (config.resources.cpu, config.resources.gpu, config.failure.max_failures) == (1, 0, 3)
    assert (config.checkpoint.keep.sweep_best, config.storage) == (3, "./results")


def test_a_config_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        make().name = "other"


@pytest.mark.parametrize("part", list(parts(SweepConfig)))
def test_every_field_has_a_description(part):
    assert not [name for name, field in part.model_fields.items() if not field.description]


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90s", 90), ("1h30m", 5400), ("1d", 86400), ("0.5s", 0.5), (45, 45)]
)
def test_time_budget_reads_durations(text, seconds):
    assert StopConfig.model_validate({"time_budget": text}).time_budget_s == seconds


@pytest.mark.parametrize("text", ["2x", "", "h", "30m1h", "-5s", 0, -1, "0s", True, [1]])
def test_time_budget_refuses_what_is_no_duration(text):
    assert problems_of(StopConfig.model_validate, {"time_budget": text})


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "0", "x" * 64])
def test_names_that_may_name_a_directory_pass(name):
    assert make(name=name).name == name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a..b", "-a", "_a", "x" * 65, "a b", "a\n", "é"])
def test_names_that_leave_the_storage_are_refused(name):
    assert "name:" in problems_of(make, name=name)[0]


@pytest.mark.parametrize("gpu", [0, 0.25, 1, 2, 4.0])
def test_a_trial_takes_a_share_of_a_gpu_or_whole_ones(gpu):
    assert ResourcesConfig(gpu=gpu).gpu == gpu


@pytest.mark.parametrize("gpu", [1.5, -0.1, float("nan"), float("inf")])
def test_no_trial_takes_one_and_a_half_gpus(gpu):
    assert problems_of(ResourcesConfig, gpu=gpu)


@pytest.mark.parametrize(
    ("searcher", "problem"),
    [
        ({"name": "grid", "seed": 1}, "seed: not used by grid"),
        ({"name": "random", "num_samples": 3, "n_startup": 5}, "n_startup: not used by random"),
        ({"name": "random"}, "num_samples: required by random"),
        ({"name": "hyperopt"}, "num_samples: required by hyperopt"),
        ({"name": "grid", "num_samples": 0}, "num_samples: must be greater than or equal to 1; given 0"),
        ({"name": "grid", "num_samples": "8"}, "num_samples: must be a whole number; given '8'"),
        ({"name": "hyperot", "num_samples": 8}, "name: 'hyperot' is not known; did you mean hyperopt?"),
    ],
)
def test_a_searcher_refuses_options_that_it_would_ignore(searcher, problem):
    assert problems_of(SearcherConfig.model_validate, searcher)[0].startswith(problem)


@pytest.mark.parametrize(
    ("name", "used"),
    [
        ("fifo", []),
        ("asha", ["grace_period", "reduction_factor"]),
        ("median", ["grace_period", "min_samples"]),
        ("hyperband", ["reduction_factor"]),
        ("pbt", ["perturbation_interval", "quantile_fraction"]),
    ],
)
def test_a_scheduler_takes_its_own_options_and_no_others(name, used):
    options = {
        "grace_period": 2,
        "reduction_factor": 2.5,
        "min_samples": 4,
        "perturbation_interval": 3,
        "quantile_fraction": 0.5,
    }
    own = {option: options[option] for option in used}
    assert SchedulerConfig.model_validate({"name": name, **own}).model_dump() == {"name": name, **own}
    refused = problems_of(SchedulerConfig.model_validate, {"name": name, **options})
    assert len(refused) == len(options) - len(used)


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({"name": "digits"}, "data: needs a type"),
        ({"type": "csv"}, "data: type 'csv' is not known; allowed: sklearn, npz, parquet, python"),
        ({"type": "npz", "path": "a.npz", "Xs": "X"}, "data.Xs: unknown key; did you mean X?"),
        ({"type": "parquet", "path": "a"}, "data.target: required, but not given"),
        ({"type": "parquet", "path": "a", "target": "y", "columns": "a"}, "data.columns: must be a list; given 'a'"),
        ({"type": "python", "object": "my.module"}, "data.object: 'my.module' is no module:attribute"),
        (5, "data: must be a mapping; given 5"),
    ],
)
def test_a_wrong_kind_of_data_gives_one_problem_of_that_kind(data, problem):
    (found,) = problems_of(make, data=data)
    assert found.startswith(problem)


@pytest.mark.parametrize(
    "validation",
    [
        {"type": "holdout", "size": 1.0},
        {"type": "holdout", "size": 0},
        {"type": "cv", "n_splits": 1},
        {"type": "cv", "size": 0.2},
        {"type": "python"},
    ],
)
def test_validation_out_of_range_is_refused(validation):
    assert len(problems_of(make, validation=validation)) == 1


def test_resource_rules_change_something():
    assert make(resources={"rules": [{"when": {"batch_size": 32}, "gpu": 1}]}).resources.rules[0].gpu == 1
    assert problems_of(make, resources={"rules": [{"when": {"lr": 0.1}}]}) == [
        "resources.rules.0: changes nothing; give cpu, gpu or both"
    ]


def test_another_format_version_is_refused():
    assert problems_of(make, version=2) == ["version: 2 is not known; allowed: 1"]


def test_all_problems_are_told_at_once():
    found = problems_of(make, nets="a:b", seed=-1, failure=3, scoring="acc", storage="")
    assert [line.split(":")[0] for line in found] == ["scoring", "failure", "storage", "seed", "nets"]


def test_a_dump_is_valid_input_and_keeps_none_inside_free_values():
    config = make(
        parameters={"a": None, "b": [None, 1]},
        data={"type": "sklearn", "name": "digits", "options": {"n_class": None}},
        searcher={"name": "hyperopt", "num_samples": 3},
        stop={"time_budget": "1h"},
    )
    assert SweepConfig.model_validate(config.model_dump()) == config
    assert SweepConfig.model_validate(config.model_dump(by_alias=True)) == config


def test_every_trial_may_give_up_its_checkpoints_but_not_the_best_one():
    least = {"sweep_best": 1, "trial_best": 0, "trial_latest": 0}
    assert make(checkpoint={"keep": least}).checkpoint.keep.model_dump() == least
    assert make(checkpoint={"keep": {"trial_latest": 5}}).checkpoint.keep.sweep_best == 3


@pytest.mark.parametrize("wrong", [{"sweep_best": 0}, {"trial_best": 2}, {"trial_best": True}, {"trial_latest": -1}])
def test_numbers_of_checkpoints_that_mean_nothing_are_refused(wrong):
    (problem,) = problems_of(make, checkpoint={"keep": wrong})
    assert problem.startswith(f"checkpoint.keep.{next(iter(wrong))}:")


@pytest.mark.parametrize("precision", ["highest", "high", "medium"])
def test_a_precision_of_matrices_is_one_that_torch_knows(precision):
    assert make(matmul_precision=precision).matmul_precision == precision
    assert "matmul_precision" not in make().model_dump()
    (problem,) = problems_of(make, matmul_precision=precision.upper())
    assert problem.startswith("matmul_precision:")


@pytest.mark.parametrize("free_gb", [0, 0.5, 100])
def test_a_floor_on_free_space_may_be_any_size_or_none(free_gb):
    assert make(checkpoint={"min_free_gb": free_gb}).checkpoint.min_free_gb == free_gb


@pytest.mark.parametrize("free_gb", [-1, float("inf"), "1 GB"])
def test_a_floor_that_is_no_size_is_refused(free_gb):
    assert "checkpoint.min_free_gb:" in problems_of(make, checkpoint={"min_free_gb": free_gb})[0]
