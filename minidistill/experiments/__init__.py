# SPDX-License-Identifier: MIT
"""Experiments: the demo, sweeps of hyperparameters, the papers' results again, rankings and benchmarks."""
