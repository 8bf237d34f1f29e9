"""Which checkpoints a sweep still needs: what must never be deleted, and that all else is."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from saved_trials import damage, half_delete, names, save, save_best

from sweeps.config import KeepConfig
from sweeps.garbage import plan_gc
from sweeps.records import SweepState, TrialStatus
from sweeps.retention import Keeper, best_trials, is_finished, is_whole, remove, superseded
from sweeps.saved import TrialFiles
from sweeps.storage import SweepPaths
from trainables import checkpoint
from trainables.objective import Objective

MOST = Objective("valid_acc", maximize=True)
STATUSES = list(TrialStatus)


def begin(state, trial):
    state.apply({"type": "trial", "trial": trial, "params": {}, "time": 0.0})


def report(state, trial, *values):
    if state.trials[trial].status is TrialStatus.PENDING:
        state.apply({"type": "start", "trial": trial, "time": 0.0})
    rows = [{"epoch": epoch, "valid_acc": value} for epoch, value in enumerate(values, start=1)]
    about = {"costs": {}, "placement": {}, "checkpoint": None, "time": 0.0}
    state.apply({"type": "report", "trial": trial, "rows": rows, **about})


def end(state, trial, status):
    state.apply({"type": "end", "trial": trial, "status": status, "time": 1.0})


def state_of(**trials):
    """The state of trials given as ``t3=("COMPLETED", 0.5, 0.7)``: status, then the metric of each epoch."""
    state = SweepState(MOST)
    for name, (status, *values) in trials.items():
        trial = int(name[1:])
        begin(state, trial)
        if values:
            report(state, trial, *values)
        if status not in ("PENDING", "RUNNING"):
            end(state, trial, status)
    return state


@pytest.fixture
def paths(tmp_path):
    paths = SweepPaths(tmp_path / "sweep")
    paths.trials.mkdir(parents=True)
    return paths


def folder_of(paths, trial):
    return paths.trials / checkpoint.trial_name(trial)


def collect(paths, state, **keep):
    """Deletes what is superseded; returns the reasons by path below the trials."""
    plan = plan_gc(paths, state, KeepConfig(**keep))
    remove(plan)
    return {str(item.path.relative_to(paths.trials)): item.why for item in plan}


@pytest.mark.parametrize("status", ["PENDING", "RUNNING", "INTERRUPTED"])
@pytest.mark.parametrize(("trial_latest", "kept"), [(0, 2), (1, 2), (3, 3)])
def test_a_trial_that_has_not_ended_keeps_two_or_as_many_as_the_others(paths, status, trial_latest, kept):
    for epoch in (1, 2, 3, 4):
        save(folder_of(paths, 0), epoch)
    state = state_of(t0=(status, 0.5), t1=("COMPLETED", 0.9))
    collect(paths, state, sweep_best=1, trial_best=0, trial_latest=trial_latest)
    assert names(folder_of(paths, 0)) == [checkpoint.directory_name(epoch) for epoch in (1, 2, 3, 4)][-kept:]


@pytest.mark.parametrize("status", ["COMPLETED", "STOPPED", "DIVERGED", "FAILED"])
@pytest.mark.parametrize(
    ("keep", "left"),
    [
        ({}, ["checkpoint-000003"]),
        ({"trial_latest": 2}, ["checkpoint-000002", "checkpoint-000003"]),
        ({"trial_latest": 0}, ["best"]),
        ({"trial_latest": 0, "trial_best": 0}, []),
    ],
)
def test_a_trial_that_ended_keeps_what_is_asked_for(paths, status, keep, left):
    for epoch in (1, 2, 3):
        save(folder_of(paths, 5), epoch, best_epoch=2)
    state = state_of(t0=("COMPLETED", 0.9), t5=(status, 0.5, 0.8, 0.3))
    collect(paths, state, sweep_best=1, **keep)
    assert names(folder_of(paths, 5)) == left
    if left == ["best"]:
        assert checkpoint.verify_best(folder_of(paths, 5) / "best")["best_epoch"] == 2
        assert not (folder_of(paths, 5) / "best" / checkpoint.STATE).exists()


def test_the_best_trials_keep_their_newest_checkpoint_whole(paths):
    for trial in range(4):
        for epoch in (1, 2):
            save(folder_of(paths, trial), epoch)
    state = state_of(t0=("STOPPED", 0.1), t1=("COMPLETED", 0.3), t2=("COMPLETED", 0.2), t3=("FAILED", 0.9))
    collect(paths, state, sweep_best=2, trial_best=0, trial_latest=0)
    assert [names(folder_of(paths, trial)) for trial in range(4)] == [
        [],
        ["checkpoint-000002"],
        ["checkpoint-000002"],
        [],
    ]


def test_of_equally_good_trials_the_best_of_the_sweep_comes_first():
    state = state_of(t7=("COMPLETED", 0.5), t2=("COMPLETED", 0.5), t4=("COMPLETED", 0.5))
    assert state.best.trial == 7
    assert best_trials(state, 2) == [7, 2]


def test_trials_without_a_score_are_no_best_ones():
    state = state_of(t0=("DIVERGED", float("nan")), t1=("FAILED",), t2=("RUNNING", 0.9), t3=("INTERRUPTED", 0.8))
    assert best_trials(state, 3) == []


def test_a_smaller_loss_ranks_first():
    state = SweepState(Objective("valid_acc"))
    for trial, value in enumerate((0.3, 0.1, 0.2)):
        begin(state, trial)
        report(state, trial, value)
        end(state, trial, "COMPLETED")
    assert best_trials(state, 2) == [1, 2]


def test_a_damaged_checkpoint_does_not_count_and_stays(paths):
    for epoch in (1, 2, 3, 4):
        save(folder_of(paths, 0), epoch)
    damage(folder_of(paths, 0) / "checkpoint-000004")
    collect(paths, state_of(t0=("COMPLETED", 0.5)))
    assert names(folder_of(paths, 0)) == ["checkpoint-000003", "checkpoint-000004"]


@pytest.mark.parametrize("keep", [{}, {"trial_latest": 0}])
def test_where_nothing_is_whole_nothing_is_deleted(paths, keep):
    for epoch in (1, 2):
        damage(save(folder_of(paths, 0), epoch))
    assert collect(paths, state_of(t0=("FAILED", 0.5)), **keep) == {}


def test_what_an_interrupted_deletion_left_goes(paths):
    for epoch in (1, 2, 3):
        save(folder_of(paths, 0), epoch)
    half_delete(folder_of(paths, 0) / "checkpoint-000001")
    reasons = collect(paths, state_of(t0=("RUNNING", 0.5)))
    assert reasons == {"trial_00000/checkpoint-000001": "half deleted before"}


@pytest.mark.parametrize("status", ["COMPLETED", "RUNNING"])
def test_best_weights_kept_alone_go_when_a_checkpoint_holds_them_again(paths, status):
    save_best(folder_of(paths, 0), 2)
    state = state_of(t0=(status, 0.5))
    damage(save(folder_of(paths, 0), 3))
    assert collect(paths, state) == {}
    save(folder_of(paths, 0), 4)
    assert "trial_00000/best" in collect(paths, state)
    assert "checkpoint-000004" in names(folder_of(paths, 0))


def test_nothing_is_read_where_nothing_depends_on_it(paths):
    save(folder_of(paths, 0), 1)
    save(folder_of(paths, 1), 1)
    state = state_of(t0=("COMPLETED", 0.5), t1=("RUNNING", 0.5))
    found = {trial: TrialFiles.read(folder_of(paths, trial)) for trial in (0, 1)}
    assert superseded(state, KeepConfig(), found, is_whole=None) == []


def test_a_removal_says_how_much_it_frees(paths):
    state_only = save(folder_of(paths, 0), 2)
    whole = save(folder_of(paths, 0), 1)
    plan = plan_gc(
        paths, state_of(t1=("COMPLETED", 0.9), t0=("STOPPED", 0.5)), KeepConfig(sweep_best=1, trial_latest=0)
    )
    expected = {state_only: 500, whole: sum(path.stat().st_size for path in whole.iterdir())}
    assert {item.path: item.bytes for item in plan} == expected
    assert remove(plan) == sum(expected.values())


def test_a_deletion_that_fails_is_an_error(paths, monkeypatch):
    for epoch in (1, 2):
        save(folder_of(paths, 0), epoch)

    def fail(*args, **kwargs):
        raise PermissionError("not yours")

    monkeypatch.setattr(shutil, "rmtree", fail)
    with pytest.raises(PermissionError):
        collect(paths, state_of(t0=("COMPLETED", 0.5)))


def test_a_deletion_that_fails_in_a_running_sweep_is_told_once_and_ends_nothing(paths, monkeypatch):
    told = []
    state = state_of(t0=("COMPLETED", 0.5), t1=("COMPLETED", 0.6))
    keeper = Keeper(paths.trials, state, KeepConfig(), told.append)

    def fail(*args, **kwargs):
        raise OSError(39, "Directory not empty")

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", fail)
        for trial in (0, 1):
            for epoch in (1, 2):
                save(folder_of(paths, trial), epoch)
            keeper.retain(state.trials[trial])
            keeper.delete()
    keeper.finish()
    assert len(told) == 1
    assert "Directory not empty" in told[0]
    assert "`sweeps gc`" in told[0]
    assert collect(paths, state)
    assert names(folder_of(paths, 0)) == names(folder_of(paths, 1)) == ["checkpoint-000002"]


@st.composite
def sweeps(draw):
    """(state, keep, trial -> what lies in its folder as (epoch, condition) pairs, trials with best weights alone)."""
    numbers = draw(st.lists(st.integers(0, 9), min_size=1, max_size=5, unique=True))
    state = SweepState(MOST)
    for trial in numbers:
        begin(state, trial)
    for trial in draw(st.permutations(numbers)):
        values = draw(st.lists(st.sampled_from([0.1, 0.5, 0.5, 0.9, float("nan")]), max_size=3))
        if values:
            report(state, trial, *values)
    for trial in draw(st.permutations(numbers)):
        status = draw(st.sampled_from(STATUSES))
        if status.is_end:
            end(state, trial, status)
    keep = KeepConfig(
        sweep_best=draw(st.integers(1, 3)), trial_best=draw(st.integers(0, 1)), trial_latest=draw(st.integers(0, 3))
    )
    condition = st.sampled_from(["whole", "whole", "damaged", "half"])
    files = {trial: draw(st.dictionaries(st.integers(1, 6), condition, max_size=4)) for trial in numbers}
    return state, keep, files, draw(st.sets(st.sampled_from(numbers)))


def lay_out(paths, files, with_best):
    for trial, saved in files.items():
        for epoch, condition in saved.items():
            directory = save(folder_of(paths, trial), epoch, best_epoch=max(1, epoch - 1))
            {"whole": lambda _: None, "damaged": damage, "half": half_delete}[condition](directory)
        if trial in with_best:
            save_best(folder_of(paths, trial), 1)
        (folder_of(paths, trial) / ".checkpoint-000007.01.9.part").mkdir(parents=True)
        (folder_of(paths, trial) / "notes.txt").write_text("mine")
    save(folder_of(paths, 77), 1)
    paths.ray(1).mkdir(parents=True)


def best_weights_of(paths, trial):
    found, _ = checkpoint.newest_best(folder_of(paths, trial))
    return None if found is None else checkpoint.verify_best(found)["best_epoch"]


@settings(max_examples=50)
@given(sweeps())
def test_whatever_is_deleted_nothing_that_is_needed_is_lost(sweep):
    state, keep, files, with_best = sweep
    with TemporaryDirectory() as folder:
        paths = SweepPaths(Path(folder) / "sweep")
        lay_out(paths, files, with_best)
        newest = {trial: checkpoint.newest(folder_of(paths, trial))[0] for trial in state.trials}
        weights = {trial: best_weights_of(paths, trial) for trial in state.trials}

        freed = remove(plan_gc(paths, state, keep))

        for trial in state.unfinished:
            assert checkpoint.newest(folder_of(paths, trial))[0] == newest[trial]
        protected = set(best_trials(state, keep.sweep_best))
        if state.best is not None and is_finished(state.best):
            assert state.best.trial in protected
        for trial in state.trials if keep.trial_best else protected:
            assert best_weights_of(paths, trial) == weights[trial]
        for trial in protected:
            assert checkpoint.newest(folder_of(paths, trial))[0] == newest[trial]
        assert all((folder_of(paths, trial) / "notes.txt").exists() for trial in state.trials)
        assert not [*paths.root.rglob("*.part"), *paths.root.rglob("attempt-*"), *paths.trials.glob("trial_00077")]
        assert freed > 0
        assert plan_gc(paths, state, keep) == []


@settings(max_examples=50)
@given(sweeps())
def test_a_deletion_that_is_cut_short_anywhere_loses_nothing_and_is_completed_later(sweep):
    state, keep, files, with_best = sweep
    with TemporaryDirectory() as folder:
        paths = SweepPaths(Path(folder) / "sweep")
        lay_out(paths, files, with_best)
        newest = {trial: checkpoint.newest(folder_of(paths, trial))[0] for trial in state.unfinished}
        weights = {trial: best_weights_of(paths, trial) for trial in best_trials(state, keep.sweep_best)}
        while plan := plan_gc(paths, state, keep):
            first = plan[0]
            if first.keeps_best:
                checkpoint.keep_best(first.path)
            manifest = first.path / checkpoint.MANIFEST
            if manifest.exists():
                manifest.unlink()
            else:
                remove(plan[:1])
            assert {trial: checkpoint.newest(folder_of(paths, trial))[0] for trial in newest} == newest
            assert {trial: best_weights_of(paths, trial) for trial in weights} == weights


@st.composite
def runs(draw):
    """The order in which trials end: (trial, status, value) and what is to be kept."""
    values = st.sampled_from([0.1, 0.3, 0.5, 0.7, None])
    ends = draw(
        st.lists(st.tuples(st.sampled_from([status for status in STATUSES if status.is_end]), values), max_size=8)
    )
    keep = KeepConfig(
        sweep_best=draw(st.integers(1, 3)), trial_best=draw(st.integers(0, 1)), trial_latest=draw(st.integers(0, 2))
    )
    return ends, keep


@settings(max_examples=50)
@given(runs())
def test_a_running_sweep_keeps_what_gc_would_keep(run):
    ends, keep = run
    state = SweepState(MOST)
    with TemporaryDirectory() as folder:
        paths = SweepPaths(Path(folder) / "sweep")
        paths.trials.mkdir(parents=True)
        keeper = Keeper(paths.trials, state, keep)
        for trial, (status, value) in enumerate(ends):
            begin(state, trial)
            report(state, trial, *([float("nan") if value is None else value] * 3))
            save(folder_of(paths, trial), 2)
            if status is not TrialStatus.STOPPED:
                save(folder_of(paths, trial), 3)
            end(state, trial, status)
            keeper.retain(state.trials[trial])
            keeper.delete()
            if status is TrialStatus.STOPPED:  # its worker is told only now
                save(folder_of(paths, trial), 3)
        keeper.finish()
        assert plan_gc(paths, state, keep) == []
        assert all(best_weights_of(paths, trial) == 1 for trial in best_trials(state, keep.sweep_best))


def test_a_stopped_trial_keeps_what_it_has_until_its_worker_has_saved_it(paths):
    state = state_of(t0=("COMPLETED", 0.9), t1=("STOPPED", 0.1, 0.2, 0.1))
    keeper = Keeper(paths.trials, state, KeepConfig(sweep_best=1, trial_latest=0))
    save(folder_of(paths, 1), 1, best_epoch=1)
    keeper.retain(state.trials[1])
    keeper.delete()
    assert names(folder_of(paths, 1)) == ["checkpoint-000001"]
    save(folder_of(paths, 1), 3, best_epoch=2)
    keeper.finish()
    assert checkpoint.verify_best(folder_of(paths, 1) / "best")["best_epoch"] == 2
    assert names(folder_of(paths, 1)) == ["best"]


def test_nothing_is_deleted_before_the_end_of_its_trial_is_recorded(paths):
    for epoch in (1, 2):
        save(folder_of(paths, 0), epoch)
    state = state_of(t0=("COMPLETED", 0.9))
    keeper = Keeper(paths.trials, state, KeepConfig())
    keeper.delete()
    keeper.retain(state.trials[0])
    assert names(folder_of(paths, 0)) == ["checkpoint-000001", "checkpoint-000002"]
    keeper.delete()
    assert names(folder_of(paths, 0)) == ["checkpoint-000002"]


def test_trials_that_no_worker_ever_saves_do_not_slow_the_ends_of_others(paths, monkeypatch):
    state = state_of(**{f"t{trial}": ("STOPPED", 0.1, trial / 100) for trial in range(20)})
    keeper = Keeper(paths.trials, state, KeepConfig(sweep_best=1))
    looked_at = []
    read = TrialFiles.read
    monkeypatch.setattr(TrialFiles, "read", lambda folder: looked_at.append(folder.name) or read(folder))
    counts = []
    for trial in range(20):
        keeper.retain(state.trials[trial])
        keeper.delete()
        counts.append(len(looked_at))
        looked_at.clear()
    assert max(counts[5:]) == max(counts[:5])


def test_a_trial_that_is_outdone_gives_up_its_checkpoint(paths):
    state = SweepState(MOST)
    keeper = Keeper(paths.trials, state, KeepConfig(sweep_best=1, trial_best=0, trial_latest=0))
    left = []
    for trial, value in enumerate((0.5, 0.4, 0.6)):
        begin(state, trial)
        report(state, trial, value)
        save(folder_of(paths, trial), 1)
        end(state, trial, "COMPLETED")
        keeper.retain(state.trials[trial])
        keeper.delete()
        left.append([number for number in range(trial + 1) if names(folder_of(paths, number))])
    assert left == [[0], [0], [2]]


def test_a_keeper_looks_only_at_the_trials_that_an_end_concerns(paths, monkeypatch):
    state = state_of(**{f"t{trial}": ("COMPLETED", trial / 100) for trial in range(50)})
    keeper = Keeper(paths.trials, state, KeepConfig(sweep_best=2))
    looked_at = []
    read = TrialFiles.read
    monkeypatch.setattr(TrialFiles, "read", lambda folder: looked_at.append(folder.name) or read(folder))
    keeper.retain(state.trials[49])
    keeper.delete()
    keeper.delete()
    assert set(looked_at) == {"trial_00049"}


def test_a_whole_checkpoint_verifies(tmp_path):
    directory = save(tmp_path, 1)
    assert is_whole(directory)
    damage(directory)
    assert not is_whole(directory)
    assert not is_whole(tmp_path / "missing")
