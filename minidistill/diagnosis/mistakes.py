# SPDX-License-Identifier: MIT
"""The mistakes that distillation code is known to make, by name: what each does, and what to do about it.

The first eighteen have all been met in published code; docs/evidence/bug_zoo.md shows each in a few lines, with what
it does to the figures. `check_loss` and `check_training` name them, and what they say is the Diagnosis at the end of
this file.
"""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Mistake:
    """A known mistake: its name, what it does, and what to do instead."""

    name: str
    effect: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.effect}"


RAW_LOGITS = Mistake(
    "KL on raw logits",
    "logits are taken for probabilities, and a negative one is clipped or has no logarithm",
    "soften both sides by softmax(s / T) and softmax(t / T) first, and multiply by T^2",
)
ELEMENT_MEAN = Mistake(
    "mean over elements",
    "the loss is divided by the C classes as well, and is C times too small",
    'sum over the classes, then average over the rows: reduction="batchmean" where there is one',
)
SQUARED_ERROR = Mistake(
    "squared error between softmaxes",
    "its gradient shrinks with T^2, with C, and wherever a probability is near 0 or 1",
    "take T^2 KL(p || q), or the squared error of the logits themselves",
)
NOT_LOGARITHMS = Mistake(
    "probabilities where logarithms are expected",
    "sum p (log p - q) in place of sum p (log p - log q) is not least where q = p",
    "hand over log_softmax(s / T)",
)
OUT_OF_STEP = Mistake(
    "teacher's answers out of step",
    "the kept logits belong to other rows than those that the student sees",
    "keep them with the rows that they answer (SoftTargets), or ask the teacher about each batch",
)
T_SQUARED_MISSING = Mistake(
    "T^2 missing",
    "softening costs the gradient 1/T twice, so the teacher's weight depends on the temperature",
    "multiply the teacher's term, and so its gradient, by T^2",
)
TEACHER_IN_TRAINING_MODE = Mistake(
    "teacher in training mode",
    "its dropout is on, and what it says is partly noise",
    "ask the teacher in evaluation mode",
)
STUDENT_IN_EVALUATION_MODE = Mistake(
    "student in evaluation mode",
    "its dropout is off while it learns, as a rule from the first evaluation on",
    "go back to training mode after each evaluation, or keep no mode between calls",
)
GRADIENT_INTO_TEACHER = Mistake(
    "gradient into the teacher",
    "one side's loss moves the other side as well, which drifts towards what is easy to match",
    "give the student the gradient of its own loss alone; a teacher's or peer's logits are constants",
)
SOFTMAX_TWICE = Mistake(
    "softmax twice",
    "probabilities are taken for logits; they lie within 0 and 1, so all classes look almost alike",
    "hand over logits: the loss applies the softmax",
)
UNDERFLOW = Mistake(
    "log of a softmax that underflows",
    "a probability below the smallest number is 0, its logarithm is -inf and its gradient NaN",
    "take log_softmax: s/T less its largest, less the logarithm of the sum of exponentials",
)
CLIPPED = Mistake(
    "probabilities clipped at epsilon",
    "the value stays finite, but the gradient is dead just where the student is sure and wrong",
    "clip nothing and take log_softmax",
)
SAME_LOGITS = Mistake(
    "the same logits on both sides",
    "the loss is 0 whatever the student says, and teaches it nothing",
    "one side takes the student's logits, the other the teacher's",
)
SWAPPED = Mistake(
    "teacher and student swapped",
    "it is the divergence, or the gradient, of the other side",
    "KL(p || q) has the teacher's p in front; ReverseKL is there where the other way round is meant",
)
TWO_CLASSES = Mistake(
    "non-target term on two classes",
    "where one class is left besides the label's there is nothing to share out, and what should be 0 is infinite",
    "leave the label's column out before the softmax, instead of masking or dividing it out after",
)
TWO_PATHS = Mistake(
    "a fast path with another loss",
    "which of the two losses is minimised depends on the machine or on a setting",
    "hold the two equal by a test: value and gradient, on several shapes",
)
BATCH_TWICE = Mistake(
    "divided by the batch twice",
    "the loss is B times too small, and larger batches learn slower",
    "average over the rows once: in the loss, and not again in the step",
)
ENDS_VANISH = Mistake(
    "generalised Jensen-Shannon that vanishes at its ends",
    "weights of beta and 1 - beta send it to 0 as beta nears 0 or 1, and not to a KL",
    "divide by beta (1 - beta), as JensenShannon does",
)

MISTAKES = (
    RAW_LOGITS, ELEMENT_MEAN, SQUARED_ERROR, NOT_LOGARITHMS, OUT_OF_STEP, T_SQUARED_MISSING, TEACHER_IN_TRAINING_MODE,
    STUDENT_IN_EVALUATION_MODE, GRADIENT_INTO_TEACHER, SOFTMAX_TWICE, UNDERFLOW, CLIPPED, SAME_LOGITS, SWAPPED,
    TWO_CLASSES, TWO_PATHS, BATCH_TWICE, ENDS_VANISH,
)  # fmt: skip

# Besides these, slips that are easily made:
SUMMED = Mistake(
    "summed over the batch",
    "the loss is B times too large, and larger batches learn in larger steps",
    "average over the rows",
)
NO_TEMPERATURE = Mistake(
    "temperature forgotten",
    "the logits are not divided by it",
    "soften both sides by softmax(s / T) and softmax(t / T)",
)
WITHOUT_ENTROPY = Mistake(
    "cross-entropy with the teacher in place of the KL",
    "the gradient is right, and the value is too large by the entropy of p: it is not 0 at the match",
    "subtract the entropy, or exempt 'match' and 'soft target' where that is meant",
)
LABELS_SOFTENED = Mistake(
    "labels compared with softened logits",
    "the cross-entropy with the labels is that of s / T, and its gradient is down to 1/T",
    "take the cross-entropy with the labels of s itself",
)
DETACHED = Mistake(
    "gradient cut off",
    "the value depends on the student and its gradient is 0, as after detach(), stop_gradient() or a copy to NumPy",
    "keep the student's logits in the graph from the forward pass to the loss; detach the teacher's alone",
)
LABELS_OUT_OF_STEP = Mistake(
    "labels out of step",
    "the labels belong to other rows than those that the student sees",
    "take rows and labels by the same indices: x[rows] and y[rows]",
)
ASCENT = Mistake(
    "gradient ascent",
    "each update goes along the gradient, so the loss rises",
    "subtract the gradient: parameters -= learning_rate * gradients",
)
SAME_MASK = Mistake(
    "dropout mask that repeats",
    "`step` chooses the mask, and a step that comes again leaves out the same units at the same place in the batch",
    "count `step` up from one update to the next, over all epochs",
)
WEIGHTS_EXCHANGED = Mistake(
    "weights of labels and teacher exchanged",
    "alpha weighs the labels and 1 - alpha the teacher",
    "L = (1 - alpha) CE + alpha T^2 KL, or name the other weight otherwise",
)


@dataclass(frozen=True)
class Finding:
    """A broken invariant: its name, what it says, what was seen, and the known mistakes that this looks like."""

    invariant: str
    statement: str
    seen: str
    mistakes: tuple[Mistake, ...] = ()

    def __str__(self) -> str:
        lines = [f"{self.invariant}: {self.statement}", f"  seen:       {self.seen}"]
        for mistake in self.mistakes:
            lines += [f"  looks like: {mistake}", f"  instead:    {mistake.remedy}"]
        return "\n".join(lines)


@dataclass(frozen=True)
class Diagnosis:
    """What a check found. It is true where nothing was; print it to read the rest."""

    subject: str
    findings: tuple[Finding, ...]
    held: tuple[str, ...]  # names of the invariants that held

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    @property
    def broken(self) -> tuple[str, ...]:
        """The names of the broken invariants."""
        return tuple(finding.invariant for finding in self.findings)

    @property
    def mistakes(self) -> tuple[Mistake, ...]:
        """The known mistakes that the findings look like, each once."""
        return in_order(mistake for finding in self.findings for mistake in finding.mistakes)

    def __str__(self) -> str:
        held = f"{len(self.held)} of {len(self.held) + len(self.findings)} invariants hold"
        return "\n".join([f"{self.subject}: {held}", *map(str, self.findings)])


def in_order(mistakes: Iterable[Mistake]) -> tuple[Mistake, ...]:
    """Each mistake once, in the order in which they come."""
    return tuple(dict.fromkeys(mistakes))
