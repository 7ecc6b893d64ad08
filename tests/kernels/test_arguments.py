# SPDX-License-Identifier: MIT
"""kernels/arguments.py: no wrong argument of a public kernel reads or writes beyond an array, or ends the process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from canaries import MARGIN, Canaries

from minidistill.kernels import arguments

STRESS = Path(__file__).parents[1] / "stress"


@pytest.mark.compiles
def test_every_public_kernel_refuses_wrong_arrays_and_writes_nothing_outside_of_its_own():
    """In a process of its own, since what this guards against ends the process."""
    path = os.pathsep.join([str(STRESS.parent.parent), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(STRESS / "wrong_arguments.py")]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout.split()[-4]) > 1000, "calls"


def test_canaries_see_a_single_byte_on_either_side():
    canaries = Canaries()
    array = canaries.guarded(np.ones((3, 4), np.float32))
    array[...] = 7
    assert canaries.overwritten() == 0
    memory = canaries.blocks[0]
    memory[MARGIN - 1] = memory[MARGIN + array.nbytes] = 0
    assert canaries.overwritten() == 2


def test_arrays_become_contiguous_and_of_one_dtype():
    single, double = np.ones((3, 4), np.float32), np.ones((4, 3)).T
    assert arguments.as_floats(a=single)[0] is single
    for given, dtype in (
        ({"a": single[:, ::2]}, np.float32),
        ({"a": single, "b": double}, np.float64),
        ({"a": single.astype(np.float16)}, np.float32),
        ({"a": [[1, 2]]}, np.float64),
    ):
        for array in arguments.as_floats(**given):
            assert array.dtype == dtype and array.flags.c_contiguous
    for wrong in (np.ones(2, complex), np.array(["1"]), np.array([None])):
        with pytest.raises(TypeError, match="b must be float32 or float64, got"):
            arguments.as_floats(a=single, b=wrong)


@pytest.mark.parametrize(
    ("check", "error", "message"),
    [
        (lambda a: arguments.check_shape("a", a, (3,), (3, 5)), ValueError, r"a must have shape \(3,\) or \(3, 5\)"),
        (lambda a: arguments.check_dimensions("a", a, "(N,)"), ValueError, r"a must have shape \(N,\), got \(3, 4\)"),
        (lambda a: arguments.check_readable("a", a, np.float64), TypeError, "a must be contiguous float64 .* float32"),
        (lambda a: arguments.check_readable("a", a.T, np.float32), TypeError, "got not contiguous float32"),
        (lambda a: arguments.check_readable("a", [1.0], np.float32), TypeError, "a must be an array, got list"),
        (lambda a: arguments.check_changed_in_place(a=a.T), ValueError, "a must be contiguous and writeable"),
        (lambda a: arguments.check_changed_in_place(a=a > 0), TypeError, "a must be an array of float32 .* got bool"),
        (lambda a: arguments.check_apart("a", a, b=a[1:]), ValueError, "a must have memory of its own: .* with b"),
        (lambda a: arguments.check_written("a", a, (4, 3)), ValueError, r"a must have shape \(4, 3\)"),
        (lambda a: arguments.as_labels("y", a[0], 4), TypeError, "y must be whole numbers, got float32"),
        (lambda a: arguments.as_dtype("a", a * 1j, np.float32), TypeError, "a must hold real numbers, got complex64"),
        (lambda a: arguments.check_classes("y", np.array([0, -1]), 3), ValueError, "y must be in 0..2, got -1..0"),
    ],
)
def test_each_check_names_the_argument_and_what_came(check, error, message):
    with pytest.raises(error, match=message):
        check(np.ones((3, 4), np.float32))
