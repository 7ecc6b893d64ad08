# SPDX-License-Identifier: MIT
"""kernels/cpu/network.py and layout.py: the compiled passes are those of the network, and refuse wrong arrays."""

import numpy as np
import pytest
from agreement import NETS, TOLERANCE, assert_same, numbers

from minidistill import MLP
from minidistill.kernels import cpu
from minidistill.support.checks import NotFiniteError

pytestmark = pytest.mark.compiles


@pytest.mark.parametrize(("sizes", "activation", "dropout"), NETS)
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_the_passes_are_those_of_the_network(sizes, activation, dropout, dtype):
    network = MLP(sizes, activation, dropout, seed=4, dtype=dtype)
    x, dlogits = numbers(0, 13, sizes[0], dtype=dtype), numbers(1, 13, sizes[-1], dtype=dtype)
    plan = cpu.plan(sizes, activation, network.dropout, 4, 13, dtype)
    logits, cache = network.forward(x, training=True, step=6)
    network.backward(dlogits, cache)
    gradients = np.full_like(network.gradients, np.nan)
    assert_same(cpu.forward(plan, network.parameters, x, True, 6), logits)
    cpu.backward(plan, network.parameters, gradients, x, dlogits, 6)
    assert_same(gradients, network.gradients)
    many = np.tile(x, (3, 1))  # more rows than the plan holds at once
    assert_same(cpu.forward(plan, network.parameters, many), network.forward(many)[0])


def test_passes_refuse_what_they_would_read_or_write_beyond_its_end():
    network, x = MLP((6, 4, 3)), np.zeros((10, 6), np.float32)
    plan = cpu.plan(network.sizes, batch=5)
    with pytest.raises(ValueError, match=r"x must have shape \(10, 6\), got \(10, 5\)"):
        cpu.forward(plan, network.parameters, x[:, :5].copy())
    with pytest.raises(ValueError, match="x must have at most the 5 rows that the plan was made for, got 10"):
        cpu.forward(plan, network.parameters, x, training=True)
    with pytest.raises(TypeError, match="x must be contiguous float32"):
        cpu.forward(plan, network.parameters, x.astype(np.float64))
    with pytest.raises(TypeError, match="got not contiguous float32"):
        cpu.forward(plan, network.parameters, np.asfortranarray(x))
    read_only = network.gradients.view()
    read_only.flags.writeable = False
    with pytest.raises(ValueError, match="gradients must be contiguous and writeable"):
        cpu.backward(plan, network.parameters, read_only, x[:5], np.zeros((5, 3), np.float32))
    with pytest.raises(ValueError, match="dlogits must have shape"):
        cpu.backward(plan, network.parameters, network.gradients, x[:5], np.zeros((4, 3), np.float32))


@pytest.mark.parametrize("rows", [1, 20])
def test_logits_that_overflow_are_refused_in_prediction(rows):
    """The class would be 0, whatever the row is."""
    network, x = MLP((6, 4, 3)), np.ones((rows, 6), np.float32)
    plan = cpu.plan(network.sizes, batch=8)
    network.parameters *= 10
    x[-1] = 3e38
    with pytest.raises(NotFiniteError, match=r"x gives logits that are not finite in float32: x reaches 3e\+38"):
        cpu.forward(plan, network.parameters, x)
    x[-1] = 1e30
    assert np.isfinite(cpu.forward(plan, network.parameters, x)).all()
    x[-1] = np.nan
    if rows <= 8:
        assert np.isnan(cpu.forward(plan, network.parameters, x, training=True)).any(), "the loss tells of it"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [({"sizes": 7}, "sizes must be"), ({"sizes": [4, [3]]}, "sizes must be"), ({"sizes": (4,)}, "sizes must be"),
     ({"activation": ["relu"]}, "activation must be"), ({"dropout": 0.5}, "dropout must be"),
     ({"dropout": [2.0]}, "dropout must be"), ({"dtype": "int8"}, "dtype must be"), ({"threads": 0}, "threads must be"),
     ({"threads": 1.5}, "threads must be"), ({"seed": 1.5}, "seed must be"), ({"batch": 0}, "batch must be")],
    ids=str,
)  # fmt: skip
def test_an_argument_of_a_plan_is_refused_by_its_name(wrong, said):
    with pytest.raises((TypeError, ValueError), match=said):
        cpu.plan(**{"sizes": (4, 3), **wrong})
