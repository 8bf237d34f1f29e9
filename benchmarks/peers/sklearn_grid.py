"""scikit-learn's GridSearchCV over the drawn configs, on all cores: every config trains to its end."""

from __future__ import annotations

from sklearn.model_selection import GridSearchCV, PredefinedSplit

from benchmarks import job_a
from benchmarks.outcome import begin, report


def main() -> None:
    configs = begin(__doc__)
    search = GridSearchCV(
        job_a.make_net(train_split=None),
        [{name: [value] for name, value in config.items()} for config in job_a.draw_configs(configs)],
        scoring="accuracy",
        cv=PredefinedSplit(job_a.fold_of_rows()),
        n_jobs=-1,
        refit=False,
    )
    search.fit(*job_a.make_data())
    report("sklearn-grid", configs, best_score=float(search.best_score_), epochs=configs * job_a.MAX_EPOCHS)


if __name__ == "__main__":
    main()
