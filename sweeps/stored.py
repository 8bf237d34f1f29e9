"""What a sweep's directory says of it: its spec and its records. Imports no torch, starts nothing, writes nothing."""

from __future__ import annotations

from collections.abc import Sequence

from sweeps import journal
from sweeps.config import SweepConfig
from sweeps.errors import Problem, SpecError, SweepStateError
from sweeps.records import SweepState
from sweeps.spec import load_spec
from sweeps.storage import SweepPaths, read_manifest
from trainables.objective import Objective


def read_state(paths: SweepPaths) -> SweepState:
    """What the journal of a sweep says.

    Raises
    ------
    SweepStateError
        Manifest or journal cannot be read.
    """
    manifest = read_manifest(paths)
    objective = Objective(manifest["metric"], manifest["goal"] == "maximize")
    return SweepState.replay(objective, journal.read(paths.journal))


def stored_spec(paths: SweepPaths, needs: Sequence[str] = ()) -> SweepConfig:
    """The spec of a sweep.

    Parameters
    ----------
    paths : SweepPaths
        Where it lies.
    needs : sequence of str
        Keys that it must have.

    Raises
    ------
    SweepStateError
        It cannot be read.
    SpecError
        It lacks what only Python could bring.
    """
    if not paths.spec.is_file():
        raise SweepStateError(
            f"{paths.spec}: missing, so the sweep cannot go on; put a copy back, such as the file that it was run with"
        )
    try:
        config = load_spec(paths.spec)
    except (SpecError, OSError) as error:
        raise SweepStateError(f"{paths.spec}: damaged, so the sweep cannot go on:\n{error}") from error
    lacks = [key for key in needs if getattr(config, key) is None]
    if lacks:
        what = " and ".join(lacks)
        given = ", ".join(f"{key}=..." for key in lacks)
        text = f"the sweep was given its {what} in Python, which cannot be stored; hand over the same again: {given}"
        raise SpecError(Problem(text, str(paths.spec)))
    return config
