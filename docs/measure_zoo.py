# SPDX-License-Identifier: MIT
"""Measures what each exhibit of the bug zoo does to the figures, and writes docs/results/zoo.json.

For a loss: the size and the direction of its gradient beside the right one's. For all: the accuracy on test images of
the bundled digits of a small student that saw few of them, taught by the wrong code and by the right code.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from zoo import loops, losses  # noqa: E402
from zoo.exhibits import EXHIBITS, Exhibit, T, of_term  # noqa: E402

from minidistill import MLP, Dataset, SoftTarget, digits, fit, with_label_noise  # noqa: E402
