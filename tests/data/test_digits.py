# SPDX-License-Identifier: MIT
"""The bundled digits: that they are the real ones, all of them, and always split in the same way."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

import minidistill.data
from minidistill.data import digits

FOLDER = Path(minidistill.data.__file__).parent


def as_published(*parts):
    """Each image as its 64 whole numbers and its label, in bytes, sorted: the same whatever the split."""
    x = np.concatenate([part.x for part in parts]) * 16
    y = np.concatenate([part.y for part in parts])
    assert np.array_equal(x, np.round(x))
    return sorted(np.column_stack([x, y]).astype(np.uint8).tolist())


def test_shapes_types_and_range():
    train, test = digits()
    assert (train.x.shape, test.x.shape) == ((1297, 64), (500, 64))
    for part in train, test:
        assert part.x.dtype == np.float32
        assert part.y.dtype == np.int64
        assert (part.x.min(), part.x.max()) == (0, 1)
        assert part.classes == 10


def test_all_1797_images_are_there_unaltered():
    published = b"".join(map(bytes, as_published(*digits())))
    assert len(published) == 1797 * 65
    digest = "f67d6a29d0e1f70e7f0cd9dcf25816b694881f4b8f27f5cc1db59551f0499fb8"  # made from scikit-learn's copy
    assert hashlib.sha256(published).hexdigest() == digest


def test_they_are_the_images_that_scikit_learn_distributes():
    theirs = pytest.importorskip("sklearn.datasets").load_digits()
    assert as_published(*digits()) == sorted(np.column_stack([theirs.data, theirs.target]).astype(np.uint8).tolist())


def test_no_image_is_in_both_parts():
    train, test = digits()
    assert not np.isin(test.row_hashes, train.row_hashes).any()


def test_each_part_has_its_fair_share_of_each_digit():
    train, test = digits()
    whole = np.bincount(np.concatenate([train.y, test.y]))
    for part in train, test:
        assert np.all(np.abs(np.bincount(part.y) - whole * len(part) / 1797) < 1)


def test_the_split_never_changes():
    train, test = digits()
    digest = hashlib.sha256((train.x * 16).astype(np.uint8).tobytes() + train.y.astype(np.uint8).tobytes())
    assert digest.hexdigest() == "2b353ea94bc8f851994d0c1996a0cf22e05b3448eedf99b523f9a05ff06c68d6"
    assert test.y[:10].tolist() == [7, 7, 7, 3, 7, 3, 3, 8, 3, 3]


def test_a_row_is_an_image_line_by_line_from_the_top():
    train, _ = digits()
    image = train.x[train.y == 0].mean(axis=0).reshape(8, 8)  # the average zero
    assert image[3:5, 3:5].max() < 0.3, "a zero has a hole in its middle"
    assert image[0, 3:5].min() > 0.5, "a zero has ink at its top"
    sevens = train.x[train.y == 7].mean(axis=0).reshape(8, 8)
    assert sevens[0].sum() > 1.2 * sevens[7].sum(), "a seven has its bar at the top"


def test_the_nearest_training_image_tells_the_digit():
    """The labels belong to the images: 1-nearest-neighbour is known to get about 98% right."""
    train, test = digits()
    distances = (train.x**2).sum(axis=1) - 2 * test.x @ train.x.T  # up to a constant a row
    assert (train.y[distances.argmin(axis=1)] == test.y).mean() > 0.97


def test_the_file_is_small_and_its_attribution_lies_beside_it():
    assert (FOLDER / "optical_digits.npz").stat().st_size < 120_000
    attribution = (FOLDER / "optical_digits.md").read_text(encoding="utf-8")
    for wanted in "Alpaydin", "Kaynak", "1998", "CC BY 4.0", "creativecommons.org/licenses/by/4.0", "What was changed":
        assert wanted in attribution
