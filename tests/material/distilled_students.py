# SPDX-License-Identifier: MIT
"""A small student, the parameters that a teacher gives it, and a teacher with predict_proba."""

import numpy as np

from minidistill import MLP, SoftTarget, distill
from minidistill.ops import softmax_forward


def new_student(**options):
    return MLP((2, 5, 3), **{"seed": 9, "dtype": np.float64, **options})


def taught_by(teacher, data, **options):
    """The parameters of a student of `teacher`."""
    student = new_student()
    distill(teacher, student, data, **{"loss": SoftTarget(3.0, 0.7), "epochs": 3, "batch_size": 7, **options})
    return student.parameters


def softmax(s, T=1.0):
    return softmax_forward(s, T)[0]


class Probabilities:
    """What a scikit-learn classifier looks like from outside."""

    def __init__(self, answer, classes=None):
        self.answer = answer
        if classes is not None:
            self.classes_ = np.array(classes)

    def predict_proba(self, x):
        return self.answer(x) if callable(self.answer) else np.tile(self.answer, (len(x), 1))


def jitter(x, y, generator):
    return x + generator.normal(0, 0.1, x.shape), y
