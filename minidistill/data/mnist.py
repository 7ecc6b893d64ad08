# SPDX-License-Identifier: MIT
"""MNIST and Fashion-MNIST: 70,000 images each, found on this machine or else downloaded, and checked by SHA-256.

Both are four IDX files of the same names. They are looked for in this order:

    the argument `folder`                   if it is given, nowhere else
    the environment's MINIDISTILL_DATA      a folder; in its folder mnist or fashion-mnist, or in itself
    /usr/share/datasets/fashion-mnist       where Debian's package dataset-fashion-mnist puts them
    the user's cache                        where downloads are kept
    the mirrors                             in turn

One of the first three that has one of the files must have all four, undamaged: all else is an error, not a reason for
a download. In the cache, what is missing or damaged is downloaded again.
"""

import io
import os
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from ..support.files import cache_folder
from .dataset import Dataset
from .download import PublishedFile, checked_content, fetched, places
from .idx import read_array

VARIABLE = "MINIDISTILL_DATA"


class Collection(NamedTuple):
    """A data set in four IDX files, and where to find them."""

    folder: str  # the name of its folder in a folder of data sets
    files: tuple[PublishedFile, ...]  # training images, training labels, test images, test labels
    mirrors: tuple[str, ...]
    installed: tuple[str, ...] = ()  # folders of operating systems' packages


IMAGES, LABELS = 16, 8  # bytes of the header in an IDX file of three dimensions, and of one
FILES = (  # name and bytes
    ("train-images-idx3-ubyte", IMAGES + 60_000 * 784),
    ("train-labels-idx1-ubyte", LABELS + 60_000),
    ("t10k-images-idx3-ubyte", IMAGES + 10_000 * 784),
    ("t10k-labels-idx1-ubyte", LABELS + 10_000),
)


def _published(name: str, *hashes: str) -> tuple[PublishedFile, ...]:
    """The four files of a data set, which have these SHA-256 hashes."""
    return tuple(PublishedFile(name, *file, sha256) for file, sha256 in zip(FILES, hashes, strict=True))


MNIST = Collection(
    "mnist",
    _published(
        "MNIST",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
    ("https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"),
)
FASHION_MNIST = Collection(
    "fashion-mnist",
    _published(
        "Fashion-MNIST",
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    (
        "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    installed=("/usr/share/datasets/fashion-mnist",),
)
COLLECTIONS = (MNIST, FASHION_MNIST)


def mnist(folder: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """MNIST, handwritten digits, as (train, test): 60,000 and 10,000 images.

    x : (60000,784) and (10000,784) float32. A row is an image of 28x28, line by line from the top:
        `x[0].reshape(28, 28)`. A pixel is 0 (paper) to 1 (ink), in steps of 1/255.
    y : (60000,) and (10000,) int64, the digit, 0 to 9.

    folder : has the files, gzipped or not: train-images-idx3-ubyte, train-labels-idx1-ubyte, and the same with t10k for
             the test; or has a folder mnist with them. Left out, MINIDISTILL_DATA and the user's cache are searched,
             and the files are downloaded into the cache (11 MB) if they are in neither.

    Raises FileNotFoundError for a file that is missing, ValueError for one that is not as published, and OSError where
    a download fails.

    Source: LeCun, Bottou, Bengio, Haffner 1998, "Gradient-Based Learning Applied to Document Recognition".
    """
    return load(MNIST, folder)


def fashion_mnist(folder: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """Fashion-MNIST, photographs of articles from a shop, as (train, test): 60,000 and 10,000 images.

    It has the shapes of MNIST and is harder: for `x`, `folder` and the errors see `mnist`. Its folder is named
    fashion-mnist, a download has 31 MB, and where Debian's package dataset-fashion-mnist is installed none is needed.

    y : 0 T-shirt or top, 1 trousers, 2 pullover, 3 dress, 4 coat, 5 sandal, 6 shirt, 7 sneaker, 8 bag, 9 ankle boot.

    Source: Xiao, Rasul, Vollgraf 2017, "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms".
    """
    return load(FASHION_MNIST, folder)


def load(collection: Collection, folder: str | os.PathLike[str] | None = None) -> tuple[Dataset, Dataset]:
    """The training and the test images of a collection, from wherever they are, as `mnist` describes them."""
    place = place_of(collection, folder)
    arrays = []
    for file in collection.files:
        content = _downloaded(collection, file) if place is None else _found(file, place)
        arrays.append(read_array(io.BytesIO(content), file.name, len(content)))  # (N,28,28) or (N,), uint8
    images, labels, test_images, test_labels = arrays
    return _dataset(images, labels), _dataset(test_images, test_labels)


def _dataset(images: np.ndarray, labels: np.ndarray) -> Dataset:
    return Dataset(images.reshape(len(images), -1) / np.float32(255), labels)


# ---------------------------------------------------------------------------------------------- looking for the files


def place_of(collection: Collection, folder: str | os.PathLike[str] | None) -> str | None:
    """The folder that has the files; None if there is none, and they must be downloaded or are in the cache."""
    if folder is not None:
        if not isinstance(folder, str | os.PathLike):
            raise TypeError(f"folder must be the path of a folder, got {folder!r}")
        place = _holding(collection, os.fspath(folder))
        if place is None:
            raise FileNotFoundError(
                f"folder must hold {collection.files[0].name} and what belongs to it, gzipped or not, in itself or "
                f"in a folder {collection.folder}, got {os.fspath(folder)!r}"
            )
        return place

    named = os.environ.get(VARIABLE)
    if named and not os.path.isdir(named):
        raise FileNotFoundError(f"{VARIABLE} must name a folder, got {named!r}")
    for parent in ([named] if named else []) + list(collection.installed):
        place = _holding(collection, parent)
        if place is not None and not _is_anothers(place, collection):
            return place
    return None


def is_at_hand(collection: Collection) -> bool:
    """Whether it can be loaded without a download."""
    if place_of(collection, None) is not None:
        return True
    with suppress(OSError):
        cache = str(cache_folder() / collection.folder)
        return all(any(map(os.path.exists, places(cache, file.name))) for file in collection.files)
    return False


def _holding(collection: Collection, parent: str) -> str | None:
    """The collection's own folder in `parent`, or `parent` itself: the first that has one of the files or more."""
    for folder in (os.path.join(parent, collection.folder), parent):
        if any(os.path.exists(path) for file in collection.files for path in places(folder, file.name)):
            return folder
    return None


def _is_anothers(folder: str, collection: Collection) -> bool:
    """Whether the labels for testing there, the smallest of the files, are those of another collection."""
    for other in COLLECTIONS:
        if other.folder != collection.folder:
            with suppress(OSError, ValueError):
                _found(other.files[3], folder)
                return True
    return False


def _found(file: PublishedFile, folder: str) -> bytes:
    for path in places(folder, file.name):
        if os.path.exists(path):
            return checked_content(path, file)
    raise FileNotFoundError(f"{folder} has no {file.name} of {file.of}, gzipped or not")


def _downloaded(collection: Collection, file: PublishedFile) -> bytes:
    try:
        return fetched(file, str(cache_folder() / collection.folder), collection.mirrors)
    except OSError as error:
        raise OSError(f"{error}; put the files there by hand, or into a folder that {VARIABLE} names") from None
