# %% [markdown]
# # 13 · Who teaches whom
#
# So far there was one teacher, one student, and the rows that both saw. None of that has to be so. Several teachers may
# speak with one voice; a network may teach its own successor; two that know nothing may teach each other; and a teacher
# may answer about rows that nobody has labelled. No new loss is needed for any of it, only another answer to the
# question: who is asked about what?
#
# **You will know at the end**
#
# - why an ensemble averages probabilities and not logits;
# - how networks teach each other without a teacher, and where the gradient must not go;
# - what a chain of students is for, and how seldom it pays;
# - what a teacher does for rows without labels, and when there are no rows at all;
# - how to compare schemes fairly: same budget, paired seeds, spread.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebooks 7 and 8.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import (
    MLP,
    SGD,
    CosineSchedule,
    Dataset,
    Ensemble,
    SoftTarget,
    born_again,
    data_impressions,
    digits,
    distill,
    fit,
    mutual_learning,
    ops,
    self_train,
    teacher_assistant,
)
from minidistill.diagnosis.exercises import check

# %% [markdown]
# ## The classroom
#
# All that follows is on the digits. Students see 150 labelled images, and all have the same number of epochs, the same
# optimizer and the same first weights, seed by seed. The settings are the same for all too, and were not tuned for any.

# %%
train, test = digits()
few = train.take(150, seed=0)
SIZES, EPOCHS, SEEDS = (64, 32, 10), 60, range(4)


def options(seed):
    return {"epochs": EPOCHS, "batch_size": 25, "optimizer": SGD(CosineSchedule(0.05)), "seed": seed}


def accuracy(network):
    return 100 * float((network.predict(test.x) == test.y).mean())


def shown(name, values, beside):
    """A line: mean and spread, and the paired difference to another kind of student."""
    gains = np.subtract(values, beside)
    better = f"{np.mean(gains):+5.1f} ± {np.std(gains, ddof=1):.1f}"
    print(f"{name:32} {np.mean(values):5.1f}% ± {np.std(values, ddof=1):.1f}   {better} points")


def alone(seed):
    student = MLP(SIZES, seed=seed)
    fit(student, few, **options(seed))
    return accuracy(student)


def taught(teacher, seed, loss=None):
    student = MLP(SIZES, seed=seed)
    distill(teacher, student, few, loss or SoftTarget(4.0, 0.9), **options(seed))
    return accuracy(student)


teachers = [MLP((64, 64, 10), seed=100 + k) for k in range(4)]
for k, teacher in enumerate(teachers):
    fit(teacher, train, epochs=15, seed=k)
by_labels = [alone(seed) for seed in SEEDS]
by_one = [taught(teachers[0], seed) for seed in SEEDS]
print("test accuracy; the difference is to a student of labels alone")
shown("labels alone", by_labels, by_labels)
shown("one teacher", by_one, by_labels)

# %% [markdown]
# ## Several teachers
#
# Networks that were trained alike but began with other weights make different mistakes. Their mean is right more often
# than one of them, as a rule. But the mean of what? There are two candidates:
#
# $$ \bar p = \frac1K \sum_k p_k \qquad\text{and}\qquad \operatorname{softmax}\Bigl(\frac1K \sum_k t_k\Bigr) . $$
#
# The second is the geometric mean of the probabilities, put to sum 1: it *multiplies*. One member that is quite sure
# that it is no 3 can forbid the 3 to all. And logits have no common scale: a network that was trained longer has larger
# ones and speaks louder.

# %% [markdown]
# ### Exercise 1: two means
#
# Write `mean_of_probabilities(t)` and `mean_of_logits(t)`. `t` is $(K,N,C)$, the logits of $K$ teachers. Return
# probabilities $(N,C)$. Use `softmax`, which is there.
#
# <details><summary>Hint</summary>
#
# Axis 0 is that of the teachers. In the first, softmax comes before the mean, in the second after it.
#
# </details>

# %%
def softmax(z):              # z (...,C)
    flat, _ = ops.softmax_forward(z.reshape(-1, z.shape[-1]))
    return flat.reshape(z.shape)

# %% tags=["exercise"]
def mean_of_probabilities(t):    # t (K,N,C)
    ...                          # your code: return probabilities (N,C)


def mean_of_logits(t):           # t (K,N,C)
    ...                          # your code: return probabilities (N,C)


# %% tags=["check"]
rng = np.random.default_rng(0)
logits = 3 * rng.standard_normal((3, 5, 4))                                     # (K,N,C)
right = np.stack([softmax(one) for one in logits]).sum(axis=0) / 3              # (N,C)
other = np.exp(logits.mean(axis=0)) / np.exp(logits.mean(axis=0)).sum(axis=1, keepdims=True)        # (N,C)
check("mean_of_probabilities", lambda: mean_of_probabilities(logits), right, factors={"K": 3}, mistakes={
    "that is the mean of the logits: take the softmax of each teacher first": other,
    "the mean went over the rows; axis 0 is that of the teachers": softmax(logits).mean(axis=1),
})
check("mean_of_logits", lambda: mean_of_logits(logits), other, mistakes={
    "that is the mean of the probabilities: take the mean of the logits first": right,
    "these are logits: their softmax is wanted": logits.mean(axis=0),
    "that is the softmax of the sum; it is sharper than that of the mean": softmax(logits.sum(axis=0)),
})

# %% [markdown]
# What one loud voice does. Two teachers say 3, moderately; the third says 8 and has logits four times as large.

# %%
t = np.zeros((3, 1, 10))                                                        # (K,N,C)
t[0, 0, 3] = t[1, 0, 3] = 4
t[2, 0, 8] = 16
probabilities, geometric = softmax(t).mean(axis=0)[0], softmax(t.mean(axis=0))[0]       # (C,) each
fig, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
ax.bar(np.arange(10) - 0.2, probabilities, 0.4, label="mean of probabilities", color="#00798c")
ax.bar(np.arange(10) + 0.2, geometric, 0.4, label="of logits", color="#d1495b")
ax.set(xlabel="class", ylabel="probability", xticks=range(10), title="Two say 3, one says 8 and shouts")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# The library's `Ensemble` takes the mean of probabilities; a list of teachers is one too. `Ensemble.fit_weights`
# chooses weights by rows that no member has seen [ENS-1].

# %%
together = Ensemble(teachers)
print("teachers:", ", ".join(f"{accuracy(one):.1f}%" for one in teachers),
      f"   together: {100 * np.mean(together.predict_proba(test.x).argmax(axis=1) == test.y):.1f}%")
by_four = [taught(together, seed) for seed in SEEDS]
shown("one teacher", by_one, by_labels)
shown("four teachers", by_four, by_labels)

# %% [markdown]
# The student has the size and cost of one small network, whoever taught it. Does the ensemble's student beat that of
# one teacher by more than the spread? Compare the two lines before you say yes.
#
# ## Teaching each other
#
# In **deep mutual learning** (Zhang et al. 2018) there is no teacher. Two networks learn from labels, and each from the
# other as it is just now. With $s_1$ and $s_2$ their logits, the loss of the first is
#
# $$ L_1 = (1-\alpha)\, \mathrm{CE}(s_1, y)
#    + \alpha\, T^2\, \mathrm{KL}\bigl(\operatorname{softmax}(s_2/T) \,\Vert\, \operatorname{softmax}(s_1/T)\bigr) , $$
#
# and $L_2$ with 1 and 2 exchanged. $s_2$ occurs in $L_1$, so $L_1$ has a derivative with respect to $s_2$ too. It is
# *not* taken: a peer's answer is a given target. Whoever lets it through pulls both towards each other twice, and has
# each pay for the other's mistakes; that has shipped (mistake 9 of the bug zoo).

# %% [markdown]
# ### Exercise 2: a step of two peers
#
# Write `peers(s1, s2, y, T, alpha)`: return $ds_1$ and $ds_2$, both $(B,C)$, with nothing flowing into the peer. `soft`
# gives the gradient of the softened KL for the student, `hard` that of the cross-entropy.
#
# <details><summary>Hint</summary>
#
# Each is $(1-\alpha)$ times `hard` of its own logits plus $\alpha$ times `soft(own, other's, T)`.
#
# </details>

# %%
def soft(s, t, T):           # s, t (B,C): student and teacher
    return ops.soft_target_backward(ops.soft_target_forward(s, t, T)[1])        # (B,C)


def hard(s, y):              # s (B,C)  y (B,)
    return ops.cross_entropy_backward(ops.cross_entropy_forward(s, y)[1])       # (B,C)

# %% tags=["exercise"]
def peers(s1, s2, y, T, alpha):  # s1, s2 (B,C)  y (B,)
    ...                          # your code: return ds1 and ds2


# %% tags=["check"]
s1, s2, y = *rng.standard_normal((2, 6, 4)), np.array([0, 3, 1, 1, 2, 0])       # (B,C), (B,C), (B,)
_, ds1 = SoftTarget(2.0, 0.7)(s1, s2, y)
_, ds2 = SoftTarget(2.0, 0.7)(s2, s1, y)
into = 0.7 * 2.0 * softmax(s1 / 2) * (
    np.log(softmax(s1 / 2) / softmax(s2 / 2))
    - (softmax(s1 / 2) * np.log(softmax(s1 / 2) / softmax(s2 / 2))).sum(axis=1, keepdims=True)
) / 6                                                                           # (B,C)
check("peers", lambda: peers(s1, s2, y, 2.0, 0.7), (ds1, ds2), factors={"T": 2.0, "B": 6}, mistakes={
    "the peer's loss flows into this network too: take the peer's logits as given": ds1 + into,
    "teacher and student have changed places in soft": 0.3 * hard(s1, y) + 0.7 * soft(s2, s1, 2.0),
    "alpha belongs to the peer's part, 1 - alpha to that of the labels": 0.7 * hard(s1, y) + 0.3 * soft(s1, s2, 2.0),
    "the labels' part is missing": 0.7 * soft(s1, s2, 2.0),
    "the peer's part is missing": 0.3 * hard(s1, y),
    "ds1 was returned for both": ds1,
    "T^2 is in soft already": 0.3 * hard(s1, y) + 0.7 * 4 * soft(s1, s2, 2.0),
    "the second peer learns from s1, and its own logits are s2: soft(s2, s1, T)":
        0.3 * hard(s2, y) + 0.7 * soft(s1, s2, 2.0),
})

# %%
def cohort(seed, count=2):
    """The accuracies of networks that learn together; the first began as the student of this seed alone."""
    networks = [MLP(SIZES, seed=seed + 50 * k) for k in range(count)]
    mutual_learning(networks, few, SoftTarget(1.0, 0.5), **options(seed))
    return accuracy(networks[0])


by_peers = [cohort(seed) for seed in SEEDS]
shown("labels alone", by_labels, by_labels)
shown("with a peer", by_peers, by_labels)
shown("one teacher", by_one, by_labels)

# %% [markdown]
# A peer that has seen the same 150 images knows no more than you do. A teacher that has seen all of them does. The
# paper's gains of mutual learning are of a point or so, on large data and for long trainings; here, judge by the
# spread.
#
# ## Chains
#
# **Born-again networks** (Furlanello et al. 2018): a network teaches one of its own shape, and that one the next.
# **Teacher assistants** (Mirzadeh et al. 2020): between a large teacher and a small student stands one of a size in
# between, since a small student follows a far better teacher badly. Both are the same loop.

# %% [markdown]
# ### Exercise 3: a chain
#
# Write `chain(teacher, students, teach)`: the teacher teaches the first student, that one the second, and so on.
# `teach(teacher, student)` trains the student in place. Return the last student.
#
# <details><summary>Hint</summary>
#
# After each lesson the student is the next teacher: `teacher = student`.
#
# </details>

# %% tags=["exercise"]
def chain(teacher, students, teach):
    ...                      # your code: return the last student


# %% tags=["check"]
def lessons(make):
    """Who taught whom, in words."""
    told = []
    last = make("T", ["A", "B", "C"], lambda teacher, student: told.append(f"{teacher} teaches {student}"))
    return None if last is None and not told else f"{', '.join(told)}; the last is {last}"


check("chain", lambda: lessons(chain), "T teaches A, A teaches B, B teaches C; the last is C", mistakes={
    "the first teacher teaches all of them: after each lesson the student is the next teacher":
        "t teaches a, t teaches b, t teaches c; the last is c",
    "teach trains in place and returns nothing: the next teacher is the student":
        "t teaches a, none teaches b, none teaches c; the last is none",
    "teach takes the teacher first, then the student": "a teaches t, b teaches a, c teaches b; the last is c",
    "the last student has to be returned, not None": "t teaches a, a teaches b, b teaches c; the last is none",
})

# %% [markdown]
# The library's `born_again` and `teacher_assistant` do this. Here is a chain of three generations that know 150 images,
# and an assistant between a wide teacher and a student of 8 units. Each is set beside the same thing without a chain.

# %%
def generations(seed):
    first = MLP(SIZES, seed=seed)
    fit(first, few, **options(seed))
    return [accuracy(one) for one in born_again(first, few, 3, SoftTarget(2.0, 0.5), **options(seed))]


lines = np.array([generations(seed) for seed in SEEDS])                         # (seeds, generations)
shown("first network, labels alone", by_labels, by_labels)
for k in range(3):
    shown(f"generation {k + 1}", lines[:, k], by_labels)

# %%
wide = MLP((64, 256, 256, 10), dropout=0.3, seed=0)
fit(wide, train, epochs=15, optimizer=SGD(CosineSchedule(0.1)))
direct, assisted = [], []
for seed in SEEDS:
    small = MLP((64, 8, 10), seed=seed)
    distill(wide, small, few, SoftTarget(4.0, 0.9), **options(seed))
    direct.append(accuracy(small))
    between, small = MLP((64, 32, 10), seed=seed + 50), MLP((64, 8, 10), seed=seed)
    teacher_assistant(wide, [between, small], few, SoftTarget(4.0, 0.9), **options(seed))
    assisted.append(accuracy(small))
print(f"the wide teacher: {accuracy(wide):.1f}%; the difference is to a student that it taught directly")
shown("8 units, taught directly", direct, direct)
shown("8 units, with an assistant", assisted, direct)

# %% [markdown]
# An assistant costs a whole training more, and it has less to say than the teacher itself. Where the student's trouble
# is that it has no room, nobody's help makes room. That is the honest place to begin: distil directly, and try a chain
# only when the gap between direct student and teacher is large *and* the student is not simply too small.
#
# ## Rows without labels
#
# A teacher answers about any row. So the student may see images that nobody has labelled, as many as there are. With
# $\alpha = 1$ the labels have no part in the loss, and so `distill` does without them.

# %% [markdown]
# ### Exercise 4: predict
#
# A student sees the 150 images, without labels, and is taught by the four teachers. Another sees *all* 1,297 training
# images, without labels, for as many steps. Which do you expect to be better, and why: `"more rows"`, `"fewer rows"` or
# `"no difference"`?
#
# <details><summary>Hint</summary>
#
# Between the rows that it sees, a student is free to be anything. What does each further row with the teacher's answer
# do to that freedom?
#
# </details>

# %% tags=["exercise"]
expected = ...               # your code: one of the three


# %% tags=["check"]
check("which is better", expected, "more rows", mistakes={
    "as many steps, but on other rows: each tells something new about the teacher": "no difference",
    "the same rows again and again say nothing about the teacher elsewhere": "fewer rows",
})

# %%
def unlabelled(data, seed):
    student = MLP(SIZES, seed=seed)
    epochs = round(EPOCHS * len(few) / len(data))
    distill(together, student, Dataset(data.x), SoftTarget(4.0, 1.0), **{**options(seed), "epochs": epochs})
    return accuracy(student)


shown("150 images, without labels", [unlabelled(few, seed) for seed in SEEDS], by_labels)
shown("1,297 images, without labels", [unlabelled(train, seed) for seed in SEEDS], by_labels)

# %% [markdown]
# The gain comes from the teacher having been trained on 1,297 labels. What if nobody has more than 150? Then a network
# may label rows for its successor: **self-training**. It passes on what it knows and what it does not.

# %%
rest = Dataset(train.x)
found = []
for seed in SEEDS:
    first = MLP(SIZES, seed=seed)
    fit(first, few, **options(seed))
    second = MLP(SIZES, seed=seed + 50)
    self_train(first, second, few, rest, **{**options(seed), "epochs": 12})
    found.append(accuracy(second))
shown("self-training", found, by_labels)

# %% [markdown]
# And if there are no rows at all, only the teacher? Then rows can be *made*: start from noise, and change the pixels by
# the gradient with respect to the input, until the teacher takes the row for a class. They need not look like much:

# %%
made = data_impressions(teachers[0], 200, low=0.0, high=1.0, seed=0)
fig, axes = plt.subplots(1, 10, figsize=(8, 1.2), layout="constrained")
for ax, image, label in zip(axes, made.x, made.y, strict=False):
    ax.imshow(image.reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{label}", fontsize=9)
    ax.axis("off")
plt.show()

# %%
found = []
for seed in SEEDS:
    student = MLP(SIZES, seed=seed)
    distill(teachers[0], student, made, SoftTarget(4.0, 1.0), **options(seed))
    found.append(accuracy(student))
shown("200 made images, no real one", found, by_labels)

# %% [markdown]
# ### Exercise 5: a fair comparison
#
# A friend reports: "My student, taught by an ensemble of five, has 96.4%. Alone it had 95.9%. So ensembles help." The
# spread between seeds is 0.7 points. What is missing the most: `"seeds"`, `"a larger network"` or `"a higher
# temperature"`?
#
# <details><summary>Hint</summary>
#
# How often would a difference of half a point come out by chance?
#
# </details>

# %% tags=["exercise"]
missing = ...                # your code: one of the three


# %% tags=["check"]
check("what is missing", missing, "seeds", mistakes={
    "that might change the figures; whether this one means anything it does not say": "a larger network",
    "that might change the figures too; whether they mean anything it does not say": "a higher temperature",
})

# %% [markdown]
# ## What to remember
#
# An ensemble averages probabilities; its student costs as much as any other. A peer's answer is a target, and no
# gradient goes through it. Chains cost whole trainings and seldom give more than they cost: compare with direct
# teaching under the same budget. What pays most reliably is to show the student more rows, since a teacher needs no
# labels. And differences smaller than the spread are no differences.
#
# ## Read next in the source
#
# - `minidistill/distillation/ensembles.py`: `Ensemble`; `minidistill/distillation/chains.py`: `born_again`.
# - `minidistill/distillation/mutual.py`: `mutual_learning`.
# - `minidistill/distillation/unlabeled.py`: `self_train` and `data_impressions`.
# - `minidistill/experiments/reproduce/mutual.py` and `minidistill/experiments/reproduce/born_again.py`: the papers'
#   claims, tried on Fashion-MNIST; what came of them is in [docs/evidence/results.md](../docs/evidence/results.md).
#
# Next: notebook 14, the bug zoo.
