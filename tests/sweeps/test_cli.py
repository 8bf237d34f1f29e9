"""The command line: what goes where, and the exit codes."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from sweeps.cli import main

HEAVY = ("torch", "ray", "sklearn", "pandas", "skorch", "scipy", "hyperopt")
SPEC = """\
version: 1
name: tiny
net: nets:make_net
data: {type: python, object: "nets:make_data"}
metric: {name: valid_acc, goal: maximize}
parameters: {lr: {min: 0.01, max: 0.1}, module__nodes: [4, 8], max_epochs: 2}
searcher: {name: random, num_samples: 2}
"""


@pytest.fixture
def spec(tmp_path, monkeypatch):
    """A small sweep.yaml in the current directory."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "sweep.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture
def recorded(record_sweep, monkeypatch, tmp_path):
    """A recorded sweep named demo below ./results."""
    monkeypatch.chdir(tmp_path)
    return record_sweep()


def sweeps(*words, code="import sys; from sweeps.cli import main; sys.exit(main())"):
    """The command in a process of its own."""
    command = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for verb in ("init", "validate", "preview", "run", "resume", "extend", "stop", "ls", "show", "best", "export"):
        assert f" {verb} " in shown
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip()[0].isdigit()


@pytest.mark.parametrize(
    "words",
    [["rum"], ["run"], ["run", "--nam", "x"], ["ls", "-o", "xml"], ["show", "demo", "--limit", "-1"], ["extend", "x"]],
)
def test_wrong_usage_is_2_and_says_why_on_stderr(words, capsys, recorded):
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")


def test_a_broken_file_is_2_with_every_problem_on_a_line(spec, capsys):
    spec.write_text(SPEC.replace("num_samples", "num_samplez").replace("net: nets:make_net\n", ""))
    for verb in ("validate", "preview", "run"):
        assert main([verb, str(spec), "--set", "seed=-1"]) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        lines = captured.err.splitlines()
        assert len(lines) == 3
        assert all(line.startswith("error: ") for line in lines)
        for part in ("did you mean num_samples?", "required; give module:attribute", "--set seed"):
            assert part in captured.err


def test_a_name_in_use_is_4_before_anything_is_imported(spec, recorded, capsys):
    assert main(["run", str(spec), "--name", "demo"]) == 4
    assert "demo exists already" in capsys.readouterr().err


def test_no_such_sweep_is_4_with_a_suggestion(recorded, capsys):
    for verb in (["show"], ["best"], ["export", "--to", "csv", "-f", "x.csv"]):
        assert main([verb[0], "demi", *verb[1:]]) == 4
        assert "did you mean demo?" in capsys.readouterr().err


def test_a_damaged_journal_is_4(recorded, capsys):
    (recorded.journal / "events.jsonl").write_text("damage\n")
    assert main(["show", "demo"]) == 4
    assert "events.jsonl:1: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["show", "demo"], ["best", "demo"], ["ls"]])
def test_whoever_reads_a_journal_that_lost_its_end_is_told(words, recorded, capsys):
    events = recorded.journal / "events.jsonl"
    events.write_bytes(b"".join(events.read_bytes().splitlines(keepends=True)[:-1]))
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.err.startswith(f"note: {events} ends at record ")
    assert "ends at" not in said.out


def test_a_best_of_nothing_is_3(record_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record_sweep("empty", events=[{"type": "attempt", "attempt": 1, "n_trials": 1, "rungs": []}])
    assert main(["best", "empty"]) == 3
    assert "has a score" in capsys.readouterr().err


def test_a_storage_of_another_kind_is_5(capsys):
    assert main(["ls", "pigeon://bucket/sweeps"]) == 5
    assert "pigeon://bucket/sweeps; give a folder, or a URI" in capsys.readouterr().err


@pytest.mark.parametrize("reference", ["demo", "results/demo", "{uri}"])
def test_a_sweep_is_named_by_name_directory_or_uri(recorded, capsys, reference):
    assert main(["best", reference.format(uri=recorded.root.as_uri()), "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["trial"] == 0


def test_the_storage_can_be_another(record_sweep, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    record_sweep("far", storage="elsewhere")
    assert main(["show", "far"]) == 4
    assert main(["show", "far", "--storage", "elsewhere"]) == 0
    capsys.readouterr()
    assert main(["ls", "elsewhere", "-o", "json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == ["far"]


def test_json_on_stdout_has_no_nan(recorded, capsys):
    for words in (["show", "demo"], ["show", "demo", "--trial", "3"], ["ls"]):
        assert main([*words, "-o", "json"]) == 0
        json.loads(capsys.readouterr().out, parse_constant=pytest.fail)


def test_an_empty_storage_is_an_empty_list_and_a_note(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["ls", "-o", "json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out) == []
    assert captured.err == "no sweeps below ./results\n"


def test_export_writes_a_table_and_says_where(recorded, tmp_path, capsys):
    assert main(["export", "demo", "--to", "json", "-f", "t.json"]) == 0
    assert capsys.readouterr().out == "t.json\n"
    assert len(json.loads((tmp_path / "t.json").read_text())) == 4
    assert main(["export", "demo", "--to", "json", "-f", "t.csv"]) == 2


def test_init_tells_what_to_do_next_and_overwrites_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["init", "new", "--template", "regressor"]) == 0
    assert "sweeps run new/sweep.yaml" in capsys.readouterr().out
    assert main(["init", "new"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert [line.split(":")[1].strip() for line in captured.err.splitlines()] == ["new/sweep.yaml", "new/model.py"]


def test_validate_names_every_problem_of_net_and_data_on_stderr(spec, capsys):
    spec.write_text(SPEC.replace("module__nodes", "module__nodez"))
    assert main(["validate", str(spec)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "parameters.module__nodez: NeuralNetClassifier has no such parameter" in captured.err


def test_validate_says_what_will_be_run(spec, capsys):
    assert main(["validate", str(spec), "-o", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["ok"] is True
    assert found["trials"] == 2
    assert "valid_acc" in found["metrics"]


def test_what_the_users_code_prints_does_not_reach_stdout(spec, tmp_path, capsys):
    (tmp_path / "loud_net.py").write_text("print('I am imported')\nfrom nets import make_net\n")
    spec.write_text(SPEC.replace("nets:make_net", "loud_net:make_net"))
    assert main(["preview", str(spec), "-n", "1", "-o", "json"]) == 0
    captured = capsys.readouterr()
    assert len(json.loads(captured.out)["configs"]) == 1
    assert "I am imported" in captured.err


def test_a_preview_weighs_the_heaviest_config_only_when_it_shall(spec, tmp_path, capsys):
    (tmp_path / "eager_net.py").write_text("import nets\ndef make(): return nets.make_net(compile__backend='eager')\n")
    spec.write_text(SPEC.replace("nets:make_net", "eager_net:make"))
    assert main(["preview", str(spec), "-o", "json"]) == 0
    without = json.loads(capsys.readouterr().out)
    assert without["memory"] is without["speed"] is None
    assert main(["preview", str(spec), "--probe", "-o", "json"]) == 0
    captured = capsys.readouterr()
    memory = json.loads(captured.out)["memory"]
    assert memory["params"].keys() == {"lr", "module__nodes", "max_epochs"}
    assert 0 < memory["process_peak_bytes"] < memory["machine_bytes"]
    assert memory["gpu"] is None
    assert "training the heaviest on all rows" in captured.err
    speed = json.loads(captured.out)["speed"]
    assert (speed["metric"], speed["params"]) == ("valid_acc", memory["params"])
    assert [variant["name"] for variant in speed["variants"]] == ["as it is", "compile"]


def test_a_bug_is_1_with_one_line_and_a_traceback_only_on_demand(recorded):
    code = "import sys, sweeps.storage\nfrom sweeps.cli import main\ndel sweeps.storage.all_below\nsys.exit(main())"
    plain, debug = (sweeps("ls", *more, code=code) for more in ([], ["--debug"]))
    assert plain.returncode == debug.returncode == 1
    assert len(plain.stderr.splitlines()) == 1
    assert plain.stderr.startswith("error: AttributeError")
    assert "run again with --debug" in plain.stderr
    assert "Traceback" in debug.stderr


def test_debug_shows_where_an_expected_error_came_from(recorded, capsys):
    assert main(["best", "nothing", "--debug"]) == 4
    captured = capsys.readouterr()
    assert "Traceback" in captured.err
    assert "error: no sweep 'nothing'" in captured.err


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["run", "--help"],
        ["ls"],
        ["show", "demo"],
        ["show", "demo", "--trial", "0"],
        ["best", "demo", "-o", "json"],
        ["validate", "broken.yaml"],
    ],
    ids=" ".join,
)
def test_quick_verbs_import_nothing_heavy_and_take_less_than_a_second(words, recorded, tmp_path):
    (tmp_path / "broken.yaml").write_text(SPEC.replace("num_samples", "num_samplez"))
    code = (
        "import sys; from sweeps.cli import main; main();"
        f"print('HEAVY', *(name for name in {HEAVY} if name in sys.modules), file=sys.stderr)"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = sweeps(*words, code=code)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stderr.splitlines()[-1] == "HEAVY"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1.0


FAILED_ONLY = [
    {"type": "attempt", "attempt": 1, "n_trials": 1, "rungs": []},
    {"type": "trial", "trial": 0, "params": {"lr": 0.1}},
    {"type": "end", "trial": 0, "status": "FAILED", "cause": "user", "error": "ValueError: bad\ntrace"},
    {"type": "attempt_end", "reason": "complete"},
]


@pytest.mark.parametrize(
    ("record", "fail_on", "code"),
    [
        ({}, "all", 0),
        ({}, "any", 3),
        ({}, "none", 0),
        ({"events": FAILED_ONLY}, "all", 3),
        ({"events": FAILED_ONLY}, "any", 3),
        ({"events": FAILED_ONLY}, "none", 0),
        ({"reason": "time budget"}, "all", 0),
        ({"reason": "stopped"}, "all", 0),
        ({"reason": "stopped"}, "any", 3),
        ({"reason": "interrupted"}, "all", 130),
        ({"reason": "interrupted"}, "none", 130),
    ],
)
def test_the_exit_code_says_how_a_run_ended(record, fail_on, code, spec, record_sweep, monkeypatch, capsys):
    from sweeps.sweep import Sweep

    monkeypatch.setattr(Sweep, "run", lambda *args, **options: record_sweep(**record))
    placed = ["--storage", str(spec.parent / "results"), "--name", "demo"]
    assert main(["run", str(spec), "-q", "--fail-on", fail_on, *placed]) == code
    captured = capsys.readouterr()
    assert captured.out.startswith("best ")
    assert ("error: " in captured.err) == (code in (1, 2, 3))
    assert "sweeps resume " in captured.err.splitlines()[-1:][0] if code == 130 else True


@pytest.mark.ray
@pytest.mark.slow
def test_a_whole_sweep_from_the_command_line(spec, capsys):
    assert main(["preview", str(spec), "-o", "json"]) == 0
    previewed = json.loads(capsys.readouterr().out)
    done = sweeps("run", spec, "--name", "whole", "--storage", "here", "--set", "seed=1")
    assert done.returncode == 0, done.stderr
    assert "starting Ray on this machine" in done.stderr
    assert "2/2 trials ended" in done.stderr.splitlines()[-1]
    assert done.stdout.startswith("best ")
    assert "sweeps show whole --storage" in done.stdout
    assert main(["show", "whole", "--storage", "here", "-o", "json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["sweep"]["status"] == "complete"
    assert [trial["params"] for trial in shown["trials"]] == previewed["configs"]
    assert main(["export", "here/whole", "--to", "model", "-f", "net"]) == 0
    assert (spec.parent / "net" / "model.safetensors").exists()
