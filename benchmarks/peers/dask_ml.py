"""dask-ml's SuccessiveHalvingSearchCV over skorch, on a local cluster of one process a core; an epoch a call.

``--hyperband`` is its HyperbandSearchCV, which says itself how many configs it tries: those of the job, in brackets.
"""

from __future__ import annotations

import argparse
import math
from typing import Any
from unittest.mock import patch

import dask.array as da
from dask.distributed import Client, LocalCluster
from dask_ml.model_selection import HyperbandSearchCV, SuccessiveHalvingSearchCV, _incremental

from benchmarks import job_a
from benchmarks.outcome import report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("configs", type=int)
    parser.add_argument("--hyperband", action="store_true")
    given = parser.parse_args()
    cluster = LocalCluster(n_workers=job_a.n_cores(), threads_per_worker=1, processes=True, dashboard_address=None)
    # Its searches split the rows at random, and here all peers are to judge on the same ones.
    with cluster, Client(cluster), patch.object(_incremental, "train_test_split", split_of_the_job):
        search = make_search(given.configs, hyperband=given.hyperband)
        search.fit(*(da.from_array(rows, chunks=rows.shape) for rows in job_a.make_data()))
    found = search.cv_results_
    report(
        "dask-hyperband" if given.hyperband else "dask-halving",
        len(found["test_score"]),
        best_score=float(max(found["test_score"])),
        epochs=int(sum(found["partial_fit_calls"])),
    )


def make_search(configs: int, *, hyperband: bool) -> Any:
    """The search; a call of partial_fit sees all training rows, and trains one epoch."""
    net = job_a.make_net(train_split=None, max_epochs=1)
    parameters = [{name: [value] for name, value in config.items()} for config in job_a.draw_configs(configs)]
    shape = {"max_iter": job_a.MAX_EPOCHS, "aggressiveness": job_a.REDUCTION_FACTOR}
    options = {"scoring": "accuracy", "random_state": 0, **shape}
    if hyperband:
        return HyperbandSearchCV(net, parameters, **options)
    # It ends with the last survivor, so few configs must begin later for the best to be trained to the end.
    first = job_a.MAX_EPOCHS // job_a.REDUCTION_FACTOR ** int(math.log(configs, job_a.REDUCTION_FACTOR))
    return SuccessiveHalvingSearchCV(
        net, parameters, n_initial_parameters=configs, n_initial_iter=max(job_a.GRACE_PERIOD, first), **options
    )


def split_of_the_job(X: da.Array, y: da.Array, **options: Any) -> tuple[da.Array, ...]:
    """The job's split, each part in one chunk."""
    (X_train, y_train), (X_valid, y_valid) = job_a.split(X, y)
    return X_train, X_valid, y_train, y_valid


if __name__ == "__main__":
    main()
