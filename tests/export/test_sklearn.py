# SPDX-License-Identifier: MIT
"""scikit-learn: the MLP gives the probabilities of the MLPClassifier that it came from."""

import sys

import numpy as np
import pytest
from rounding import assert_probabilities

from minidistill import MLP, distill, spirals
from minidistill.export import from_sklearn

pytest.importorskip("sklearn")
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore:Stochastic Optimizer")  # a few steps are enough to be compared

X = np.random.default_rng(0).standard_normal((60, 4))


def fitted(classes, dtype=np.float64, **options):
    y = np.random.default_rng(1).integers(0, classes, 60)
    return MLPClassifier(max_iter=5, random_state=0, **options).fit(X.astype(dtype), y)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)], ids=str)
@pytest.mark.parametrize("classes", [2, 3, 7])
def test_probabilities_are_those_of_the_classifier_binary_ones_too(classes, hidden, activation):
    model = fitted(classes, hidden_layer_sizes=hidden, activation=activation)
    net = from_sklearn(model)
    assert net.sizes == (4, *hidden, classes)
    assert net.dtype == np.float64
    assert_probabilities(model.predict_proba(X), net, X)
    np.testing.assert_array_equal(model.classes_[net.predict(X)], model.predict(X))


def test_a_classifier_of_float32_stays_one_and_one_of_float64_is_rounded_where_asked():
    assert from_sklearn(fitted(3, np.float32)).dtype == np.float32
    net = from_sklearn(fitted(3), "float32")
    assert net.dtype == np.float32
    np.testing.assert_array_equal(net.parameters, from_sklearn(fitted(3)).parameters.astype(np.float32))


def test_it_teaches_a_student():
    data = spirals()
    model = MLPClassifier((16,), max_iter=5, random_state=0).fit(data.x, data.y)
    distill(from_sklearn(model), MLP((2, 4, data.classes)), data, epochs=1)


def test_weights_are_copies():
    model = fitted(3)
    from_sklearn(model).parameters[:] = 0
    assert np.abs(model.coefs_[0]).max() > 0


@pytest.mark.parametrize(
    ("model", "error", "said"),
    [
        (MLPClassifier(), ValueError, "model is not fitted: call its fit"),
        (MLPRegressor(), TypeError, "model must be an MLPClassifier of scikit-learn, got MLPRegressor"),
        (LogisticRegression(), TypeError, "got LogisticRegression"),
        (None, TypeError, "got NoneType"),
    ],
)
def test_another_model_is_refused(model, error, said):
    with pytest.raises(error, match=said):
        from_sklearn(model)


@pytest.mark.parametrize("activation", ["logistic", "identity"])
def test_an_activation_that_mlp_has_not_is_refused(activation):
    with pytest.raises(ValueError, match=f"model: the activation of its hidden layers must be .*, got '{activation}'"):
        from_sklearn(fitted(3, activation=activation))


def test_several_labels_a_row_are_refused():
    y = np.random.default_rng(1).integers(0, 2, (60, 3))
    with pytest.raises(ValueError, match="model gives each row several labels"):
        from_sklearn(MLPClassifier((5,), max_iter=5).fit(X, y))


def test_without_scikit_learn_it_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.neural_network", None)
    with pytest.raises(ImportError, match="an MLPClassifier needs sklearn: pip install scikit-learn"):
        from_sklearn(None)
