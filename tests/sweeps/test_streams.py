"""What goes to stderr while Ray prints: all but its daemon's words about workers that died."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stdout

from sweeps.streams import WithoutRay


def test_what_the_daemon_prints_is_dropped_whole_and_all_else_passes():
    seen = io.StringIO()
    with redirect_stdout(WithoutRay(seen)):
        print("from the net")
        print("\x1b[33m(raylet)\x1b[0m A worker died or was killed while executing a task")
        print()
        print("after it", file=sys.stdout)
    assert seen.getvalue() == "from the net\nafter it\n"
