"""A sweep in one driver's hands: nobody else's, what it aims at, and whether a run may go on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nets
import pytest
from inline_sweeps import Told, extend, resume, run, sweep_of

from sweeps import SpecError, SweepNotFoundError, SweepResult, SweepStateError, journal
from sweeps.extension import Extension
from sweeps.prepared import stored
from sweeps.spec import dump_spec
from sweeps.storage import SweepPaths
from sweeps.taken import taken

SPACE = {"lr": [0.1, 0.2, 0.3], "max_epochs": 2}


def run_again(storage: Path, parameters: dict[str, Any] | None = None, **options: Any) -> tuple[SweepResult, Told]:
    """Runs the sweep as a system does that starts a job again."""
    told, how = Told(), options.pop("resume", "auto")
    sweep = sweep_of(storage, parameters or SPACE, **{"searcher": "grid"} | options)
    return sweep.run(backend="inline", progress=told, resume=how), told


def attempts(result: SweepResult) -> list[Any]:
    return [attempt.get("reason") for attempt in result.state.attempts]


def test_no_second_driver_gets_a_sweep_that_one_holds(tmp_path):
    first = run(tmp_path, SPACE, searcher="grid")
    with taken(first.paths, Told()), pytest.raises(SweepStateError, match="in use"):
        resume(first.paths.root)
    assert attempts(resume(first.paths.root)) == ["complete"]


def test_what_it_aims_at_is_what_the_latest_attempt_aimed_at(tmp_path):
    first = run(tmp_path, SPACE, searcher={"name": "grid", "num_samples": 50})
    with taken(first.paths, Told()) as sweep:
        assert (sweep.n_trials, sweep.max_epochs, sweep.is_closed) == (3, 2, True)
    extend(first.paths.root, max_epochs=5)
    with taken(first.paths, Told()) as sweep:
        assert (sweep.n_trials, sweep.max_epochs, sweep.is_closed) == (3, 5, True)


def test_more_trials_come_on_top_of_those_that_there_were_and_not_of_those_that_were_asked_for(tmp_path):
    first = run(tmp_path, SPACE, searcher={"name": "random", "num_samples": 50})
    assert len(first.trials) == 3
    wider = extend(first.paths.root, num_samples=2, parameters=SPACE | {"lr": {"min": 0.4, "max": 0.9}})
    assert len(wider.trials) == 5


def test_tables_or_a_best_net_that_were_deleted_are_written_again(tmp_path):
    first = run(tmp_path, SPACE, searcher="grid")
    first.paths.trials_table.unlink()
    with taken(first.paths, Told()) as sweep:
        assert not sweep.is_closed
    assert attempts(resume(first.paths.root)) == ["complete", "complete"]
    assert first.paths.trials_table.exists()


def test_a_damaged_spec_is_named(tmp_path):
    first = run(tmp_path, SPACE, searcher="grid")
    first.paths.spec.write_text("version: 1\n")
    with pytest.raises(SweepStateError, match=r"sweep\.yaml: damaged"):
        resume(first.paths.root)


def test_starting_a_job_again_makes_the_sweep_and_then_goes_on_with_it(tmp_path):
    made, _ = run_again(tmp_path, stop={"metric_target": 0.01})
    assert attempts(made) == ["metric target"]
    assert len(made.trials) < 3
    reached = made.state.epochs
    # It is the same spec that goes on, so its target, which is met already, ends it again.
    again, _ = run_again(tmp_path, stop={"metric_target": 0.01})
    assert attempts(again) == ["metric target"] * 2
    assert again.state.epochs >= reached


def test_starting_a_job_again_that_is_complete_says_so(tmp_path):
    run_again(tmp_path)
    again, told = run_again(tmp_path)
    assert attempts(again) == ["complete"]
    assert "nothing is left to do" in told.lines[-1]


def test_a_sweep_that_must_exist_is_not_made(tmp_path):
    with pytest.raises(SweepNotFoundError, match="--resume auto makes it"):
        run_again(tmp_path, resume="must")
    assert not list(tmp_path.iterdir())
    run_again(tmp_path)
    assert attempts(run_again(tmp_path, resume="must")[0]) == ["complete"]


def test_a_sweep_that_exists_is_refused_unless_resuming_was_asked_for(tmp_path):
    run_again(tmp_path, resume="never")
    with pytest.raises(SweepStateError, match="exists already"):
        run_again(tmp_path, resume="never")


def test_another_way_to_resume_is_refused(tmp_path):
    with pytest.raises(SpecError, match="give never, auto or must"):
        run_again(tmp_path, resume="yes")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("how", ["auto", "must"])
def test_another_spec_does_not_go_on_with_the_sweep(how, tmp_path):
    made, _ = run_again(tmp_path)
    before = list(journal.read(made.paths.journal))
    with pytest.raises(SweepStateError) as caught:
        run_again(tmp_path, SPACE | {"lr": [0.1, 0.5]}, seed=7, resume=how)
    said = str(caught.value)
    assert "seed: 0 -> 7" in said
    assert "parameters.lr" in said
    assert f"sweeps resume {made.paths.root}" in said
    assert "sweeps extend" in said
    assert list(journal.read(made.paths.journal)) == before


def test_the_spec_of_an_extended_sweep_is_another_than_that_it_was_made_with(tmp_path):
    made, _ = run_again(tmp_path)
    extend(made.paths.root, max_epochs=3)
    with pytest.raises(SweepStateError, match="max_epochs: 3 -> 2"):
        run_again(tmp_path)
    assert attempts(run_again(tmp_path, SPACE | {"max_epochs": 3})[0]) == ["complete", "complete"]


def test_a_spec_is_compared_with_that_of_an_extension_whose_driver_died_before_it_was_written(tmp_path):
    made, _ = run_again(tmp_path)
    old = made.paths.spec.read_text()
    extension = Extension(max_epochs=3)
    with taken(made.paths, Told()) as sweep:
        longer = stored(made.paths, nets.make_net(), nets.make_data()).extended(sweep, extension)
        sweep.extend(longer.plan(list(sweep.state.trials.values())), extension, dump_spec(longer.written))
    made.paths.spec.write_text(old)
    with pytest.raises(SweepStateError, match="max_epochs: 3 -> 2"):
        run_again(tmp_path)


def edit(result: SweepResult, old: str, new: str) -> None:
    text = result.paths.spec.read_text()
    assert text.count(old) == 1
    result.paths.spec.write_text(text.replace(old, new))


def test_an_edited_seed_is_refused_until_it_is_accepted_once(tmp_path):
    made = run(tmp_path, SPACE, searcher="grid", stop={"metric_target": 0.01})
    before = list(journal.read(made.paths.journal))
    edit(made, "\nseed: 0", "\nseed: 7")
    with pytest.raises(SweepStateError, match="seed: 0 -> 7"):
        resume(made.paths.root)
    assert list(journal.read(made.paths.journal)) == before
    for options in ({"accept_changes": True}, {}):
        told = Told()
        resume(made.paths.root, progress=told, **options)
        assert ("note: change accepted: seed: 0 -> 7" in told.lines) == bool(options)


def test_another_metric_than_that_of_the_records_is_refused_also_before_the_first_attempt(tmp_path):
    made = run(tmp_path, SPACE, searcher="grid", stop={"metric_target": 0.01})
    with taken(made.paths, Told()) as sweep:
        sweep.state.attempts.clear()
        edit(made, "name: valid_acc", "name: valid_loss")
        with pytest.raises(SweepStateError, match=r"metric\.name"):
            sweep.refuse_edited_spec(accept=True)


def test_an_edited_scheduler_is_told_and_used(tmp_path):
    made, told = run(tmp_path, SPACE, searcher="grid", stop={"metric_target": 0.01}), Told()
    edit(made, "name: fifo", "name: asha")
    resume(made.paths.root, progress=told)
    assert 'note: changed: scheduler.name: "fifo" -> "asha"' in told.lines


def test_a_resume_that_has_nothing_to_train_since_the_target_is_reached_says_so(tmp_path):
    made, told = run(tmp_path, SPACE, searcher="grid", stop={"metric_target": 0.01}), Told()
    resume(made.paths.root, progress=told)
    assert [line for line in told.lines if "metric_target 0.01 is reached already" in line]


def test_objects_that_python_gave_are_the_same_spec_again(tmp_path):
    import torch

    space = {"optimizer": [torch.optim.SGD, torch.optim.Adam], "max_epochs": 1}
    run_again(tmp_path, space)
    assert attempts(run_again(tmp_path, space)[0]) == ["complete"]


def test_a_folder_that_is_no_sweep_is_not_taken_for_one(tmp_path):
    SweepPaths.of(tmp_path, "sweep").root.mkdir()
    with pytest.raises(SweepStateError, match="exists already"):
        run_again(tmp_path)
