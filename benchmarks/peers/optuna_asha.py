"""Optuna with its SuccessiveHalvingPruner: one process a core, sharing a journal file, as its docs teach."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
import torch
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import Trial, TrialState
from optuna_integration import SkorchPruningCallback
from skorch.dataset import Dataset
from skorch.helper import predefined_split

from benchmarks import job_a
from benchmarks.outcome import begin, report

STUDY = "job"


def study_at(path: str) -> optuna.Study:
    """The study that all processes share."""
    return optuna.create_study(
        study_name=STUDY,
        storage=JournalStorage(JournalFileBackend(path)),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.SuccessiveHalvingPruner(
            min_resource=job_a.GRACE_PERIOD, reduction_factor=job_a.REDUCTION_FACTOR
        ),
    )


def work(path: str, n_trials: int) -> None:
    """One process: takes ``n_trials`` of the configs that wait, one after another."""
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    train, valid = job_a.split(*job_a.make_data())

    def objective(trial: Trial) -> float:
        net = job_a.make_net(
            train_split=predefined_split(Dataset(*valid)),
            callbacks=[SkorchPruningCallback(trial, "valid_acc")],
            lr=trial.suggest_float("lr", *job_a.LR, log=True),
            batch_size=trial.suggest_categorical("batch_size", job_a.BATCH_SIZES),
            module__hidden=trial.suggest_categorical("module__hidden", job_a.HIDDEN),
            module__layers=trial.suggest_categorical("module__layers", job_a.LAYERS),
        )
        return float(net.fit(*train).history[-1, "valid_acc"])

    study_at(path).optimize(objective, n_trials=n_trials)


def main() -> None:
    configs, cores = begin(__doc__), job_a.n_cores()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "journal.log")
        study = study_at(path)
        for config in job_a.draw_configs(configs):
            study.enqueue_trial(config)
        shares = [len(range(core, configs, cores)) for core in range(cores)]
        call = f"from {__spec__.name} import work; import sys; work(sys.argv[1], int(sys.argv[2]))"
        workers = [subprocess.Popen([sys.executable, "-c", call, path, str(share)]) for share in shares]
        codes = [worker.wait() for worker in workers]
        if any(codes):
            raise SystemExit("a worker failed; its error is above")
        trials = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))
        report(
            "optuna",
            len(trials),
            best_score=max(trial.intermediate_values[max(trial.intermediate_values)] for trial in trials),
            epochs=sum(len(trial.intermediate_values) for trial in trials),
        )


if __name__ == "__main__":
    main()
