# SPDX-License-Identifier: MIT
from minidistill.training.history import TrainingDiverged
from minidistill.training.selection import best, highest


def test_of_equal_scores_the_first_choice_is_selected():
    assert highest(["a", "b", "c"], [0.1, 0.4, 0.4]) == "b"
    assert best(iter((1, 2, 3, 4)), lambda k: min(k, 3)) == 3


def test_a_diverged_training_is_worse_than_every_other():
    def score(rate):
        if rate > 1:
            raise TrainingDiverged("too fast")
        return rate - 1

    assert best((10.0, 0.1, 0.2), score) == 0.2
