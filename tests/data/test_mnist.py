# SPDX-License-Identifier: MIT
"""MNIST and Fashion-MNIST: looked for in the places that are promised, in that order, and never taken unchecked.

The search is tested with small stand-ins for the data; the real data is tested where it is at hand.
"""

import gzip
import hashlib
import importlib
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from mirror import Mirror

from minidistill.data import mnist
from minidistill.data.download import PublishedFile
from minidistill.data.mnist import FASHION_MNIST, MNIST, VARIABLE, Collection, is_at_hand, load

NAMES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
ROOT = Path(__file__).parents[2]


def idx_bytes(array):
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def contents(seed):
    """Four files like those of MNIST, of 5 and 3 images of 2x2, by name."""
    random = np.random.default_rng(seed)
    parts = (random.integers(0, 256, (5, 2, 2)), np.arange(5), random.integers(0, 256, (3, 2, 2)), np.arange(3) + seed)
    return {name: idx_bytes(part.astype(np.uint8)) for name, part in zip(NAMES, parts, strict=True)}


def collection_of(folder, files, **where):
    published = tuple(
        PublishedFile(folder, name, len(files[name]), hashlib.sha256(files[name]).hexdigest()) for name in NAMES
    )
    return Collection(folder, published, **{"mirrors": (), **where})


FILES, OTHER_FILES = contents(1), contents(2)
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in FILES.items()}
SMALL = collection_of("small", FILES)
OTHER = collection_of("other", OTHER_FILES)


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def is_small(parts):
    """Whether these are the images of SMALL, training and test."""
    pixels = [np.frombuffer(FILES[NAMES[k]][16:], np.uint8).reshape(-1, 4) for k in (0, 2)]
    labels = [[0, 1, 2, 3, 4], [1, 2, 3]]
    return all(
        np.array_equal(part.x, x / np.float32(255)) and part.y.tolist() == y
        for part, x, y in zip(parts, pixels, labels, strict=True)
    )


@pytest.fixture(autouse=True)
def nothing_is_there(tmp_path, monkeypatch):
    """The cache is empty, no variable is set, and OTHER is the one collection besides."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(importlib.import_module("minidistill.data.mnist"), "COLLECTIONS", (SMALL, OTHER))


# ---------------------------------------------------------------------------------------------- the argument


@pytest.mark.parametrize("files", [FILES, PACKED], ids=["plain", "gzipped"])
@pytest.mark.parametrize("below", ["", "small"])
def test_the_files_are_read_from_a_folder_or_from_its_folder_of_that_name(tmp_path, files, below):
    put(tmp_path / "data" / below, files)
    parts = load(SMALL, tmp_path / "data")
    assert is_small(parts)
    assert [(part.x.dtype, part.y.dtype) for part in parts] == [(np.float32, np.int64)] * 2
    assert is_small(load(SMALL, str(tmp_path / "data")))


def test_names_with_a_dot_for_the_dash_are_taken_too(tmp_path):
    put(tmp_path, {name.replace("-idx", ".idx"): content for name, content in FILES.items()})
    assert is_small(load(SMALL, tmp_path))


@pytest.mark.parametrize("below", ["", "small"])
@pytest.mark.parametrize("name", NAMES)
def test_a_missing_file_is_named_and_not_downloaded(tmp_path, below, name):
    put(tmp_path / below, {other: FILES[other] for other in NAMES if other != name})
    with Mirror(PACKED) as mirror, pytest.raises(FileNotFoundError, match=f"has no {name} of small, gzipped or not"):
        load(collection_of("small", FILES, mirrors=(mirror.url,)), tmp_path)
    assert mirror.ranges == []


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_an_altered_file_is_named_and_not_downloaded(tmp_path, name, pack):
    altered = FILES[name][:-1] + bytes([FILES[name][-1] ^ 1])
    put(tmp_path, {**FILES, name: pack(altered)})
    with Mirror(PACKED) as mirror, pytest.raises(ValueError, match=f"{name} is not {name} of small as published"):
        load(collection_of("small", FILES, mirrors=(mirror.url,)), tmp_path)
    assert mirror.ranges == []


def test_the_files_of_another_collection_are_refused(tmp_path):
    put(tmp_path, OTHER_FILES)
    with pytest.raises(ValueError, match="is not train-images-idx3-ubyte of small as published"):
        load(SMALL, tmp_path)


@pytest.mark.parametrize("name", ["empty", "nowhere", "file"])
def test_a_folder_without_any_of_the_files_is_named(tmp_path, name):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(FileNotFoundError, match=f"^folder must hold train-images-idx3-ubyte .*, got '.*{name}'"):
        load(SMALL, tmp_path / name)


@pytest.mark.parametrize("folder", [3, b"folder", ["folder"]])
def test_a_folder_that_is_no_path_is_refused(folder):
    with pytest.raises(TypeError, match="folder must be the path of a folder, got"):
        mnist(folder)


def test_the_argument_goes_before_the_variable(tmp_path, monkeypatch):
    put(tmp_path / "right", FILES)
    put(tmp_path / "wrong", OTHER_FILES)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "wrong"))
    assert is_small(load(SMALL, tmp_path / "right"))
    with pytest.raises(FileNotFoundError, match="folder must hold"):  # and is all that counts
        load(SMALL, tmp_path)


# ---------------------------------------------------------------------------------------------- where else


@pytest.mark.parametrize("below", ["", "small"])
def test_the_variable_names_a_folder(tmp_path, monkeypatch, below):
    put(tmp_path / "data" / below, PACKED)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    assert is_small(load(SMALL))


def test_the_variable_goes_before_the_package(tmp_path, monkeypatch):
    put(tmp_path / "data", FILES)
    put(tmp_path / "package", {NAMES[0]: FILES[NAMES[0]]})  # would be chosen, and lack the rest
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    assert is_small(load(collection_of("small", FILES, installed=(str(tmp_path / "package"),))))


def test_the_package_goes_before_the_cache(tmp_path):
    put(tmp_path / "package", FILES)
    put(tmp_path / "cache" / "minidistill" / "small", OTHER_FILES)
    assert is_small(load(collection_of("small", FILES, installed=("/nowhere", str(tmp_path / "package")))))


def test_the_cache_goes_before_the_mirrors(tmp_path):
    put(tmp_path / "cache" / "minidistill" / "small", FILES)
    assert is_small(load(SMALL))


def test_at_hand_is_what_needs_no_download(tmp_path, monkeypatch):
    cache = tmp_path / "cache" / "minidistill" / "small"
    for k, (name, content) in enumerate(PACKED.items()):
        assert not is_at_hand(SMALL), f"with {k} of 4 files"
        put(cache, {name: content})
    assert is_at_hand(SMALL)
    assert not is_at_hand(OTHER)
    put(tmp_path / "named" / "other", OTHER_FILES)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named"))
    assert is_at_hand(OTHER)


def test_an_altered_file_where_the_variable_says_is_an_error(tmp_path, monkeypatch):
    put(tmp_path, {**PACKED, f"{NAMES[0]}.gz": PACKED[f"{NAMES[0]}.gz"][:-9]})
    monkeypatch.setenv(VARIABLE, str(tmp_path))
    with pytest.raises(ValueError, match="damaged or cut short"):
        load(SMALL)


def test_a_variable_that_names_no_folder_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "typo"))
    with pytest.raises(FileNotFoundError, match=f"^{VARIABLE} must name a folder, got '.*typo'"):
        load(SMALL)


def test_the_files_of_another_collection_where_the_variable_says_are_passed_by(tmp_path, monkeypatch):
    put(tmp_path / "data", OTHER_FILES)
    put(tmp_path / "package", FILES)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "data"))
    assert is_small(load(collection_of("small", FILES, installed=(str(tmp_path / "package"),))))


# ---------------------------------------------------------------------------------------------- the mirrors


def test_what_is_nowhere_is_downloaded_once_into_the_cache(tmp_path):
    with Mirror(PACKED) as mirror:
        collection = collection_of("small", FILES, mirrors=(mirror.url,))
        assert is_small(load(collection))
        assert is_small(load(collection))
    assert mirror.ranges == [None] * 4
    cached = tmp_path / "cache" / "minidistill" / "small"
    assert {name: (cached / name).read_bytes() for name in os.listdir(cached) if name[0] != "."} == PACKED


def test_a_download_that_fails_says_where_to_put_the_files(tmp_path):
    with Mirror({}) as mirror, pytest.raises(OSError, match=r"^cannot download train-images-idx3-ubyte\.gz") as caught:
        load(collection_of("small", FILES, mirrors=(mirror.url,)))
    message = str(caught.value)
    assert f"{mirror.url}{NAMES[0]}.gz: HTTP Error 404" in message
    assert str(tmp_path / "cache" / "minidistill" / "small") in message
    assert message.endswith(f"put the files there by hand, or into a folder that {VARIABLE} names")


@pytest.mark.parametrize("collection", [MNIST, FASHION_MNIST], ids=lambda collection: collection.folder)
def test_each_collection_has_two_mirrors_and_files_of_known_size_and_hash(collection):
    files = collection.files
    assert tuple(file.name for file in files) == NAMES
    assert [file.size for file in files] == [16 + 60000 * 784, 8 + 60000, 16 + 10000 * 784, 8 + 10000]
    assert all(len(bytes.fromhex(file.sha256)) == 32 for file in files)
    assert len(collection.mirrors) == 2
    assert all(mirror.startswith("http") and mirror.endswith("/") for mirror in collection.mirrors)


def test_no_two_of_the_files_have_the_same_hash():
    files = [file for collection in (MNIST, FASHION_MNIST) for file in collection.files]
    assert len({file.sha256 for file in files}) == 8


# ---------------------------------------------------------------------------------------------- the real data

REAL_MNIST = Path(os.environ.get(VARIABLE) or ROOT.parent / "shared" / "data" / "mnist")


@pytest.fixture(scope="module")
def real_mnist():
    if not REAL_MNIST.is_dir():
        pytest.skip(f"there is no folder {REAL_MNIST}")
    try:
        return mnist(REAL_MNIST)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def real_fashion_mnist():
    """Found where Debian installs it, and from no mirror."""
    if not Path(FASHION_MNIST.installed[0]).is_dir():
        pytest.skip("the package dataset-fashion-mnist is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv(VARIABLE, raising=False)
        return load(FASHION_MNIST._replace(mirrors=()))


def check_shapes(parts):
    for part, rows in zip(parts, (60_000, 10_000), strict=True):
        assert part.x.shape == (rows, 784)
        assert (part.x.dtype, part.y.dtype) == (np.float32, np.int64)
        assert (part.x.min(), part.x.max()) == (0, 1)
        assert part.classes == 10


def nearest_mean_accuracy(train, test):
    """The share of test images whose nearest mean image is that of their own class."""
    means = np.stack([train.x[train.y == label].mean(axis=0) for label in range(10)])  # (10,784)
    distances = (means**2).sum(axis=1) - 2 * test.x @ means.T  # (N,10)  up to a constant a row
    return (distances.argmin(axis=1) == test.y).mean()


def test_mnist_has_the_digits_that_it_is_known_for(real_mnist):
    train, test = real_mnist
    check_shapes(real_mnist)
    assert np.bincount(train.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert train.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert nearest_mean_accuracy(train, test) == pytest.approx(0.820, abs=0.001)


def test_fashion_mnist_has_as_many_articles_of_each_kind(real_fashion_mnist):
    train, test = real_fashion_mnist
    check_shapes(real_fashion_mnist)
    assert np.bincount(train.y).tolist() == [6000] * 10
    assert np.bincount(test.y).tolist() == [1000] * 10
    assert train.y[:10].tolist() == [9, 0, 0, 3, 0, 2, 7, 2, 5, 5]
    assert nearest_mean_accuracy(train, test) == pytest.approx(0.677, abs=0.001)
