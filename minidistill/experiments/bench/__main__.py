# SPDX-License-Identifier: MIT
"""One process of the benchmark: `python -m minidistill.experiments.bench THREADS [quick]` prints lines of JSON."""

import json
import os
import sys
from contextlib import suppress
from importlib import import_module
from typing import Any

from . import measure


def main(threads: int, quick: bool) -> int:
    stdout = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is not for our reader

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=stdout, flush=True)

    with suppress(ImportError):
        import_module("torch").set_num_threads(threads)
    try:
        tell(found=measure(threads, quick, lambda line: tell(log=line)))
    except ArithmeticError as error:
        tell(error=str(error))
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), "quick" in sys.argv))
