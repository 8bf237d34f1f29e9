"""Sweep: one search, made from Python or a sweep.yaml and run on Ray Tune. The only file that builds a Tuner."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from ray import tune
from ray.tune.schedulers import TrialScheduler
from skorch import NeuralNet

from search_spaces.space import SearchSpace
from sweeps.best_net import write_best
from sweeps.cluster import is_connected, ray_session
from sweeps.journal import Journal
from sweeps.manifest import make_manifest
from sweeps.plan import SweepPlan, check_machines, make_plan, this_machine
from sweeps.proposals import make_proposals
from sweeps.recorder import Recorder, StopRules
from sweeps.records import SweepState
from sweeps.resources import share_of
from sweeps.results import SweepResult
from sweeps.schedulers import PopulationScheduler, make_scheduler
from sweeps.searchers import SweepSearcher
from sweeps.sources import from_anywhere, import_net, load_data, make_net
from sweeps.spec import build_config, dump_spec, load_spec, located
from sweeps.storage import SweepPaths, create, locked, recorded_search_path, refuse_existing
from sweeps.tables import write_tables
from trainables.data import TrialData, target_kind
from trainables.job import PackedJob
from trainables.net import NetTrainable

Show = Callable[[SweepState], None]
Tell = Callable[[str], None]


class Sweep:
    """A hyperparameter search over a skorch net.

    Parameters
    ----------
    net : skorch.NeuralNet, callable or str
        The net to tune, a function without arguments that returns it, or ``module:attribute`` of either.
    data : tuple of (X, y), TrialData or mapping
        What to train on; a mapping is a ``data`` section of sweep.yaml.
    parameters : mapping of str to object
        skorch parameter name -> list, constant, scipy.stats distribution, Ray domain or mapping as in sweep.yaml.
    metric : str, optional
        Key of an epoch's metrics, by default ``valid_acc`` for classifiers, else ``valid_loss``. ``valid_<scorer>``
        works for every scorer of scikit-learn.
    goal : {"maximize", "minimize"}, optional
        By default minimize for losses, else maximize.
    searcher : str or mapping, default="random"
        ``grid``, ``random`` or ``hyperopt``, or a ``searcher`` section of sweep.yaml.
    scheduler : str or mapping, default="asha"
        ``fifo``, ``asha``, ``median``, ``hyperband`` or ``pbt``, or a ``scheduler`` section.
    num_samples : int, optional
        How many configs; 10 by default for random and hyperopt, all for a grid.
    scoring : sequence of str or mapping of str to callable, default=()
        Further scorers, each recorded as ``valid_<name>``.
    validation : mapping, optional
        A ``validation`` section; by default a fifth of the rows is held out.
    storage : str or Path, default="./results"
        Folder below which the sweep's directory is made.
    name : str, optional
        Name of the directory, by default the net's class and the time.
    seed : int, default=0
        Of splits, nets and, unless the searcher has its own, configs.
    **sections : mapping
        ``resources``, ``stop``, ``failure``, ``checkpoint``, ``report_every_s`` as in sweep.yaml.

    Raises
    ------
    SpecError
        With everything that is wrong.

    Examples
    --------
    >>> sweep = Sweep(net, (X, y), {"lr": [0.01, 0.1], "batch_size": [32, 64]}, searcher="grid")  # doctest: +SKIP
    >>> sweep.run().best_params  # doctest: +SKIP
    {'lr': 0.1, 'batch_size': 32}
    """

    def __init__(
        self,
        net: NeuralNet | Callable[[], NeuralNet] | str,
        data: Any,
        parameters: Mapping[str, Any],
        *,
        metric: str | None = None,
        goal: str | None = None,
        searcher: str | Mapping[str, Any] = "random",
        scheduler: str | Mapping[str, Any] = "asha",
        num_samples: int | None = None,
        scoring: Sequence[str] | Mapping[str, Any] = (),
        validation: Mapping[str, Any] | None = None,
        storage: str | Path = "./results",
        name: str | None = None,
        seed: int = 0,
        **sections: Any,
    ) -> None:
        self._located: Callable[[], AbstractContextManager[None]] = nullcontext
        self._search_path: list[Path] = [Path.cwd()]
        self.net = import_net(net, self._search_path) if isinstance(net, str) else make_net(net, str(net))
        self._reference = net if isinstance(net, str) else None
        self._data = data
        metric = metric or ("valid_acc" if target_kind(self.net) in ("classifier", "binary") else "valid_loss")
        self.config = build_config(
            {
                "name": name or f"{type(self.net).__name__}-{time.strftime('%Y%m%d-%H%M%S')}",
                **({"net": net} if isinstance(net, str) else {}),
                **({"data": dict(data)} if isinstance(data, Mapping) else {}),
                "metric": {"name": metric, "goal": goal or ("minimize" if metric.endswith("loss") else "maximize")},
                "parameters": dict(parameters),
                "searcher": _searcher_section(searcher, num_samples, seed),
                "scheduler": {"name": scheduler} if isinstance(scheduler, str) else dict(scheduler),
                **({"validation": dict(validation)} if validation is not None else {}),
                "scoring": [] if isinstance(scoring, Mapping) else list(scoring),
                "storage": str(storage),
                "seed": seed,
                **sections,
            }
        )
        self._scorers = dict(scoring) if isinstance(scoring, Mapping) else {key: key for key in self.config.scoring}
        self.space = SearchSpace(parameters)

    @classmethod
    def from_yaml(cls, path: str | Path, overrides: Sequence[str] = ()) -> Self:
        """The sweep that a sweep.yaml describes.

        Parameters
        ----------
        path : str or Path
            The file; modules beside it can be imported, and relative paths of data are relative to it.
        overrides : sequence of str
            ``key=value`` with dotted keys.

        Raises
        ------
        SpecError
            With everything that is wrong, by line.
        """
        config = load_spec(path, overrides, needs=("net", "data"))
        sweep = cls.__new__(cls)
        sweep._located = partial(located, path, overrides)
        folder = Path(path).resolve().parent
        # A sweep.yaml that lies in a sweep's directory goes on importing from where the sweep did.
        sweep._search_path = [folder, *recorded_search_path(SweepPaths(folder)), Path.cwd()]
        sweep._reference = config.net
        with sweep._located():
            sweep.net = import_net(str(config.net), sweep._search_path)
        sweep._data = config.data
        sweep.config = config
        sweep._scorers = {key: key for key in config.scoring}
        sweep.space = SearchSpace(config.parameters)
        return sweep

    def plan(self) -> SweepPlan:
        """Checks everything without creating or starting anything.

        Raises
        ------
        SpecError
            Net, data, parameters or metric are wrong.
        """
        with self._located():
            return make_plan(self.config, self.net, self._load_data(), self.space, self._scorers)

    def run(self, show: Show | None = None, *, tell: Tell | None = None, address: str | None = None) -> SweepResult:
        """Runs the sweep to its end.

        Parameters
        ----------
        show : callable, optional
            Told the state whenever something was recorded.
        tell : callable, optional
            Told, a line each, what is being done before the first trial and what a person should know.
        address : str, optional
            Of a Ray cluster; by default the Ray of this process, or one of its own on this machine.

        Returns
        -------
        SweepResult

        Raises
        ------
        SpecError
            Net, data, parameters or metric are wrong; nothing was created.
        InfeasibleError
            No machine has what a trial asks for; nothing was created.
        SweepStateError
            The name is in use.
        """
        paths = SweepPaths.of(self.config.storage, self.config.name)
        refuse_existing(paths)
        show, tell = show or (lambda state: None), tell or (lambda line: None)
        is_local = address is None and not is_connected()
        if is_local:
            check_machines(self.config, [this_machine()])
        tell("checking net, data and parameters with a probe epoch")
        plan = self.plan()
        for note in plan.notes:
            tell(f"note: {note}")
        tell("starting Ray on this machine" if is_local else f"using Ray at {address or 'the address it has'}")
        with ray_session(address, self._search_path, self.config.resources) as nodes:
            check_machines(self.config, nodes)
            plan = replace(plan, job=replace(plan.job, trials=paths.trials))
            manifest = make_manifest(plan, self._reference, self._search_path)
            create(paths, manifest, dump_spec(from_anywhere(self.config, self._search_path[0])))
            with locked(paths):
                return self._execute(plan, paths, show, tell)

    def _execute(self, plan: SweepPlan, paths: SweepPaths, show: Show, tell: Tell) -> SweepResult:
        state = SweepState(plan.job.objective)
        with Journal(paths.journal) as journal:
            recorder = Recorder(journal, state, show, self.config.failure.max_failures)
            recorder.tell = tell
            recorder.record("attempt", attempt=1, n_trials=plan.n_trials, rungs=list(plan.job.rungs))
            stop = StopRules(state, self.config.stop.time_budget_s, self.config.stop.metric_target)
            searcher = self._searcher(plan, recorder)
            self._tuner(plan, paths, recorder, searcher, stop).fit()
            recorder.record("attempt_end", reason=stop.reason or ("complete" if searcher.is_done else "interrupted"))
            recorder.interrupt_rest(paths.trials)
        write_tables(state, paths.trials_table, paths.metrics_table)
        result = SweepResult(paths, self.net, plan.job.objects)
        if state.best is not None:
            write_best(paths, result.manifest, plan, state.best)
        return result

    def _tuner(
        self, plan: SweepPlan, paths: SweepPaths, recorder: Recorder, searcher: SweepSearcher, stop: StopRules
    ) -> tune.Tuner:
        scheduler = self._scheduler(plan, recorder)
        trainable = tune.with_resources(
            tune.with_parameters(NetTrainable, job=PackedJob.pack(plan.job, self._search_path)), self._placement
        )
        return tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(num_samples=-1, search_alg=searcher, scheduler=scheduler, reuse_actors=True),
            run_config=tune.RunConfig(
                name="attempt-01",
                storage_path=str(paths.ray(1).parent),
                callbacks=[recorder],
                stop=stop,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=0),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        )

    def _searcher(self, plan: SweepPlan, recorder: Recorder) -> SweepSearcher:
        proposals = make_proposals(self.config.searcher, self.space, plan.job.objective)
        limit = self.config.resources.max_concurrent_trials
        searcher = SweepSearcher(proposals, recorder.state, plan.n_trials, recorder.announce, limit)
        recorder.try_again = searcher.try_again
        return searcher

    def _scheduler(self, plan: SweepPlan, recorder: Recorder) -> TrialScheduler:
        objective, seed = plan.job.objective, self.config.seed
        scheduler = make_scheduler(self.config.scheduler, self.space, objective, max_epochs=plan.max_epochs, seed=seed)
        if isinstance(scheduler, PopulationScheduler):
            scheduler.on_exploit = recorder.exploit
        return scheduler

    def _placement(self, config: Mapping[str, Any]) -> tune.PlacementGroupFactory:
        share = share_of(self.config.resources, config["params"])
        return tune.PlacementGroupFactory([{"CPU": share.cpu, **({"GPU": share.gpu} if share.gpu else {})}])

    def _load_data(self) -> tuple[Any, Any] | TrialData:
        if isinstance(self._data, (TrialData, tuple)):
            return self._data
        return (self._data, None) if self.config.data is None else load_data(self.config, self._search_path[0])


def _searcher_section(searcher: str | Mapping[str, Any], num_samples: int | None, seed: int) -> dict[str, Any]:
    if not isinstance(searcher, str):
        return {**searcher, **({} if num_samples is None else {"num_samples": num_samples})}
    if searcher == "grid":
        return {"name": "grid", **({} if num_samples is None else {"num_samples": num_samples})}
    return {"name": searcher, "num_samples": 10 if num_samples is None else num_samples, "seed": seed}
