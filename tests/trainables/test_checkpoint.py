"""Checkpoints on disk: whole or absent, and nothing in them is believed unchecked."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import load_file

from trainables import checkpoint
from trainables.checkpoint import LOG, MANIFEST, STATE, CheckpointError
from trainables.plain import to_plain

WEIGHTS = {"module": {"w": torch.arange(4.0), "b": torch.zeros(2, 3).t()}}


ROWS = [{"epoch": 1, "valid_loss": 0.1}, {"epoch": 2, "valid_loss": float("nan")}]


def make_state(epoch=3):
    best = {"epoch": 2, "value": 0.5, "weights": WEIGHTS}
    return {"epoch": epoch, "tensor": torch.ones(3), "best": to_plain(best), "text": "ö"}


def save(directory, epoch=3):
    checkpoint.save(make_state(epoch), directory, epoch=epoch, best_epoch=2, log=ROWS)
    return directory


@pytest.fixture
def saved(tmp_path):
    return save(tmp_path / "trial" / "checkpoint-000003")


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_what_is_saved_is_loaded(saved):
    state = checkpoint.load(saved)
    assert state["epoch"] == 3
    assert state["text"] == "ö"
    assert torch.equal(state["tensor"], torch.ones(3))
    assert names(saved.parent) == ["checkpoint-000003"]


def test_the_manifest_says_what_is_there(saved):
    manifest = checkpoint.verify(saved)
    assert (manifest["format"], manifest["epoch"], manifest["best_epoch"]) == (1, 3, 2)
    assert sorted(manifest["files"]) == ["best.module.safetensors", LOG, STATE]
    assert manifest["files"][STATE]["size"] == (saved / STATE).stat().st_size


def test_the_best_weights_can_be_read_by_anybody(saved):
    found = load_file(saved / "best.module.safetensors")
    assert torch.equal(found["w"], WEIGHTS["module"]["w"])
    assert torch.equal(found["b"], WEIGHTS["module"]["b"])


def test_a_state_without_a_best_is_saved_too(tmp_path):
    checkpoint.save({"a": 1}, tmp_path / "c", epoch=1)
    assert checkpoint.load(tmp_path / "c") == {"a": 1}


def test_the_log_can_be_read_without_the_state(saved):
    (first, second) = checkpoint.read_log(saved)
    assert first == ROWS[0]
    assert second["valid_loss"] != second["valid_loss"]


@pytest.mark.parametrize("content", ["", "[3]", "7", '["a"]'])
def test_a_log_that_is_none_is_refused_though_the_manifest_approves(saved, content):
    (saved / LOG).write_text(content)
    approve(saved)
    with pytest.raises(CheckpointError, match=LOG):
        checkpoint.read_log(saved)


def test_a_checkpoint_replaces_the_one_before(saved):
    (saved / "stray").write_text("x")
    checkpoint.save({"a": 1}, saved, epoch=4)
    assert checkpoint.load(saved) == {"a": 1}
    assert names(saved) == [LOG, MANIFEST, STATE]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def remove(path):
    path.unlink()


def make_a_directory(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("harm", [truncate, empty, flip_a_bit, remove, make_a_directory])
@pytest.mark.parametrize("name", [STATE, LOG, "best.module.safetensors"])
def test_a_damaged_file_is_named(saved, name, harm):
    harm(saved / name)
    for read in (checkpoint.load, checkpoint.verify):
        with pytest.raises(CheckpointError) as error:
            read(saved)
        assert str(saved / name) in str(error.value)


@pytest.mark.parametrize("harm", [truncate, empty, remove, make_a_directory])
def test_a_damaged_manifest_is_named(saved, harm):
    harm(saved / MANIFEST)
    with pytest.raises(CheckpointError) as error:
        checkpoint.load(saved)
    assert str(saved / MANIFEST) in str(error.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": 2}, "format 2 is not known; this version reads format 1"),
        ({"format": None}, "format None is not known"),
        ({"files": []}, "damaged"),
        ({"files": {}}, "damaged"),
        ({"files": {"best.module.safetensors": {}}}, "damaged"),
        ({"files": {STATE: {}}}, "damaged"),
        ({"files": {STATE: {}, LOG: {}, "../escape": {}}}, "damaged"),
        ({"files": {STATE: "0", LOG: "0"}}, "damaged"),
        ({"epoch": "3"}, "damaged"),
        ({"best_epoch": None}, "damaged"),
    ],
)
def test_a_manifest_that_was_tampered_with_is_refused(saved, change, said):
    path = saved / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(CheckpointError, match=said):
        checkpoint.load(saved)


@pytest.mark.parametrize("text", ["", "[]", "null", "{}", '{"files": {}}', "\xff", "[" * 100_000, "3", '{"format": 1}'])
def test_garbage_for_a_manifest_is_refused(saved, text):
    (saved / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=MANIFEST):
        checkpoint.verify(saved)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(CheckpointError, match=MANIFEST):
            checkpoint.load(path)


class Trap:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def approve(saved):
    """Makes the manifest fit whatever the files now are."""
    path, manifest = saved / MANIFEST, json.loads((saved / MANIFEST).read_text())
    for name in manifest["files"]:
        content = (saved / name).read_bytes()
        manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    path.write_text(json.dumps(manifest))


def test_a_trap_is_refused_and_does_not_go_off(saved, tmp_path):
    sprung = tmp_path / "sprung"
    torch.save({"a": Trap(sprung)}, saved / STATE)
    approve(saved)
    checkpoint.verify(saved)
    with pytest.raises(CheckpointError, match=STATE):
        checkpoint.load(saved)
    assert not sprung.exists()
    torch.load(saved / STATE, weights_only=False)
    assert sprung.exists()


@pytest.mark.parametrize("content", [b"", b"garbage", pickle.dumps({"a": 1}, 2)[:-3], pickle.dumps([1, 2], 2)])
def test_content_that_is_no_state_is_refused_though_the_manifest_approves(saved, content):
    (saved / STATE).write_bytes(content)
    approve(saved)
    with pytest.raises(CheckpointError, match=STATE):
        checkpoint.load(saved)


def test_an_archive_without_its_pickle_is_refused(saved):
    with zipfile.ZipFile(saved / STATE, "w") as archive:
        archive.writestr("nothing", "")
    approve(saved)
    with pytest.raises(CheckpointError, match=STATE):
        checkpoint.load(saved)


def fail(*args, **kwargs):
    raise OSError("disk full")


@pytest.mark.parametrize("where", ["trainables.checkpoint.torch.save", "trainables.checkpoint.save_file", "os.fsync"])
def test_a_write_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, where):
    monkeypatch.setattr(where, fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path / "checkpoint-000001")
    assert names(tmp_path) == []


def test_a_write_that_fails_leaves_the_checkpoint_before_it(saved, monkeypatch):
    monkeypatch.setattr("trainables.checkpoint.save_file", fail)
    with pytest.raises(OSError, match="disk full"):
        save(saved, epoch=9)
    assert checkpoint.load(saved)["epoch"] == 3
    assert names(saved.parent) == ["checkpoint-000003"]


def test_the_newest_is_the_one_of_the_latest_epoch(tmp_path):
    assert checkpoint.newest(tmp_path / "missing") == (None, [])
    for epoch in (9, 10, 2):
        save(tmp_path / checkpoint.directory_name(epoch), epoch)
    assert checkpoint.newest(tmp_path) == (tmp_path / "checkpoint-000010", [])


def test_a_damaged_newest_is_passed_over_with_a_word(tmp_path):
    for epoch in (9, 10, 11):
        save(tmp_path / checkpoint.directory_name(epoch), epoch)
    flip_a_bit(tmp_path / "checkpoint-000011" / STATE)
    remove(tmp_path / "checkpoint-000010" / MANIFEST)
    found, passed_over = checkpoint.newest(tmp_path)
    assert found == tmp_path / "checkpoint-000009"
    assert ["checkpoint-000011" in passed_over[0], "checkpoint-000010" in passed_over[1]] == [True, True]


def test_with_none_to_trust_all_are_named(tmp_path):
    save(tmp_path / "checkpoint-000001")
    truncate(tmp_path / "checkpoint-000001" / STATE)
    found, passed_over = checkpoint.newest(tmp_path)
    assert found is None
    assert len(passed_over) == 1


def test_an_unfinished_write_of_a_killed_process_is_no_checkpoint(tmp_path):
    save(tmp_path / "checkpoint-000001")
    (tmp_path / ".checkpoint-000002.4242.part").mkdir()
    assert checkpoint.newest(tmp_path) == (tmp_path / "checkpoint-000001", [])


def test_names_sort_by_number():
    assert checkpoint.directory_name(9) == "checkpoint-000009"
    assert checkpoint.trial_name(12) == "trial_00012"


def test_the_best_weights_are_kept_without_a_state_to_go_on_from(saved):
    best = checkpoint.keep_best(saved)
    checkpoint.delete(saved)
    assert names(saved.parent) == ["best"]
    assert names(best) == ["best.module.safetensors", LOG, MANIFEST]
    assert checkpoint.verify_best(best)["best_epoch"] == 2
    assert torch.equal(load_file(best / "best.module.safetensors")["w"], WEIGHTS["module"]["w"])
    assert checkpoint.newest(saved.parent) == (None, [])
    for read in (checkpoint.verify, checkpoint.load):
        with pytest.raises(CheckpointError):
            read(best)


def test_the_best_weights_are_copied_where_files_cannot_be_linked(saved, monkeypatch):
    monkeypatch.setattr("os.link", fail)
    assert checkpoint.verify_best(checkpoint.keep_best(saved))["epoch"] == 3


def test_the_best_weights_replace_those_kept_before(tmp_path):
    for epoch in (3, 5):
        best = checkpoint.keep_best(save(tmp_path / checkpoint.directory_name(epoch), epoch))
    assert checkpoint.verify_best(best)["epoch"] == 5


def test_the_best_weights_of_a_damaged_checkpoint_are_not_kept(saved):
    flip_a_bit(saved / STATE)
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.keep_best(saved)
    assert names(saved.parent) == ["checkpoint-000003"]


def test_the_best_weights_are_in_the_newest_checkpoint_or_in_what_was_kept_of_one(saved):
    folder = saved.parent
    best = checkpoint.keep_best(saved)
    assert checkpoint.newest_best(folder) == (saved, [])
    checkpoint.delete(saved)
    assert checkpoint.newest_best(folder) == (best, [])
    flip_a_bit(best / "best.module.safetensors")
    found, passed_over = checkpoint.newest_best(folder)
    assert (found, len(passed_over)) == (None, 1)
    checkpoint.delete(best)
    assert checkpoint.newest_best(folder) == (None, [])


def test_a_deletion_that_is_cut_short_leaves_nothing_that_verifies(saved, monkeypatch):
    monkeypatch.setattr("shutil.rmtree", fail)
    with pytest.raises(OSError, match="disk full"):
        checkpoint.delete(saved)
    assert saved.exists()
    with pytest.raises(CheckpointError, match="missing"):
        checkpoint.verify(saved)


def test_what_is_gone_already_is_deleted(saved):
    checkpoint.delete(saved)
    checkpoint.delete(saved)
    assert not saved.exists()
