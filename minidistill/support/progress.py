# SPDX-License-Identifier: MIT
"""Progress bars, for whoever waits in front of a terminal. tqdm draws them, and is imported when one is shown."""

import sys
from collections.abc import Iterable


def with_bar(numbers: range, progress: bool | None, unit: str = "epoch") -> Iterable[int]:
    """`numbers`, behind a progress bar where one is wanted; by default after two seconds in a terminal."""
    if progress is False or (progress is None and not sys.stderr.isatty()):
        return numbers
    from tqdm import tqdm

    bar: Iterable[int] = tqdm(numbers, unit=unit, leave=False, delay=0 if progress else 2)
    return bar
