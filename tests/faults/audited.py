"""Does with sweeps whatever can be done with them, under an audit hook; a program. Judges nothing.

Arguments: a file to write to, the folder for exports, and the directories of sweeps. Written is, as JSON, what each
verb came to and every event of Python that would tell that stored code was run.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

_RUNS = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "pickle.find_class"}


class Audit:
    """Notes events that have to do with the directories.

    Attributes
    ----------
    events : list of str
        What happened; with ``verb`` in front.
    verb : str
        What is being done; events count while there is one.
    """

    def __init__(self, roots: list[Path]) -> None:
        self.events: list[str] = []
        self.verb = ""
        self._roots = tuple(f"{root}/" for root in roots)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.verb:
            return
        if event in _RUNS:
            self.events.append(f"{self.verb}: {event} {arguments[:2]}")
        if event == "compile" and self._is_inside(arguments[1]):
            self.events.append(f"{self.verb}: compiles {arguments[1]}")
        if event == "exec" and self._is_inside(getattr(arguments[0], "co_filename", "")):
            self.events.append(f"{self.verb}: executes {arguments[0].co_filename}")
        if event == "open" and self._is_inside(arguments[0]) and Path(arguments[0]).suffix == ".pkl":
            self.events.append(f"{self.verb}: opens {arguments[0]}")

    def _is_inside(self, path: object) -> bool:
        return isinstance(path, (str, Path)) and str(path).startswith(self._roots)


def verbs_for(root: Path, exports: Path) -> Iterator[tuple[str, Callable[[], object]]]:
    from sweeps import Sweep, SweepResult
    from sweeps.cli import main

    lines: dict[str, list[object]] = {
        "ls": ["ls", root.parent],
        "show": ["show", root],
        "show trial": ["show", root, "--trial", 0],
        "best": ["best", root, "-o", "json"],
        "export csv": ["export", root, "--to", "csv", "-f", exports / "trials.csv"],
        "export parquet": ["export", root, "--to", "parquet", "-f", exports / "metrics.parquet", "--what", "metrics"],
        "export json": ["export", root, "--to", "json", "-f", exports / "trials.json"],
        "export model": ["export", root, "--to", "model", "-f", exports / "model"],
        "gc": ["gc", root, "--dry-run"],
        "stop": ["stop", root],
    }
    for verb, words in lines.items():
        yield verb, partial(main, [*map(str, words)])
    yield "trials", lambda: len(SweepResult.load(root).trials) and 0
    yield "metrics", lambda: len(SweepResult.load(root).metrics) and 0
    yield "best net", lambda: SweepResult.load(root).best_net.initialized_ and 0
    yield "resume", lambda: Sweep.resume(root, backend="inline", progress=False) and 0


def outcome(act: Callable[[], object]) -> str:
    """The exit code, or the class of the error."""
    try:
        return str(act())
    except (Exception, SystemExit) as error:  # any is told
        return f"{type(error).__name__}: {error}"


def run(target: Path, exports: Path, roots: list[Path]) -> None:
    audit = Audit(roots)
    sys.addaudithook(audit)
    found = {}
    for root in roots:
        folder = exports / root.parent.name
        folder.mkdir(parents=True)
        for verb, act in verbs_for(root, folder):
            audit.verb = f"{root.parent.name}: {verb}"
            found[audit.verb] = outcome(act)
            audit.verb = ""
    target.write_text(json.dumps({"outcomes": found, "events": audit.events}))


if __name__ == "__main__":
    run(Path(sys.argv[1]), Path(sys.argv[2]), [Path(root) for root in sys.argv[3:]])
