"""The telling line among many that Ray's launcher writes."""

from __future__ import annotations

from sweeps.launch_log import failed_hosts, recent_failures, telling_line

LOG = """\
2026-11-24 16:32:36,024\tVINFO command_runner.py:399 -- Running `\x1b[1mray stop\x1b[22m`
Did not find any active Ray processes.
\x1b[0mShared connection to 192.0.2.1 closed.
Usage: ray start [OPTIONS]
Try 'ray start --help' for help.

Error: No such option '--headd'.
\x1b[0mShared connection to 192.0.2.1 closed.
2026-11-24 16:32:37,350\tERR updater.py:177 -- \x1b[31mNew status: \x1b[1mupdate-failed\x1b[22m
2026-11-24 16:32:37,351\tERR updater.py:191 -- Full traceback: Traceback (most recent call last):
  File "updater.py", line 172, in run
click.exceptions.ClickException: SSH command failed.
Error: Failed to setup head node.
"""
MONITOR = """\
disk full
2026-11-24 16:32:52,681\tINFO log_timer.py:25 -- NodeUpdater: 192.0.2.2: Ray start commands failed [LogTimer=1864ms]
2026-11-24 16:32:52,682\tERR updater.py:191 -- Full traceback: Traceback (most recent call last):
  File "updater.py", line 172, in run
click.exceptions.ClickException: SSH command failed.
2026-11-24 16:32:52,869\tINFO log_timer.py:25 -- NodeUpdater: 192.0.2.3: Setup commands failed [LogTimer=2021ms]
"""


def test_what_the_failing_command_wrote_is_told():
    assert telling_line(LOG) == "Error: No such option '--headd'."


def test_without_a_failing_command_the_last_error_is_told():
    assert telling_line("going\nRuntimeError: Head node of cluster (lab) not found!\nbye") == (
        "RuntimeError: Head node of cluster (lab) not found!"
    )
    assert telling_line("all is well\n") is None


def test_hosts_that_failed_never_have_the_launchers_own_traceback_as_their_reason():
    assert failed_hosts(MONITOR) == {"192.0.2.2": "disk full", "192.0.2.3": "disk full"}


def test_failures_are_read_from_the_status():
    status = "Pending:\n x\nRecent failures:\n gpu4: NodeTerminated (ip: 1)\n gpu8: y\n\nResources\n---\nTotal"
    assert recent_failures(status) == ["gpu4: NodeTerminated (ip: 1)", "gpu8: y"]
    assert recent_failures("Recent failures:\n (no failures)\n\nResources") == []
    assert recent_failures("") == []
