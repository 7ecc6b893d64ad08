# SPDX-License-Identifier: MIT
"""Calls every public function of the compiled CPU backend with each of its arrays wrong in each way.

A call must raise a ValueError or TypeError that names an argument, or have the result of the same call on plain arrays
of the same numbers, and must not write outside of its arrays. Run as a program: a crash is an exit status.
"""

import re
import sys
import warnings

import numpy as np
from canaries import Canaries

from minidistill import MLP, quantize
from minidistill.deployment.quantization import QuantizedMLP
from minidistill.kernels import cpu
from minidistill.kernels.cpu import int8, matmul

B, I, C, K = 5, 6, 7, 2
SIZES = (I, 4, C)
random = np.random.default_rng(0)


def floats(*shape):
    return random.standard_normal(shape).astype(np.float32)


LOG_P = np.log(np.full((B, K), 0.2, np.float32))
INDICES = np.array([[0, 1], [2, 0], [6, 5], [3, 4], [1, 6]])
LABELS = np.arange(B) % C
PARAMETERS = 0.1 * floats((I + 1) * 4 + 5 * C)
SMALL = MLP(SIZES, backend="numpy")
QUANTIZED = quantize(SMALL, floats(40, I))
CODES = np.arange(B * I).reshape(B, I).astype(np.uint8)
INTEGERS, MEASURED = (
    int8.IntegerPasses(QuantizedMLP(SIZES, "relu", 8, layers, grids, "cpu"))
    for layers, grids in ((QUANTIZED.layers, QUANTIZED.grids), (quantize(SMALL).layers, None))
)


def planned(call):
    """`call` with a plan whose memory is guarded as its first argument."""

    def run(guard, **arrays):
        plan = cpu.plan(SIZES, "gelu", (0.1, 0.2), batch=B, threads=2)
        numbers, memory = plan.arrays
        return call(cpu.PackedPlan((numbers, guard(memory)), plan.classes), **arrays)

    return run


def backward(plan, **arrays):
    cpu.forward(plan, PARAMETERS, X, training=True)
    return cpu.backward(plan, **arrays)


def train(plan, labels, targets, **arrays):
    alpha = (labels is None) or 0.5 * (targets is not None)
    return cpu.train_steps(plan, **arrays, batch=2, labels=labels, targets=targets, alpha=float(alpha))


X, DLOGITS, WIDE = floats(B, I), floats(B, C), floats(B, 70)
ROWS = {"s": DLOGITS, "t": floats(B, C)}
MOMENTS = {"w": floats(33), "dw": floats(33), "m": floats(33), "v": abs(floats(33))}
RUNNING = {"parameters": PARAMETERS, "gradients": floats(PARAMETERS.size)}
STEPS = {
    **RUNNING, "state": floats(2, PARAMETERS.size), "x": X, "order": np.array([4, 0, 2]), "rates": np.full(2, 0.01),
}  # fmt: skip


def plain(function):
    return lambda guard, **arrays: function(**arrays)


CALLS = {
    "linear_forward": (plain(cpu.linear_forward), {"x": X, "W": floats(I, 4), "b": floats(4)}),
    "linear_backward": (
        lambda guard, dz, x, W, dW, db: cpu.linear_backward(dz, (x, W), dW, db),
        {"dz": floats(B, 4), "x": X, "W": floats(I, 4), "dW": floats(I, 4), "db": floats(4)},
    ),
    **{f"{name}_forward": (plain(getattr(cpu, f"{name}_forward")), {"z": X}) for name in ("relu", "tanh", "gelu")},
    "relu_backward": (plain(cpu.relu_backward), {"da": X, "a": floats(B, I)}),
    "tanh_backward": (plain(cpu.tanh_backward), {"da": X, "a": floats(B, I)}),
    "gelu_backward": (plain(cpu.gelu_backward), {"da": X, "z": floats(B, I)}),
    "softmax_forward": (plain(cpu.softmax_forward), {"s": DLOGITS}),
    "log_softmax_forward": (plain(cpu.log_softmax_forward), {"s": DLOGITS}),
    "softmax_backward": (lambda guard, dq, q: cpu.softmax_backward(dq, (q, 2.0)), {"dq": floats(B, C), "q": DLOGITS}),
    "log_softmax_backward": (
        lambda guard, dlog_q, log_q: cpu.log_softmax_backward(dlog_q, (log_q, 2.0)),
        {"dlog_q": floats(B, C), "log_q": DLOGITS},
    ),
    "cross_entropy_forward": (plain(cpu.cross_entropy_forward), {"s": DLOGITS, "y": LABELS}),
    "soft_target_forward": (lambda guard, **rows: cpu.soft_target_forward(**rows, T=2.0), ROWS),
    "top_k_target_forward": (
        lambda guard, **rows: cpu.top_k_target_forward(**rows, T=2.0),
        {"s": DLOGITS, "indices": INDICES, "log_p": LOG_P},
    ),
    "distillation_loss": (
        lambda guard, **rows: cpu.distillation_loss(**rows, temperature=4.0, alpha=0.5),
        {**ROWS, "y": LABELS, "out": floats(B, C)},
    ),
    "distillation_loss of many classes": (
        lambda guard, **rows: cpu.distillation_loss(**rows, temperature=3.0, alpha=0.5, threads=2),
        {"s": WIDE, "t": floats(B, 70), "y": np.full((B, 70), 1 / 70, np.float32), "out": floats(B, 70)},
    ),
    "sgd_update": (lambda guard, **w: cpu.sgd_update(**w, rate=0.1), {k: MOMENTS[k] for k in ("w", "dw", "v")}),
    "adam_update": (lambda guard, **w: cpu.adam_update(**w, rate=0.1, step=2), MOMENTS),
    "clip_norm": (lambda guard, dw: cpu.clip_norm(dw, 0.5), {"dw": floats(33)}),
    "max_norm": (lambda guard, W: cpu.max_norm(W, 0.5), {"W": floats(I, 4)}),
    "dropout_forward": (lambda guard, a: cpu.dropout_forward(a, 0.5, 1, 2, 3), {"a": X}),
    "forward": (planned(cpu.forward), {"parameters": PARAMETERS, "x": X}),
    "backward": (planned(backward), {**RUNNING, "x": X, "dlogits": DLOGITS}),
    "train_steps": (planned(train), {**STEPS, "labels": LABELS, "targets": floats(B, C)}),
    "train_steps on probabilities": (planned(train), {**STEPS, "labels": np.full((B, C), 1 / C), "targets": None}),
    "IntegerPasses.logits": (plain(INTEGERS.logits), {"x": X}),
    "IntegerPasses.product": (lambda guard, q: MEASURED.product(0, q), {"q": CODES}),
    **{
        f"matmul.{rung.__name__}": (plain(rung), {"A": X, "B": floats(I, 4), "C": floats(B, 4)})
        for rung in matmul.LADDER
    },
}


ANY_SIZE = {  # arrays that may have more or fewer rows or classes, beside those that are the only one of their function
    ("linear_forward", "x"),
    ("cross_entropy_forward", "s"),
    ("top_k_target_forward", "s"),
    ("forward", "x"),
    ("train_steps", "order"),
    ("train_steps on probabilities", "order"),
    ("train_steps", "state"),
    ("train_steps on probabilities", "state"),
}


def wrong_versions(name, arrays):
    """(what is wrong, the wrong array, the same numbers as a plain array or None where an error is due)."""
    right = arrays[name]
    kind = right.dtype.kind
    yield "one row less", right[:-1].copy(), None
    yield "one row more", np.concatenate([right, right[-1:]]), None
    yield "no rows", right[:0].copy(), None
    yield "one dimension more", right[None], None
    yield "flat and short", right.ravel()[:1].copy(), None
    if right.ndim == 2:
        yield "one column less", right[:, :-1].copy(), None
        yield "one column more", np.concatenate([right, right[:, -1:]], axis=1), None
        yield "flat", right.ravel(), None
        yield "transposed", right.T.copy(), None
        yield "column by column", np.asfortranarray(right), right
    yield "every second number", np.repeat(right, 2, axis=-1)[..., ::2], right
    yield "backwards", right[::-1].copy()[::-1], right
    yield "a list", right.tolist(), right
    read_only = right.copy()
    read_only.flags.writeable = False
    yield "read-only", read_only, right
    for dtype in ("float16", "float32", "float64", "int8", "int64", "longdouble", "complex64", "bool", "object", "U4"):
        if dtype != right.dtype.name:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                other = right.astype(dtype)
                yield dtype, other, other.astype(right.dtype) if dtype not in ("complex64", "object", "U4") else None
    if kind == "i":
        for bad in (-1, -100, 7, 2**40):
            changed = right.copy()
            changed.flat[-1] = bad
            yield f"index {bad}", changed, None
    for other, array in arrays.items():
        if other != name and array is not None and array.nbytes >= right.nbytes and array.dtype == right.dtype:
            yield f"in the memory of {other}", other, array.ravel()[: right.size].reshape(right.shape).copy()


def result_of(call, arrays, shape=None):
    """What a call returns, as arrays, or its error; and how many bytes it wrote outside of its arrays.

    A name in the place of an array stands for the memory of that one, in this shape.
    """
    canaries, guarded = Canaries(), {}
    for name, array in arrays.items():
        guarded[name] = array
        if isinstance(array, np.ndarray) and array.dtype != object and array.flags.forc:
            guarded[name] = canaries.guarded(array, "C" if array.flags.c_contiguous else "F")
            guarded[name].flags.writeable = array.flags.writeable
    for name, array in arrays.items():
        if isinstance(array, str):
            guarded[name] = guarded[array].ravel()[: int(np.prod(shape))].reshape(shape)
    try:
        with np.errstate(all="ignore"):
            returned = call(canaries.guarded, **guarded)
    except Exception as error:
        return error, canaries.overwritten()
    return numbers_in(returned), canaries.overwritten()


def numbers_in(value):
    if isinstance(value, tuple):
        return [array for part in value for array in numbers_in(part)]
    return [] if value is None else [np.asarray(value, np.float64)]


def same(mine, expected):
    return len(mine) == len(expected) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-3, atol=1e-4, equal_nan=True)
        for a, b in zip(mine, expected, strict=True)
    )


def faults(names=None):
    """(number of calls, descriptions of those that went wrong)."""
    found, calls = [], 0
    for title, (call, arrays) in CALLS.items():
        if names is not None and title not in names:
            continue
        expected, _ = result_of(call, arrays)
        if isinstance(expected, Exception):
            found.append(f"{title}: the right call raises {expected!r}")
            continue
        for name in [name for name, array in arrays.items() if array is not None]:
            for what, wrong, plain_numbers in wrong_versions(name, arrays):
                calls += 1
                mine, overwritten = result_of(call, arrays | {name: wrong}, arrays[name].shape)
                where = f"{title}, {name} {what}"
                if overwritten:
                    found.append(f"{where}: {overwritten} bytes written outside")
                if isinstance(mine, Exception):
                    named = re.search(rf"\b({'|'.join(arrays)})\b", str(mine))
                    if not isinstance(mine, ValueError | TypeError) or not named:
                        found.append(f"{where}: {type(mine).__name__}: {str(mine)[:90]!r}")
                elif plain_numbers is not None:
                    if not same(mine, result_of(call, arrays | {name: plain_numbers})[0]):
                        found.append(f"{where}: another result")
                elif isinstance(wrong, np.ndarray) and wrong.dtype == arrays[name].dtype and "index" not in what:
                    if len(arrays) > 1 and (title, name) not in ANY_SIZE and wrong.size != arrays[name].size:
                        found.append(f"{where}: accepted")
                else:
                    found.append(f"{where}: accepted")
    return calls, found


if __name__ == "__main__":
    calls, found = faults(set(sys.argv[1:]) or None)
    print("\n".join(found))
    print(f"{calls} calls, {len(found)} faults")
    sys.exit(bool(found))
