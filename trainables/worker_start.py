"""What a worker of our own Ray imports first: it collects no garbage until `NetTrainable.setup` has all it needs."""

from __future__ import annotations

import gc

gc.disable()
