# SPDX-License-Identifier: MIT
"""The images that a teacher is asked about are of the kinds that are named, and the claims follow from the figures."""

import numpy as np
import pytest

from minidistill import Dataset
from minidistill.experiments.reproduce import fidelity
from minidistill.experiments.reproduce.fidelity import _claims, _kinds, _sizes
from minidistill.experiments.reproduce.study import Study


@pytest.fixture
def study(monkeypatch):
    x = np.zeros((600, 784), np.float32)
    x[:, 400] = np.linspace(0.5, 1, 600)
    images = Dataset(x, np.arange(600) % 3)
    clothes = Dataset(np.full((900, 784), 0.25, np.float32), np.arange(900) % 10)
    monkeypatch.setattr(fidelity, "fashion_mnist", lambda: (clothes, clothes))
    return Study(images, images, images, images, [0], True)


def test_as_many_images_of_each_kind_all_between_paper_and_ink(study):
    kinds = _kinds(study)
    assert {kind: x.shape for kind, x in kinds.items()} == dict.fromkeys(kinds, (500, 784))
    assert all(x.dtype == np.float32 and x.min() >= 0 and x.max() <= 1 for x in kinds.values())


def test_moved_images_keep_their_ink_and_mixed_ones_lie_between_two(study):
    kinds = _kinds(study)
    assert (np.count_nonzero(kinds["moved"], axis=1) == 1).all()
    assert len(np.unique(kinds["moved"].argmax(axis=1))) > 10
    assert (np.flatnonzero(kinds["mixed"].any(axis=0)) == [400]).all()
    assert (kinds["clothes"] == 0.25).all()
    assert 0.45 < kinds["noise"].mean() < 0.55


def test_only_sizes_that_the_data_has_are_asked_for():
    assert _sizes(50_000) == [500, 2_000, 8_000, 32_000]
    assert _sizes(6_000) == [500, 2_000]


def test_every_step_must_add_agreement_and_kinds_are_compared_seed_by_seed():
    by_size = {500: ([80.0, 81.0], []), 2_000: ([85.0, 86.0], []), 8_000: ([90.0, 95.0], [])}
    by_kind = {"moved": ([92.0, 96.0], []), "clothes": ([50.0, 60.0], []), "noise": ([10.0, 20.0], [])}
    claims = _claims(by_size, by_kind)
    assert [claim.values for claim in claims] == [[10.0, 5.0], [5.0, 5.0], [2.0, 1.0], [40.0, 40.0], [40.0, 35.0]]
    assert all(claim.holds for claim in claims)
    by_size[2_000] = ([79.0, 86.0], [])
    assert [claim.holds for claim in _claims(by_size, by_kind)] == [True, False, True, True, True]
