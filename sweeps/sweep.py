"""Sweep: one search, made from Python or a sweep.yaml, run, resumed and extended. Runs no trial itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from skorch import NeuralNet

from search_spaces.space import SearchSpace
from sweeps.config import SweepConfig
from sweeps.driver import Backend, Terms, check_place, executor, told
from sweeps.errors import SweepNotFoundError
from sweeps.extension import Extension, extended
from sweeps.fingerprints import refuse_changes
from sweeps.given import as_pair, default_name, searcher_section, validation_section
from sweeps.manifest import make_manifest
from sweeps.plan import SweepPlan, make_plan
from sweeps.progress import Watcher, watching
from sweeps.records import TrialRecord
from sweeps.results import SweepResult
from sweeps.retention import check_free_space
from sweeps.sources import from_anywhere, import_net, load_data, make_net
from sweeps.spec import build_config, dump_spec, load_spec, located
from sweeps.storage import (
    DEFAULT_STORAGE,
    SweepPaths,
    check_writable,
    create,
    exists,
    find,
    recorded_search_path,
    refuse_existing,
)
from sweeps.stored import stored_spec
from sweeps.taken import TakenSweep, refuse_other_spec, taken
from trainables.data import TrialData, target_kind

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

    config: SweepConfig
    space: SearchSpace
    _located: Located

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
        retry_failed: bool = False,
        progress: Watcher | bool = True,
        address: str | None = None,
        backend: Backend = "ray",
    ) -> SweepResult:
        """Goes on with an interrupted sweep: unfinished trials from their newest checkpoint, then those still missing.

        Configs, outcomes and rungs are those of the journal; nothing that is stored beside it is executed.

        Parameters
        ----------
        uri : str or Path
            Its directory, URI or name below ``storage``.
        net, data : optional
            For a sweep that was given them as objects.
        storage : str or Path, default="./results"
            Where names are looked for.
        accept_changes : bool, default=False
            Go on although net or data are not those that the sweep began with.
        retry_failed : bool, default=False
            Try failed trials once more, from their newest checkpoint.
        progress, address, backend
            As for `run`.

        Raises
        ------
        SweepNotFoundError
            There is no such sweep.
        SweepStateError
            It is in use, cannot be read, or its net or data have changed; the message lists the differences.
        SpecError
            Its net or data cannot be found.
        """
        paths = find(uri, storage)
        with watching(progress) as watcher, taken(paths, watcher) as sweep:
            made = cls._stored(sweep, net, data)
            return made._go_on(sweep, Terms(watcher, address, backend), accept_changes, retry_failed)

    @classmethod
    def extend(
        cls,
        uri: str | Path,
        *,
        num_samples: int | None = None,
        max_epochs: int | None = None,
        parameters: Mapping[str, Any] | None = None,
        net: NeuralNet | None = None,
        data: Any = None,
        storage: str | Path = DEFAULT_STORAGE,
        accept_changes: bool = False,
        progress: Watcher | bool = True,
        address: str | None = None,
        backend: Backend = "ray",
    ) -> SweepResult:
        """Goes on with a sweep beyond what it was made for; one that was interrupted is finished on the way.

        Parameters
        ----------
        uri : str or Path
            Its directory, URI or name below ``storage``.
        num_samples : int, optional
            So many trials more.
        max_epochs : int, optional
            Epochs that trials train in all. Those that deserve it go on from their checkpoints: all that trained to
            their last epoch, or under ASHA those which are good enough at the rung where they ended.
        parameters : mapping of str to object, optional
            The space from now on, whole. Earlier trials stay in the searcher's history where they fit.
        net, data, storage, accept_changes, progress, address, backend
            As for `resume`.

        Raises
        ------
        SpecError
            The extension is not possible, with everything that is wrong; nothing was changed.
        SweepNotFoundError, SweepStateError
            As for `resume`.
        """
        paths = find(uri, storage)
        extension = Extension(num_samples, max_epochs, parameters)
        with watching(progress) as watcher, taken(paths, watcher) as sweep:
            made = cls._stored(sweep, net, data)
            made._extend(sweep, extension)
            return made._go_on(sweep, Terms(watcher, address, backend), accept_changes, extension=extension)

    @classmethod
    def _stored(cls, sweep: TakenSweep, net: NeuralNet | None, data: Any) -> Self:
        paths = sweep.paths
        needed = [key for key, value in (("net", net), ("data", data)) if value is None]
        config = stored_spec(paths, needed)
        folders = [*recorded_search_path(paths), Path.cwd()]
        return cls.__new__(cls)._assemble(config, partial(located, paths.spec), folders, net, data)

    def _extend(self, sweep: TakenSweep, extension: Extension) -> None:
        self.config = extended(self.config, extension, sweep.n_trials, sweep.max_epochs)
        length = {} if extension.max_epochs is None else {"max_epochs": extension.max_epochs}
        self.space = SearchSpace({**(extension.parameters or self.config.parameters), **length})
        self._located = nullcontext  # what is wrong from here on need not stand in the file

    def _assemble(
        self, config: SweepConfig, places: Located, search_path: list[Path], net: NeuralNet | None, data: Any
    ) -> Self:
        self.config, self._located = config, places
        self._search_path = search_path
        self._reference = config.net
        with places():
            self.net = net if net is not None else import_net(str(config.net), search_path)
        self._data = config.data if data is None or isinstance(data, Mapping) else data
        self._scorers = {key: key for key in config.scoring}
        self.space = SearchSpace(config.parameters)
        return self

    def plan(self, records: Sequence[TrialRecord] = ()) -> SweepPlan:
        """Checks everything without creating or starting anything.

        Parameters
        ----------
        records : sequence of TrialRecord, default=()
            Trials that there are, of a sweep that goes on.

        Raises
        ------
        SpecError
            Net, data, parameters or metric are wrong.
        """
        with self._located():
            return make_plan(self.config, self.net, self._load_data(), self.space, self._scorers, records)

    def run(
        self,
        *,
        progress: Watcher | bool = True,
        address: str | None = None,
        backend: Backend = "ray",
        resume: Literal["never", "auto", "must"] = "never",
        accept_changes: bool = False,
    ) -> SweepResult:
        """Runs the sweep to its end.

        Parameters
        ----------
        progress : bool or Watcher, default=True
            Whether to show on stderr how it goes; or what is told of it.
        address : str, optional
            Of a Ray cluster; by default the Ray of this process, or one of its own on this machine.
        backend : {"ray", "inline"}, default="ray"
            ``inline`` trains in this process, without Ray: for jobs of seconds, notebooks and tests.
        resume : {"never", "auto", "must"}, default="never"
            What to do where the sweep exists already: refuse; go on with it, if its spec is this one; or the same, and
            refuse where it does not exist. For systems that start a job again.
        accept_changes : bool, default=False
            As for `resume`.

        Returns
        -------
        SweepResult

        Raises
        ------
        SpecError
            Net, data, parameters or metric are wrong; nothing was created.
        InfeasibleError
            No machine has what a trial asks for, or the storage cannot be written; nothing was created. Or the storage
            failed on the way; `resume` goes on.
        SweepStateError
            The name is in use.
        NoTrialSucceededError
            The first trials all failed alike, so the rest was not tried.
        KeyboardInterrupt
            A signal stopped it; what it had found is saved, and `resume` goes on.
        """
        paths = SweepPaths.of(self.config.storage, self.config.name)
        with watching(progress) as watcher:
            terms = Terms(watcher, address, backend)
            if resume != "never" and exists(paths):
                refuse_other_spec(paths, self._written())
                with taken(paths, watcher) as sweep:
                    return self._go_on(sweep, terms, accept_changes)
            if resume == "must":
                raise SweepNotFoundError(
                    f"no sweep {paths.location} to resume; --resume auto makes it where there is none"
                )
            refuse_existing(paths)
            return self._begin(paths, terms)

    def _begin(self, paths: SweepPaths, terms: Terms) -> SweepResult:
        check_place(self.config, terms)
        check_writable(paths)
        check_free_space(paths, self.config.checkpoint.min_free_gb)
        terms.watcher.tell("checking net, data and parameters with a probe epoch")
        plan = told(self.plan(), terms.watcher)
        with executor(self.config, terms, self._search_path) as execute:
            placed = replace(plan, job=replace(plan.job, trials=paths.trials))
            manifest = make_manifest(placed, self._reference, self._search_path)
            create(paths, manifest, dump_spec(self._written()))
            with taken(paths, terms.watcher) as sweep:
                attempt = sweep.attempt(plan, terms.watcher)
                attempt.run(execute(attempt.ray_folder))
        return SweepResult(paths, self.net, plan.job.objects)

    def _go_on(
        self,
        sweep: TakenSweep,
        terms: Terms,
        accept_changes: bool,
        retry_failed: bool = False,
        extension: Extension | None = None,
    ) -> SweepResult:
        paths, watcher = sweep.paths, terms.watcher
        check_place(self.config, terms)
        check_free_space(paths, self.config.checkpoint.min_free_gb)
        watcher.tell("checking net, data and parameters with a probe epoch")
        plan = told(self.plan(list(sweep.state.trials.values())), watcher)
        for line in refuse_changes(plan, sweep.manifest, accept_changes):
            watcher.tell(f"note: {line}")
        if accept_changes:
            sweep.accept(plan)
        if extension is not None:
            sweep.extend(plan, extension, dump_spec(self._written()))
        attempt = sweep.attempt(plan, watcher, retry_failed)
        if not attempt.is_needed and sweep.is_closed:
            watcher.tell(f"{paths.location} is complete: nothing is left to do; `sweeps extend` gives it more")
        elif not attempt.is_needed:
            attempt.run(lambda execution: None)  # its last driver ended before it had written the tables and best/
        else:
            with executor(self.config, terms, self._search_path) as execute:
                attempt.run(execute(attempt.ray_folder))
        return SweepResult(paths, self.net, plan.job.objects)

    def _written(self) -> SweepConfig:
        return from_anywhere(self.config, self._search_path[0])

    def _load_data(self) -> tuple[Any, Any] | TrialData:
        if self.config.data is not None and self._data is self.config.data:
            return load_data(self.config, self._search_path[0])
        return as_pair(self._data)
