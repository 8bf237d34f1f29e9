"""MemoryAdvice: what a sweep's heaviest config takes of the memory, and how many trials fit. Trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from search_spaces.domains import Choice, Constant, Domain, Float, Integer
from search_spaces.space import SearchSpace
from sweeps.config import ResourcesConfig
from sweeps.output import brief, size_text
from sweeps.packing import needed_bytes, share_problem, suggest_fraction
from sweeps.resources import Node, share_of

if TYPE_CHECKING:
    from sweeps.probe import MemoryUse

_DRAWS = 8
_MUCH_CONTEXT_BYTES = 2_000_000_000  # a CUDA context takes a fraction of it, so the rest is of other processes
_LIMITS = {
    "gpu_memory": "its memory",
    "cpus": "the CPUs",
    "machine_memory": "the machine's memory",
    "trials": "how many trials the sweep runs at once",
    "most_per_gpu": "what still helps: trials take turns on a GPU",
}


@dataclass(frozen=True)
class GpuAdvice:
    """What the measured config takes of a GPU, and how to share it.

    Attributes
    ----------
    device : str
        Name of the GPU.
    peak_reserved_bytes : int
        What PyTorch's allocator held at most; this is what the cap of a trial's share counts.
    context_bytes : int
        What was in use beside it: the CUDA context, which no cap counts, and other processes, if there are any.
    total_bytes : int
        Of the GPU.
    present_gpu : float
        The config's share in the spec.
    suggested_gpu : float
        What to write as ``resources.gpu``.
    trials_per_gpu : int
        Trials that run on each GPU then.
    limited_by : str
        As in `Packing`.
    """

    device: str
    peak_reserved_bytes: int
    context_bytes: int
    total_bytes: int
    present_gpu: float
    suggested_gpu: float
    trials_per_gpu: int
    limited_by: str


@dataclass(frozen=True)
class MemoryAdvice:
    """What a trial takes of the memory of the machine and of its GPU, and what follows.

    Attributes
    ----------
    params : mapping
        The config that was measured: the heaviest of those that were compared.
    n_compared : int
        How many were.
    process_peak_bytes : int
        Peak resident memory of the process that trained it.
    machine_bytes : int
        Memory of the machine.
    trials_in_machine_memory : int
        Such processes that fit into it.
    gpu : GpuAdvice or None
        None where no GPU was used.
    notes : tuple of str
        What a person should know or mend.
    """

    params: Mapping[str, Any]
    n_compared: int
    process_peak_bytes: int
    machine_bytes: int
    trials_in_machine_memory: int
    gpu: GpuAdvice | None
    notes: tuple[str, ...]


def heavy_configs(space: SearchSpace, seed: int) -> list[dict[str, Any]]:
    """A handful of configs, among them those that should need most memory.

    Parameters
    ----------
    space : SearchSpace
        What may vary.
    seed : int
        Of the draws.

    Returns
    -------
    list of dict
        Eight random draws, each as it is and, before it, with the batch size and all numbers of the module at their
        upper ends; every config once.
    """
    rng = np.random.default_rng(seed)
    sizes = {name: _upper_end(domain) for name, domain in space.domains.items() if is_size(name)}
    upper = {name: end for name, end in sizes.items() if end is not None}
    draws = [{name: domain.sample(rng) for name, domain in space.domains.items()} for _ in range(_DRAWS)]
    configs = [space.active(params) for draw in draws for params in (draw | upper, draw)]
    return list({repr(sorted(config.items())): config for config in configs}.values())


def is_size(name: str) -> bool:
    """Whether a parameter may change the size of a net or of its batches."""
    return name.startswith("module__") or name.split("__")[-1] == "batch_size"


def advise(use: MemoryUse, resources: ResourcesConfig, machine: Node, n_trials: int) -> MemoryAdvice:
    """What to do about a measured use of memory.

    Parameters
    ----------
    use : MemoryUse
        What was measured.
    resources : ResourcesConfig
        Of the sweep.
    machine : Node
        Where it was measured.
    n_trials : int
        Trials of the sweep.
    """
    share = share_of(resources, use.params)
    in_memory = use.machine_bytes // needed_bytes(use.process_bytes)
    gpu, notes = None, list(use.notes)
    if use.cuda is not None:
        found = (use.cuda.peak_reserved_bytes, use.cuda.context_bytes, use.cuda.total_bytes)
        packing = suggest_fraction(
            *found,
            cpus=machine.cpus,
            gpus=max(1, int(machine.gpus)),
            cpu=share.cpu,
            trials_in_machine_memory=in_memory,
            most_at_once=min(n_trials, resources.max_concurrent_trials or n_trials),
        )
        gpu = GpuAdvice(use.cuda.name, *found, share.gpu, packing.gpu, packing.trials_per_gpu, packing.limited_by)
        problem = share_problem(share.gpu, *found, packing)
        notes += [*_context_notes(use.cuda.context_bytes), *([f"resources: {problem}"] if problem else [])]
        notes += ["resources.rules: this is about configs with the measured one's share"] if resources.rules else []
    elif share.gpu:
        notes.append("resources.gpu: no CUDA device here, so no share can be measured; run this on the GPU machine")
    return MemoryAdvice(use.params, use.n_compared, use.process_bytes, use.machine_bytes, in_memory, gpu, tuple(notes))


def advice_texts(advice: MemoryAdvice) -> dict[str, str]:
    """Advice for people, under names."""
    compared = f"the heaviest of {advice.n_compared} configs" if advice.n_compared > 1 else "the only config"
    others = "; others may need more" if advice.n_compared > 1 else ""
    process = f"{size_text(advice.process_peak_bytes)} of the machine's {size_text(advice.machine_bytes)}"
    if advice.gpu is None:
        fitting = f"{process} at most; memory for about {advice.trials_in_machine_memory} such trials at once"
        return {"measured": f"{brief(advice.params)} ({compared}{others})", "memory": fitting}
    gpu = advice.gpu
    total = f"the {size_text(gpu.total_bytes)} of {gpu.device}"
    taken = f"{size_text(gpu.peak_reserved_bytes)} of {total} at most, beside it {size_text(gpu.context_bytes)} that"
    each = f"{gpu.trials_per_gpu} trial{'s' if gpu.trials_per_gpu > 1 else ''} on each GPU"
    return {
        "measured": f"{brief(advice.params)} ({compared}{others})",
        "GPU": f"{taken} no cap counts; {process}",
        "packing": f"resources.gpu: {gpu.suggested_gpu:g} runs {each}, limited by {_LIMITS[gpu.limited_by]}",
    }


def _context_notes(context_bytes: int) -> Iterator[str]:
    if context_bytes > _MUCH_CONTEXT_BYTES:
        yield (
            f"{size_text(context_bytes)} of the GPU are in use outside of this process's tensors: other processes seem "
            "to be on it, so the suggestion is too cautious; measure on a GPU that is idle"
        )


def _upper_end(domain: Domain) -> Any:
    """The largest value of a range, or among numbers; None where there is none."""
    if isinstance(domain, (Float, Integer)):
        return domain.at(1 - 1e-12)
    if not isinstance(domain, (Choice, Constant)):
        return None
    values = domain.axis()
    return max(values) if all(type(value) in (int, float) for value in values) else None
