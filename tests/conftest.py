# SPDX-License-Identifier: MIT
"""The tests of the maths run on the backend that one reads; those of the kernels name theirs."""

import pytest

import minidistill


@pytest.fixture(autouse=True, scope="session")
def readable_backend():
    minidistill.use_backend("numpy")
    yield
    minidistill.use_backend(None)


@pytest.fixture(autouse=True, scope="session")
def short_timings():
    """Tests look at the form of a latency, not at its digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minidistill.training.evaluation.TIMING_SECONDS", 0.001)
        yield
