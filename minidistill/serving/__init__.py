# SPDX-License-Identifier: MIT
"""Serving: the teacher keeps watch over the student that took its place (derived in docs/serving.md).

    bounds    what counts prove: of a share measured once, of one measured for ever, and that it has fallen
    pair      a student and its teacher, both asked the same way
    cascade   Cascade: the student answers where it is sure, the teacher the rest
    gate      QualityGate: a few live inputs go to both, and a fall of their agreement raises an alarm
    drift     live images as they may become, made on purpose
"""

from .cascade import Cascade
from .gate import QualityGate

__all__ = ["Cascade", "QualityGate"]
