# SPDX-License-Identifier: MIT
"""The data and the teacher of most tests of distillation."""

import numpy as np
import pytest

from minidistill import MLP, fit, spirals


@pytest.fixture(scope="package")
def data():
    return spirals(60, seed=3)


@pytest.fixture(scope="package")
def teacher(data):
    """A teacher that knows its 60 points, and has dropout."""
    network = MLP((2, 32, 3), dropout=0.3, dtype=np.float64)
    fit(network, data, epochs=60, batch_size=20)
    return network
