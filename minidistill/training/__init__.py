# SPDX-License-Identifier: MIT
"""Training: one loop, its parts and its results.

    optim          SGD, Adam and AdamW
    schedules      learning rates that change while a network trains
    run            one step and one epoch of training
    targets        a teacher's predictions, kept or computed for each batch
    loop           fit(): the one training loop
    history        the figures of each epoch
    curves         their figure
    checkpoint     a run in a file, and how it resumes
    probabilities  class probabilities of models of any kind
    evaluation     compare(): accuracy, agreement and cost of a teacher and its students
    baselines      classifiers without training, a lower bound for the accuracy of a teacher
"""

from .evaluation import Report, compare
from .history import History, TrainingDiverged
from .loop import fit
from .optim import SGD, Adam, AdamW

__all__ = ["SGD", "Adam", "AdamW", "History", "Report", "TrainingDiverged", "compare", "fit"]
