# SPDX-License-Identifier: MIT
"""What is measured: each group's cases, those of a quick run, and the adapters of the libraries that take part."""

from functools import partial
from typing import Any

from . import jax_adapter, ours, sklearn_adapter, torch_adapter
from .cases import Adapter, Forward, Group, LossGradient, Product, TeacherEpoch, Training

SMALL, LARGE = (64, 32, 10), (784, 800, 800, 10)
TRAINING = [
    Training(SMALL, 32, steps=500), Training((64, 128, 10), 64, steps=250), Training((784, 30, 30, 10), 128, steps=60),
    Training(LARGE, 128, steps=6), Training((784, 1200, 1200, 10), 128, steps=4),
]  # fmt: skip
DISTILLING = [Training(SMALL, 32, steps=500, distil=True), Training(LARGE, 128, steps=6, distil=True)]
TEACHING = [TeacherEpoch((784, 1200, 1200, 10), 128, steps=20)]
LOSSES = [LossGradient(128, 10), LossGradient(1024, 1000), LossGradient(1024, 32768)]
FORWARD = [Forward(SMALL, 1), Forward(SMALL, 256), Forward(LARGE, 1), Forward(LARGE, 256)]
PRODUCTS = [Product(32, 64, 32), Product(64, 64, 128), Product(128, 784, 30),
            Product(128, 784, 800), Product(784, 128, 800), Product(128, 1200, 1200)]  # fmt: skip
RUNGS = ("three_loops", "reordered", "tiled", "register_blocked", "packed")
TRAINERS: dict[str, Adapter] = {
    "minidistill": ours.minidistill_training, "minidistill, card": partial(ours.minidistill_training, backend="cuda"),
    "NumPy": ours.numpy_training, "PyTorch": torch_adapter.torch_training,
    "torch.compile": torch_adapter.torch_compile_training, "jax.jit": jax_adapter.jax_training,
    "jax scan": partial(jax_adapter.jax_training, scan=True), "scikit-learn": sklearn_adapter.sklearn_training,
}  # fmt: skip
DISTILLERS = ("minidistill", "minidistill, card", "NumPy", "PyTorch", "jax scan")
GROUPS: dict[str, Group] = {
    "training step": Group(TRAINING, TRAINING[:2], TRAINERS),
    "distillation step": Group(DISTILLING, DISTILLING[:1], {name: TRAINERS[name] for name in DISTILLERS}),
    "step of MNIST's teacher": Group(TEACHING, [], {
        "minidistill": ours.fitting_teacher, "NumPy": partial(ours.fitting_teacher, backend="numpy"),
        "PyTorch": torch_adapter.torch_teacher,
    }),
    "loss and gradient": Group(LOSSES, LOSSES[:2], {
        "minidistill": ours.minidistill_loss, "NumPy": ours.numpy_loss, "PyTorch": torch_adapter.torch_eager_loss,
        "torch.compile": torch_adapter.torch_compile_loss, "jax.jit": jax_adapter.jax_jit_loss,
    }),
    "forward": Group(FORWARD, FORWARD[:2], {
        "minidistill": ours.minidistill_forward, "NumPy": ours.numpy_forward, "PyTorch": torch_adapter.torch_forward,
        "jax.jit": jax_adapter.jax_forward, "onnxruntime": torch_adapter.onnxruntime_forward,
        "scikit-learn": sklearn_adapter.sklearn_forward,
    }),
    "matrix product": Group(PRODUCTS, PRODUCTS[:3], {
        "minidistill": partial(ours.product, rung="threaded"), "NumPy": ours.product,
        **{name.replace("_", " "): partial(ours.product, rung=name) for name in RUNGS},
    }),
}  # fmt: skip


def left_out(case: Any, library: str, threads: int, quick: bool) -> bool:
    """What would only cost time, or compare what is not alike."""
    if isinstance(case, Product) and library not in ("minidistill", "NumPy"):
        loops = library in ("three loops", "reordered", "tiled")
        return threads > 1 or (loops and case.M * case.K * case.N > 1e8)        # the lower rungs have one thread
    if library == "scikit-learn" and type(case) is Forward:
        return case.sizes != SMALL
    return quick and library == "torch.compile"                                 # compiles for ten seconds and more
