"""Sweep: one search, made from Python or a sweep.yaml, run and resumed. What runs on Ray Tune is in `attempt`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from skorch import NeuralNet

from search_spaces.space import SearchSpace
from sweeps import journal
from sweeps.attempt import Attempt
from sweeps.cluster import is_connected, ray_session, this_machine
from sweeps.config import SweepConfig
from sweeps.given import as_pair, default_name, searcher_section, validation_section
from sweeps.manifest import make_manifest, refuse_other_data
from sweeps.plan import SweepPlan, check_machines, make_plan
from sweeps.progress import Watcher, watching
from sweeps.records import SweepState
from sweeps.results import SweepResult
from sweeps.sources import from_anywhere, import_net, load_data, make_net
from sweeps.spec import build_config, dump_spec, load_spec, located
from sweeps.storage import (
    DEFAULT_STORAGE,
    SweepPaths,
    check_writable,
    create,
    find,
    locked,
    read_manifest,
    recorded_search_path,
    refuse_existing,
)
from trainables.data import TrialData, target_kind
from trainables.objective import Objective

Located = Callable[[], AbstractContextManager[None]]


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
    validation : mapping, int or float, optional
        A ``validation`` section, a number of folds, or the share to hold out; by default a fifth.
    storage : str or Path, default="./results"
        Folder below which the sweep's directory is made.
    name : str, optional
        Name of the directory, by default the net's class and the time.
    seed : int, default=0
        Of splits, nets and, unless the searcher has its own, configs.
    report_every_s : float, default=0.5
        Seconds of training that share one report.
    resources, stop, failure, checkpoint : mapping, optional
        Sections as in sweep.yaml.

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
        validation: Mapping[str, Any] | int | float | None = None,
        storage: str | Path = "./results",
        name: str | None = None,
        seed: int = 0,
        report_every_s: float = 0.5,
        resources: Mapping[str, Any] | None = None,
        stop: Mapping[str, Any] | None = None,
        failure: Mapping[str, Any] | None = None,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> None:
        search_path = [Path.cwd()]
        made = import_net(net, search_path) if isinstance(net, str) else make_net(net, str(net))
        metric = metric or ("valid_acc" if target_kind(made) in ("classifier", "binary") else "valid_loss")
        given = {"resources": resources, "stop": stop, "failure": failure, "checkpoint": checkpoint}
        config = build_config(
            {
                "name": name or default_name(made),
                **({"net": net} if isinstance(net, str) else {}),
                **({"data": dict(data)} if isinstance(data, Mapping) else {}),
                "metric": {"name": metric, "goal": goal or ("minimize" if metric.endswith("loss") else "maximize")},
                "parameters": dict(parameters),
                "searcher": searcher_section(searcher, num_samples, seed),
                "scheduler": {"name": scheduler} if isinstance(scheduler, str) else dict(scheduler),
                **({"validation": validation_section(validation)} if validation is not None else {}),
                "scoring": [] if isinstance(scoring, Mapping) else list(scoring),
                "storage": str(storage),
                "seed": seed,
                "report_every_s": report_every_s,
                **{key: dict(section) for key, section in given.items() if section is not None},
            }
        )
        self._assemble(config, nullcontext, search_path, made, data)
        self.space = SearchSpace(parameters)  # with the objects that the config has by their labels only
        if isinstance(scoring, Mapping):
            self._scorers = dict(scoring)

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
        folder = Path(path).resolve().parent
        # A sweep.yaml that lies in a sweep's directory goes on importing from where the sweep did.
        search_path = [folder, *recorded_search_path(SweepPaths(folder)), Path.cwd()]
        return cls.__new__(cls)._assemble(config, partial(located, path, overrides), search_path, None, None)

    @classmethod
    def resume(
        cls,
        uri: str | Path,
        *,
        net: NeuralNet | None = None,
        data: Any = None,
        storage: str | Path = DEFAULT_STORAGE,
        accept_changes: bool = False,
        progress: Watcher | bool = True,
        address: str | None = None,
    ) -> SweepResult:
        """Goes on with an interrupted sweep: unfinished trials from their newest checkpoint, then those still missing.

        Configs, outcomes and rungs are those of the journal; nothing that is stored beside it is executed.

        Parameters
        ----------
        uri : str or Path
            Its directory, ``file://`` URI or name below ``storage``.
        net, data : optional
            For a sweep that was given them as objects.
        storage : str or Path, default="./results"
            Where names are looked for.
        accept_changes : bool, default=False
            Go on although the data are not those that the sweep began with.
        progress, address
            As for `run`.

        Raises
        ------
        SweepNotFoundError
            There is no such sweep.
        SweepStateError
            It is in use, cannot be read, or its data have changed.
        SpecError
            Its net or data cannot be found.
        """
        paths = find(uri, storage)
        manifest = read_manifest(paths)
        with locked(paths):
            objective = Objective(manifest["metric"], manifest["goal"] == "maximize")
            state = SweepState.replay(objective, journal.read(paths.journal))
            needed = [key for key, value in (("net", net), ("data", data)) if value is None]
            config, folders = load_spec(paths.spec, needs=needed), [*recorded_search_path(paths), Path.cwd()]
            sweep = cls.__new__(cls)._assemble(config, partial(located, paths.spec), folders, net, data)
            with watching(progress) as watcher:
                return sweep._run(paths, state, watcher, address, None if accept_changes else manifest)

    def _assemble(
        self, config: SweepConfig, places: Located, search_path: list[Path], net: NeuralNet | None, data: Any
    ) -> Self:
        self.config, self._located, self._search_path = config, places, search_path
        self._reference = config.net
        with places():
            self.net = net if net is not None else import_net(str(config.net), search_path)
        self._data = config.data if data is None or isinstance(data, Mapping) else data
        self._scorers = {key: key for key in config.scoring}
        self.space = SearchSpace(config.parameters)
        return self

    def plan(self) -> SweepPlan:
        """Checks everything without creating or starting anything.

        Raises
        ------
        SpecError
            Net, data, parameters or metric are wrong.
        """
        with self._located():
            return make_plan(self.config, self.net, self._load_data(), self.space, self._scorers)

    def run(self, *, progress: Watcher | bool = True, address: str | None = None) -> SweepResult:
        """Runs the sweep to its end.

        Parameters
        ----------
        progress : bool or Watcher, default=True
            Whether to show on stderr how it goes; or what is told of it.
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
            No machine has what a trial asks for, or the storage cannot be written; nothing was created.
        SweepStateError
            The name is in use.
        KeyboardInterrupt
            A signal stopped it; what it had found is saved, and `resume` goes on.
        """
        paths = SweepPaths.of(self.config.storage, self.config.name)
        refuse_existing(paths)
        with watching(progress) as watcher:
            return self._run(paths, None, watcher, address)

    def _run(
        self,
        paths: SweepPaths,
        state: SweepState | None,
        watcher: Watcher,
        address: str | None,
        begun_with: Mapping[str, Any] | None = None,
    ) -> SweepResult:
        # Without a state the sweep is fresh; otherwise the caller holds its lock.
        is_local = address is None and not is_connected()
        if is_local:
            check_machines(self.config, [this_machine()])
        check_writable(paths)
        watcher.tell("checking net, data and parameters with a probe epoch")
        plan = self.plan()
        if begun_with is not None:
            refuse_other_data(plan, begun_with)
        for note in plan.notes:
            watcher.tell(f"note: {note}")
        watcher.tell("starting Ray on this machine" if is_local else f"using Ray at {address or 'the address it has'}")
        with ray_session(address, self._search_path, self.config.resources) as nodes:
            check_machines(self.config, nodes)
            plan = replace(plan, job=replace(plan.job, trials=paths.trials))
            if state is None:
                manifest = make_manifest(plan, self._reference, self._search_path)
                create(paths, manifest, dump_spec(from_anywhere(self.config, self._search_path[0])))
            with locked(paths) if state is None else nullcontext():
                Attempt(plan, paths, state or SweepState(plan.job.objective), watcher).run(self._search_path)
            return SweepResult(paths, self.net, plan.job.objects)

    def _load_data(self) -> tuple[Any, Any] | TrialData:
        if self.config.data is not None and self._data is self.config.data:
            return load_data(self.config, self._search_path[0])
        return as_pair(self._data)
