"""The supervisor: what it does when its driver is killed, asked to stop, or ends by itself. Real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sweeps.supervisor import Supervisor, going_on

ROOT = Path(__file__).resolve().parents[2]
# A driver that notes its arguments, then does what its plan says for this start: ends, is killed, or waits.
DRIVER = """
import os, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[1])
with (folder / "starts").open("a") as file:
    file.write(" ".join(sys.argv[2:]) + "\\n")
starts = len((folder / "starts").read_text().splitlines())
plan = (folder / "plan").read_text().split()
todo = plan[min(starts, len(plan)) - 1]
if todo == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if todo in ("wait", "deaf"):
    def stop(number, frame):
        with (folder / "signals").open("a") as file:
            file.write(f"{number}\\n")
        if todo == "wait":
            time.sleep(0.3)
            sys.exit(130)
    signal.signal(signal.SIGINT, stop)
    (folder / "waits").write_text(str(os.getpid()))
    while True:
        time.sleep(0.05)
sys.exit(int(todo))
"""
JOB = """
import sys
from sweeps.supervisor import Supervisor
folder, driver, grace_s = sys.argv[1:4]
sys.exit(Supervisor(sys.argv[4:], command=[sys.executable, "-c", driver, folder], grace_s=float(grace_s)).run())
"""


def supervised(folder, plan, arguments=("run", "spec.yaml", "--resume", "never"), **options):
    """Run a supervisor in this process; its exit code and what it told."""
    (folder / "plan").write_text(plan)
    told = []
    made = Supervisor(arguments, command=[sys.executable, "-c", DRIVER, str(folder)], tell=told.append, **options)
    return made.run(), told


def starts(folder):
    return (folder / "starts").read_text().splitlines()


def start_job(folder, plan, grace_s=25.0):
    """A supervisor as a process of its own, started as by Ray: SIGINT blocked. Returns when its driver waits."""
    (folder / "plan").write_text(plan)
    process = subprocess.Popen(
        [sys.executable, "-c", JOB, str(folder), DRIVER, str(grace_s), "run", "spec.yaml"],
        cwd=ROOT,
        start_new_session=True,
        preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT]),
    )
    wait_until(lambda: (folder / "waits").exists() and (folder / "waits").read_text())
    return process, int((folder / "waits").read_text())


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("code", [0, 1, 3, 5, 130, 137])
def test_the_exit_code_is_the_drivers(tmp_path, code):
    assert supervised(tmp_path, str(code)) == (code, [])
    assert starts(tmp_path) == ["run spec.yaml --resume never"]


def test_a_driver_that_was_killed_goes_on(tmp_path):
    code, told = supervised(tmp_path, "killed killed 0")
    assert code == 0
    assert starts(tmp_path) == ["run spec.yaml --resume never", *["run spec.yaml --resume auto"] * 2]
    assert "SIGKILL" in told[0]


def test_a_driver_that_is_killed_at_once_each_time_is_given_up(tmp_path):
    code, told = supervised(tmp_path, "killed")
    assert code == 137
    assert len(starts(tmp_path)) == 4
    assert "giving up" in told[-1]


def test_a_driver_that_lived_a_while_does_not_count_in_a_row(tmp_path):
    plan = " ".join(["killed"] * 6 + ["0"])
    assert supervised(tmp_path, plan, settled_s=0.0)[0] == 0
    assert len(starts(tmp_path)) == 7


def test_a_resume_is_started_again_as_it_was():
    assert going_on(["resume", "/s/demo", "--fail-on", "all"]) == ["resume", "/s/demo", "--fail-on", "all"]
    assert going_on(["run", "a.yaml", "--resume=must", "--set", "x=1"]) == [
        *("run", "a.yaml", "--set", "x=1", "--resume", "auto")
    ]
    assert going_on(["run", "--resume", "never", "a.yaml"]) == ["run", "a.yaml", "--resume", "auto"]


@pytest.mark.faults
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_driver_gets_one_interrupt_however_many_processes_are_told(tmp_path, number):
    process, driver = start_job(tmp_path, "wait")
    if number == signal.SIGTERM:  # as Ray ends a job
        os.kill(driver, number)
    process.send_signal(number)
    assert process.wait(20) == 130
    assert (tmp_path / "signals").read_text() == f"{signal.SIGINT:d}\n"
    assert len(starts(tmp_path)) == 1


@pytest.mark.faults
def test_a_driver_that_does_not_end_is_killed_in_the_end(tmp_path):
    process, driver = start_job(tmp_path, "deaf", grace_s=0.5)
    process.terminate()
    assert process.wait(20) == 137
    assert not is_alive(driver)
    assert len(starts(tmp_path)) == 1


@pytest.mark.faults
def test_a_driver_outlives_a_supervisor_that_is_killed(tmp_path):
    process, driver = start_job(tmp_path, "wait")
    process.kill()
    process.wait(20)
    assert is_alive(driver)
    os.kill(driver, signal.SIGINT)
    wait_until(lambda: not is_alive(driver))


def test_it_imports_nothing_heavy():
    code = "import sys, sweeps.supervisor; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert not {"ray", "torch", "skorch", "numpy", "pyarrow", "pydantic", "rich", "typer"} & set(loaded.split())


@pytest.mark.ray
@pytest.mark.faults
@pytest.mark.slow
def test_a_real_driver_that_is_killed_goes_on_and_loses_nothing(tmp_path):
    from sweeps.results import SweepResult

    words = ["run", "examples/digits/sweep.yaml", "--storage", str(tmp_path), "--set", "searcher.num_samples=12"]
    log = tmp_path / "log"
    with log.open("w") as file:
        job = subprocess.Popen([sys.executable, "-m", "sweeps.supervisor", *words], cwd=ROOT, stdout=file, stderr=file)
    events = tmp_path / "digits" / "journal" / "events.jsonl"
    wait_until(lambda: events.exists() and events.read_text().count('"end"') > 1, seconds=90)
    driver = int(Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text().split()[0])
    os.kill(driver, signal.SIGKILL)
    assert job.wait(120) == 0, log.read_text()
    state = SweepResult.load(tmp_path / "digits").state
    assert len(state.attempts) == 2
    assert [record.status.is_end for record in state.trials.values()] == [True] * 12
    assert "SIGKILL" in log.read_text()
