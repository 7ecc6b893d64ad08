# SPDX-License-Identifier: MIT
"""The tests of the maths run on the backend that one reads; those of the kernels name theirs."""

import pytest

import minidistill


@pytest.fixture(autouse=True, scope="session")
def readable_backend():
    minidistill.use_backend("numpy")
    yield
    minidistill.use_backend(None)
