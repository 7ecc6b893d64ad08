# SPDX-License-Identifier: MIT
"""The bundled data set: 1,797 handwritten digits.

The images are a third of the UCI "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak 1998), under
CC BY 4.0: optical_digits.md, beside this file, has the attribution and the changes.
"""

import os

import numpy as np

from ..support.files import read_npz
from .dataset import Dataset

TRAINING_IMAGES = 1297  # the file holds these first, then the 500 for testing


def digits() -> tuple[Dataset, Dataset]:
    """Real handwritten digits as (train, test): 1,297 and 500 images, always the same ones.

    x : (1297,64) and (500,64) float32. A row is an image of 8x8, line by line from the top: `x[0].reshape(8, 8)`.
        A pixel is the share of ink in a square of 4x4 dots of the scan: 0 (paper) to 1 (ink), in steps of 1/16.
    y : (1297,) and (500,) int64, the digit, 0 to 9, stratified.

    The split is stored in the file, so that results can be compared across versions of NumPy. Most of the 13 writers
    are probably in both parts: the test images are new images, not new handwriting.
    """
    path = os.path.join(os.path.dirname(__file__), "optical_digits.npz")
    stored = read_npz(path, "set of digits", ("images", "labels"))
    x, y = stored["images"].astype(np.float32) / 16, stored["labels"]  # (1797,64) uint8, 0 to 16; (1797,)
    return Dataset(x[:TRAINING_IMAGES], y[:TRAINING_IMAGES]), Dataset(x[TRAINING_IMAGES:], y[TRAINING_IMAGES:])
