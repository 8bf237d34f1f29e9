"""What launching will do, before it is done."""

from __future__ import annotations

from cluster_files import CLOUD, LOCAL, write_cluster

from sweeps.cluster_file import load_cluster
from sweeps.launch_plan import dashboard_port, make_plan, plan_answer, summary_answer
from sweeps.output import Format, write


def plan_of(folder, *given):
    return make_plan(load_cluster(write_cluster(folder, *given)))


def test_the_plan_of_named_hosts(tmp_path, golden):
    golden("launch_plan_local", write(plan_answer(plan_of(tmp_path)), Format.TABLE, 200).replace(str(tmp_path), "HERE"))


def test_the_plan_of_a_provider(tmp_path, golden):
    shown = write(plan_answer(plan_of(tmp_path, CLOUD)), Format.TABLE, 200)
    golden("launch_plan_cloud", shown.replace(str(tmp_path), "HERE"))


def test_workers_beyond_the_minimum_count_where_they_have_the_most_gpus(tmp_path):
    plan = plan_of(tmp_path, CLOUD)
    assert (plan.gpus_at_start, plan.gpus_at_most) == (4, 6 * 4 + 2 * 8)
    few = plan_of(tmp_path, CLOUD, ("max_workers: 8", "max_workers: 3"))
    assert few.gpus_at_most == 1 * 4 + 2 * 8


def test_gpus_that_only_ray_can_count_are_not_made_up(tmp_path):
    plan = plan_of(tmp_path, LOCAL, (" --num-gpus=4", ""))
    assert plan.gpus_at_start is None
    assert "found by Ray" in write(summary_answer(plan), Format.TABLE, 100)


def test_a_token_that_exists_is_not_made(tmp_path):
    assert plan_of(tmp_path).makes_token
    (tmp_path / "token").write_text("x")
    assert not plan_of(tmp_path).makes_token


def test_the_port_of_the_jobs_server_is_the_files(tmp_path):
    assert dashboard_port(load_cluster(write_cluster(tmp_path))) == 8265
    other = write_cluster(tmp_path, LOCAL, ("--port=6380", "--port=6380 --dashboard-port=9000"))
    assert dashboard_port(load_cluster(other)) == 9000
