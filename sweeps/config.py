"""`SweepConfig` and its parts: everything that defines a sweep, checked once where it is made.

Frozen values without behaviour. Reads no file (see `spec`), knows no parameter's domain (see `search_spaces`) and
builds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from sweeps.config_part import Count, Cpu, Gpu, Names, Natural, Part, Reference, Seconds, SweepName
from sweeps.data_config import DataConfig, HoldoutValidation, ValidationConfig

FORMAT_VERSION: Final = 1
"""The version of sweep.yaml that this release reads and writes."""


class MetricConfig(Part):
    """What makes one trial better than another."""

    name: Annotated[str, Field(min_length=1)]
    """A metric that each epoch reports, such as `valid_loss` or `valid_acc`."""
    goal: Literal["maximize", "minimize"]
    """Whether more or less is better."""


class Strategy(Part):
    """A part whose `name` decides which of its other fields count; one that does not count is refused."""

    options: ClassVar[dict[str, frozenset[str]]]
    """Name of the strategy -> the fields that it uses."""
    name: str
    """Which strategy."""

    @model_validator(mode="after")
    def _refuse_unused(self) -> Self:
        given = (field for field in sorted(self.model_fields_set) if getattr(self, field) is not None)
        self._refuse(*self._unused(field for field in given if not self._counts(field)))
        return self

    def _unused(self, fields: Iterable[str]) -> Iterator[tuple[tuple[str], str]]:
        for field in fields:
            users = ", ".join(name for name, used in self.options.items() if field in used)
            yield (field,), f"not used by {self.name}; leave it out (it is for {users})"

    def _counts(self, field: str) -> bool:
        return field in self.options[self.name] | {"name"}


class SearcherConfig(Strategy):
    """What proposes the configs."""

    options: ClassVar[dict[str, frozenset[str]]] = {
        "grid": frozenset({"num_samples"}),
        "random": frozenset({"num_samples", "seed"}),
        "hyperopt": frozenset({"num_samples", "seed", "n_startup"}),
    }
    name: Literal["grid", "random", "hyperopt"]
    """`grid` tries every combination, `random` draws, `hyperopt` learns from the trials (TPE)."""
    num_samples: Count | None = None
    """How many configs; a grid without it is tried whole."""
    seed: Natural = 0
    """Seed of the draws."""
    n_startup: Count = 20
    """Configs that hyperopt draws at random before it learns."""

    @model_validator(mode="after")
    def _require_num_samples(self) -> Self:
        if self.num_samples is None and self.name != "grid":
            self._refuse((("num_samples",), f"required by {self.name}; give the number of configs to try"))
        return self


class SchedulerConfig(Strategy):
    """What decides which trials go on; its clock is the epoch."""

    options: ClassVar[dict[str, frozenset[str]]] = {
        "fifo": frozenset(),
        "asha": frozenset({"grace_period", "reduction_factor"}),
        "median": frozenset({"grace_period", "min_samples"}),
        "hyperband": frozenset({"reduction_factor"}),
        "pbt": frozenset({"perturbation_interval", "quantile_fraction"}),
    }
    name: Literal["fifo", "asha", "median", "hyperband", "pbt"]
    """`fifo` trains every trial to its end; the others stop or change the weak ones."""
    grace_period: Count = 1
    """Epochs that each trial gets before it may be stopped."""
    reduction_factor: Annotated[float, Field(gt=1)] = 3.0
    """One in so many trials goes on at each rung; also the ratio of successive rungs."""
    min_samples: Count = 3
    """Trials that must have reported before the median means anything."""
    perturbation_interval: Count = 4
    """Epochs between two perturbations."""
    quantile_fraction: Annotated[float, Field(gt=0, le=0.5)] = 0.25
    """Share of the trials that is replaced, and that is copied from."""


class StopConfig(Part):
    """When the whole sweep ends early."""

    time_budget_s: Annotated[Seconds | None, Field(alias="time_budget")] = None
    """Seconds after which no trial goes on; `time_budget` in YAML, where `2h` or `1h30m` are understood."""
    metric_target: float | None = None
    """The sweep ends when a trial's metric is this good."""


class ResourceRule(Part):
    """Other resources for the configs that match."""

    when: Annotated[dict[str, Any], Field(min_length=1)]
    """Which configs: a condition as in a parameter's `when`, such as `{batch_size: [256, 512]}`."""
    cpu: Cpu | None = None
    """CPU cores per trial; None keeps the general value."""
    gpu: Gpu | None = None
    """GPUs per trial; None keeps the general value."""

    @model_validator(mode="after")
    def _require_a_change(self) -> Self:
        if self.cpu is None and self.gpu is None:
            raise ValueError("changes nothing; give cpu, gpu or both")
        return self


class ResourcesConfig(Part):
    """What one trial gets, and how many run at once."""

    cpu: Cpu = 1.0
    """CPU cores per trial."""
    gpu: Gpu = 0.0
    """GPUs per trial: a share up to 1, or a whole number."""
    max_concurrent_trials: Count | None = None
    """Most trials at once; None runs as many as fit."""
    rules: Annotated[tuple[ResourceRule, ...], Field(strict=False)] = ()
    """Exceptions by config; the first that matches counts."""


class FailureConfig(Part):
    """What a failure costs."""

    max_failures: Natural = 3
    """How often one trial is started again after failures that may be its own; a lost machine never counts."""
    hang_s: Seconds = 300.0
    """Least seconds without an epoch before a trial counts as hung and its process is ended."""
    give_up_after: Count = 5
    """The sweep ends when the first so many trials of an attempt all fail alike."""
    wait_for_machines_s: Seconds = 600.0
    """Seconds for which a sweep waits when no machine of its cluster can run any of its trials, before it ends."""


class KeepConfig(Part):
    """Which checkpoints of trials that have ended survive; every checkpoint holds its trial's best weights so far.

    A trial that has not ended always keeps its newest two, or `trial_latest` if that is more.
    """

    sweep_best: Count = 3
    """Best trials, by rank, that keep their newest checkpoint in any case."""
    trial_best: Annotated[int, Field(ge=0, le=1)] = 1
    """1 keeps every trial's best weights even where `trial_latest` is 0; 0 does not."""
    trial_latest: Natural = 1
    """Newest checkpoints of each trial: what it goes on from when it shall train for longer."""


class CheckpointConfig(Part):
    """How much work a crash may cost."""

    every_s: Annotated[float, Field(ge=0)] = 30.0
    """Seconds between two checkpoints of a trial; 0 writes one at every report."""
    keep: KeepConfig = KeepConfig()
    """Which checkpoints survive."""
    min_free_gb: Annotated[float, Field(ge=0)] = 1.0
    """Free space of the storage, in 10^9 bytes, without which a sweep neither starts nor goes on; 0 never looks."""


class SweepConfig(Part):
    """A whole sweep, as sweep.yaml gives it."""

    version: Literal[1] = FORMAT_VERSION
    """Format version of sweep.yaml."""
    name: SweepName
    """Name of the sweep, and of its directory below the storage."""
    net: Reference | None = None
    """`module:attribute` of a skorch net or a function that returns one; None when Python brings the net."""
    data: DataConfig | None = None
    """Where the data come from; None when Python brings them."""
    metric: MetricConfig
    """What makes one trial better than another."""
    scoring: Names = ()
    """More scikit-learn scorers to report, each as `valid_<scorer>`."""
    validation: ValidationConfig = HoldoutValidation()
    """How a config is judged."""
    parameters: Annotated[dict[str, Any], Field(min_length=1)]
    """skorch parameter name -> domain or constant, as `search_spaces` reads them."""
    searcher: SearcherConfig
    """What proposes the configs."""
    scheduler: SchedulerConfig = SchedulerConfig(name="asha")
    """What decides which trials go on."""
    stop: StopConfig = StopConfig()
    """When the whole sweep ends early."""
    resources: ResourcesConfig = ResourcesConfig()
    """What one trial gets."""
    failure: FailureConfig = FailureConfig()
    """What a failure costs."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """How much work a crash may cost."""
    storage: Annotated[str, Field(min_length=1)] = "./results"
    """Path or `pyarrow.fs` URI below which the sweep's directory lies."""
    report_every_s: Annotated[float, Field(ge=0)] = 0.5
    """Seconds of training that share one report; 0 reports every epoch by itself."""
    seed: Natural = 0
    """Seed of the splits and of the nets."""
    matmul_precision: Literal["highest", "high", "medium"] | None = None
    """Of float32 matrices in training; None leaves it to PyTorch: `highest`, unless the net's code sets another."""
