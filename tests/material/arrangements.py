# SPDX-License-Identifier: MIT
"""Small networks on spirals for tests of ensembles, chains, mutual learning and self-training."""

import numpy as np

from minidistill import MLP, spirals

DATA = spirals(60, seed=3)
OPTIONS = {"epochs": 3, "batch_size": 25}


def network(seed, *hidden, **options):
    return MLP((2, *(hidden or (5,)), 3), seed=seed, dtype=np.float64, **options)


def twice(one):
    return [one, one]


def parameters_of(networks):
    return np.concatenate([one.parameters for one in networks])


class ConstantProbabilities:
    """Predicts the same probabilities for every row, as a scikit-learn model would."""

    def __init__(self, *row):
        self.row = np.array(row)

    def predict_proba(self, x):
        return np.tile(self.row, (len(x), 1))
