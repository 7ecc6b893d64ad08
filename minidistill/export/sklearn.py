# SPDX-License-Identifier: MIT
"""scikit-learn, in: an MLPClassifier becomes an MLP."""

from typing import Any

import numpy as np

from ..network import MLP
from .layers import Layer, LinearLayer, Sigmoid, as_network, between, required


def from_sklearn(model: Any, dtype: Any = None) -> MLP:
    """The MLP that a fitted MLPClassifier is; its class k is `model.classes_[k]`, and its weights are copied.

    Two classes, for which scikit-learn has one logistic output z, become the two logits -z/2 and z/2, of the same
    probabilities. A scaler in front of it is not part of it: see `MLP.fold_standardization`.

    dtype  of the network, "float32" or "float64"; None for that of the weights: float64, unless it was fitted on
           float32 rows

    Raises TypeError for another model, ValueError for one that is not fitted, has an activation that MLP has not
    ("logistic" or "identity"), or gives each row several labels; ImportError without scikit-learn.
    """
    network = required("sklearn.neural_network", "an MLPClassifier", "pip install scikit-learn")
    if not isinstance(model, network.MLPClassifier):
        raise TypeError(f"model must be an MLPClassifier of scikit-learn, got {type(model).__name__}")
    if not hasattr(model, "coefs_"):
        raise ValueError("model is not fitted: call its fit(x, y) first")
    layers = zip(model.coefs_, model.intercepts_, strict=True)
    linears = [LinearLayer(f"layer {k}", np.asarray(W), np.asarray(b)) for k, (W, b) in enumerate(layers)]
    chain: list[Layer] = between(linears, model.activation, "model")
    if model.out_activation_ == "logistic":
        if model.n_outputs_ > 1:
            raise ValueError("model gives each row several labels, and an MLP gives one")
        chain.append(Sigmoid("its end"))
    return as_network(chain, "model", dtype)
