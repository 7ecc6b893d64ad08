# SPDX-License-Identifier: MIT
"""Data: data sets, and what reads, checks and augments them. The files, in the order in which to read them:

    dataset.py       Dataset: rows and labels, checked; split, subset, take, standardize, hashes of rows
    digits.py        digits(): 1,797 real handwritten digits that come with the package
    spirals.py       spirals(): a toy in two dimensions
    idx.py           load_idx(): the format of MNIST and its relatives
    download.py      files that others publish: downloaded once, and checked
    mnist.py         mnist(), fashion_mnist(): 70,000 images each, found on this machine or downloaded
    tables.py        load_table(): rows of your own, from CSV or NPZ
    augmentation.py  RandomShift, LabelNoise, Mixup, with_label_noise()
    scaling.py       warnings about inputs whose scale prevents learning
"""

from .dataset import Dataset
from .digits import digits
from .idx import load_idx
from .mnist import fashion_mnist, mnist
from .spirals import spirals
from .tables import load_table

__all__ = ["Dataset", "digits", "fashion_mnist", "load_idx", "load_table", "mnist", "spirals"]
