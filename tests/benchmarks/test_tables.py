"""Tables of results: ratios are of the same round, failures are shown, not dropped."""

from __future__ import annotations

from benchmarks.tables import HEADINGS, cells, markdown_table, summarize, text_table


def run(peer: str, number: int, wall_s: float, **more) -> dict:
    found = {"configs": 24, "cpu_s": 2 * wall_s, "peak_memory_bytes": 5e8, "epochs": 70, "best_score": 0.7}
    return {"peer": peer, "asked": 24, "round": number, "wall_s": wall_s, **found, **more}


def failed(peer: str, number: int) -> dict:
    return {"peer": peer, "asked": 24, "round": number, "error": "took longer than 300 s"}


def test_a_ratio_is_the_median_of_those_within_a_round():
    runs = [
        run("ours", 0, 10), run("ours", 1, 20), run("ours", 2, 40),
        run("other", 0, 30), run("other", 1, 40), run("other", 2, 40),
    ]  # fmt: skip
    ours, other = summarize(runs)
    assert other.wall_ratios == (3.0, 2.0, 1.0)
    assert cells(ours)[:4] == ("ours", "24", "20.0", "1.00 (1.00-1.00)")
    assert cells(other)[3] == "2.00 (1.00-3.00)"


def test_a_round_without_ours_gives_no_ratio():
    [row] = [row for row in summarize([run("other", 0, 30), failed("ours", 0)]) if row.peer == "other"]
    assert cells(row)[3] == "-"


def test_a_peer_that_failed_is_shown_last():
    rows = summarize([failed("slow", 0), run("ours", 0, 10), failed("ours", 1)])
    assert [row.peer for row in rows] == ["ours", "slow"]
    assert [cells(row)[-1] for row in rows] == ["1 (1 failed)", "0 (1 failed)"]


def test_sizes_are_compared_apart():
    many = [run(peer, 0, seconds) | {"asked": 256, "configs": 256} for peer, seconds in (("ours", 50), ("other", 200))]
    rows = summarize([run("ours", 0, 10), run("other", 0, 30), *many])
    assert [(row.asked, row.peer, row.wall_ratios) for row in rows] == [
        (24, "ours", (1.0,)), (24, "other", (3.0,)), (256, "ours", (1.0,)), (256, "other", (4.0,)),
    ]  # fmt: skip


def test_tables_have_a_cell_for_each_heading_in_both_forms():
    lines = [cells(row) for row in summarize([run("a|b", 0, 10), failed("ours", 0)])]
    assert {len(line) for line in lines} == {len(HEADINGS)}
    head, rule, first, _ = markdown_table(HEADINGS, lines).splitlines()
    assert head.count("|") == rule.count("|") == len(HEADINGS) + 1
    assert first.startswith("| a\\|b | 24 | 10.0 |")
    assert text_table(("a", "b"), [("x", "10"), ("yy", "1")]) == "a    b\nx   10\nyy   1\n"
