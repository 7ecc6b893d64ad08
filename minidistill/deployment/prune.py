# SPDX-License-Identifier: MIT
"""Pruning: smaller networks from trained ones, by single weights or by whole hidden units (docs/guides/prune.md).

`prune_weights` sets the smallest weights to zero during training, more of them after each epoch; the network keeps its
shape. `remove_units` returns a network without the hidden units that matter least, which is smaller and faster.

Both reduce accuracy, and fine-tuning restores most of it; with few images, a teacher restores more than labels.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import Dataset
from ..data.dataset import check_dataset
from ..distillation.student import OPTIONS, distill
from ..losses import CrossEntropy, LossLike
from ..network import MLP
from ..support.checks import (
    as_tuple,
    check_choice,
    check_finite,
    check_number,
    check_options,
    check_rows,
    check_whole,
    options_of,
)
from ..training.history import History
from ..training.loop import fit

SETTLING = 0.75  # of the epochs, after which no more weights are cut
ROWS = 32  # of a batch whose gradient counts as one in the saliency by gradients

# ---------------------------------------------------------------------------------------------- single weights


def cut_weights(network: MLP, share: float) -> None:
    """Sets this share of all weights, those smallest in size, to zero, in place; biases stay (Han et al. 2015)."""
    check_number("share", share, "[0, 1)")
    check_finite("network.parameters", network.parameters)
    sizes = np.concatenate([np.abs(W).ravel() for W in network.weights])        # (P,) without biases
    count = int(share * sizes.size)                                             # below P: something stays
    if count == 0:
        return
    smallest = np.argpartition(sizes, count - 1)[:count]                        # (count,)                 [PRUNE-1]
    kept = np.ones(sizes.size, bool)
    kept[smallest] = False
    masks = np.split(kept, np.cumsum([W.size for W in network.weights])[:-1])
    for W, mask in zip(network.weights, masks, strict=True):
        W *= mask.reshape(W.shape)


def share_at(progress: float, share: float) -> float:
    """The share to cut after this part of the training: S (1 - (1 - u)^3), u = progress / 0.75, at most 1.

    Zhu and Gupta 2017, equation 1, from dense.                                                            [PRUNE-2]
    """
    u = min(progress / SETTLING, 1.0)
    return share * (1 - (1 - u) ** 3)


def prune_weights(
    network: MLP, data: Dataset, share: float = 0.8, *,
    teacher: Any = None, loss: LossLike | None = None, epochs: int = 20, **options: Any,
) -> History:  # fmt: skip
    """Trains `network` in place, and after each epoch sets more of its weights to zero: this share at the end.

    share    of all weights together, in [0, 1)
    teacher  as in `distill`; None for labels alone
    loss     as in `distill`, or as in `fit` where there is no teacher
    options  all else that those two take, but for patience: the best epoch might be one with fewer zeros

    A weight that was cut may grow until the next cut, and stays if it is larger than others by then. Raises ValueError
    for a share outside of [0, 1), and what `fit` raises.
    """
    check_options("prune_weights", options, options_of(fit) if teacher is None else OPTIONS)
    check_number("share", share, "[0, 1)")
    if options.get("patience") is not None:
        raise ValueError("patience must be None: the best epoch might be one before the last weights are cut")

    def cut(network: MLP, history: History) -> None:
        cut_weights(network, share_at(len(history.epochs) / epochs, share))

    options |= {"epochs": epochs, "callbacks": [cut, *options.get("callbacks", ())]}
    if teacher is None:
        return fit(network, data, loss, **options)
    return distill(teacher, network, data, loss, **options)


def density(network: MLP) -> float:
    """The share of weights that are not zero, biases left out."""
    return sum(np.count_nonzero(W) for W in network.weights) / sum(W.size for W in network.weights)


def sparse_bytes(network: MLP) -> int:
    """Bytes of the parameters stored as one bit per weight, whether it is zero, and the values of the others."""
    bits = sum(-(-W.size // 8) for W in network.weights)
    numbers = sum(np.count_nonzero(W) for W in network.weights) + sum(b.size for b in network.biases)
    return bits + int(numbers) * network.dtype.itemsize


# ---------------------------------------------------------------------------------------------- whole hidden units


def remove_units(network: MLP, keep: Sequence[int] | int, data: Dataset, by: str = "variance") -> MLP:
    """A network with the `keep` most important hidden units of each layer. `network` itself stays as it is.

    keep  the number of units that stay, one for each hidden layer, or one for all
    data  the rows (N,I) by which importance is computed; labels are needed for by="gradient" only
    by    "variance": how far the next layer's inputs move where a unit is held to its mean            [PRUNE-4]
          "gradient": how much the cross-entropy changes, to first order, without the unit             [PRUNE-5]

    The mean of removed units goes into the next layer's biases [PRUNE-3]. Layers are reduced from the inputs on, each
    judged on the outputs of the reduced ones before it. Raises ValueError where a layer would keep no unit, or more
    than it has.
    """
    check_choice("by", by, ("variance", "gradient"))
    if not isinstance(network, MLP):
        raise TypeError(f"network must be an MLP, got {type(network).__name__}")
    check_dataset("data", data)
    hidden = network.sizes[1:-1]
    whole = isinstance(keep, int | np.integer)
    wanted = [keep] * len(hidden) if whole else as_tuple("keep", keep, "a whole number, or a list of them")
    if len(wanted) != len(hidden) or not hidden:
        raise ValueError(f"keep must be one number for each of the {len(hidden)} hidden layers, got {keep!r}")
    for k, (count, width) in enumerate(zip(wanted, hidden, strict=True)):
        if check_whole(f"keep[{k}]", count) > width:
            raise ValueError(f"keep[{k}] must be at most {width}, the units of hidden layer {k}, got {count}")
    if by == "gradient" and data.y is None:
        raise ValueError('data must have labels for by="gradient"')
    network.check_exportable()
    x = check_rows("data.x", data.x, columns=network.sizes[0], dtype=network.dtype)
    for k, count in enumerate(wanted):
        h = network.outputs(x).hidden[k]                                        # (N,H)
        W = network.weights[k + 1]                                              # (H,O)
        missed = variance_saliency(h, W) if by == "variance" else gradient_saliency(network, k, x, data.y)  # (H,)
        kept = np.sort(np.argsort(-missed, kind="stable")[:count])              # (count,) in their old order
        network = _without(network, k, kept, h.mean(axis=0))
    return network


def variance_saliency(h: np.ndarray, W: np.ndarray) -> np.ndarray:  # h (N,H)  W (H,O)
    """The mean square by which z = h W changes where one unit is held to its mean, for each unit (H,)."""
    return np.asarray(h.var(axis=0) * np.square(W).sum(axis=1))                 # (H,)                      [PRUNE-4]


def gradient_saliency(network: MLP, layer: int, x: np.ndarray, y: Any) -> np.ndarray:
    """The mean square over batches of the first-order change of the loss where one unit of a layer is zero, (H,)."""
    W, dW = network.weights[layer + 1], network.weight_gradients[layer + 1]     # (H,O)
    changes = []
    for start in range(0, len(x), ROWS):
        rows = slice(start, start + ROWS)
        logits, cache = network.forward(x[rows])                                # (B,C)
        _, ds = CrossEntropy()(logits, None, y[rows], network.ops)              # (B,C)
        network.backward(ds, cache)
        changes.append((W * dW).sum(axis=1))                                    # (H,)  sum of h dh over rows
    return np.asarray(np.square(changes).mean(axis=0))                          # (H,)                      [PRUNE-5]


def _without(network: MLP, layer: int, kept: np.ndarray, mean: np.ndarray) -> MLP:
    """A copy with the units `kept` of a hidden layer; the others' mean (H,) is in the biases of the layer after it."""
    sizes = list(network.sizes)
    sizes[layer + 1] = len(kept)
    smaller = MLP(sizes, network.activation, network.dropout, network.seed, network.dtype, network.backend)
    for k, (W, b) in enumerate(zip(network.weights, network.biases, strict=True)):
        if k == layer:
            W, b = W[:, kept], b[kept]
        elif k == layer + 1:
            gone = np.setdiff1d(np.arange(len(mean)), kept)
            W, b = W[kept], b + mean[gone] @ W[gone]                            # (O,)                      [PRUNE-3]
        smaller.weights[k][:], smaller.biases[k][:] = W, b
    return smaller
