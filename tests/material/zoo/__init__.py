# SPDX-License-Identifier: MIT
"""The exhibits of the bug zoo: mistakes of published distillation code, in losses and in training loops."""
