# SPDX-License-Identifier: MIT
"""Training: one loop, and what it needs and returns.

    optim        SGD, Adam and AdamW; learning-rate schedules
    loop         fit(): the one training loop
    checkpoint   a run in a file, and how it resumes
    curves       the figure of a run
    evaluation   compare(): what the student kept, and what it costs
    baselines    classifiers without training, below which no teacher should be
"""

from .evaluation import Report, compare
from .loop import History, TrainingDiverged, fit
from .optim import SGD, Adam, AdamW

__all__ = ["SGD", "Adam", "AdamW", "History", "Report", "TrainingDiverged", "compare", "fit"]
