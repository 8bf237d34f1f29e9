"""Which attempt may write."""

from __future__ import annotations

import pytest

from trainables.claim import Claim


def test_all_may_write_where_no_claim_was_ever_taken(tmp_path):
    Claim(tmp_path, 1).check()
    Claim(tmp_path / "missing", 1).check()


def test_a_later_attempt_ends_the_claims_of_earlier_ones(tmp_path):
    first, second, third = (Claim(tmp_path, attempt) for attempt in (1, 2, 3))
    first.take()
    first.check()
    second.take()
    with pytest.raises(RuntimeError, match="attempt 2 of this sweep has taken its trials over") as error:
        first.check()
    assert "this process is of attempt 1" in str(error.value)
    second.check()
    third.check()


@pytest.mark.parametrize("text", ["", "two", "-1", "1.5"])
def test_a_damaged_claim_lets_nobody_write(tmp_path, text):
    (tmp_path / "attempt").write_text(text)
    with pytest.raises(RuntimeError, match="damaged"):
        Claim(tmp_path, 1).check()


def test_a_folder_of_trials_that_vanished_is_made_anew(tmp_path):
    Claim(tmp_path / "trials", 1).take()
    Claim(tmp_path / "trials", 1).check()
