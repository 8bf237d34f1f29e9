"""Where trials run: what a place cannot do is refused before anything starts, and the inline one starts nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import ray
from inline_sweeps import Told, plan_of

from sweeps import InfeasibleError, SpecError
from sweeps.driver import Terms, check_place, executor, told
from sweeps.inline import in_process


def config_of(**sections: Any) -> Any:
    return plan_of({"lr": [0.1, 0.2], "max_epochs": 4}, **sections).config


@pytest.fixture
def no_ray(monkeypatch):
    """Fails whoever starts Ray."""

    def start(*args: Any, **options: Any) -> None:
        raise AssertionError("Ray was started")

    monkeypatch.setattr(ray, "init", start)


@pytest.mark.parametrize("name", ["hyperband", "pbt"])
def test_a_scheduler_that_pauses_trials_needs_ray(name, no_ray):
    config = config_of(scheduler={"name": name, **({"perturbation_interval": 2} if name == "pbt" else {})})
    check_place(config, Terms(Told()))
    with pytest.raises(SpecError, match=f"{name} pauses trials") as caught:
        check_place(config, Terms(Told(), backend="inline"))
    assert caught.value.problems[0].where == "scheduler.name"


def test_an_unknown_backend_is_refused_with_those_that_there_are():
    with pytest.raises(SpecError, match="'dask' is no backend; give ray or inline"):
        check_place(config_of(), Terms(Told(), backend="dask"))


@pytest.mark.parametrize("backend", ["ray", "inline"])
def test_what_this_machine_lacks_is_refused_unless_a_cluster_may_have_it(backend, no_ray):
    config = config_of(resources={"cpu": 4096})
    with pytest.raises(InfeasibleError, match="no machine has both"):
        check_place(config, Terms(Told(), backend=backend))
    if backend == "ray":
        check_place(config, Terms(Told(), "ray://elsewhere:10001"))


def test_in_this_process_nothing_is_started_and_no_folder_made(tmp_path, no_ray):
    watcher = Told()
    with executor(config_of(), Terms(watcher, backend="inline"), [tmp_path]) as execute:
        assert execute(tmp_path / "ray") is in_process
    assert watcher.lines == []
    assert not list(Path(tmp_path).iterdir())


def test_what_this_process_cannot_heed_is_told_where_it_was_given(tmp_path, no_ray):
    watcher = Told()
    config = config_of(failure={"hang_s": 60}, resources={"cpu": 2})
    with executor(config, Terms(watcher, backend="inline"), [tmp_path]):
        pass
    (line,) = watcher.lines
    assert "watches no hangs" in line
    assert "without failure.hang_s, resources.cpu;" in line


def test_the_notes_of_a_plan_are_told():
    watcher = Told()
    plan = plan_of({"lr": [0.1, 0.2]}, searcher={"name": "random", "num_samples": 9})
    assert told(plan, watcher) is plan
    assert watcher.lines == [f"note: {note}" for note in plan.notes]
    assert any("only 2 distinct configs" in line for line in watcher.lines)
