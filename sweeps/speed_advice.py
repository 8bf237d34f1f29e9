"""SpeedAdvice: whether compilation, CUDA graphs and TF32 pay in a sweep, from what was measured. Trains nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from search_spaces.space import SearchSpace
from sweeps.memory_advice import is_size
from sweeps.output import brief, duration

if TYPE_CHECKING:
    from sweeps.speed_probe import Timing

WRITE = {
    "compile": "compile: true below parameters",
    "CUDA graphs": "compile: true and compile__mode: reduce-overhead below parameters",
    "TF32": "matmul_precision: high at the top level",
}
"""Variant -> what to write into sweep.yaml."""

# Less than this share of the whole may be the noise of four epochs.
_LEAST_SHARE = 0.1


@dataclass(frozen=True)
class VariantAdvice:
    """Whether one way to train faster pays.

    Attributes
    ----------
    name : str
        Of the variant.
    epoch_s : float or None
        Seconds of an epoch; None where it was not measured.
    first_extra_s : float
        Seconds that the first epoch took longer: compilation, for each trial of a new shape.
    again_extra_s : float
        The same for a trial of a shape that was compiled on this machine before.
    metric : float or None
        The sweep's metric after the same epochs as of the other variants.
    saves_s : float or None
        Seconds that all trials would save over the expected epochs; negative where it costs more than it gains.
    pays : bool
        Whether that is a tenth of their time at least.
    write : str
        What to write into sweep.yaml.
    sentence : str
        All that in words.
    """

    name: str
    epoch_s: float | None
    first_extra_s: float
    again_extra_s: float
    metric: float | None
    saves_s: float | None
    pays: bool
    write: str
    sentence: str


@dataclass(frozen=True)
class SpeedAdvice:
    """What training in another way would save.

    Attributes
    ----------
    params : mapping
        The config that was measured.
    metric : str
        The sweep's.
    n_shapes : int
        Different sizes of nets and batches that the trials may have, at most; each is compiled anew.
    variants : tuple of VariantAdvice
        The first is of the config as it is.
    """

    params: Mapping[str, Any]
    metric: str
    n_shapes: int
    variants: tuple[VariantAdvice, ...]


def advise_speed(
    timings: Sequence[Timing],
    params: Mapping[str, Any],
    space: SearchSpace,
    metric: str,
    *,
    n_trials: int,
    n_epochs: int,
) -> SpeedAdvice:
    """What to do about measured variants.

    Parameters
    ----------
    timings : sequence of Timing
        The first is of the config as it is.
    params : mapping
        That config's.
    space : SearchSpace
        What may vary.
    metric : str
        The sweep's.
    n_trials, n_epochs : int
        Trials, and expected epochs of all of them together.
    """
    sizes = [domain.size or n_trials for name, domain in space.domains.items() if is_size(name)]
    n_shapes = min(n_trials, prod(sizes))
    judged = [_judged(timing, timings[0], n_shapes, n_trials, n_epochs) for timing in timings]
    return SpeedAdvice(params, metric, n_shapes, tuple(judged))


def speed_rows(advice: SpeedAdvice) -> list[dict[str, Any]]:
    """The measured variants as rows of a table."""
    return [
        {
            "variant": variant.name,
            "s per epoch": _short(variant.epoch_s),
            "s more in the first": _short(variant.first_extra_s),
            "s more if cached": _short(variant.again_extra_s),
            advice.metric: variant.metric,
        }
        for variant in advice.variants
        if variant.epoch_s is not None
    ]


def speed_notes(advice: SpeedAdvice) -> list[str]:
    """One sentence for each variant that changes something."""
    told = [f"{variant.name}: {variant.sentence}" for variant in advice.variants if variant.sentence]
    return [f"speed of {brief(advice.params)}:", *told] if told else []


def _judged(timing: Timing, base: Timing, n_shapes: int, n_trials: int, n_epochs: int) -> VariantAdvice:
    found = (timing.name, timing.epoch_s, timing.first_extra_s, timing.again_extra_s, timing.metric)
    write = WRITE.get(timing.name, "")
    if timing is base or timing.epoch_s is None or base.epoch_s is None:
        return VariantAdvice(*found, None, False, write, f"not measured: {timing.problem}" if timing.problem else "")
    first_s = max(0.0, timing.first_extra_s - base.first_extra_s)
    again_s = max(0.0, timing.again_extra_s - base.first_extra_s)
    gain_s = (base.epoch_s - timing.epoch_s) * n_epochs
    cost_s = first_s * n_shapes + again_s * (n_trials - n_shapes)
    saves_s = gain_s - cost_s
    pays = saves_s >= _LEAST_SHARE * base.epoch_s * n_epochs
    joined, gain = ("less", "saved") if gain_s > 0 else ("and", "lost")
    costs = f", {joined} {_time(cost_s)} of compilation in {n_trials} trials" if cost_s else ""
    sums = f"{_time(gain_s)} {gain} in about {n_epochs} epochs{costs}"
    verdict = f"worth it for this sweep ({sums}); write {write}" if pays else f"not worth it for this sweep ({sums})"
    return VariantAdvice(*found, saves_s, pays, write, verdict)


def _time(seconds: float) -> str:
    seconds = abs(seconds)
    return duration(seconds) if seconds >= 60 else f"{seconds:.2g} s"


def _short(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds:.3g}")
