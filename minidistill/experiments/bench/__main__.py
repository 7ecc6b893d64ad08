# SPDX-License-Identifier: MIT
"""One process of the benchmark: `python -m minidistill.experiments.bench THREADS [quick]`."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
