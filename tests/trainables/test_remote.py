"""A folder of a store: what is asked of it is done, tried again, or refused with a message that shows no secret."""

from __future__ import annotations

import pickle
import socket
import threading
import time

import pyarrow
import pytest
from pyarrow import fs

from trainables import remote as remotes
from trainables.remote import RemoteFolder, StorageError, is_remote, without_credentials


class Flaky(fs.FileSystemHandler):
    """A filesystem whose operations fail so many times before they work."""

    def __init__(self, failures: int, error: type[OSError] = OSError) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def _fail(self) -> None:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error("503 slow down\nsecond line")

    def get_type_name(self):
        return "py::flaky"

    def get_file_info_selector(self, selector):
        self._fail()
        return []

    def open_input_stream(self, path):
        self._fail()
        return pyarrow.BufferReader(b"content")

    def _unused(self, *arguments):
        raise NotImplementedError

    copy_file = create_dir = delete_dir = delete_dir_contents = delete_file = delete_root_dir_contents = _unused
    get_file_info = move = normalize_path = open_append_stream = open_input_file = open_output_stream = _unused


@pytest.fixture
def folder(tmp_path):
    return RemoteFolder((tmp_path / "store").as_uri())


@pytest.fixture
def pauses(monkeypatch):
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def flaky(folder, *arguments):
    handler = Flaky(*arguments)
    folder._filesystem = fs.PyFileSystem(handler)
    return handler


def test_what_is_written_is_read_and_listed_by_name(folder):
    folder.write_bytes("b", b"22")
    folder.write_bytes("inner/a", b"1")
    folder.write_bytes("b", b"333")
    assert folder.read_bytes("b") == b"333"
    assert [(entry.name, entry.size, entry.is_folder) for entry in folder.entries()] == [
        ("b", 3, False),
        ("inner", 0, True),
    ]
    assert [entry.name for entry in folder.entries(recursive=True)] == ["b", "inner", "inner/a"]
    assert [entry.name for entry in (folder / "inner").entries()] == ["a"]
    assert abs(folder.entries()[0].mtime - time.time()) < 60


def test_what_is_not_there_is_an_answer_and_no_fault(folder, pauses):
    assert folder.entries() == []
    with pytest.raises(FileNotFoundError):
        folder.read_bytes("a")
    folder.delete("a", "b")
    folder.delete_all()
    assert pauses == []


def test_a_directory_goes_there_and_back_with_what_makes_it_whole_last(folder, tmp_path, monkeypatch):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "inner").mkdir(parents=True)
    for name in ("manifest.json", "a", "z", "inner/b"):
        (source / name).write_text(name)
    sent: list[str] = []
    send = RemoteFolder._send
    monkeypatch.setattr(RemoteFolder, "_send", lambda *given: (sent.append(given[1].name), send(*given)))
    folder.upload(source)
    assert sent == ["a", "b", "z", "manifest.json"]
    folder.download(target)
    assert {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()} == {
        "manifest.json",
        "a",
        "z",
        "inner/b",
    }
    assert (target / "inner" / "b").read_text() == "inner/b"
    assert (target / "a").stat().st_mtime == pytest.approx(folder.entries()[0].mtime, abs=1e-3)
    folder.delete_all()
    assert folder.entries() == []


def test_it_connects_again_where_it_arrives(folder):
    folder.write_bytes("inner/a", b"1")
    copy = pickle.loads(pickle.dumps(folder / "inner"))
    assert copy == folder / "inner"
    assert copy.read_bytes("a") == b"1"


@pytest.mark.parametrize("error", [OSError, PermissionError, ConnectionError, TimeoutError])
def test_an_operation_is_tried_again_after_growing_random_pauses(folder, pauses, error):
    handler = flaky(folder, 5, error)
    assert folder.entries() == []
    assert handler.calls == 6
    assert all(0 <= pause <= most for pause, most in zip(pauses, [0.5, 1, 2, 4, 8], strict=True))
    assert len(set(pauses)) == 5


def test_a_store_that_never_answers_well_ends_with_uri_operation_and_last_error(folder, pauses):
    handler = flaky(folder, 100)
    with pytest.raises(StorageError, match=r"store: cannot list: 503 slow down \(tried 6 times in \d+ s\)"):
        folder.entries()
    with pytest.raises(StorageError, match=r"store/a: cannot read: "):
        folder.read_bytes("a")
    assert handler.calls == 12


def test_a_server_that_hangs_is_an_error_within_seconds(monkeypatch, pauses):
    monkeypatch.setattr(remotes, "_TRIES", 1)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "x")
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept = []
        threading.Thread(target=lambda: kept.append(server.accept()), daemon=True).start()
        port = server.getsockname()[1]
        folder = RemoteFolder(f"s3://bucket/a?region=x&scheme=http&endpoint_override=127.0.0.1:{port}")
        begun = time.monotonic()
        with pytest.raises(StorageError, match=f"127.0.0.1:{port}"):
            folder.read_bytes("b")
        assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("s3://id:word@bucket/a?region=x&scheme=http", "s3://bucket/a?region=x&scheme=http"),
        ("s3://bucket/a?access_key=i&secret_key=word&region=x", "s3://bucket/a?region=x"),
        ("s3://bucket/a?session_token=word", "s3://bucket/a"),
        ("s3://bucket/a?endpoint_override=127.0.0.1:9", "s3://bucket/a?endpoint_override=127.0.0.1:9"),
        ("hdfs://user@host:9000/a", "hdfs://host:9000/a"),
    ],
)
def test_no_secret_of_a_uri_is_ever_shown(uri, shown):
    assert without_credentials(uri) == shown


def test_a_uri_keeps_its_options_behind_what_is_joined():
    folder = RemoteFolder("s3://id:word@bucket/a?region=eu-west-1&scheme=http&endpoint_override=127.0.0.1:9")
    inner = folder / "b" / "c"
    assert inner.uri == "s3://bucket/a/b/c?region=eu-west-1&scheme=http&endpoint_override=127.0.0.1:9"
    assert pickle.loads(pickle.dumps(inner)).uri == inner.uri
    assert "word" not in repr(inner)


@pytest.mark.parametrize("uri", ["nope://a/b", "s3://id:word@bucket/a?nope=1"])
def test_what_pyarrow_does_not_know_is_a_value_error_without_secrets(uri):
    with pytest.raises(ValueError, match="nope") as caught:
        RemoteFolder(uri)
    assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    ("storage", "answer"),
    [("s3://b/a", True), ("gs://b", True), ("file:///a", False), ("./a", False), ("/a://b", False), ("a", False)],
)
def test_only_uris_of_other_filesystems_are_remote(storage, answer):
    assert is_remote(storage) is answer
