"""``python -m sweeps``: the command line. Nothing else."""

import sys

from sweeps.cli import main

if __name__ == "__main__":
    sys.exit(main())
