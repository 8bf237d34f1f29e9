"""What recorded sweeps say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sweeps.errors import NoTrialSucceededError, SpecError
from sweeps.listing import best_of, list_sweeps, show_sweep, show_trial, summary
from sweeps.lock import locked
from sweeps.output import as_text
from sweeps.results import SweepResult

NOW = datetime(2023, 11, 15, 1, tzinfo=UTC)
FAILED_ONLY = [
    {"type": "attempt", "attempt": 1, "n_trials": 1, "rungs": []},
    {"type": "trial", "trial": 0, "params": {"lr": 0.1}},
    {"type": "end", "trial": 0, "status": "FAILED", "cause": "user", "error": "ValueError: bad\ntrace"},
    {"type": "attempt_end", "reason": "complete"},
]

IN_TRAINING = [
    {"type": "attempt", "attempt": 1, "n_trials": 6, "rungs": []},
    {"type": "trial", "trial": 0, "params": {"lr": 0.1, "max_epochs": 9}},
    {"type": "start", "trial": 0},
    {"type": "report", "trial": 0, "rows": [{"epoch": 1, "valid_acc": 0.5}], "costs": {}, "placement": {}},
    {"type": "trial", "trial": 1, "params": {"lr": 0.2, "max_epochs": 9}},
]


@pytest.fixture
def result(record_sweep):
    return SweepResult(record_sweep())


def shown(answer, paths):
    """The text for people, without the place of the test's directory."""
    return as_text(answer.parts, 1000).replace(str(paths.root.parent.parent), "/home/me")


def test_a_list_has_a_row_for_every_sweep_and_says_which_cannot_be_read(record_sweep, golden):
    found = [record_sweep("a"), record_sweep("b", events=FAILED_ONLY), record_sweep("c"), record_sweep("d")]
    (found[2].journal / "events.jsonl").write_text("damage\n")
    found[3].manifest.unlink()
    answer = list_sweeps(found, NOW)
    assert [row["status"] for row in answer.rows] == ["complete", "failed", "unreadable", "unreadable"]
    assert [row.get("score") for row in answer.rows] == [0.9, None, None, None]
    assert [row.get("n_trials") for row in answer.rows] == [6, 1, None, None]
    golden("ls", shown(answer, found[0]))


def test_a_sweep_shows_its_trials_and_failures(result, golden):
    golden("show", shown(show_sweep(result), result.paths))


def test_trials_are_sorted_best_first_by_score_and_least_first_by_others(result):
    assert [row["trial"] for row in show_sweep(result, sort="score").rows] == [0, 1, 2, 3]
    assert [row["trial"] for row in show_sweep(result, sort="params.lr").rows] == [1, 0, 3, 2]
    assert [row["trial"] for row in show_sweep(result, sort="status").rows] == [0, 3, 2, 1]


def test_a_minus_turns_the_order_round_and_keeps_what_has_no_value_at_the_end(result):
    assert [row["trial"] for row in show_sweep(result, sort="-score").rows] == [1, 0, 2, 3]
    assert [row["trial"] for row in show_sweep(result, sort="-params.lr").rows] == [2, 3, 0, 1]
    with pytest.raises(SpecError, match="did you mean score"):
        show_sweep(result, sort="-scores")


def test_params_are_those_in_force_though_an_earlier_epoch_was_the_best(record_sweep):
    extended = {"type": "extend", "prolonged": {"0": {"lr": 0.1, "max_epochs": 40}}}
    assert show_sweep(SweepResult(record_sweep(events=[*IN_TRAINING, extended]))).rows[0]["params"]["max_epochs"] == 40


def test_params_of_a_member_of_a_population_are_those_of_its_score(record_sweep):
    exploit = {"type": "exploit", "trial": 0, "donor": 1, "params": {"lr": 0.2}}
    paths = record_sweep(events=[*IN_TRAINING, exploit])
    assert show_sweep(SweepResult(paths)).rows[0]["params"] == {"lr": 0.1, "max_epochs": 9}


def test_trials_of_a_driver_that_died_were_interrupted(record_sweep, golden):
    paths = record_sweep(events=IN_TRAINING)
    with locked(paths):
        assert [row["status"] for row in show_sweep(SweepResult(paths)).rows] == ["RUNNING", "PENDING"]
    result = SweepResult(paths)
    assert [row["status"] for row in show_sweep(result).rows] == ["INTERRUPTED"] * 2
    assert show_trial(result, 1).value["status"] == "INTERRUPTED"
    golden("show_interrupted", shown(show_sweep(result), paths))


def test_a_limit_holds_in_every_form_and_0_has_all(result):
    assert len(show_sweep(result, limit=2).rows) == 2
    assert len(show_sweep(result, limit=0).rows) == 4
    assert "2 of 4 trials" in as_text(show_sweep(result, limit=2).parts, 120)


def test_an_unknown_column_is_refused_with_a_suggestion(result):
    with pytest.raises(SpecError, match="did you mean score"):
        show_sweep(result, sort="scores")


def test_a_trial_shows_its_epochs(result, golden):
    golden("show_trial", shown(show_trial(result, 0, limit=2), result.paths))
    assert [row["epoch"] for row in show_trial(result, 0).rows] == [1, 2, 3, 4]


def test_a_failed_trial_shows_its_error(result, golden):
    golden("show_failed_trial", shown(show_trial(result, 2), result.paths))


def test_a_trial_that_is_not_there_is_refused(result):
    with pytest.raises(SpecError, match="no trial 9 in demo; it has 4 trials"):
        show_trial(result, 9)


def test_score_epoch_and_params_of_the_best_belong_together(result):
    value = best_of(result).value
    assert {key: value[key] for key in ("trial", "score", "epoch", "metric", "goal", "status")} == {
        "trial": 0,
        "score": 0.9,
        "epoch": 3,
        "metric": "valid_acc",
        "goal": "maximize",
        "status": "COMPLETED",
    }
    assert value["params"] == {"lr": 0.1, "max_epochs": 9}
    assert value["n_parameters"] == 1000


def test_without_a_score_there_is_no_best(record_sweep):
    with pytest.raises(NoTrialSucceededError, match="ValueError: bad"):
        best_of(SweepResult(record_sweep(events=FAILED_ONLY)))


def test_the_summary_of_a_run_ends_with_the_next_commands(result, golden):
    golden("summary", shown(summary(result), result.paths))


def test_the_summary_names_the_storage_only_where_it_is_another(result, monkeypatch):
    monkeypatch.chdir(result.paths.root.parent.parent)
    assert "--storage" not in as_text(summary(result).parts, 120)


@pytest.mark.parametrize("reason", ["interrupted", "stopped", "disk full", "time budget", None])
def test_what_to_do_next_begins_with_going_on_where_a_sweep_is_not_done(record_sweep, reason):
    paths = record_sweep(reason=reason)
    lines = as_text(summary(SweepResult(paths)).parts, 120).splitlines()
    assert lines[lines.index("next:") + 1].strip() == paths.resume_command


def test_a_run_without_a_score_is_summed_up_too(record_sweep, golden):
    result = SweepResult(record_sweep(events=FAILED_ONLY))
    golden("summary_failed", shown(summary(result), result.paths))
