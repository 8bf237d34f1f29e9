"""The floor on free disk space, below which a sweep does not start and a running one pauses. Frees nothing."""

from __future__ import annotations

import shlex
import shutil

from sweeps.errors import InfeasibleError
from sweeps.storage import SweepPaths

_GB = 1e9


def check_free_space(paths: SweepPaths, min_free_gb: float) -> None:
    """Refuses to start where a sweep would pause at once.

    Raises
    ------
    InfeasibleError
        As `free_space_problem` says.
    """
    if problem := free_space_problem(paths, min_free_gb):
        raise InfeasibleError(problem)


def free_space_problem(paths: SweepPaths, min_free_gb: float) -> str | None:
    """Says that a sweep's directory, or the place where it shall be, has too little free space.

    Quotas of a single user are not seen. For a sweep on an object store this is about its working copy on this machine.

    Parameters
    ----------
    paths : SweepPaths
        The sweep; its directory need not exist yet.
    min_free_gb : float
        ``checkpoint.min_free_gb``: least free space in 10^9 bytes; 0 asks nothing of the disk.

    Returns
    -------
    str or None
        What is wrong and what to do, or None where there is enough.

    Raises
    ------
    OSError
        The disk cannot be asked.
    """
    if not min_free_gb:
        return None
    place = next(folder for folder in (paths.root, *paths.root.parents) if folder.exists())
    free_gb = shutil.disk_usage(place).free / _GB
    if free_gb >= min_free_gb:
        return None
    where = f"storage {paths.root.parent}"
    if paths.remote is not None:
        where = f"the folder of working copies {paths.root.parent}"
        ways = "make room on this machine; or lower checkpoint.min_free_gb in the sweep.yaml of the sweep"
    elif place == paths.root:
        root = shlex.quote(str(paths.root))
        ways = f"`sweeps gc {root}` deletes what it no longer needs; or lower min_free_gb in {paths.spec}"
    else:
        ways = "`sweeps gc SWEEP` deletes what another sweep no longer needs; or lower checkpoint.min_free_gb"
    # Rounded down, since 0.96 GB would be 1.0 GB.
    shown = int(free_gb * 100) / 100
    return f"{where}: {shown} GB free, less than checkpoint.min_free_gb {min_free_gb:g}; {ways}"
