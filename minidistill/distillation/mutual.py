# SPDX-License-Identifier: MIT
"""Deep mutual learning: networks that train together, each with the others' predictions as its targets."""

import os
from collections.abc import Iterable, Sequence
from itertools import combinations

import numpy as np

from ..data import Dataset
from ..data.augmentation import Augment, as_list
from ..losses import Loss, LossLike, SoftTarget, as_loss
from ..network import MLP
from ..training.history import History
from ..training.loop import Callback, train
from ..training.optim import SGD, Optimizer
from ..training.run import Run
from .chains import check_networks


def mutual_learning(
    networks: Sequence[MLP],
    data: Dataset,
    loss: LossLike | None = None,
    *,
    epochs: int = 20,
    batch_size: int = 32,
    optimizer: Optimizer | None = None,
    seed: int = 0,
    validation: Dataset | None = None,
    patience: int | None = None,
    augment: Augment | Sequence[Augment] | None = None,
    callbacks: Iterable[Callback] = (),
    progress: bool | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1,
) -> list[History]:
    """Deep mutual learning (Zhang et al. 2018): `networks` train together, each with all others as its teachers.

    networks   at least two, trained in place; of any sizes between the same inputs and classes, each with first weights
               of its own (another seed): from an equal network nothing can be learned
    loss       SoftTarget(1.0, 0.5) unless given: half the paper's cross-entropy plus KL(p_peer || p). With more than
               two networks it is the mean over the others, which the paper found better than their mean probability
    patience   stop when none of the networks has had a better validation accuracy for this many epochs, and restore the
               best epoch of each
    callbacks  each called as callback(network, history) for each network after each epoch

    The rest is as in `fit`; epochs, optimizer and validation data are the same for all, and so are the batches. Returns
    one History per network, whose seconds are those of an epoch of all of them.

    In each step all networks predict first, dropout on, and then all are updated. The paper updates one after the
    other, so that the result depends on their order. A prediction is a constant target for the others: no gradient
    passes through it.

    Raises TrainingDiverged when a loss is not finite; each network then has the parameters of its best epoch so far,
    the last whole one where there is no validation data, as on Ctrl-C.
    """
    peers = check_networks("networks", networks, fewest=2)
    if len({network.dtype for network in peers}) > 1:
        raise ValueError("networks must have the same dtype, got float32 and float64")
    for one, other in combinations(peers, 2):
        if one.sizes == other.sizes and np.array_equal(one.parameters, other.parameters):
            raise ValueError("networks must differ to learn from one another, two have the same weights: vary the seed")
    loss = SoftTarget(1.0, 0.5) if loss is None else as_loss(loss)
    optimizer = SGD() if optimizer is None else optimizer
    augments = as_list(augment)
    run = MutualRun(peers, data, loss, epochs, batch_size, optimizer, seed, None, validation, patience, augments)
    return train(run, callbacks, progress, checkpoint, checkpoint_every)


class MutualRun(Run):
    """A training run whose step trains several networks, each on the predictions of the others."""

    owner = " of a peer"

    def train_step(self, x: np.ndarray, y: np.ndarray | None, t: None, step: int) -> np.ndarray:
        """Forward passes for x (B,I), then losses, backward passes and updates; returns the losses (K,)."""
        passes = [self.forward(network, x, step) for network in self.networks]
        logits = [s for s, cache in passes]                                     # each (B,C)
        values = np.zeros(len(passes))                                          # (K,)
        for k, (network, (s, cache)) in enumerate(zip(self.networks, passes, strict=True)):
            others = logits[:k] + logits[k + 1 :]
            found = [self.value_and_ds(network, s, t, y, step) for t in others]
            values[k] = np.mean([value for value, ds in found])
            ds = np.asarray(sum(ds for value, ds in found)) / len(others)       # (B,C)
            self.backward(network, ds, cache)
        self.update(step)
        return values

    def use(self, loss: Loss) -> None:
        self.current, self.compiled = loss, None  # the compiled steps train one network
