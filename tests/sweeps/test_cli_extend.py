"""The command line goes on with sweeps: extend, stop and run --resume; trials run in this process."""

from __future__ import annotations

from typing import Any

import pytest
from inline_sweeps import Told

from sweeps import SweepResult, lock
from sweeps.cli import main
from sweeps.records import SweepState
from sweeps.storage import SweepPaths
from sweeps.sweep import Sweep

SPEC = """\
version: 1
name: tiny
net: nets:make_net
data: {type: python, object: "nets:make_data"}
metric: {name: valid_acc, goal: maximize}
parameters:
  lr: {min: 0.01, max: 0.1}
  max_epochs: 2
searcher: {name: random, num_samples: 2}
scheduler: {name: fifo}
report_every_s: 0
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A small sweep.yaml in the current directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sweep.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def inline(monkeypatch):
    """What runs a sweep does so in this process; returns the options that it was given."""
    given: list[dict[str, Any]] = []

    def in_this_process(name: str) -> Any:
        method = getattr(Sweep, name)

        def call(*args: Any, **options: Any) -> SweepResult:
            given.append(options)
            return method(*args, **options, backend="inline")

        return call

    for name in ("run", "resume", "extend"):
        monkeypatch.setattr(Sweep, name, in_this_process(name))
    return given


def trials(name: str = "tiny") -> list[tuple[str, int]]:
    state = SweepResult.load(name).state
    return [(str(record.status), record.epoch) for record in state.trials.values()]


def test_a_sweep_gets_more_trials_longer_ones_and_another_space(spec, inline, capsys):
    assert main(["run", str(spec), "-q"]) == 0
    assert main(["extend", "tiny", "--num-samples", "1", "-q"]) == 0
    assert trials() == [("COMPLETED", 2)] * 3
    assert main(["extend", "tiny", "--max-epochs", "4", "-q"]) == 0
    assert trials() == [("COMPLETED", 4)] * 3
    (spec.parent / "space.yaml").write_text("lr: {min: 0.5, max: 0.6}\nmax_epochs: 1\n")
    capsys.readouterr()
    assert main(["extend", "results/tiny", "--space", "space.yaml", "--num-samples", "1", "-q"]) == 0
    assert trials() == [("COMPLETED", 4)] * 3 + [("COMPLETED", 1)]
    assert "valid_acc" in capsys.readouterr().out
    assert 0.5 <= SweepResult.load("tiny").state.trials[3].params["lr"] <= 0.6


def test_a_space_may_be_a_whole_spec(spec, inline):
    main(["run", str(spec), "-q"])
    other = spec.parent / "other.yaml"
    other.write_text(
        SPEC.replace("min: 0.01, max: 0.1", "min: 0.5, max: 0.6").replace("num_samples: 2", "num_samples: 9")
    )
    assert main(["extend", "tiny", "--space", "other.yaml", "--num-samples", "1", "-q"]) == 0
    assert inline[-1]["parameters"] == {"lr": {"min": 0.5, "max": 0.6}, "max_epochs": 2}
    assert len(trials()) == 3


def test_what_cannot_be_extended_is_2_and_changes_nothing(spec, inline, capsys):
    main(["run", str(spec), "-q"])
    paths = SweepPaths.of("results", "tiny")
    before = paths.spec.read_text(), (paths.journal / "events.jsonl").read_bytes()
    (spec.parent / "wrong.yaml").write_text("lr: {min: 0.5, max: 0.1}\nmomentun: {distribution: lognorm}\n")
    (spec.parent / "empty.yaml").write_text("")
    for words, said in (
        ([], "nothing to extend by; give --num-samples, --max-epochs, --space"),
        (["--num-samples", "0"], "--num-samples"),
        (["--max-epochs", "2"], "2 is no more than the 2 epochs that trials have"),
        (["--space", "wrong.yaml"], "wrong.yaml:1: lr: "),
        (["--space", "wrong.yaml"], "wrong.yaml:2: momentun"),
        (["--space", "empty.yaml"], "empty.yaml: holds no parameters"),
        (["--space", "missing.yaml"], "missing.yaml: no such file"),
    ):
        capsys.readouterr()
        assert main(["extend", "tiny", *words, "-q"]) == 2, words
        captured = capsys.readouterr()
        assert captured.out == ""
        assert said in captured.err
    assert (paths.spec.read_text(), (paths.journal / "events.jsonl").read_bytes()) == before


@pytest.mark.parametrize("words", [["extend", "tinny", "--num-samples", "1"], ["stop", "tinny"]])
def test_no_such_sweep_is_4_with_a_suggestion(words, spec, inline, capsys):
    main(["run", str(spec), "-q"])
    assert main(words) == 4
    assert "did you mean tiny?" in capsys.readouterr().err


def test_a_job_that_is_started_again_goes_on_with_its_own_sweep_only(spec, inline, capsys):
    run = ["run", str(spec), "-q"]
    assert main([*run, "--resume", "must"]) == 4
    assert "no sweep" in capsys.readouterr().err
    assert main([*run, "--resume", "auto"]) == 0
    assert main([*run, "--resume", "auto"]) == 0
    assert main([*run, "--resume", "must", "--accept-changes"]) == 0
    assert inline[-1]["accept_changes"] is True
    assert len(SweepResult.load("tiny").state.attempts) == 1
    capsys.readouterr()
    assert main([*run, "--resume", "auto", "--set", "searcher.num_samples=5"]) == 4
    assert "searcher.num_samples: 2 -> 5" in capsys.readouterr().err
    assert main(run) == 4
    assert main([*run, "--resume", "perhaps"]) == 2


def test_a_sweep_that_is_not_running_cannot_be_stopped(record_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    paths = record_sweep()
    assert main(["stop", "demo"]) == 4
    assert "is not running, so there is nothing to stop" in capsys.readouterr().err
    assert lock.asked_to_stop(paths) is None


@pytest.mark.parametrize(("words", "asked"), [([], "drain"), (["--now"], "now")])
def test_a_running_sweep_is_asked_to_stop(words, asked, record_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    paths = record_sweep()
    with lock.locked(paths):
        assert main(["stop", "demo", *words]) == 0
    assert lock.asked_to_stop(paths) == asked
    captured = capsys.readouterr()
    assert captured.out.startswith("asked ")
    assert "to stop: " in captured.out


def test_a_stopped_run_is_0_and_ends_with_how_to_go_on(spec, inline, monkeypatch, capsys):
    monkeypatch.setattr("sweeps.attempt.every", lambda seconds, rule: rule)

    def stop(state: SweepState) -> None:
        if state.epochs == 1:
            assert main(["stop", "tiny", "--now"]) == 0

    sweep_run = Sweep.run
    monkeypatch.setattr(Sweep, "run", lambda *args, **options: sweep_run(*args, **options | {"progress": Told(stop)}))
    assert main(["run", str(spec), "-q"]) == 0
    root = spec.parent / "results" / "tiny"
    assert capsys.readouterr().err.splitlines()[-1] == f"stopped on request; go on with: sweeps resume {root}"
    assert trials() == [("INTERRUPTED", 1)]
    assert main(["resume", "tiny", "-q"]) == 0
    assert trials() == [("COMPLETED", 2)] * 2


def test_trials_that_all_fail_alike_are_3_with_the_cause_once(spec, inline, capsys):
    spec.write_text(SPEC.replace("max_epochs: 2", "max_epochs: 3\n  callbacks__misbehave__how: raise"))
    few = ["--set", "failure.give_up_after=2", "--set", "searcher.num_samples=5"]
    assert main(["run", str(spec), "-q", *few]) == 3
    captured = capsys.readouterr()
    assert captured.err.count("boom in an epoch") == 1
    assert captured.err.splitlines()[-1].endswith("tiny --retry-failed")
    assert trials() == [("FAILED", 2)] * 2
