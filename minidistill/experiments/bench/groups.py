# SPDX-License-Identifier: MIT
"""What is measured: each group's cases, those of a quick run, and the adapters of the libraries that take part."""

from typing import Any

from .cases import Forward, Group, LossGradient, Product, TeacherEpoch, Training
from .jax_adapter import jax_forward, jax_jit_loss, jax_scan_training, jax_training
from .ours import (
    card_training,
    fitting_teacher,
    minidistill_forward,
    minidistill_loss,
    minidistill_training,
    numpy_forward,
    numpy_loss,
    numpy_product,
    numpy_teacher,
    numpy_training,
    rung,
)  # fmt: skip
from .sklearn_adapter import sklearn_forward, sklearn_training
from .torch_adapter import (
    onnxruntime_forward,
    torch_compile_loss,
    torch_compile_training,
    torch_eager_loss,
    torch_forward,
    torch_teacher,
    torch_training,
)  # fmt: skip

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
GROUPS: dict[str, Group] = {
    "training step": Group(TRAINING, TRAINING[:2], {
        "minidistill": minidistill_training, "minidistill, card": card_training,
        "NumPy": numpy_training, "PyTorch": torch_training,
        "torch.compile": torch_compile_training, "jax.jit": jax_training, "jax scan": jax_scan_training,
        "scikit-learn": sklearn_training,
    }),
    "distillation step": Group(DISTILLING, DISTILLING[:1], {
        "minidistill": minidistill_training, "minidistill, card": card_training,
        "NumPy": numpy_training, "PyTorch": torch_training,
        "jax scan": jax_scan_training,
    }),
    "step of MNIST's teacher": Group(TEACHING, [], {
        "minidistill": fitting_teacher, "NumPy": numpy_teacher, "PyTorch": torch_teacher,
    }),
    "loss and gradient": Group(LOSSES, LOSSES[:2], {
        "minidistill": minidistill_loss, "NumPy": numpy_loss, "PyTorch": torch_eager_loss,
        "torch.compile": torch_compile_loss, "jax.jit": jax_jit_loss,
    }),
    "forward": Group(FORWARD, FORWARD[:2], {
        "minidistill": minidistill_forward, "NumPy": numpy_forward, "PyTorch": torch_forward, "jax.jit": jax_forward,
        "onnxruntime": onnxruntime_forward, "scikit-learn": sklearn_forward,
    }),
    "matrix product": Group(PRODUCTS, PRODUCTS[:3], {
        "minidistill": rung("threaded"), "NumPy": numpy_product, "three loops": rung("three_loops"),
        "reordered": rung("reordered"), "tiled": rung("tiled"), "register blocked": rung("register_blocked"),
        "packed": rung("packed"),
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
