"""How a sweep is driven: on which Ray or in this process, and who watches. Knows no sweep's directory but its paths."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from sweeps.beside import Beside
from sweeps.cluster_watch import HEAD_LOST, HeadWatch
from sweeps.config import FailureConfig, ResourcesConfig, SweepConfig
from sweeps.errors import InfeasibleError, Problem, SpecError
from sweeps.execution import Execution
from sweeps.inline import SCHEDULERS, in_process
from sweeps.nodes import preflight
from sweeps.plan import SweepPlan, check_machines
from sweeps.progress import Watcher
from sweeps.ray_session import coming_machines, head_address, is_connected, ray_session, this_machine
from sweeps.resources import Node, capacity
from sweeps.storage import SweepPaths
from sweeps.tuning import on_ray

Backend = Literal["ray", "inline"]
Execute = Callable[[Execution], None]


@dataclass(frozen=True)
class Terms:
    """What a caller says of a run, beside what the sweep is.

    Attributes
    ----------
    watcher : Watcher
        Told what is being done.
    address : str or None
        Of a Ray cluster; None is the Ray of this process, or one of its own on this machine.
    backend : {"ray", "inline"}
        Where trials run.
    accept_changes : bool, default=False
        Go on although net or data are not those that the sweep began with.
    """

    watcher: Watcher
    address: str | None = None
    backend: Backend = "ray"
    accept_changes: bool = False

    @property
    def is_local(self) -> bool:
        """Whether trials run on this machine alone, and that is known before anything starts."""
        return self.backend == "inline" or (self.address is None and not is_connected())


def check_place(config: SweepConfig, terms: Terms) -> None:
    """Refuses, before anything starts, what the place where trials are to run cannot do.

    Raises
    ------
    SpecError
        The backend is unknown, or cannot run the scheduler.
    InfeasibleError
        This machine lacks what a trial asks for.
    """
    if terms.backend not in ("ray", "inline"):
        raise SpecError(Problem(f"{terms.backend!r} is no backend; give ray or inline", "backend"))
    name = config.scheduler.name
    if terms.backend == "inline" and name not in SCHEDULERS:
        text = f"{name} pauses trials, which backend inline cannot; use one of {', '.join(SCHEDULERS)}, or backend ray"
        raise SpecError(Problem(text, "scheduler.name"))
    if terms.is_local:
        check_machines(config, [this_machine()])


def told(plan: SweepPlan, watcher: Watcher) -> SweepPlan:
    """The plan, after its notes were told."""
    for note in plan.notes:
        watcher.tell(f"note: {note}")
    return plan


class Place(Protocol):
    """Where the trials of a sweep run."""

    def prepare(self) -> None:
        """Begins to get ready beside what the caller does meanwhile, where that is of use."""

    def wait(self) -> None:
        """Waits until trials can run; call it once.

        Raises
        ------
        InfeasibleError
            No machine has what a trial asks for, or no cluster answers.
        """

    def executor(self, folder: Path) -> Execute:
        """What runs trials, given a folder for Ray's own files; call `wait` first."""


@contextmanager
def place_of(config: SweepConfig, paths: SweepPaths, terms: Terms, search_path: Sequence[Path]) -> Iterator[Place]:
    """The place where trials run, for as long as the context lasts.

    Parameters
    ----------
    config : SweepConfig
        Resources.
    paths : SweepPaths
        Where the sweep lies: each machine of a cluster must reach it.
    terms : Terms
        Where.
    search_path : sequence of Path
        Folders from which workers import user modules.
    """
    if terms.backend == "inline":
        yield _InProcess(config, terms)
        return
    is_own = terms.is_local  # soon this process is connected to it
    with Beside(ray_session(terms.address, search_path, config.resources)) as session:
        try:
            yield _OnRay(config, paths, terms, search_path, session, is_own)
        except SpecError:
            if session.has_begun:
                terms.watcher.tell("ending Ray")  # what was wrong is shown after that
            raise


@dataclass(frozen=True)
class _InProcess:
    config: SweepConfig
    terms: Terms

    def prepare(self) -> None:
        return

    def wait(self) -> None:
        for line in _ignored(self.config):
            self.terms.watcher.tell(line)

    def executor(self, folder: Path) -> Execute:
        return in_process


@dataclass(frozen=True)
class _OnRay:
    config: SweepConfig
    paths: SweepPaths
    terms: Terms
    search_path: Sequence[Path]
    session: Beside[list[Node]]
    is_own: bool

    def prepare(self) -> None:
        if self.is_own:  # a cluster that does not answer would hold up what the probe finds
            self.session.begin()

    def wait(self) -> None:
        tell = self.terms.watcher.tell
        tell("starting Ray on this machine" if self.is_own else f"using Ray at {self._address}")
        nodes = self.session.result()
        if self.is_own:
            check_machines(self.config, nodes)
            if self.config.resources.gpu:
                tell(capacity(self.config.resources, nodes))
            return
        coming = coming_machines()
        check_machines(self.config, [*nodes, *coming])
        self._refuse_handing_over([*nodes, *coming])
        for note in preflight(self.paths):
            tell(f"note: {note}")
        tell(capacity(self.config.resources, nodes))
        if coming:
            tell(f"with what the autoscaler may add: {capacity(self.config.resources, coming)}")

    def executor(self, folder: Path) -> Execute:
        if self.is_own:
            return on_ray(self.search_path, folder)

        def execute(execution: Execution) -> None:
            with HeadWatch(head_address(), self._give_up).watching() as head:
                on_ray(self.search_path, folder, head)(execution)

        return execute

    def _refuse_handing_over(self, nodes: Sequence[Node]) -> None:
        name = self.config.scheduler.name
        if self.paths.remote is None or name in SCHEDULERS or sum(node.cpus > 0 for node in nodes) < 2:
            return
        raise InfeasibleError(
            f"{name} hands weights from machine to machine through files, which {self.paths.location} is not for; give "
            "a storage folder that all machines share, or use asha"
        )

    def _give_up(self) -> None:
        self.terms.watcher.give_up(f"{HEAD_LOST}\ngo on with: {self.paths.resume_command}")

    @property
    def _address(self) -> str:
        return self.terms.address or "its address"


def _ignored(config: SweepConfig) -> Iterator[str]:
    resources = config.resources
    values = {
        "failure.hang_s": config.failure.hang_s,
        "resources.cpu": resources.cpu,
        "resources.rules": resources.rules,
    }
    usual = (FailureConfig().hang_s, ResourcesConfig().cpu, ())
    given = [name for (name, value), default in zip(values.items(), usual, strict=True) if value != default]
    if given:
        what = "backend inline watches no hangs and shares out neither CPUs nor anything by rules"
        yield f"note: {what}, so it does without {', '.join(given)}; backend ray heeds them"
