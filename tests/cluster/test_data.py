"""How rows get to the nodes of a cluster: there is one copy on each, however many workers train with it."""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from pathlib import Path

import cloudpickle
import nets
import numpy as np
import pandas as pd
import pytest
import ray
from ray import tune
from ray.cluster_utils import Cluster

from sweeps.failures import read_failure
from trainables.data import TrialData
from trainables.job import PackedJob, TrialJob
from trainables.loaders import load
from trainables.net import NetTrainable
from trainables.objective import Objective

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(os.environ.get("SWEEPS_CLUSTER") != "full", reason="only with SWEEPS_CLUSTER=full"),
]

N_NODES, N_WORKERS = 2, 3
PATIENCE_S = 120
cloudpickle.register_pickle_by_value(sys.modules[__name__])  # Ray's workers cannot import a test


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A head without CPUs and nodes that have each a directory for temporary files, as different machines do."""
    Path("/tmp/ray").mkdir(exist_ok=True)  # Cluster keeps a file there
    store = {"object_store_memory": 80 * 2**20}
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **store})
    for number in range(N_NODES):
        place = tmp_path_factory.mktemp(f"node-{number}")
        started.add_node(num_cpus=N_WORKERS, env_vars={"TMPDIR": str(place)}, wait=False, **store)
    started.wait_for_nodes()
    ray.init(started.address, log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()


@pytest.fixture
def job(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20_000, nets.N_FEATURES)).astype("float32"), np.arange(20_000) % nets.N_CLASSES
    data = TrialData.make(X, y, target="classifier")
    return TrialJob(nets.make_net(), data, Objective("valid_acc", maximize=True), tmp_path / "trials")


@pytest.fixture
def filed(job, tmp_path):
    """The same job with its rows in a Parquet file."""
    frame = pd.DataFrame({f"x{n}": column for n, column in enumerate(job.data.X.T)} | {"y": job.data.y})
    frame.to_parquet(tmp_path / "rows.parquet")
    source = {"type": "parquet", "path": str(tmp_path / "rows.parquet"), "target": "y", "columns": None}
    data = TrialData.make(*load(source), target="classifier")
    return TrialJob(job.net, data, job.objective, job.trials, source=source)


def backing(array):
    """Name, device, inode and offset of the file whose pages hold an array."""
    address = array.__array_interface__["data"][0]
    for line in Path("/proc/self/maps").read_text().splitlines():
        span, _, offset, device, inode, *name = line.split(maxsplit=5)
        begin, end = (int(number, 16) for number in span.split("-"))
        if begin <= address < end:
            return "".join(name), device, int(inode), address - begin + int(offset, 16)
    raise LookupError(f"nothing is mapped at {address}")


class Witness(tune.Trainable):
    """Says where the rows lie in this process, and ends once as many workers as fit have said so."""

    def setup(self, config, folder, **jobs):
        self.folder = folder
        self.data = {road: job.unpack().data for road, job in jobs.items()}

    def step(self):
        (self.folder / str(os.getpid())).touch()
        deadline = time.monotonic() + PATIENCE_S
        while (n_there := len(list(self.folder.iterdir()))) < N_NODES * N_WORKERS and time.monotonic() < deadline:
            time.sleep(0.05)
        seen = {
            road: [(*backing(array), array.flags.owndata, array.flags.writeable) for array in (data.X, data.y)]
            for road, data in self.data.items()
        }
        node = ray.get_runtime_context().get_node_id()
        return {"seen": repr(seen), "node": node, "pid": os.getpid(), "n_there": n_there, "done": True}


def fit(trainable, tmp_path, **tuning):
    return tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        tune_config=tune.TuneConfig(reuse_actors=True, **tuning),
        run_config=tune.RunConfig(storage_path=str(tmp_path / "ray"), verbose=0),
    ).fit()


def test_each_node_has_one_copy_of_the_rows_for_all_its_workers(cluster, job, filed, tmp_path):
    folder = tmp_path / "there"
    folder.mkdir()
    packed = {"arrays": PackedJob.pack(job, []), "files": PackedJob.pack(filed, [])}
    results = fit(tune.with_parameters(Witness, folder=folder, **packed), tmp_path, num_samples=N_NODES * N_WORKERS)
    metrics = [result.metrics for result in results]
    assert [found["n_there"] for found in metrics] == [N_NODES * N_WORKERS] * len(metrics)
    workers = defaultdict(set)
    places = {road: defaultdict(set) for road in packed}
    for found in metrics:
        workers[found["node"]].add(found["pid"])
        for road, (X, y) in eval(found["seen"]).items():
            places[road][found["node"]].add((X, y))
    assert [len(pids) for pids in workers.values()] == [N_WORKERS] * N_NODES
    for road, name in (("arrays", "plasma"), ("files", "skorch-sweeps")):
        assert [len(found) for found in places[road].values()] == [1] * N_NODES, places[road]
        (first,), (second,) = places[road].values()
        assert first != second  # on machines of their own, and not by chance in what the test's nodes have in common
        for array in (*first, *second):
            assert name in array[0]
            assert array[-2:] == (False, False)  # neither copied nor writeable


def test_a_node_whose_files_have_changed_fails_the_trial_and_says_which(cluster, filed, tmp_path):
    packed = PackedJob.pack(filed, [])
    path = filed.source["path"]
    frame = pd.read_parquet(path)
    frame.iloc[5, 0] += 1
    frame.to_parquet(path)
    trainable = tune.with_parameters(NetTrainable, job=packed)
    results = fit(trainable, tmp_path, num_samples=1)
    [trial_folder] = [Path(result.path) for result in results]
    failure = read_failure((trial_folder / "error.txt").read_text())
    assert failure.cause == "user"
    assert f"{path}: the files hold other rows on this node" in failure.error
