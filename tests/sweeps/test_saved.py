"""What a trial's folder holds."""

from __future__ import annotations

from saved_trials import damage, half_delete, save, save_best

from sweeps.saved import TrialFiles, size_bytes


def test_a_trials_folder_is_listed_newest_first(tmp_path):
    for epoch in (2, 10, 1_000_001, 9):
        save(tmp_path, epoch)
    damage(tmp_path / "checkpoint-000009")
    half_delete(tmp_path / "checkpoint-000002")
    save_best(tmp_path, 1)
    (tmp_path / "checkpoint-old").mkdir()
    (tmp_path / ".checkpoint-000003.01.7.part").mkdir()
    files = TrialFiles.read(tmp_path)
    assert [saved.epoch for saved in files.checkpoints] == [1_000_001, 10, 9]
    assert [saved.path.name for saved in files.remains] == ["checkpoint-000002"]
    assert files.best.path == tmp_path / "best"


def test_sizes_tell_what_only_going_on_needs(tmp_path):
    directory = save(tmp_path, 1)
    (saved,) = TrialFiles.read(tmp_path).checkpoints
    assert saved.bytes == sum(path.stat().st_size for path in directory.iterdir())
    assert saved.state_bytes == (directory / "state.pt").stat().st_size


def test_a_folder_that_is_not_there_holds_nothing(tmp_path):
    assert TrialFiles.read(tmp_path / "missing") == TrialFiles()


def test_the_size_of_a_directory_is_that_of_all_files_in_it(tmp_path):
    (tmp_path / "deep" / "deeper").mkdir(parents=True)
    (tmp_path / "deep" / "deeper" / "file").write_bytes(b"12345")
    (tmp_path / "file").write_bytes(b"123")
    assert (size_bytes(tmp_path), size_bytes(tmp_path / "file"), size_bytes(tmp_path / "missing")) == (8, 3, 0)
