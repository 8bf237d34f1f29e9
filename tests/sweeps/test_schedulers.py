"""Ray's schedulers, keyed by our trial numbers: decisions are Ray's own, also for a trial that is started again."""

from __future__ import annotations

import random
import threading
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, HyperBandScheduler, MedianStoppingRule

from search_spaces.space import SearchSpace
from sweeps.config import SchedulerConfig
from sweeps.records import SweepState
from sweeps.rungs import rungs
from sweeps.schedulers import PopulationScheduler, make_scheduler
from trainables.objective import Objective

MAX_EPOCHS = 27
SPACE = SearchSpace(
    {
        "lr": {"distribution": "loguniform", "min": 1e-3, "max": 1.0},
        "optimizer": ["torch.optim:SGD", "torch.optim:Adam"],
        "optimizer__momentum": {"min": 0.0, "max": 0.9, "when": {"optimizer": "torch.optim:SGD"}},
        "module__nodes": {"min": 1, "max": 64},
    }
)


def scheduler_of(name: str, *, maximize: bool = True, **options: Any) -> Any:
    config = SchedulerConfig(name=name, **options)
    return make_scheduler(config, SPACE, Objective("score", maximize), max_epochs=MAX_EPOCHS, seed=0)


def trial_of(number: int, *, again: int = 0) -> Any:
    """As Tune hands a trial to its scheduler; one that is started again has another id."""
    return SimpleNamespace(trial_id=f"ray_{number}_{again}", config={"trial": number, "params": {}})


def result(epoch: int, score: float) -> dict[str, Any]:
    return {"epoch": epoch, "score": score, "training_iteration": 1}


class Replay:
    """ASHA as its authors and Ray have it, written down once more."""

    def __init__(self, grace_period: int, reduction_factor: float, max_epochs: int) -> None:
        self.rungs: list[tuple[int, dict[int, float]]] = [
            (epoch, {}) for epoch in reversed(rungs(grace_period, reduction_factor, max_epochs))
        ]
        self.keep, self.max_epochs = 1 / reduction_factor, max_epochs

    def decide(self, trial: int, epoch: int, score: float) -> str:
        if epoch >= self.max_epochs:
            return "STOP"
        for rung, recorded in self.rungs:
            if epoch >= rung and trial not in recorded:
                cutoff = np.percentile(list(recorded.values()), (1 - self.keep) * 100) if recorded else -np.inf
                recorded[trial] = score
                return "STOP" if score < cutoff else "CONTINUE"
        return "CONTINUE"


@given(st.integers(0, 2**32), st.sampled_from([2, 3, 4, 2.5]), st.integers(1, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_asha_decides_as_rays_own_and_as_a_replay_also_for_trials_that_are_started_again(seed, eta, grace, maximize):
    rng = random.Random(seed)
    ours = scheduler_of("asha", maximize=maximize, grace_period=grace, reduction_factor=eta)
    mode = "max" if maximize else "min"
    shape: dict[str, Any] = {"max_t": MAX_EPOCHS, "grace_period": grace, "reduction_factor": eta}
    rays = AsyncHyperBandScheduler(time_attr="epoch", metric="score", mode=mode, **shape)
    replay = Replay(grace, eta, MAX_EPOCHS)
    running = dict.fromkeys(range(12), 0)
    restarts = dict.fromkeys(running, 0)
    for number in running:
        ours.on_trial_add(None, trial_of(number))
        rays.on_trial_add(None, trial_of(number))
    while running:
        number = rng.choice(list(running))
        if rng.random() < 0.1:  # its worker dies, and it goes on from an earlier checkpoint
            ours.on_trial_error(None, trial_of(number, again=restarts[number]))
            restarts[number] += 1
            ours.on_trial_add(None, trial_of(number, again=restarts[number]))
            running[number] = rng.randint(0, running[number])
        running[number] = epoch = running[number] + rng.randint(1, 3)
        score = rng.choice([rng.random(), 0.5, 1e30, -1e30])
        report = result(epoch, score)
        decision = ours.on_trial_result(None, trial_of(number, again=restarts[number]), report)
        assert decision == rays.on_trial_result(None, trial_of(number), report)
        assert decision == replay.decide(number, epoch, score if maximize else -score)
        if decision == "STOP":
            del running[number]
        elif rng.random() < 0.05:  # it ends by itself
            del running[number]
            ours.on_trial_complete(None, trial_of(number, again=restarts[number]), report)
            rays.on_trial_complete(None, trial_of(number), report)
            replay.decide(number, epoch, score if maximize else -score)


@pytest.mark.parametrize("was_told", [True, False])
def test_a_resumed_trial_is_judged_at_the_rung_that_no_scheduler_heard_of_and_not_where_it_was_told_to_go_on(was_told):
    state = SweepState(Objective("score", maximize=True))
    for number, score in enumerate([0.9, 0.8, 0.7, 0.1]):
        state.apply({"type": "trial", "trial": number, "params": {}})
        rows = [{"epoch": 1, "score": score}]
        more = {} if was_told or number < 3 else {"recovered": True}
        about = {"costs": {}, "placement": {}, "checkpoint": None}
        state.apply({"type": "report", "trial": number, "rows": rows, **about, **more})
        status = "COMPLETED" if number < 3 else "INTERRUPTED"
        state.apply({"type": "end", "trial": number, "status": status, "time": 1.0})
    asha = scheduler_of("asha")
    asha.recall(state)
    asha.on_trial_add(None, trial_of(3))
    assert asha.on_trial_result(None, trial_of(3), result(1, 0.1)) == ("CONTINUE" if was_told else "STOP")


def test_asha_forgets_a_trial_that_never_ran():
    asha = scheduler_of("asha")
    asha.on_trial_add(None, trial_of(0))
    asha.on_trial_remove(None, trial_of(0))
    asha.on_trial_remove(None, trial_of(0))
    asha.on_trial_add(None, trial_of(0))
    assert asha.on_trial_result(None, trial_of(0), result(1, 0.5)) == "CONTINUE"


def test_the_clock_is_the_epoch_and_not_the_number_of_reports():
    asha = scheduler_of("asha", grace_period=9)
    for number in range(2):
        asha.on_trial_add(None, trial_of(number))
    assert asha.on_trial_result(None, trial_of(0), {**result(8, 0.9), "training_iteration": 99}) == "CONTINUE"
    assert asha.on_trial_result(None, trial_of(0), result(9, 0.9)) == "CONTINUE"
    assert asha.on_trial_result(None, trial_of(1), {**result(9, 0.1), "training_iteration": 1}) == "STOP"


@pytest.mark.parametrize("maximize", [True, False])
@pytest.mark.parametrize("step", [1, 3])
def test_the_median_rule_decides_as_rays_own_and_never_pauses(maximize, step):
    ours = scheduler_of("median", maximize=maximize, grace_period=2, min_samples=2)
    mode = "max" if maximize else "min"
    rays = MedianStoppingRule("epoch", metric="score", mode=mode, grace_period=2, min_samples_required=2)
    controller = SimpleNamespace(get_live_trials=list)
    rng = random.Random(0)
    decisions = Counter()
    kept = {number: Trial("__fake", stub=True, trial_id=str(number)) for number in range(12)}
    epochs = dict.fromkeys(kept, 0)
    while epochs:
        number = rng.choice(list(epochs))
        epochs[number] = epoch = epochs[number] + rng.randint(1, step)
        report = result(epoch, rng.random() + number / 6)
        if epoch >= MAX_EPOCHS:
            ours.on_trial_complete(None, trial_of(number), report)
            rays.on_trial_complete(None, kept[number], report)
            del epochs[number]
            continue
        decision = ours.on_trial_result(None, trial_of(number, again=epoch), report)
        assert decision == rays.on_trial_result(controller, kept[number], report)
        decisions[decision] += 1
        if decision == "STOP":
            # Ray's own would count the last epoch of a stopped trial twice.
            ours.on_trial_complete(None, trial_of(number), report)
            del epochs[number]
    assert 0 < decisions["STOP"] < len(kept)
    assert set(decisions) == {"STOP", "CONTINUE"}


def test_the_median_rule_knows_after_a_resume_what_it_was_told_before():
    told, resumed = scheduler_of("median", min_samples=2), scheduler_of("median", min_samples=2)
    state = SweepState(Objective("score", maximize=True))
    for number, scores in enumerate([[0.5, 0.6], [0.4, 0.7], [0.1]]):
        state.apply({"type": "trial", "trial": number, "params": {}})
        for epoch, score in enumerate(scores, start=1):
            about = {"costs": {}, "placement": {}, "checkpoint": None}
            state.apply({"type": "report", "trial": number, "rows": [{"epoch": epoch, "score": score}], **about})
            told.on_trial_result(None, trial_of(number), result(epoch, score))
    resumed.recall(state)
    for score, expected in ((0.54, "STOP"), (0.56, "CONTINUE")):  # the others' means are 0.55
        decisions = [median.on_trial_result(None, trial_of(2), result(2, score)) for median in (told, resumed)]
        assert decisions == [expected, expected]


def test_the_median_rule_goes_on_while_too_few_trials_have_reported():
    median = scheduler_of("median")
    median.on_trial_add(None, trial_of(0))
    assert median.on_trial_result(None, trial_of(0), result(1, 0.1)) == "CONTINUE"


class Waiting:
    """What a choice touches of one of Tune's trials."""

    def __init__(self, number: int, status: str = Trial.PENDING) -> None:
        self.status = status
        self.config = {"trial": number}


@pytest.mark.parametrize("name", ["fifo", "asha", "median"])
def test_the_trial_to_start_is_one_that_waits_and_ended_ones_are_not_looked_at(name):
    def trial(number: int, status: str) -> Any:
        return Waiting(number, status)

    live = {number: trial(number, status) for number, status in enumerate(["RUNNING", "PAUSED", "PENDING", "PENDING"])}
    controller = SimpleNamespace(
        get_live_trials=lambda: [live[number] for number in sorted(live, reverse=True)], _trial_to_actor={}
    )
    chosen = []
    for _ in range(4):
        found = scheduler_of(name).choose_trial_to_run(controller)
        chosen.append(found and found.config["trial"])
        live.pop(chosen[-1], None)
    assert chosen == [2, 3, 1, None]


def test_a_trial_whose_worker_is_being_made_leaves_a_free_one_to_the_others():
    made, queued, without = Waiting(0), Waiting(1), Waiting(2)
    live = [made, queued, without]
    controller = SimpleNamespace(
        get_live_trials=lambda: live,
        _trial_to_actor={made: "started", queued: "asked for"},
        _actor_manager=SimpleNamespace(is_actor_started=lambda actor: actor == "started"),
    )
    chosen = []
    while live:
        chosen.append(scheduler_of("fifo").choose_trial_to_run(controller).config["trial"])
        live.pop(next(at for at, trial in enumerate(live) if trial.config["trial"] == chosen[-1]))
    assert chosen == [1, 2, 0]


class Member:
    """What PBT touches of one of Tune's trials."""

    def __init__(self, number: int, params: dict[str, Any]) -> None:
        self.trial_id, self.status = f"ray_{number}", Trial.RUNNING
        self.config = {"trial": number, "params": params}
        self.checkpoint_config = SimpleNamespace(num_to_keep=None)
        self.checkpoint_manager = self
        self.run_metadata = self
        self.experiment_tag = ""
        self._latest_checkpoint_result: Any = None

    def is_finished(self) -> bool:
        return False

    def set_experiment_tag(self, tag: str) -> None:
        self.experiment_tag = tag

    def set_config(self, config: dict[str, Any]) -> None:
        self.config = config


class Controller:
    """What PBT touches of Tune's controller."""

    def __init__(self, members: list[Member]) -> None:
        self.members = members
        self.search_alg = object()
        self.paused: list[Member] = []

    def get_trials(self) -> list[Member]:
        return self.members

    def _schedule_trial_save(self, trial: Member, result: Any) -> str:
        return f"checkpoint of {trial.config['trial']}"

    def pause_trial(self, trial: Member, should_checkpoint: bool) -> None:
        trial.status = Trial.PAUSED
        self.paused.append(trial)


@pytest.fixture
def population():
    pbt = scheduler_of("pbt", perturbation_interval=2)
    told: list[tuple[Any, ...]] = []
    pbt.on_exploit = lambda *what: told.append(what)
    rng = np.random.default_rng(0)
    controller = Controller([Member(number, SPACE.sample(rng)) for number in range(8)])
    for member in controller.members:
        pbt.on_trial_add(controller, member)
    return pbt, controller, told


def test_a_population_keeps_its_number_and_its_space_and_tells_who_took_over_from_whom(population):
    pbt, controller, told = population
    assert isinstance(pbt, PopulationScheduler)
    assert all(pbt.on_trial_result(controller, m, result(1, 0.0)) == "CONTINUE" for m in controller.members)
    before = {member.config["trial"]: dict(member.config["params"]) for member in controller.members}
    for epoch in (2, 4):  # a higher number is better; the best have saved when the worst report again
        for member in reversed(controller.members):
            if member not in controller.paused:
                pbt.on_trial_result(controller, member, result(epoch, member.config["trial"] / 10))
    assert [trial for trial, _, _ in told] == [member.config["trial"] for member in controller.paused]
    assert {0, 1} <= {trial for trial, _, _ in told}
    for trial, donor, params in told:
        member = controller.members[trial]
        assert member.config == {"trial": trial, "params": params}
        assert donor > trial
        assert SPACE.contains(params)
        assert {name: params[name] for name in ("optimizer", "module__nodes")} == {
            name: before[donor][name] for name in ("optimizer", "module__nodes")
        }
        assert member._latest_checkpoint_result.checkpoint == f"checkpoint of {donor}"
    assert {m.config["trial"]: m.config["params"] for m in controller.members if m not in controller.paused} == {
        number: params for number, params in before.items() if number not in {trial for trial, _, _ in told}
    }


@pytest.mark.parametrize(("name", "kind"), [("fifo", FIFOScheduler), ("hyperband", HyperBandScheduler)])
def test_the_others_are_rays_own(name, kind):
    assert isinstance(scheduler_of(name), kind)


def test_a_population_can_be_pickled_though_whom_it_tells_cannot():
    pbt = scheduler_of("pbt")
    lock = threading.RLock()
    pbt.on_exploit = lambda *what: lock.acquire()
    cloudpickle.dumps(pbt)
