"""PreparedSweep: a spec with its net and data at hand, begun or gone on with. What a person calls is in `sweep`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from skorch import NeuralNet

from search_spaces.space import SearchSpace
from sweeps.config import SweepConfig
from sweeps.creation import check_writable, create
from sweeps.disk import check_free_space
from sweeps.driver import Terms, check_place, place_of, told
from sweeps.extension import Extension, extended
from sweeps.fingerprints import refuse_changes
from sweeps.given import as_pair
from sweeps.manifest import make_manifest
from sweeps.plan import SweepPlan, make_plan
from sweeps.progress import Watcher
from sweeps.records import TrialRecord
from sweeps.results import SweepResult
from sweeps.retention import check_keep
from sweeps.sources import (
    as_submitted,
    from_anywhere,
    import_net,
    load_data,
    read_by_nodes,
)
from sweeps.spec import dump_spec, located
from sweeps.stop_rules import metric_target
from sweeps.storage import SweepPaths, recorded_search_path
from sweeps.stored import stored_spec
from sweeps.taken import TakenSweep, taken
from trainables.data import TrialData

Located = Callable[[], AbstractContextManager[None]]
"""Gives problems that come up inside the lines of the file that led to them."""


def _later() -> None:
    """Begins nothing yet."""


@dataclass(frozen=True)
class PreparedSweep:
    """Everything that a sweep is made of.

    Attributes
    ----------
    config : SweepConfig
        The spec.
    space : SearchSpace
        What may vary.
    net : skorch.NeuralNet
        The template.
    data : object
        X and y, a TrialData, a torch Dataset, or the spec's ``data`` section.
    scorers : mapping of str to str or callable
        Further scorers.
    search_path : list of Path
        Folders from which net and data are imported; relative paths are relative to the first.
    located : callable
        Places problems in the spec's file.
    """

    config: SweepConfig
    space: SearchSpace
    net: NeuralNet
    data: Any
    scorers: Mapping[str, Any]
    search_path: list[Path]
    located: Located = nullcontext

    @property
    def written(self) -> SweepConfig:
        """The spec as any folder can use it."""
        return from_anywhere(self.config, self.search_path[0])

    def plan(self, records: Sequence[TrialRecord] = (), before_probe: Callable[[], None] = _later) -> SweepPlan:
        """Checks everything without creating or starting anything.

        Parameters
        ----------
        records : sequence of TrialRecord, default=()
            Trials that there are, of a sweep that goes on.
        before_probe : callable
            Called when all is checked but for the probe epoch, which takes longest.

        Raises
        ------
        SpecError
            Net, data, parameters or metric are wrong.
        """
        with self.located():
            plan = make_plan(
                self.config,
                self.net,
                self._pair(),
                self.space,
                self.scorers,
                records=records,
                before_probe=before_probe,
            )
        return replace(plan, job=replace(plan.job, source=self._source()))

    def extended(self, sweep: TakenSweep, extension: Extension) -> PreparedSweep:
        """The same with what an extension adds; changes nothing yet.

        Raises
        ------
        SpecError
            The extension is not possible.
        """
        config = extended(self.config, extension, sweep.n_trials, sweep.max_epochs)
        length = {} if extension.max_epochs is None else {"max_epochs": extension.max_epochs}
        space = SearchSpace({**(extension.parameters or self.config.parameters), **length})
        data = config.data if self.data is self.config.data else self.data
        # What is wrong from here on need not stand in the file.
        return replace(self, config=config, space=space, data=data, located=nullcontext)

    def begin(self, paths: SweepPaths, terms: Terms) -> SweepResult:
        """Creates the sweep once all is checked, and runs it."""
        check_place(self.config, terms)
        check_writable(paths)
        check_keep(paths, self.config.checkpoint.keep)
        check_free_space(paths, self.config.checkpoint.min_free_gb)
        terms.watcher.tell("checking net, data and parameters with a probe epoch")
        with place_of(self.config, paths, terms, self.search_path) as place:
            prepare = _later if _forks(self.net, self.space) else place.prepare
            plan = told(self.plan(before_probe=prepare), terms.watcher)
            place.wait()
            placed = replace(plan, job=replace(plan.job, trials=paths.trials))
            manifest = make_manifest(placed, self.config.net, self.search_path) | {"uri": paths.uri}
            create(paths, manifest, dump_spec(self.written))
            with taken(paths, terms.watcher) as sweep:
                attempt = sweep.attempt(plan, terms.watcher)
                attempt.run(place.executor(attempt.ray_folder))
        return SweepResult(paths, self.net, plan.job.objects)

    def go_on(
        self, sweep: TakenSweep, terms: Terms, extension: Extension | None = None, *, retry_failed: bool = False
    ) -> SweepResult:
        """Runs what a sweep still lacks; with an extension, which is recorded once all is checked, that too.

        Raises
        ------
        SweepStateError
            Net, data or what the sweep's own sweep.yaml says of them have changed.
        """
        paths, watcher = sweep.paths, terms.watcher
        _tell(watcher, sweep.refuse_edited_spec(terms.accept_changes))
        check_place(self.config, terms)
        check_keep(paths, self.config.checkpoint.keep)
        check_free_space(paths, self.config.checkpoint.min_free_gb)
        watcher.tell("checking net, data and parameters with a probe epoch")
        plan = told(self.plan(list(sweep.state.trials.values())), watcher)
        _tell(watcher, refuse_changes(plan, sweep.manifest, terms.accept_changes))
        if terms.accept_changes:
            sweep.accept(plan)
        if extension is not None:
            _tell(watcher, sweep.extend(plan, extension, dump_spec(self.written)))
        sweep.note_choices(plan)
        attempt = sweep.attempt(plan, watcher, retry_failed)
        if attempt.is_needed:
            _say_if_over(plan, sweep, watcher)
        if not attempt.is_needed and sweep.is_closed:
            more = "ask for more trials too (--num-samples)" if extension else "`sweeps extend` gives it more"
            watcher.tell(f"{paths.location} is complete: nothing is left to do; {more}")
        elif not attempt.is_needed:
            attempt.run(lambda execution: None)  # its last driver ended before it had written the tables and best/
        else:
            with place_of(self.config, paths, terms, self.search_path) as place:
                place.wait()
                attempt.run(place.executor(attempt.ray_folder))
        return SweepResult(paths, self.net, plan.job.objects)

    @property
    def _names_data(self) -> bool:
        return self.config.data is not None and self.data is self.config.data

    def _source(self) -> dict[str, Any] | None:
        return read_by_nodes(self.config, self.search_path[0]) if self._names_data else None

    def _pair(self) -> tuple[Any, Any] | TrialData:
        if self._names_data:
            return load_data(self.config, self.search_path[0])
        return as_pair(self.data)


def _forks(net: NeuralNet, space: SearchSpace) -> bool:
    """Whether the probe may start workers of a DataLoader: a fork beside a thread that starts Ray can hang."""
    options = net.get_params() | dict(space.domains)
    return any(name.endswith("__num_workers") and value for name, value in options.items())


def _tell(watcher: Watcher, notes: Iterable[str]) -> None:
    for note in notes:
        watcher.tell(f"note: {note}")


def _say_if_over(plan: SweepPlan, sweep: TakenSweep, watcher: Watcher) -> None:
    target = plan.config.stop.metric_target
    if metric_target(sweep.state, target)() is not None:
        watcher.tell(
            f"note: stop.metric_target {target} is reached already, so nothing more is trained; change it first"
        )


def prepare(
    config: SweepConfig, places: Located, search_path: list[Path], net: NeuralNet | None = None, data: Any = None
) -> PreparedSweep:
    """Finds what a spec names, unless it is given.

    Parameters
    ----------
    config : SweepConfig
        The spec.
    places : callable
        Places problems in the spec's file.
    search_path : list of Path
        Folders from which net and data are imported.
    net, data : optional
        What Python brings instead.

    Raises
    ------
    SpecError
        The net cannot be imported.
    """
    with places():
        made = net if net is not None else import_net(str(config.net), search_path)
    at_hand = config.data if data is None or isinstance(data, Mapping) else data
    scorers = {key: key for key in config.scoring}
    return PreparedSweep(config, SearchSpace(config.parameters), made, at_hand, scorers, search_path, places)


def stored(paths: SweepPaths, net: NeuralNet | None = None, data: Any = None) -> PreparedSweep:
    """The sweep that lies in a directory, with the net and the data that its spec names unless they are given.

    Raises
    ------
    SweepStateError
        Its spec cannot be read.
    SpecError
        It needs a net or data that only Python can bring, or they cannot be imported.
    """
    needed = [key for key, value in (("net", net), ("data", data)) if value is None]
    recorded = recorded_search_path(paths)
    folders = list(dict.fromkeys([*map(as_submitted, recorded), *recorded, Path.cwd()]))
    return prepare(stored_spec(paths, needed), partial(located, paths.spec), folders, net, data)
