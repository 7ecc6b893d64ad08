# SPDX-License-Identifier: MIT
"""Adapters of PyTorch, eager and compiled, and of ONNX Runtime. ImportError where the library is not installed."""

from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from ...network import MLP
from .cases import MOMENTUM, RATE, SOFT, Forward, LossGradient, TeacherEpoch, Training, Work


def torch_loss(torch: Any, distil: bool) -> Callable[[Any, Any, Any], Any]:
    F, T, alpha = torch.nn.functional, SOFT.temperature, SOFT.alpha

    def loss(s: Any, t: Any, y: Any) -> Any:
        hard = F.cross_entropy(s, y)
        if not distil:
            return hard
        soft = F.kl_div(F.log_softmax(s / T, 1), F.log_softmax(t / T, 1), reduction="batchmean", log_target=True)
        return (1 - alpha) * hard + alpha * T * T * soft

    return loss


def torch_network(torch: Any, network: MLP) -> tuple[Any, Callable[[], None]]:
    """nn.Sequential with the network's weights, and what gives it these again."""
    layers: list[Any] = []
    for inputs, outputs in pairwise(network.sizes):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    linears = layers[::2]

    def reset() -> None:
        with torch.no_grad():
            for linear, W, b in zip(linears, network.weights, network.biases, strict=True):
                linear.weight.copy_(torch.from_numpy(W.T))
                linear.bias.copy_(torch.from_numpy(b))

    reset()
    return torch.nn.Sequential(*layers[:-1]), reset


def torch_training(case: Training, threads: int) -> Work:
    torch = import_module("torch")
    batches = case.batches(torch.from_numpy)
    return _eager_work(torch, *torch_network(torch, case.network()), case.distil, lambda: batches)


def _eager_work(
    torch: Any, model: Any, reset_weights: Callable[[], None], distil: bool, batches: Callable[[], Iterable[Any]],
    max_norm: float | None = None,
) -> Work:  # fmt: skip
    """Steps on the batches that each call of `batches` returns; `max_norm` limits the weights of each unit."""
    loss, weights = torch_loss(torch, distil), [p for p in model.parameters() if p.ndim == 2]
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, fused=True)  # the fastest of its three ways

    def run() -> None:
        for x, y, t in batches():
            optimizer.zero_grad()
            loss(model(x), t, y).backward()
            optimizer.step()
            if max_norm is not None:
                with torch.no_grad():
                    for W in weights:
                        W.copy_(torch.renorm(W, 2, 0, max_norm))

    def reset() -> None:
        reset_weights()
        optimizer.state.clear()

    return Work.training(run, lambda: [p.detach().numpy().T for p in model.parameters()], reset)


INDUCTOR = {"cpp_wrapper": True, "max_autotune": True}  # a tenth faster than the default on small networks


def torch_compile_training(case: Training, threads: int) -> Work:
    """The whole step as one graph, its gradient from torch.func: `backward()` would break the graph."""
    torch = import_module("torch")
    model, weights = torch_network(torch, case.network())
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    velocities = {name: torch.zeros_like(p) for name, p in parameters.items()}
    loss, batches = torch_loss(torch, case.distil), case.batches(torch.from_numpy)

    def value(parameters: Any, x: Any, y: Any, t: Any) -> Any:
        return loss(torch.func.functional_call(model, parameters, x), t, y)

    def step(x: Any, y: Any, t: Any) -> None:
        for name, gradient in torch.func.grad(value)(parameters, x, y, t).items():
            velocities[name].mul_(MOMENTUM).add_(gradient)
            parameters[name].sub_(velocities[name], alpha=RATE)

    compiled = torch.compile(step, fullgraph=True, dynamic=False, options=INDUCTOR)

    def run() -> None:
        with torch.no_grad():
            for batch in batches:
                compiled(*batch)

    def reset() -> None:
        weights()
        for v in velocities.values():
            v.zero_()

    return Work.training(run, lambda: [p.numpy().T for p in parameters.values()], reset)


def torch_teacher(case: TeacherEpoch, threads: int) -> Work:
    """Windows of the padded images, gathered a batch at a time."""
    torch = import_module("torch")
    p, side = case.pixels, round(case.sizes[0] ** 0.5)
    x, y, _ = map(torch.from_numpy, case.data)
    padded = torch.nn.functional.pad(x.view(-1, side, side), (p, p, p, p))
    windows = padded.unfold(1, side, 1).unfold(2, side, 1)                      # (N,2p+1,2p+1,side,side), a view

    def batches() -> Iterator[Any]:
        random = np.random.default_rng((0, 0))  # of fit's seed and epoch
        order = random.permutation(len(x))
        for k in range(0, len(x), case.batch):
            rows = torch.from_numpy(order[k : k + case.batch])
            down, right = torch.from_numpy(p - random.integers(-p, p + 1, (len(rows), 2))).T
            yield windows[rows, down, right].flatten(1), y[rows], None

    def make(dropout: float) -> Work:
        model, reset_weights = torch_network(torch, case.network())
        *hidden, last = model[::2]
        thinned = [part for linear in hidden for part in (linear, torch.nn.ReLU(), torch.nn.Dropout(dropout))]
        return _eager_work(torch, torch.nn.Sequential(*thinned, last), reset_weights, False, batches, case.max_norm)

    return Work.teacher(make, case.dropout)


def torch_eager_loss(case: LossGradient, threads: int) -> Work:
    torch = import_module("torch")
    s, y, t = map(torch.from_numpy, case.data)
    loss, s = torch_loss(torch, distil=True), s.requires_grad_()

    def run() -> Any:
        value = loss(s, t, y)
        return value.detach(), *torch.autograd.grad(value, s)

    return Work(run, run)


def torch_compile_loss(case: LossGradient, threads: int) -> Work:
    torch = import_module("torch")
    s, y, t = map(torch.from_numpy, case.data)
    compiled = torch.compile(torch.func.grad_and_value(torch_loss(torch, distil=True)), fullgraph=True, dynamic=False,
                             options=INDUCTOR)  # fmt: skip

    def run() -> Any:
        with torch.no_grad():
            gradient, value = compiled(s, t, y)
        return value, gradient

    return Work(run, run)


def torch_forward(case: Forward, threads: int) -> Work:
    torch = import_module("torch")
    model, x = torch_network(torch, case.network())[0].eval(), torch.from_numpy(case.data.x)
    return Work.forward(torch.inference_mode()(lambda: model(x)))


def onnxruntime_forward(case: Forward, threads: int) -> Work:
    from ...export.onnx import onnx_bytes

    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(onnx_bytes(case.network()), options, providers=["CPUExecutionProvider"])
    feed = {"x": case.data.x}
    return Work.forward(lambda: session.run(None, feed)[0])
