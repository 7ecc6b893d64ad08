# SPDX-License-Identifier: MIT
"""Diagnosis: what is wrong with a loss, a gradient, a training loop or an answer to an exercise.

    gradcheck        finite differences
    mistakes         the known mistakes of distillation code, each with cause and remedy
    known_formulas   recognizes the formula of a wrong loss by its values
    invariants       check_loss(): properties that every distillation loss has
    rehearsal        check_training(): one rehearsed step of a training loop
    exercises        answers of the course's exercises
"""
