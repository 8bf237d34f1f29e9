"""Sweep: one search, made from Python or a sweep.yaml, run, resumed and extended. Runs no trial itself."""

# Longer than the budget of 300 lines, as most of it says what arguments mean.

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self

from skorch import NeuralNet

from search_spaces.space import SearchSpace
from sweeps.config import SweepConfig
from sweeps.creation import refuse_existing
from sweeps.driver import Backend, Terms
from sweeps.errors import Problem, SpecError, SweepNotFoundError
from sweeps.extension import Extension
from sweeps.given import named_sections, searcher_section, validation_section
from sweeps.plan import SweepPlan
from sweeps.prepared import prepare, stored
from sweeps.progress import Watcher, watching
from sweeps.results import SweepResult
from sweeps.sources import import_net, make_net
from sweeps.spec import build_config, load_spec, located
from sweeps.storage import DEFAULT_STORAGE, SweepPaths, exists, find, recorded_search_path
from sweeps.taken import refuse_other_spec, taken


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
    matmul_precision : {"highest", "high", "medium"}, optional
        Of float32 matrices in training; by default as PyTorch has it.
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
        matmul_precision: str | None = None,
        resources: Mapping[str, Any] | None = None,
        stop: Mapping[str, Any] | None = None,
        failure: Mapping[str, Any] | None = None,
        checkpoint: Mapping[str, Any] | None = None,
    ) -> None:
        search_path = [Path.cwd()]
        made = import_net(net, search_path) if isinstance(net, str) else make_net(net, str(net))
        given = {"resources": resources, "stop": stop, "failure": failure, "checkpoint": checkpoint}
        config = build_config(
            {
                **named_sections(made, net, data, name, metric, goal),
                "parameters": dict(parameters),
                "searcher": searcher_section(searcher, num_samples, seed),
                "scheduler": {"name": scheduler} if isinstance(scheduler, str) else dict(scheduler),
                **({"validation": validation_section(validation)} if validation is not None else {}),
                "scoring": [] if isinstance(scoring, Mapping) else list(scoring),
                "storage": str(storage),
                "seed": seed,
                "report_every_s": report_every_s,
                "matmul_precision": matmul_precision,
                **{key: dict(section) for key, section in given.items() if section is not None},
            }
        )
        prepared = prepare(config, nullcontext, search_path, made, data)
        scorers = dict(scoring) if isinstance(scoring, Mapping) else prepared.scorers
        # The space with the objects that the config has by their labels only.
        self._prepared = replace(prepared, space=SearchSpace(parameters), scorers=scorers)

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
        made = cls.__new__(cls)
        made._prepared = prepare(config, partial(located, path, overrides), search_path)
        return made

    @property
    def config(self) -> SweepConfig:
        """The spec."""
        return self._prepared.config

    @property
    def space(self) -> SearchSpace:
        """What may vary."""
        return self._prepared.space

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
        paths = replace(find(uri, storage), address=address)
        with watching(progress) as watcher, taken(paths, watcher) as sweep:
            terms = Terms(watcher, address, backend, accept_changes)
            return stored(sweep.paths, net, data).go_on(sweep, terms, retry_failed=retry_failed)

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
        paths = replace(find(uri, storage), address=address)
        extension = Extension(num_samples, max_epochs, parameters)
        with watching(progress) as watcher, taken(paths, watcher) as sweep:
            terms = Terms(watcher, address, backend, accept_changes)
            return stored(sweep.paths, net, data).extended(sweep, extension).go_on(sweep, terms, extension)

    def plan(self) -> SweepPlan:
        """Checks everything without creating or starting anything.

        Raises
        ------
        SpecError
            Net, data, parameters or metric are wrong.
        """
        return self._prepared.plan()

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
        if resume not in ("never", "auto", "must"):
            raise SpecError(Problem(f"{resume!r} is no way to go on; give never, auto or must", "resume"))
        paths = replace(SweepPaths.of(self.config.storage, self.config.name), address=address)
        with watching(progress) as watcher:
            terms = Terms(watcher, address, backend, accept_changes)
            if resume != "never" and exists(paths):
                with taken(paths, watcher) as sweep:
                    refuse_other_spec(sweep.paths, self._prepared.written)
                    return self._prepared.go_on(sweep, terms)
            if resume == "must":
                raise SweepNotFoundError(
                    f"no sweep {paths.location} to resume; --resume auto makes it where there is none"
                )
            refuse_existing(paths)
            return self._prepared.begin(paths, terms)
