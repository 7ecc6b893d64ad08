# SPDX-License-Identifier: MIT
"""What the benchmark measures, and how each library does it best.

A *case* is a piece of work with the numbers it is done to: a network to train, a loss to differentiate, rows to
classify, matrices to multiply. An *adapter* is a function of a case and a number of threads that returns one library's
`Work`. The two meet in GROUPS, at the end. All numbers are float32.

Libraries are imported when their adapter is called: one that is not there raises ImportError, and is left out.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from ...data import Dataset
from ...data.augmentation import RandomShift
from ...kernels import compiled_epochs, load_backend
from ...losses import CrossEntropy, SoftTarget
from ...network import MLP
from ...ops import softmax_forward
from ...training.loop import fit
from ...training.optim import SGD

RATE, MOMENTUM = 0.01, 0.9
SOFT = SoftTarget(temperature=4.0, alpha=0.5)


class Work(NamedTuple):
    """One library's way of doing a case."""

    run: Callable[[], Any]                         # what is timed
    result: Callable[[], Sequence[Any]]            # after `run`: the arrays that must equal NumPy's
    reset: Callable[[], None] | None = None        # what undoes a run, where all must begin alike


Adapter = Callable[[Any, int], Work]


class Group(NamedTuple):
    """Cases, those of them that --quick takes, and the adapters; NumPy, with which results are compared, is one."""

    cases: Sequence[Any]
    quick: Sequence[Any]
    adapters: Mapping[str, Adapter]


# ---------------------------------------------------------------------------------------------- cases


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng((seed, *shape)).standard_normal(shape, np.float32)


def labels(N: int, C: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, C, N)  # of no meaning, so that nobody learns them while we watch


class Arrays(NamedTuple):
    """Rows, labels and a teacher's logits."""

    x: np.ndarray      # (N,I)
    y: np.ndarray      # (N,)
    t: np.ndarray      # (N,C)

    def batches(self, size: int) -> Iterator["Arrays"]:
        return (Arrays(*(a[k : k + size] for a in self)) for k in range(0, len(self.x), size))


@dataclass(frozen=True)
class Forward:
    """Logits of some rows."""

    sizes: tuple[int, ...]
    batch: int
    steps: int = 1         # that make a run; times are told of one
    tolerance = 1e-4       # to which results must agree, relative to NumPy's: float32, summed in another order

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"

    def network(self) -> MLP:
        return MLP(self.sizes)

    @cached_property
    def data(self) -> Arrays:
        N, C = self.steps * self.batch, self.sizes[-1]
        return Arrays(normal(N, self.sizes[0]), labels(N, C), 3 * normal(N, C))


@dataclass(frozen=True)
class Training(Forward):
    """Steps of SGD with momentum: the same weights to begin with, the same batches in the same order.

    What is compared is how far the parameters moved. Where a ReLU's input is almost zero, rounding decides whether it
    is on, and one such unit changes a large network's move by some tenths of a percent.
    """

    distil: bool = False   # SoftTarget instead of cross-entropy
    tolerance = 1e-2

    @property
    def flops(self) -> int:
        """Floating-point operations in a step's products: x @ W, x.T @ dz and, but for the first layer, dz @ W.T."""
        layers = [inputs * outputs for inputs, outputs in pairwise(self.sizes)]
        return 2 * self.batch * (3 * sum(layers) - layers[0])


@dataclass(frozen=True)
class TeacherEpoch(Training):
    """An epoch of a teacher of images, as in reproduce/: dropout, weights held to a norm, images moved by some pixels.

    It begins with rows in memory, and all libraries draw the same order and moves. Each draws its own dropout, so what
    is compared is an epoch without.
    """

    dropout: float = 0.25
    max_norm: float = 3.5
    pixels: int = 2

    def __str__(self) -> str:
        return f"{super().__str__()}, dropout, max-norm, jitter"


@dataclass(frozen=True)
class LossGradient:
    """Value and gradient of (1-alpha) CE(s, y) + alpha T^2 KL(p || q)."""

    rows: int
    classes: int
    steps = 1
    tolerance = 1e-4

    def __str__(self) -> str:
        return f"{self.rows} x {self.classes:,}"

    @cached_property
    def data(self) -> Arrays:
        s, t = normal(self.rows, self.classes), normal(self.rows, self.classes, seed=1)
        return Arrays(s, labels(self.rows, self.classes), t)


@dataclass(frozen=True)
class Product:
    """A (M,K) @ B (K,N)."""

    M: int
    K: int
    N: int
    steps = 1
    tolerance = 1e-4

    def __str__(self) -> str:
        return f"({self.M},{self.K}) @ ({self.K},{self.N})"

    @cached_property
    def data(self) -> tuple[np.ndarray, np.ndarray]:
        return normal(self.M, self.K), normal(self.K, self.N, seed=1)


# ---------------------------------------------------------------------------------------------- adapters: training


def training_work(run: Callable[[], Any], parameters: Callable[[], Sequence[Any]], reset: Callable[[], None]) -> Work:
    """Work whose result is how far the parameters moved: compared as they are, they would hide a wrong step."""

    def flat() -> np.ndarray:
        return np.concatenate([np.asarray(a).ravel() for a in parameters()])

    reset()
    start = flat()
    return Work(run, lambda: [flat() - start], reset)


def numpy_training(case: Training, threads: int) -> Work:
    """The readable loop, as in training/run.py."""
    network, optimizer, loss = case.network(), SGD(RATE, momentum=MOMENTUM), SOFT if case.distil else CrossEntropy()
    first, state = network.copy().parameters, optimizer.initial_state(network.parameters)
    batches = list(case.data.batches(case.batch))

    def run() -> None:
        for k, (x, y, t) in enumerate(batches):
            logits, cache = network.forward(x, training=True, step=k)
            _, dlogits = loss(logits, t, y, network.ops)
            network.backward(dlogits, cache)
            optimizer.update(network, state, RATE, k + 1)

    def reset() -> None:
        network.parameters[:], state[:] = first, 0

    return training_work(run, lambda: [network.parameters], reset)


def minidistill_training(case: Training, threads: int) -> Work:
    """A compiled epoch in one call."""
    from ...kernels import cpu

    network, (x, y, t) = case.network(), case.data
    first, state = network.copy().parameters, SGD().initial_state(network.parameters)
    order, rates = np.arange(len(x)), np.full(case.steps, RATE)
    plan, optimizer = cpu.plan(case.sizes, batch=case.batch, threads=threads), cpu.Optimizer(momentum=MOMENTUM)
    soft = {"targets": t, "alpha": SOFT.alpha, "temperature": SOFT.temperature} if case.distil else {}

    def run() -> None:
        arrays = network.parameters, network.gradients, state, x, order
        cpu.train_steps(plan, *arrays, case.batch, rates, labels=y, optimizer=optimizer, **soft)

    def reset() -> None:
        network.parameters[:], state[:] = first, 0

    return training_work(run, lambda: [network.parameters], reset)


def card_training(case: Training, threads: int) -> Work:
    """An epoch in one launch on an NVIDIA card; to the card and back once."""
    load_backend("cuda")  # ImportError says what is missing
    network, (x, y, t) = case.network().copy("cuda"), case.data
    first, state = network.parameters.copy(), SGD().initial_state(network.parameters)
    loss, optimizer = SOFT if case.distil else CrossEntropy(), SGD(RATE, momentum=MOMENTUM)
    epochs = compiled_epochs(network, loss, optimizer, case.batch, y, t)
    assert epochs is not None
    order, rates = np.arange(len(x)), np.full(case.steps, RATE)

    def run() -> None:
        list(epochs.losses(x, y, t, state, order, rates, 0))

    def reset() -> None:
        network.parameters[:], state[:] = first, 0

    return training_work(run, lambda: [network.parameters], reset)


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
    model, weights = torch_network(torch, case.network())
    optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, fused=True)  # the fastest of its three ways
    loss, batches = torch_loss(torch, case.distil), torch_batches(torch, case)

    def run() -> None:
        for x, y, t in batches:
            optimizer.zero_grad()
            loss(model(x), t, y).backward()
            optimizer.step()

    def reset() -> None:
        weights()
        optimizer.state.clear()

    return training_work(run, lambda: [p.detach().numpy().T for p in model.parameters()], reset)


def torch_batches(torch: Any, case: Training) -> list[Any]:
    return [tuple(map(torch.from_numpy, batch)) for batch in case.data.batches(case.batch)]


INDUCTOR = {"cpp_wrapper": True, "max_autotune": True}  # a tenth faster than the default on small networks


def torch_compile_training(case: Training, threads: int) -> Work:
    """The whole step as one graph, its gradient from torch.func: `backward()` would break the graph."""
    torch = import_module("torch")
    model, weights = torch_network(torch, case.network())
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    velocities = {name: torch.zeros_like(p) for name, p in parameters.items()}
    loss, batches = torch_loss(torch, case.distil), torch_batches(torch, case)

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

    return training_work(run, lambda: [p.numpy().T for p in parameters.values()], reset)


def jax_loss(jax: Any, distil: bool) -> Callable[[Any, Any, Any], Any]:
    log_softmax, T, alpha = jax.nn.log_softmax, SOFT.temperature, SOFT.alpha

    def loss(s: Any, t: Any, y: Any) -> Any:
        hard = -jax.numpy.take_along_axis(log_softmax(s), y[:, None], 1).mean()
        if not distil:
            return hard
        log_q, log_p = log_softmax(s / T), log_softmax(t / T)
        soft = (jax.numpy.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
        return (1 - alpha) * hard + alpha * T * T * soft

    return loss


def jax_network(jax: Any, network: MLP) -> tuple[Any, Callable[[Any, Any], Any]]:
    """Its parameters, and the function of them and the rows that gives logits."""

    def forward(layers: Any, x: Any) -> Any:
        *hidden, (W_last, b_last) = layers
        for W, b in hidden:
            x = jax.nn.relu(x @ W + b)
        return x @ W_last + b_last

    return jax.tree.map(jax.numpy.array, list(zip(network.weights, network.biases, strict=True))), forward


def jax_training(case: Training, threads: int, scan: bool = False) -> Work:
    """A call a step; or, with `scan`, all steps in one call."""
    jax = import_module("jax")
    tree, loss = jax.tree.map, jax_loss(jax, case.distil)
    first, forward = jax_network(jax, case.network())
    batches: Any = [tuple(map(jax.numpy.asarray, batch)) for batch in case.data.batches(case.batch)]
    state: Any = None

    def step(state: Any, batch: Any) -> Any:
        (parameters, velocities), (x, y, t) = state, batch
        gradients = jax.grad(lambda p: loss(forward(p, x), t, y))(parameters)
        velocities = tree(lambda v, g: MOMENTUM * v + g, velocities, gradients)
        return (tree(lambda p, v: p - RATE * v, parameters, velocities), velocities), None

    def epoch(state: Any, batches: Any) -> Any:
        return jax.lax.scan(step, state, batches)

    if scan:
        batches = [tree(lambda *parts: jax.numpy.stack(parts), *batches)]
    compiled = jax.jit(epoch if scan else step, donate_argnums=0)

    def run() -> None:
        nonlocal state
        for batch in batches:
            state, _ = compiled(state, batch)
        jax.block_until_ready(state)

    def reset() -> None:
        nonlocal state  # copies, for what is donated is written over
        state = tree(jax.numpy.array, first), tree(jax.numpy.zeros_like, first)
        jax.block_until_ready(state)

    return training_work(run, lambda: jax.tree.leaves(state[0]), reset)


def jax_scan_training(case: Training, threads: int) -> Work:
    return jax_training(case, threads, scan=True)


def sklearn_network(network: MLP, batch: int) -> tuple[Any, Callable[[], None]]:
    """MLPClassifier with the network's weights, and what gives it these again."""
    model = import_module("sklearn.neural_network").MLPClassifier(
        network.sizes[1:-1], solver="sgd", alpha=0.0, batch_size=batch, learning_rate_init=RATE, shuffle=False,
        momentum=MOMENTUM, nesterovs_momentum=False,
    )  # fmt: skip
    classes = np.arange(network.sizes[-1])
    model.partial_fit(normal(batch, network.sizes[0]), np.resize(classes, batch), classes=classes)  # makes its arrays

    def reset() -> None:
        for to, array in zip(model.coefs_ + model.intercepts_, network.weights + network.biases, strict=True):
            to[:] = array
        for v in model._optimizer.velocities:
            v[:] = 0

    reset()
    return model, reset


def sklearn_training(case: Training, threads: int) -> Work:
    """One partial_fit is one pass over the rows; beside the steps it checks its input and makes one-hot labels."""
    (model, reset), (x, y, _) = sklearn_network(case.network(), case.batch), case.data
    layers = list(zip(model.coefs_, model.intercepts_, strict=True))
    return training_work(lambda: model.partial_fit(x, y), lambda: [a for layer in layers for a in layer], reset)


def teacher_work(make: Callable[[float], Work], dropout: float) -> Work:
    """Work that `make` makes for a share of dropout; its result is that of one without any."""
    timed, compared = make(dropout), make(0.0)

    def result() -> Sequence[Any]:
        assert compared.reset is not None
        compared.reset()
        compared.run()
        return compared.result()

    return timed._replace(result=result)


def fitting_teacher(case: TeacherEpoch, threads: int, backend: str = "cpu") -> Work:
    """`fit`, as anybody calls it."""
    data, optimizer = Dataset(*case.data[:2]), SGD(RATE, momentum=MOMENTUM, max_weight_norm=case.max_norm)
    options: Any = {"epochs": 1, "batch_size": case.batch, "optimizer": optimizer, "augment": RandomShift(case.pixels)}

    def make(dropout: float) -> Work:
        network, first = MLP(case.sizes, dropout=dropout, backend=backend), case.network().parameters

        def reset() -> None:
            network.parameters[:] = first

        return training_work(lambda: fit(network, data, **options), lambda: [network.parameters], reset)

    return teacher_work(make, case.dropout)


def numpy_teacher(case: TeacherEpoch, threads: int) -> Work:
    return fitting_teacher(case, threads, "numpy")


def torch_teacher(case: TeacherEpoch, threads: int) -> Work:
    """Windows of the padded images, gathered a batch at a time."""
    torch = import_module("torch")
    loss, p, side = torch_loss(torch, distil=False), case.pixels, round(case.sizes[0] ** 0.5)
    x, y, _ = map(torch.from_numpy, case.data)
    padded = torch.nn.functional.pad(x.view(-1, side, side), (p, p, p, p))
    windows = padded.unfold(1, side, 1).unfold(2, side, 1)                      # (N,2p+1,2p+1,side,side), a view

    def make(dropout: float) -> Work:
        model, weights = torch_network(torch, case.network())
        optimizer = torch.optim.SGD(model.parameters(), RATE, MOMENTUM, fused=True)
        *hidden, last = model[::2]
        thinned = [part for linear in hidden for part in (linear, torch.nn.ReLU(), torch.nn.Dropout(dropout))]
        network = torch.nn.Sequential(*thinned, last)

        def run() -> None:
            random = np.random.default_rng((0, 0))  # of fit's seed and epoch
            order = random.permutation(len(x))
            for k in range(0, len(x), case.batch):
                rows = torch.from_numpy(order[k : k + case.batch])
                down, right = torch.from_numpy(p - random.integers(-p, p + 1, (len(rows), 2))).T
                optimizer.zero_grad()
                loss(network(windows[rows, down, right].flatten(1)), None, y[rows]).backward()
                optimizer.step()
                with torch.no_grad():
                    for linear in (*hidden, last):
                        linear.weight.copy_(torch.renorm(linear.weight, 2, 0, case.max_norm))

        def reset() -> None:
            weights()
            optimizer.state.clear()

        return training_work(run, lambda: [p.detach().numpy().T for p in model.parameters()], reset)

    return teacher_work(make, case.dropout)


# ---------------------------------------------------------------------------------------------- adapters: losses


def loss_work(run: Callable[[], Any]) -> Work:
    """Work of a function that gives value and gradient."""
    return Work(run, lambda: [np.asarray(part) for part in run()])


def numpy_loss(case: LossGradient, threads: int) -> Work:
    s, y, t = case.data
    return loss_work(lambda: SOFT(s, t, y))


def minidistill_loss(case: LossGradient, threads: int) -> Work:
    from ...kernels import cpu

    s, y, t = case.data
    ds = np.empty_like(s)  # as in training, where its place is kept; the peers bring memory of their own
    return loss_work(lambda: cpu.distillation_loss(s, t, y, SOFT.temperature, SOFT.alpha, threads=threads, out=ds))


def torch_eager_loss(case: LossGradient, threads: int) -> Work:
    torch = import_module("torch")
    s, y, t = map(torch.from_numpy, case.data)
    loss, s = torch_loss(torch, distil=True), s.requires_grad_()

    def run() -> Any:
        value = loss(s, t, y)
        return value.detach(), *torch.autograd.grad(value, s)

    return loss_work(run)


def torch_compile_loss(case: LossGradient, threads: int) -> Work:
    torch = import_module("torch")
    s, y, t = map(torch.from_numpy, case.data)
    compiled = torch.compile(torch.func.grad_and_value(torch_loss(torch, distil=True)), fullgraph=True, dynamic=False,
                             options=INDUCTOR)  # fmt: skip

    def run() -> Any:
        with torch.no_grad():
            gradient, value = compiled(s, t, y)
        return value, gradient

    return loss_work(run)


def jax_jit_loss(case: LossGradient, threads: int) -> Work:
    jax = import_module("jax")
    s, y, t = map(jax.numpy.asarray, case.data)
    compiled = jax.jit(jax.value_and_grad(jax_loss(jax, distil=True)))
    return loss_work(lambda: jax.block_until_ready(compiled(s, t, y)))


# ---------------------------------------------------------------------------------------------- adapters: forward


def forward_work(run: Callable[[], Any], proba: bool = False) -> Work:
    """Work of a function that gives logits. Probabilities are compared, for scikit-learn gives nothing else."""
    return Work(run, lambda: [np.asarray(run()) if proba else softmax_forward(np.asarray(run()))[0]])


def numpy_forward(case: Forward, threads: int) -> Work:
    network, x = case.network(), case.data.x
    return forward_work(lambda: network.forward(x)[0])


def minidistill_forward(case: Forward, threads: int) -> Work:
    from ...kernels import cpu

    plan, network, x = cpu.plan(case.sizes, batch=case.batch, threads=threads), case.network(), case.data.x
    parameters = network.parameters
    return forward_work(lambda: cpu.forward(plan, parameters, x))


def torch_forward(case: Forward, threads: int) -> Work:
    torch = import_module("torch")
    model, x = torch_network(torch, case.network())[0].eval(), torch.from_numpy(case.data.x)
    return forward_work(torch.inference_mode()(lambda: model(x)))


def jax_forward(case: Forward, threads: int) -> Work:
    jax = import_module("jax")
    parameters, forward = jax_network(jax, case.network())
    compiled, x = jax.jit(forward), jax.numpy.asarray(case.data.x)
    return forward_work(lambda: compiled(parameters, x).block_until_ready())


def onnxruntime_forward(case: Forward, threads: int) -> Work:
    from ...export.onnx import onnx_bytes

    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(onnx_bytes(case.network()), options, providers=["CPUExecutionProvider"])
    feed = {"x": case.data.x}
    return forward_work(lambda: session.run(None, feed)[0])


def sklearn_forward(case: Forward, threads: int) -> Work:
    (model, _), x = sklearn_network(case.network(), batch=32), case.data.x
    return forward_work(lambda: model.predict_proba(x), proba=True)


# ---------------------------------------------------------------------------------------------- adapters: products


def numpy_product(case: Product, threads: int) -> Work:
    (A, B), C = case.data, np.empty((case.M, case.N), np.float32)
    return Work(lambda: np.matmul(A, B, out=C), lambda: [C])


def rung(name: str) -> Adapter:
    """The adapter of a rung of the ladder in kernels/matmul.py."""

    def adapter(case: Product, threads: int) -> Work:
        from ...kernels.cpu import matmul

        (A, B), C, multiply = case.data, np.empty((case.M, case.N), np.float32), getattr(matmul, name)
        return Work(lambda: multiply(A, B, C), lambda: [C])

    return adapter


# ---------------------------------------------------------------------------------------------- what is measured

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
