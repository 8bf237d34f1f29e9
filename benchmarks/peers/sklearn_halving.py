"""scikit-learn's HalvingRandomSearchCV with epochs as the resource: survivors are trained anew, for longer."""

from __future__ import annotations

import numpy as np
from sklearn.experimental import enable_halving_search_cv  # noqa: F401  # makes the class importable
from sklearn.model_selection import HalvingRandomSearchCV, PredefinedSplit

from benchmarks import job_a
from benchmarks.outcome import begin, report


def main() -> None:
    configs = begin(__doc__)
    search = HalvingRandomSearchCV(
        job_a.make_net(train_split=None),
        # Of lists alone it draws without replacement: as many as there are is each of them once.
        [{name: [value] for name, value in config.items()} for config in job_a.draw_configs(configs)],
        n_candidates=configs,
        factor=job_a.REDUCTION_FACTOR,
        resource="max_epochs",
        min_resources="exhaust",
        max_resources=job_a.MAX_EPOCHS,
        scoring="accuracy",
        cv=PredefinedSplit(job_a.fold_of_rows()),
        n_jobs=-1,
        refit=False,
        random_state=0,
    )
    search.fit(*job_a.make_data())
    scores, epochs = search.cv_results_["mean_test_score"], search.cv_results_["n_resources"]
    report("sklearn-halving", configs, best_score=float(np.max(scores)), epochs=int(np.sum(epochs)))


if __name__ == "__main__":
    main()
