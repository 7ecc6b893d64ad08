# SPDX-License-Identifier: MIT
"""Diagnosis: what is wrong with a loss, a gradient, a training loop or an answer to an exercise.

    gradcheck        finite differences
    mistakes         the known mistakes of distillation code, each with cause and remedy
    known_formulas   recognizes the formula of a wrong loss by its values
    case             a loss under test: its value and gradient on fixed logits, and their rounding errors
    invariants       properties that every distillation loss has
    recognition      the known mistakes that violated invariants look like
    check_loss       check_loss(): both, on a loss of yours
    check_training   check_training(): the same for a training loop
    exercises        answers of the course's exercises
"""
