# SPDX-License-Identifier: MIT
"""The data of most tests of training."""

import pytest

from minidistill import spirals


@pytest.fixture
def data():
    """Twenty points of two arms: two full batches of 8 and one of 4."""
    return spirals(20, classes=2, seed=3)
