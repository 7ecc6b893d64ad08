# SPDX-License-Identifier: MIT
"""Teachers made of teachers: ensembles, which average predictions, and a teacher whose logits get noise."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..data import Dataset
from ..support.checks import as_tuple, check_field, check_number, check_rows, check_seed
from ..support.deprecation import warn_renamed
from .teachers import as_probabilities, as_teacher, common_number_of_classes, mixture_logits

ROUNDS = 200          # of the weights' fixed point: on a few members far more than it needs
SMALLEST = 1e-12      # probability, of a label that no member finds possible


@dataclass(frozen=True, eq=False)
class Ensemble:
    """Several teachers that answer as one, by the weighted mean of their probabilities.

    members  each what `distill` takes as a teacher, but kept outputs: networks, functions, objects with predict_proba
    weights  one a member, at least 0 and not all 0, of which only the ratios count; equal unless given
    classes  the number of classes, where no member states it as a network does

    The mean is one of probabilities. Hinton et al. 2015 (section 1) allow a geometric mean as well, which is a mean of
    logits: with it one member alone can rule a class out, and one with larger logits than the rest, which may mean no
    more than that it was trained for longer, outweighs them.
    """

    members: Sequence[Any]
    weights: Sequence[float] | None = None
    classes: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.members, list | tuple) or len(self.members) == 0:
            raise ValueError(f"members must be a list of at least one teacher, got {self.members!r}")
        given = [1.0] * len(self.members) if self.weights is None else self.weights
        weights: Sequence[float] = as_tuple("weights", given, "a list of numbers, one for each member")
        if len(weights) != len(self.members):
            raise ValueError(f"weights must be one for each of the {len(self.members)} members, got {len(weights)}")
        weights = [check_number("each weight", weight, "[0, inf)") for weight in weights]
        if sum(weights) == 0:
            raise ValueError("weights must not all be 0")
        members = {f"members[{k}]": member for k, member in enumerate(self.members)}
        object.__setattr__(self, "classes", common_number_of_classes(members, self.classes))
        object.__setattr__(self, "weights", tuple(weight / sum(weights) for weight in weights))
        self._teachers()  # raises for what is no teacher

    def _teachers(self) -> list[Any]:
        return [as_teacher(member, self.classes or 0) for member in self.members]

    def _probabilities(self, x: np.ndarray) -> np.ndarray:
        """The probabilities (K,N,C) of each member for x (N,I)."""
        return np.stack([as_probabilities(member, self.classes or 0)(x) for member in self.members])

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        """The weighted mean of the members' probabilities, (N,C)."""
        p = self._probabilities(x)                                              # (K,N,C)
        return np.tensordot(np.array(self.weights), p, axes=1)                  # (N,C)

    def logits(self, x: np.ndarray) -> np.ndarray:
        """The logarithm of that mean, (N,C), with a floor under the probabilities of members that have no logits."""
        return mixture_logits(self._teachers(), x, self.classes or 0, self.weights)

    @classmethod
    def fit_weights(cls, members: Sequence[Any], validation: Dataset, classes: int | None = None) -> "Ensemble":
        """The ensemble whose weights make the labels of `validation`, which no member has seen, likeliest.

        The mean log-likelihood of a mixture has no local maximum but the highest one, and each round of expectation
        maximisation (Dempster, Laird and Rubin 1977) comes nearer to it: a member's new weight is the mean, over the
        rows, of its share in the probability of the label.

            w_k  <-  mean over n of  w_k p_k(y_n) / sum over j of w_j p_j(y_n)                      [ENS-1]
        """
        if not isinstance(validation, Dataset) or validation.y is None:
            raise ValueError(f"validation must be a Dataset with labels, got {validation!r}")
        equal = cls(members, None, classes)
        if validation.y.max() >= (equal.classes or 0):
            raise ValueError(f"validation must have labels of {equal.classes} classes, got {validation.y.max()}")
        p = equal._probabilities(validation.x)                                  # (K,N,C)
        p_label = np.maximum(p[:, np.arange(len(validation)), validation.y], SMALLEST)      # (K,N)
        w = np.array(equal.weights)                                             # (K,)
        for _ in range(ROUNDS):
            shares = w[:, None] * p_label                                       # (K,N)
            w = (shares / shares.sum(axis=0)).mean(axis=1)                      # (K,)   [ENS-1]
        return cls(members, w.tolist(), equal.classes)

    @classmethod
    def weighed(cls, *args: Any, **kwargs: Any) -> "Ensemble":
        """Renamed to `fit_weights`."""
        warn_renamed("Ensemble.weighed", "Ensemble.fit_weights")
        return cls.fit_weights(*args, **kwargs)


@dataclass(frozen=True, eq=False)
class NoisyTeacher:
    """A teacher whose logits are blurred: t becomes (1 + xi) t, with xi normal (Sau and Balasubramanian 2016).

    teacher  what `distill` takes as a teacher, but kept outputs
    noise    standard deviation of xi, drawn for each logit; well below 1, where signs would turn
    share    of the rows that are blurred, in [0, 1]
    seed     the noise of a row is a function of the seed and of the row's values: it is the same in each call, in any
             order of the rows. With `augment` every epoch has rows, and so noise, of its own
    classes  the number of classes, where the teacher does not state it as a network does

    It is a regulariser, for a student that would follow a single teacher into every detail. A row takes some 20 us.
    """

    teacher: Any
    noise: float = 0.1
    share: float = 1.0
    seed: int = 0
    classes: int | None = None

    def __post_init__(self) -> None:
        check_field(self, "noise", "[0, inf)")
        check_field(self, "share", "[0, 1]")
        check_seed(self.seed)
        object.__setattr__(self, "classes", common_number_of_classes({"teacher": self.teacher}, self.classes))
        as_teacher(self.teacher, self.classes or 0)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The blurred logits (N,C) of x (N,I)."""
        t = check_rows("teacher logits", as_teacher(self.teacher, self.classes or 0)(x), columns=self.classes)  # (N,C)
        generators = [np.random.default_rng((self.seed, int(row_hash))) for row_hash in Dataset(x).row_hashes]
        noise = [self.noise if generator.random() < self.share else 0.0 for generator in generators]
        normal = [generator.standard_normal(t.shape[1]) for generator in generators]
        xi = np.array(noise)[:, None] * normal                                  # (N,C)
        return np.asarray(t * (1 + xi).astype(t.dtype))                         # (N,C)
