# SPDX-License-Identifier: MIT
"""The bug zoo: eighteen mistakes that distillation code has shipped, each caught by name in test_zoo.py.

docs/evidence/bug_zoo.md is the way round, tools/measure/zoo.py measures what each does.
"""

from dataclasses import dataclass
from typing import Any

from minidistill import DecoupledKD, JensenShannon, SoftTarget, check_loss, check_training
from minidistill.diagnosis import mistakes as known
from zoo import loops, losses

T = 4.0


@dataclass(frozen=True)
class Exhibit:
    """A mistake, who shipped it, the wrong code, and the invariants that it breaks, as the checks name them.

    The wrong code is a `term` of (s, t, T), a `loss` of (s, t, y, T, alpha) or a `loop` of (student, teacher, data,
    loss); some mistakes can be made in a term and in a loop.
    """

    mistake: known.Mistake
    shipped: str
    term: Any = None
    loss: Any = None
    breaks: tuple[str, ...] = ()
    loop: Any = None
    loop_breaks: tuple[str, ...] = ()
    right: Any = SoftTarget  # makes of T and alpha the loss that it should be
    alpha: float = 1.0
    exempt: tuple[str, ...] = ()
    same_as: Any = None
    also: tuple[known.Mistake, ...] = ()  # what else it truly is

    @property
    def number(self) -> int:
        return known.MISTAKES.index(self.mistake) + 1

    @property
    def has_loss(self) -> bool:
        return self.term is not None or self.loss is not None

    def wrong_loss(self, T, alpha):
        """The wrong loss as a function of (s, t, y)."""
        if self.loss is not None:
            return at(self.loss, T, alpha)
        return lambda s, t, y: losses.beside_the_labels(*self.term(s, t, T), s, y, alpha)

    def check(self, loss, T=T, alpha=None):
        """What check_loss says of the wrong loss or of the right one."""
        alpha = self.alpha if alpha is None else alpha
        same_as = None if self.same_as is None else at(self.same_as, T, alpha)
        return check_loss(loss, T, alpha, exempt=self.exempt, same_as=same_as)

    def diagnosis(self):
        """What check_loss says of the wrong loss, or check_training of the wrong loop where there is no such loss."""
        return self.check(self.wrong_loss(T, self.alpha)) if self.has_loss else check_training(self.loop)


def at(loss, T, alpha):
    """A loss of (s, t, y, T, alpha) as one of (s, t, y)."""
    return lambda s, t, y: loss(s, t, y, T, alpha)


EXHIBITS = (
    Exhibit(
        known.RAW_LOGITS,
        "LogitsDistillation of Keras 3, where the loss is named by a string",
        losses.kl_on_raw_logits,
        breaks=("match", "shift", "soft target", "sure and wrong"),
    ),
    Exhibit(
        known.ELEMENT_MEAN,
        "knowledge-distillation-pytorch of haitongli; labml has it too, and a weight of 100 to make up for it",
        losses.mean_over_elements,
        breaks=("soft target",),
    ),
    Exhibit(
        known.SQUARED_ERROR,
        "KD_Lib",
        losses.squared_error_between_softmaxes,
        breaks=("soft target", "sure and wrong"),
    ),
    Exhibit(
        known.NOT_LOGARITHMS,
        "DKD of PaddleSlim",
        losses.probabilities_for_logarithms,
        breaks=("match", "soft target", "sure and wrong"),
    ),
    Exhibit(
        known.OUT_OF_STEP,
        "knowledge-distillation-pytorch of haitongli",
        loop=loops.answers_out_of_step,
        loop_breaks=("answers",),
    ),
    Exhibit(
        known.T_SQUARED_MISSING,
        "Distiller of IntelLabs, an example of Keras, TextBrewer, TRL's Jensen-Shannon",
        losses.without_t_squared,
        breaks=("soft target",),
    ),
    Exhibit(
        known.TEACHER_IN_TRAINING_MODE,
        "the teacher assistant of KD_Lib",
        losses.dropout_on_the_teacher,
        breaks=("repeatable",),
        loop=loops.teacher_in_training_mode,
        loop_breaks=("answers",),
    ),
    Exhibit(
        known.STUDENT_IN_EVALUATION_MODE,
        "KD_Lib",
        loop=loops.student_left_in_evaluation_mode,
        loop_breaks=("mode",),
    ),
    Exhibit(
        known.GRADIENT_INTO_TEACHER,
        "mutual learning of KD_Lib",
        losses.with_the_gradient_of_the_peers_loss,
        breaks=("gradient", "soft target", "sure and wrong"),
        loop=loops.gradient_into_the_teacher,
        loop_breaks=("teacher",),
    ),
    Exhibit(
        known.SOFTMAX_TWICE,
        "PaddleSlim",
        losses.softmax_twice,
        breaks=("soft target", "sure and wrong"),
    ),
    Exhibit(
        known.UNDERFLOW,
        "DKD of mdistiller; a tutorial of PyTorch",
        losses.log_of_softmax,
        breaks=("finite", "two classes"),
    ),
    Exhibit(
        known.CLIPPED,
        "Keras",
        losses.clipped_at_epsilon,
        breaks=("sure and wrong",),
    ),
    Exhibit(
        known.SAME_LOGITS,
        "labml",
        losses.same_logits_on_both_sides,
        breaks=("student", "teacher", "soft target"),
    ),
    Exhibit(
        known.SWAPPED,
        "an example of Keras",
        losses.teacher_and_student_swapped,
        breaks=("soft target", "sure and wrong"),
    ),
    Exhibit(
        known.TWO_CLASSES,
        "DKD of mdistiller",
        loss=losses.decoupled_by_division,
        breaks=("finite", "two classes"),
        right=lambda T, alpha: DecoupledKD(1.0, 2.0, T, alpha),
        exempt=("soft target", "labels"),
        also=(known.UNDERFLOW,),
    ),
    Exhibit(
        known.TWO_PATHS,
        "TRL",
        loss=losses.fast_path,
        breaks=("labels", "match", "same path", "soft target", "sure and wrong"),
        alpha=0.5,
        same_as=losses.slow_path,
        also=(known.LABELS_SOFTENED,),
    ),
    Exhibit(
        known.BATCH_TWICE,
        "a step that averages what the loss has averaged",
        losses.divided_by_the_batch_twice,
        breaks=("batch", "soft target"),
    ),
    Exhibit(
        known.ENDS_VANISH,
        "TRL",
        losses.generalised_jensen_shannon,
        breaks=("finite", "soft target", "sure and wrong"),
        right=lambda T, alpha: JensenShannon(T, alpha, beta=0.01),
    ),
)
