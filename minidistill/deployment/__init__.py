# SPDX-License-Identifier: MIT
"""Deployment: smaller and faster forms of a trained network, and a teacher kept for quality checks.

    prune          smaller networks from trained ones
    quantization   integer networks from trained ones
    compression    compress(): what each of these keeps and costs
    bounds         what counts prove: of a share measured once, of one measured for ever, and that it has fallen
    pair           a student and its teacher
    cascade        Cascade: the student predicts where it is confident, the teacher the rest
    gate           QualityGate: a sample of the live rows goes to both, and a fall of their agreement raises an alarm
"""

from .cascade import Cascade
from .gate import QualityGate

__all__ = ["Cascade", "QualityGate"]
