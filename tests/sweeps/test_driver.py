"""Where trials run: what a place cannot do is refused before anything starts, and the inline one starts nothing."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from inline_sweeps import Told, plan_of, sweep_of
from nets import make_net
from skorch.callbacks import Callback

from sweeps import InfeasibleError, SpecError
from sweeps.driver import Terms, check_place, place_of, told
from sweeps.inline import in_process
from sweeps.resources import Node
from sweeps.storage import SweepPaths

PATHS = SweepPaths(Path("/no/such/sweep"))


def config_of(**sections: Any) -> Any:
    return plan_of({"lr": [0.1, 0.2], "max_epochs": 4}, **sections).config


class WaitsFor(Callback):
    """Lets an epoch end when something has happened."""

    happened: Any = None  # of the class: a net is cloned, and an event cannot be

    def on_epoch_end(self, net: Any, **given: Any) -> None:
        if not self.happened.wait(20):
            raise TimeoutError


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
    with place_of(config_of(), PATHS, Terms(watcher, backend="inline"), [tmp_path]) as place:
        place.prepare()
        place.wait()
        assert place.executor(tmp_path / "ray") is in_process
    assert watcher.lines == []
    assert not list(Path(tmp_path).iterdir())


def test_what_this_process_cannot_heed_is_told_where_it_was_given(tmp_path, no_ray):
    watcher = Told()
    config = config_of(failure={"hang_s": 60}, resources={"cpu": 2})
    with place_of(config, PATHS, Terms(watcher, backend="inline"), [tmp_path]) as place:
        place.wait()
    (line,) = watcher.lines
    assert "watches no hangs" in line
    assert "without failure.hang_s, resources.cpu;" in line


def test_a_place_that_nobody_waits_for_is_not_made_ready(tmp_path, no_ray):
    watcher = Told()
    with place_of(config_of(), PATHS, Terms(watcher), [tmp_path]):
        pass
    assert watcher.lines == []


def test_what_can_be_checked_without_training_is_refused_before_ray_is_started(tmp_path, no_ray):
    watcher = Told()
    with pytest.raises(SpecError):
        sweep_of(tmp_path, {"lr": [0.1], "no_such": [1]}).run(progress=watcher, backend="ray")
    assert not any("Ray" in line for line in watcher.lines)


def test_what_only_the_probe_finds_is_shown_after_ray_has_ended_and_that_is_told(tmp_path, monkeypatch):
    events: list[str] = []

    @contextmanager
    def session(*args: Any) -> Iterator[list[Node]]:
        events.append("started")
        yield [Node(2, 0)]
        events.append("ended")

    monkeypatch.setattr("sweeps.driver.ray_session", session)
    watcher = Told()
    with pytest.raises(SpecError, match="no epoch reports"):
        sweep_of(tmp_path, {"lr": [0.1]}, metric="valid_ac").run(progress=watcher, backend="ray")
    assert events == ["started", "ended"]
    assert watcher.lines[-1] == "ending Ray"


def test_ray_starts_beside_the_probe_epoch(tmp_path, monkeypatch):
    started = threading.Event()

    def start(*args: Any, **options: Any) -> None:
        started.set()
        raise ConnectionError("there is none")

    monkeypatch.setattr(ray, "init", start)
    monkeypatch.setattr(WaitsFor, "happened", started)
    net = make_net(callbacks=[("waits", WaitsFor())])
    with pytest.raises(ConnectionError, match="there is none"):
        sweep_of(tmp_path, {"lr": [0.1]}, net).run(progress=False, backend="ray")
    assert started.is_set()
    assert list(tmp_path.iterdir()) == []


def test_the_notes_of_a_plan_are_told():
    watcher = Told()
    plan = plan_of({"lr": [0.1, 0.2]}, searcher={"name": "random", "num_samples": 9})
    assert told(plan, watcher) is plan
    assert watcher.lines == [f"note: {note}" for note in plan.notes]
    assert any("only 2 distinct configs" in line for line in watcher.lines)
