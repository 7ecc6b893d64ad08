# SPDX-License-Identifier: MIT
"""Rows and their labels, checked once: everything that trains or measures takes a `Dataset`.

N is the number of rows, and I the number of columns (the inputs of a network).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ..support.checks import check_labels, check_number, check_rows, check_seed, check_whole
from ..support.deprecation import renamed_attribute

BLOCK_VALUES = 1 << 16  # long sweeps go block by block: this many values stay in the processor's cache


@dataclass(frozen=True, eq=False)  # eq=False: "equal" would be an array of answers, not one
class Dataset:
    """N rows of I numbers, with a label for each row or with none at all.

    x : (N,I) float32 or float64, finite; whole numbers and bools become float32, float64 stays float64.
    y : (N,) int64, the class of each row, counted from 0; None where the rows are unlabeled.

    The arrays are not copied, and are read-only here: `data.x /= 255` is an error. Leave the originals unchanged too.

    Raises ValueError or TypeError, naming x or y, for a wrong number of dimensions, no rows, NaN or infinity, text,
    labels that are negative or not whole, or another number of labels than rows.
    """

    x: np.ndarray  # (N,I)
    y: np.ndarray | None = None  # (N,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", _read_only(check_rows("x", self.x)))
        if self.y is not None:
            object.__setattr__(self, "y", _read_only(check_labels("y", self.y, rows=len(self.x))))

    def __len__(self) -> int:
        """N, the number of rows."""
        return len(self.x)

    def __repr__(self) -> str:
        labels = "unlabelled" if self.y is None else f"{self.classes} classes"
        return f"Dataset({self.x.shape[0]} rows, {self.x.shape[1]} columns, {self.x.dtype}, {labels})"

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process makes it anew, since arrays arrive there writable."""
        return Dataset, (self.x, self.y)

    @property
    def classes(self) -> int:
        """The number of classes: the largest label plus 1. ValueError where the rows are unlabeled."""
        if self.y is None:
            raise ValueError("this dataset has no labels (y is None), so its number of classes is unknown")
        return int(self.y.max()) + 1

    # ------------------------------------------------------------------------------------------ choosing rows

    def subset(self, indices: Any) -> "Dataset":
        """The rows at `indices`, in that order: whole numbers from 0 to N-1 (repeats allowed), or N bools.

        Raises TypeError for anything else, ValueError for an index out of range or where no row is left.
        """
        chosen = np.asarray(indices)
        if chosen.ndim != 1:
            raise ValueError(f"indices must have 1 dimension, got shape {chosen.shape}")
        if len(chosen) == 0:
            raise ValueError("indices is empty: a dataset has at least one row")
        if chosen.dtype == np.bool_:
            if len(chosen) != len(self):
                raise ValueError(f"indices must have a bool for each of the {len(self)} rows, got {len(chosen)}")
            if not chosen.any():
                raise ValueError("indices chooses no row: a dataset has at least one")
        elif chosen.dtype.kind in "iu":
            outside = chosen[(chosen < 0) | (chosen >= len(self))]
            if len(outside) > 0:
                raise ValueError(f"indices must be between 0 and {len(self) - 1} ({len(self)} rows), got {outside[0]}")
        else:
            raise TypeError(f"indices must be whole numbers or bools, got an array of dtype {chosen.dtype}")
        return Dataset(self.x[chosen], None if self.y is None else self.y[chosen])

    def split(self, size: float, seed: int = 0) -> tuple["Dataset", "Dataset"]:
        """Two datasets: the first of the given size, the second with the rest of the rows; both shuffled, none empty.

        size : a float in (0,1), the share of the rows that goes to the first; or a whole number of rows, 1 to N-1.
        seed : the same seed gives the same split.

        With labels it is stratified: of a class with n rows the first gets n * size / N, rounded up or down.
        """
        if len(self) < 2:
            raise ValueError("split needs at least 2 rows, got 1")
        if isinstance(size, float | np.floating):
            share = check_number("size", size, "(0, 1)")
            count = min(max(round(share * len(self)), 1), len(self) - 1)
        else:
            count = check_whole("size", size)
            if count >= len(self):
                raise ValueError(f"size must leave a row for the second part: at most {len(self) - 1}, got {count}")
        first, rest = self._shuffled_in_two(count, seed)
        return self.subset(first), self.subset(rest)

    def take(self, n: int, seed: int = 0) -> "Dataset":
        """`n` of the rows, 1 to N, shuffled and stratified as in `split`; the same for the same seed."""
        count = check_whole("n", n)
        if count > len(self):
            raise ValueError(f"n must be at most the number of rows, {len(self)}, got {count}")
        chosen, _ = self._shuffled_in_two(count, seed)
        return self.subset(chosen)

    def _shuffled_in_two(self, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """The indices of `count` rows, stratified, and of all others; both in random order."""
        generator = np.random.default_rng(check_seed(seed))
        order = generator.permutation(len(self))  # (N,)
        if self.y is None:
            return order[:count], order[count:]

        _, class_of_row, rows_in_class = np.unique(self.y, return_inverse=True, return_counts=True)
        shares = _proportional_shares(count, rows_in_class, generator)  # (classes,)

        by_class = order[np.argsort(class_of_row[order], kind="stable")]  # (N,)  shuffled within each class
        chosen = np.zeros(len(self), dtype=bool)
        for rows, share in zip(np.split(by_class, np.cumsum(rows_in_class)[:-1]), shares, strict=True):
            chosen[rows[:share]] = True
        return order[chosen[order]], order[~chosen[order]]

    # ------------------------------------------------------------------------------------------ scaling columns

    def mean_std(self) -> tuple[np.ndarray, np.ndarray]:
        """The mean and the scale of each column, two float64 arrays of shape (I,), for `standardize`.

        The scale is the standard deviation (divided by N, not N-1); a constant column has scale 1.
        """
        mean = self.x.mean(axis=0, dtype=np.float64)  # (I,)
        spread = self.x.max(axis=0).astype(np.float64) - self.x.min(axis=0)  # (I,)
        constant = spread == 0  # by rounding, their standard deviation need not be 0
        unit = np.where(constant, 1, spread)  # the squares of values / spread neither overflow nor vanish
        squares = np.zeros_like(mean)
        for block in self._blocks():
            squares += (((self.x[block] - mean) / unit) ** 2).sum(axis=0)
        return mean, np.where(constant, 1, unit * np.sqrt(squares / len(self)))

    def standardize(self, mean: Any = None, scale: Any = None) -> "Dataset":
        """A new dataset of (x - mean) / scale, column by column; labels, dtype and order of the rows stay.

        mean, scale : (I,) each; left out, they are this dataset's own `mean_std`. Test data needs those of the training
                      data: `test.standardize(*train.mean_std())`.

        Raises ValueError for one without the other, a wrong length, or a scale that is not above 0.
        """
        if (mean is None) != (scale is None):
            raise ValueError("mean and scale must be given together, or neither of them")
        if mean is None:
            mean, scale = self.mean_std()
        columns = self.x.shape[1]
        mean = check_rows("mean", np.atleast_2d(mean), columns)[0]  # (I,)
        scale = check_rows("scale", np.atleast_2d(scale), columns)[0]  # (I,)
        if (scale <= 0).any():
            column = int(np.argmax(scale <= 0))
            raise ValueError(f"scale must be above 0, got {scale[column]} for column {column}")
        x = np.empty_like(self.x)  # (N,I)
        with np.errstate(over="ignore"):  # what overflows is infinite, and the new Dataset says so
            for block in self._blocks():
                x[block] = (self.x[block] - mean) / scale
        return Dataset(x, self.y)

    # ------------------------------------------------------------------------------------------ hashes of rows

    @cached_property
    def row_hashes(self) -> np.ndarray:
        """A 64-bit hash of each row of x, (N,) uint64, which shows whether cached outputs belong to these rows.

        Rows that are equal in float32 have equal hashes, in any dataset and dtype. Others have different ones but for a
        probability of about 2^-64 per pair. Labels play no part. The hash is not cryptographic.

        The bytes of a row are read as 64-bit words w_0, w_1, ... (two float32 each, padded with zeros; -0.0 is read as
        0.0). `mix` is a bijection, the finalizer of SplitMix64 (Steele, Lea, Flood 2014):

            hash = mix(I + sum over j of mix(w_j XOR mix(j+1)))        modulo 2^64
        """
        return self._hashes(np.dtype(np.float32))

    @cached_property
    def exact_row_hashes(self) -> np.ndarray:
        """`row_hashes` of the values in their own dtype, one float64 per word: files of version 0.1 hold these."""
        return self.row_hashes if self.x.dtype == np.float32 else self._hashes(self.x.dtype)

    column_statistics = renamed_attribute("Dataset.column_statistics", "mean_std")
    standardise = renamed_attribute("Dataset.standardise", "standardize")
    fingerprints = renamed_attribute("Dataset.fingerprints", "row_hashes")
    exact_fingerprints = renamed_attribute("Dataset.exact_fingerprints", "exact_row_hashes")

    def _hashes(self, dtype: "np.dtype[Any]") -> np.ndarray:
        rows, columns = self.x.shape
        words = -(-columns * dtype.itemsize // 8)  # of 8 bytes, rounded up
        keys = _mix(np.arange(1, words + 1, dtype=np.uint64))  # (words,)
        sums = np.empty(rows, dtype=np.uint64)  # (N,)
        for block in self._blocks():
            padded = np.zeros((len(self.x[block]), words * 8 // dtype.itemsize), dtype)
            with np.errstate(over="ignore"):  # a float64 beyond float32 becomes infinite, which has a hash too
                padded[:, :columns] = self.x[block]
            padded += 0.0  # -0.0 + 0.0 is 0.0; all else stays as it is
            sums[block] = _mix(padded.view(np.uint64) ^ keys).sum(axis=1)
        return _read_only(_mix(sums + np.uint64(columns)))

    def _blocks(self) -> list[slice]:
        """Slices that cover the rows in order, of about BLOCK_VALUES values each."""
        step = max(BLOCK_VALUES // self.x.shape[1], 1)
        return [slice(start, start + step) for start in range(0, len(self), step)]


def _read_only(array: np.ndarray) -> np.ndarray:
    """A read-only view; the array itself stays writable."""
    view = array.view()
    view.flags.writeable = False
    return view


def _proportional_shares(count: int, sizes: np.ndarray, generator: "np.random.Generator") -> np.ndarray:
    """Whole numbers in proportion to `sizes` with the sum `count`, by the method of largest remainders.

    Equal remainders are ordered at random: otherwise small samples would always lack the same classes.
    """
    sizes = sizes.astype(np.int64)  # on a 32-bit Python the products would overflow
    shares: np.ndarray = count * sizes // sizes.sum()
    remainders = count * sizes % sizes.sum()
    ranking = np.lexsort((generator.permutation(len(sizes)), -remainders))
    shares[ranking[: count - shares.sum()]] += 1
    return shares


def _mix(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finalizer of each uint64, in place."""
    words ^= words >> np.uint64(30)
    words *= np.uint64(0xBF58476D1CE4E5B9)
    words ^= words >> np.uint64(27)
    words *= np.uint64(0x94D049BB133111EB)
    words ^= words >> np.uint64(31)
    return words


def check_dataset(name: str, data: Any) -> Dataset:
    """`data`, if it is a Dataset."""
    if not isinstance(data, Dataset):
        raise TypeError(f"{name} must be a Dataset, got {type(data).__name__}: Dataset(x, y) makes one")
    return data
