# SPDX-License-Identifier: MIT
"""Data: what networks learn from. The rooms, in the order in which to read them:

    dataset.py   Dataset: rows and labels, checked; split, subset, take, standardise, fingerprints
    digits.py    digits(): 1,797 real handwritten digits that come with the package
    spirals.py   spirals(): a toy in two dimensions
    idx.py       load_idx(): MNIST, Fashion-MNIST and all else in IDX files
    tables.py    load_table(): rows of your own, from CSV or NPZ
"""

from .dataset import Dataset
from .digits import digits
from .idx import load_idx
from .spirals import spirals
from .tables import load_table

__all__ = ["Dataset", "digits", "load_idx", "load_table", "spirals"]
