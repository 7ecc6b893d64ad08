# SPDX-License-Identifier: MIT
import pytest

from minidistill import MLP, digits, fit


@pytest.fixture(scope="session")
def trained():
    """(a student of the digits, training, test)"""
    training, test = digits()
    student = MLP((64, 32, 10))
    fit(student, training, epochs=15)
    return student, training, test
