"""Sweeps on S3 whose requests fail, are slow or lose their credentials: one driver, nothing acknowledged is lost."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import time
from threading import Barrier, Thread

import nets
import object_store
import pytest

from sweeps import Sweep, SweepResult, journal, lease
from sweeps.creation import create
from sweeps.errors import InfeasibleError, SweepStateError
from sweeps.hold import Holder
from sweeps.lock import ask_to_stop, asked_to_stop, clear_stop, holder, locked
from sweeps.storage import SweepPaths, all_below, exists, find
from sweeps.stored import read_state
from trainables import mirror
from trainables import remote as remotes
from trainables.remote import RemoteFolder, StorageError

pytestmark = pytest.mark.faults

numbers = itertools.count()

_ROUNDS = 20 if os.environ.get("SWEEPS_FAULTS") == "full" else 5


@pytest.fixture(scope="session")
def server():
    object_store.install()
    with object_store.moto() as port:
        yield port


@pytest.fixture
def faults(monkeypatch, tmp_path):
    for name, value in object_store.CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(remotes, "_FIRST_PAUSE_S", 0.01)
    return object_store.Faults()


@pytest.fixture
def storage(server, faults):
    """URI of a storage of this test's own, through the proxy."""
    with object_store.proxy(server, faults) as port:
        yield object_store.uri(port, f"sweeps-{next(numbers)}")


@pytest.fixture
def folder(storage):
    return RemoteFolder(storage)


@pytest.fixture
def paths(storage):
    made = SweepPaths.of(storage, "digits")
    create(made, {"name": "digits"}, "name: digits\n")
    return made


@pytest.fixture
def elsewhere(paths, tmp_path):
    """The sweep as another machine sees it."""
    return SweepPaths(tmp_path / "elsewhere" / "digits", paths.remote)


def wait_for(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_folder_goes_there_and_back_though_every_third_request_fails(folder, faults, tmp_path):
    faults.share, faults.delay_s = 0.3, 0.002
    source = tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    contents = {"manifest.json": b"{}", "inner/large": os.urandom(12 << 20), "empty": b""}
    for name, content in contents.items():
        (source / name).write_bytes(content)
    folder.upload(source)
    folder.download(tmp_path / "target")
    assert {name: (tmp_path / "target" / name).read_bytes() for name in contents} == contents
    for name in contents:
        folder.delete(name)
    assert [entry.name for entry in folder.entries(recursive=True) if not entry.is_folder] == []
    assert faults.requests > 15


def test_credentials_that_have_expired_are_named_after_the_last_try(folder, faults):
    faults.expires_after = 0
    with pytest.raises(StorageError, match=r"cannot write: .*(ExpiredToken|403).*tried 6 times"):
        folder.write_bytes("a", b"1")


def test_a_sweep_on_s3_is_found_listed_and_refused_twice_by_uri(paths, storage, faults):
    faults.share = 0.1
    assert find(paths.location) == paths
    assert find("digits", storage) == paths
    assert all_below(storage) == [paths]
    assert paths.location == storage.replace("?", "/digits?")
    with pytest.raises(SweepStateError, match="exists already"):
        create(paths, {}, "")


def contend(folder, outcomes, together, release):
    together.wait()
    try:
        with lease.leased(folder, "the sweep") as hold:
            outcomes.append(("held", hold))
            release.wait()
    except SweepStateError as error:
        outcomes.append(("refused", str(error)))
        release.wait()


def test_of_two_drivers_at_once_one_holds_and_the_other_is_refused_in_every_round(folder, faults, monkeypatch):
    monkeypatch.setattr(lease, "_LONGEST_PAUSE_S", 0.1)
    faults.share = 0.02
    for _ in range(_ROUNDS):
        outcomes: list = []
        together, release = Barrier(2), Barrier(2)
        threads = [Thread(target=contend, args=(folder, outcomes, together, release)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(kind for kind, _ in outcomes) == ["held", "refused"]
        assert f"process {os.getpid()} on " in next(said for kind, said in outcomes if kind == "refused")
        assert [entry for entry in folder.entries() if not entry.is_folder] == []


def test_a_holder_without_a_sign_of_life_is_taken_over_and_learns_of_it(paths, elsewhere, monkeypatch):
    monkeypatch.setattr(lease, "STALE_S", 3.0)  # the store's times have whole seconds
    monkeypatch.setattr(Holder, "is_dead", None)  # as one of another machine, of which nobody can tell
    with locked(paths) as first:
        with pytest.raises(SweepStateError, match="is in use by process"), locked(elsewhere):
            pass
        assert holder(elsewhere).pid == os.getpid()

        def take_over() -> bool:
            try:
                with locked(elsewhere) as second:
                    assert f"took over from process {os.getpid()}" in second.notes[0]
                    assert not second.is_lost()
                    return True
            except SweepStateError:
                return False

        wait_for(take_over)
        first._give_sign()
        assert first.is_lost()
    assert holder(elsewhere) is None


def test_a_driver_that_was_killed_on_this_machine_is_followed_at_once(paths):
    code = (
        "import os, signal, sys\nfrom sweeps.lock import locked\nfrom sweeps.storage import find\n"
        "with locked(find(sys.argv[1])):\n    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, paths.location]).returncode == -9
    with locked(paths) as hold:
        assert "took over from process" in hold.notes[0]


def test_a_request_to_stop_reaches_a_driver_elsewhere(paths, elsewhere):
    assert asked_to_stop(paths) is None
    ask_to_stop(elsewhere, now=True)
    assert asked_to_stop(paths) == "now"
    clear_stop(paths)
    assert asked_to_stop(elsewhere) is None


WRITE = """
import sys
from sweeps.journal import Journal
from sweeps.storage import find
paths = find(sys.argv[1])
with Journal(paths.journal, paths.remote_journal) as journal:
    for number in range(1000):
        event = journal.append({"type": "a", "number": number})
        journal.flush(force=True)
        print(event["seq"], flush=True)
"""


def test_whatever_was_acknowledged_before_a_crash_is_read_elsewhere_and_numbers_go_on(paths, elsewhere, faults):
    faults.share = 0.1
    for _ in range(2):
        command = [sys.executable, "-c", WRITE, paths.location]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            acknowledged = [process.stdout.readline() for _ in range(15)]
            process.kill()
            acknowledged += process.stdout.readlines()
        last = int(acknowledged[-1])
        assert exists(elsewhere)
        numbers = [event["seq"] for event in journal.read(elsewhere.journal)]
        assert numbers == list(range(2, numbers[-1] + 1))
        assert last <= numbers[-1] <= last + 1
        assert journal.losses(elsewhere.journal) is None


PARAMETERS = {"lr": {"distribution": "loguniform", "min": 1e-3, "max": 1e-1}}


def make_sweep(storage):
    return Sweep(
        nets.make_net,
        nets.make_data(),
        {**PARAMETERS, "max_epochs": 4},
        searcher="random",
        scheduler="asha",
        num_samples=4,
        storage=storage,
        name="digits",
        report_every_s=0.001,
        checkpoint={"every_s": 0.001, "min_free_gb": 0},
    )


def outcome(result):
    """What a sweep found, without what depends on when and where."""
    records = result.state.trials.values()
    rows = [[row["valid_loss"] for _, row in sorted(record.rows.items())] for record in records]
    return [(record.params, str(record.status), record.best_value) for record in records], rows


class Dies(Exception):
    """In place of a kill: nothing is recorded any more."""


def die_after(monkeypatch, flushes):
    """Ends the driver in its so-manyth write to the journal."""
    count = itertools.count(1)
    flush = journal.Journal.flush

    def flush_or_die(self, **options):
        if next(count) > flushes:
            raise Dies
        return flush(self, **options)

    monkeypatch.setattr(journal.Journal, "flush", flush_or_die)


def test_a_sweep_that_dies_on_s3_goes_on_on_another_machine_to_the_numbers_of_a_local_one(
    storage, faults, tmp_path, monkeypatch
):
    local = make_sweep(str(tmp_path / "results")).run(progress=False, backend="inline")
    faults.share = 0.03
    with monkeypatch.context() as patched:
        die_after(patched, flushes=9)
        with pytest.raises(Dies):
            make_sweep(storage).run(progress=False, backend="inline")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "another machine"))
    uri = storage.replace("?", "/digits?")
    begun = find(uri)
    assert 0 < sum(len(record.rows) for record in read_state(begun).trials.values()) < 16
    result = Sweep.resume(uri, net=nets.make_net(), data=nets.make_data(), progress=False, backend="inline")
    assert outcome(result) == outcome(local)
    assert result.paths.location == uri
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "a third machine"))
    read = SweepResult.load(uri, net=nets.make_net())
    assert outcome(read) == outcome(local)
    assert read.best_net.predict(nets.make_data()[0]).shape == nets.make_data()[1].shape
    assert read.manifest["uri"] == uri


def test_credentials_that_expire_in_the_middle_pause_a_sweep_that_can_go_on(storage, faults, monkeypatch):
    def expire(directory, mirror):
        faults.expires_after = 3
        mirror_send(directory, mirror)

    mirror_send = mirror.send
    with monkeypatch.context() as patched:
        patched.setattr("trainables.trial.send", expire)  # with the first checkpoint, in the middle of it
        with pytest.raises(InfeasibleError, match=r"ACCESS_DENIED|ExpiredToken|403") as caught:
            make_sweep(storage).run(progress=False, backend="inline")
    assert caught.value.exit_code == 5
    assert "sweeps resume 's3://bucket/" in str(caught.value)
    faults.expires_after = None
    uri = storage.replace("?", "/digits?")
    result = Sweep.resume(uri, net=nets.make_net(), data=nets.make_data(), progress=False, backend="inline")
    assert {str(record.status) for record in result.state.trials.values()} <= {"COMPLETED", "STOPPED"}
    assert len(result.state.trials) == 4
