# %% [markdown]
# # 11 · Beyond soft targets: the other logit methods
#
# Soft targets are one answer to the question "what should a student take from its teacher's logits?". There are others,
# older and newer. This notebook puts them side by side on the same logits, so that you see what each one asks.
#
# **You will know at the end**
#
# - what eight methods ask of the student, and how their gradients differ;
# - why two divergences of the same two distributions lead a small student to different places;
# - how the softened KL falls into two parts, and why one of them can be switched off by a sure teacher;
# - what it means to ask for the shape of a row of logits and not for its size;
# - how much of this one can tell from five seeds.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebook 7 (the softened KL and its gradient)
# and notebook 8 (several seeds).

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import (
    DIST,
    MLP,
    NKD,
    Adam,
    CosineSchedule,
    CrossEntropy,
    DecoupledKD,
    JensenShannon,
    LogitMatching,
    ReverseKL,
    SoftTarget,
    StandardizedTarget,
    TotalVariation,
    check_gradient,
    digits,
    distill,
    fit,
    ops,
)
from minidistill.diagnosis.exercises import check
from minidistill.losses.standardized import standardize_backward, standardize_forward
from minidistill.training.evaluation import accuracy

# %% [markdown]
# ## The family
#
# Every method here has a *term* of its own, and stands beside the labels as soft targets do:
# $L = (1-\alpha)\,\mathrm{CE}(s, y) + \alpha\,\text{term}(s, t)$. So only the terms differ.
#
# | year | method | what the term asks of the student |
# | --- | --- | --- |
# | 2006, 2014 | logit matching | have the same logits |
# | 2015 | soft targets | give no class much less than the teacher does: $\mathrm{KL}(p \Vert q)$ |
# | 2022 | decoupled (DKD) | the same, with sureness and the other classes weighed apart |
# | 2022 | DIST | let probabilities rise and fall as the teacher's do; they need not be equal |
# | 2023 | NKD | trust a label as far as the teacher does; share out the rest as the teacher does |
# | 2023 | total variation | make the sum of all differences of probabilities small |
# | 2023, 2024 | reverse KL, Jensen-Shannon | invent nothing that the teacher finds unlikely; or something in between |
# | 2024 | standardised logits | have logits of the same shape, in whatever size |
#
# Below is one row of logits of a teacher and one of a student, for six classes. The label is class 0.

# %%
t = np.array([[5.0, 3.0, 1.0, 0.0, -1.0, -4.0]])     # (B,C)  the teacher: 0, perhaps 1
s = np.array([[3.0, 1.5, 2.5, 1.5, 1.0, 0.5]])       # (B,C)  the student: 0, perhaps 2
y = np.array([0])                                    # (B,)

TERMS = {  # alpha = 1: the term alone
    "soft targets": SoftTarget(temperature=4, alpha=1),
    "logit matching": LogitMatching(alpha=1),
    "reverse KL": ReverseKL(temperature=4, alpha=1),
    "Jensen-Shannon": JensenShannon(temperature=4, alpha=1),
    "total variation": TotalVariation(temperature=4, alpha=1),
    "DKD": DecoupledKD(temperature=4, alpha=1),
    "NKD": NKD(alpha=1),
    "DIST": DIST(alpha=1),
    "standardized": StandardizedTarget(alpha=1),
}


def draw_pulls(s, t, y):
    figure, axes = plt.subplots(3, 3, figsize=(9, 6.6), sharex=True, layout="constrained")
    for ax, (name, term) in zip(axes.flat, TERMS.items(), strict=True):
        value, ds = term(s, t, y)                    # (), (B,C)
        pull = -ds[0] / np.abs(ds).max()             # (C,)
        ax.bar(range(len(pull)), pull, color=np.where(pull > 0, "#00798c", "#d1495b"))
        ax.axhline(0, color="black", linewidth=0.6)
        ax.set_title(f"{name}\nvalue {value:.3g}, largest |ds| {np.abs(ds).max():.2g}", fontsize=9)
        ax.set(ylim=(-1.1, 1.1), yticks=(-1, 0, 1))
    for ax in axes[-1]:
        ax.set_xlabel("class")
    figure.suptitle("Which logits each term pulls up (blue) and down (red)")
    plt.show()


draw_pulls(s, t, y)

# %% [markdown]
# The bars are $-ds$, the direction in which a step goes, each panel scaled to its own largest bar; the titles say how
# large that is. All pull class 0, the label, up and class 2, which only the student likes, down. Look at what they do
# with the others:
#
# - **Class 5** is all but impossible for the teacher, at a logit of -4. For logit matching it is the class most in
#   need of a change. For NKD and DIST, which here look at probabilities at temperature 1, it hardly matters.
# - **Class 1** is the teacher's second choice. DKD and NKD pull it up more than the label: they weigh what a teacher
#   knows about the other classes more than soft targets do. So do standardised logits, for another reason.
# - **Sums.** In all panels but one the bars sum to zero: a constant added to a row changes no probability. Which is the
#   one? You will see below.

# %% [markdown]
# ## Logit matching
#
# The oldest idea is the plainest: the student's logits should be the teacher's. Half the mean squared difference is
#
# $$ \text{term} = \frac{1}{B} \sum_n \frac{1}{2C} \sum_c (s_{nc} - t_{nc})^2 . \quad \text{[LM-1]} $$
#
# Each $s_{nc}$ stands in one square only, and $\frac12 x^2$ has the slope $x$.
#
# ### Exercise 1: logit matching
# Write `logit_matching(s, t)`, both $(B,C)$. Return a pair: the value [LM-1], and its derivative by $s$, $(B,C)$.
#
# <details><summary>Hint</summary>
#
# The sum over all entries, over $2BC$; its derivative has $BC$ below. `s.size` is $BC$.
#
# </details>

# %% tags=["exercise"]
def logit_matching(s, t):            # s, t (B,C)
    ...                              # your code: return the value and ds (B,C)


# %% tags=["check"]
rng = np.random.default_rng(11)
S, Z = rng.standard_normal((2, 5, 3))                # (B,C) each: B = 5 and C = 3
check("logit_matching", lambda: logit_matching(S, Z), LogitMatching(alpha=1)(S, Z, None),
      factors={"B": 5, "C": 3, "2": 2}, mistakes={
    "the square stands in the derivative, too; its slope is s - t": (S - Z) ** 2 / 15,
})

# %% [markdown]
# ### What a shift and a scale do
# Add 10 to every logit of the student: no probability changes. Multiply them by 3: the order of the classes stays, the
# sureness changes. And what if the student is the teacher? The cell does all three to each term.

# %%
rng = np.random.default_rng(0)
many_t = 3 * rng.standard_normal((8, 6))             # (B,C)
many_s = 2 * rng.standard_normal((8, 6))             # (B,C)
many_y = many_t.argmax(axis=1)                       # (B,)

print(f"{'':16} {'value':>9} {'s + 10':>9} {'3 s':>9} {'s = t':>9} {'largest row sum of ds':>24}")
for name, term in TERMS.items():
    changed = [term(each, many_t, many_y)[0] for each in (many_s, many_s + 10, 3 * many_s, many_t)]
    row_sum = np.abs(term(many_s, many_t, many_y)[1].sum(axis=1)).max()
    print(f"{name:16}", *(f"{value:9.4f}" for value in changed), f"{row_sum:24.1e}")

# %% [markdown]
# Read it column by column.
#
# - `s + 10`: only logit matching minds. It spends effort on a number that no prediction needs. Its gradient rows do not
#   sum to zero: it is the one panel of the figure.
# - `3 s`: only the standardised term does not mind. The student may choose its own size.
# - `s = t`: all are zero but NKD. Its first part is a cross-entropy with the label, and that pulls on.
#
# Logit matching and soft targets are relatives: with rows centred to mean 0, soft targets tend to it as $T$ grows
# (notebook 7). Both then ask as much of unlikely classes as of likely ones. That is a strength where small logits are
# knowledge, and a weakness where they are noise.

# %% [markdown]
# ## Forward and reverse
#
# The KL of soft targets weighs by $p$, $\sum_c p_c \log (p_c/q_c)$: it is large where the *teacher* finds a class
# likely and the student does not. Turned round, it weighs by $q$:
#
# $$ \mathrm{KL}(q \Vert p) = \sum_c q_c (\log q_c - \log p_c) , \quad \text{[DIV-1]} $$
#
# and is large where the *student* finds a class likely and the teacher does not. Forward: leave nothing out. Reverse:
# invent nothing.
#
# *The gradient.* Take $\log q_c$ as if it were free. With $q = e^{\log q}$ the derivative by it is
# $g_c = q_c (\log q_c - \log p_c) + q_c$. A log-softmax at temperature $T$ then gives
#
# $$ ds_j = \frac1T \Big( g_j - q_j \sum_c g_c \Big) , \quad \text{[SM-2]} $$
#
# in which the $+\,q_c$ cancels, for $q_j - q_j \sum_c q_c = 0$. Times $T^2$, as for soft targets, and over $B$.
#
# ### Exercise 2: the gradient of the reverse KL
# Write `reverse_kl_gradient(s, t, T)`, the derivative of $T^2\,\mathrm{KL}(q \Vert p)$, mean over the batch: $(B,C)$.
# `ops.log_softmax_forward(s, T)[0]` is $\log q$.
#
# <details><summary>Hint</summary>
#
# First `g = q * (log_q - log_p)`, then subtract `q` times the row sum of `g` (with `keepdims=True`). The factor left
# over from $T^2$ and $1/T$ is $T$.
#
# </details>

# %% tags=["exercise"]
def reverse_kl_gradient(s, t, T):    # s, t (B,C)
    ...                              # your code: return ds (B,C)


# %% tags=["check"]
T, B = 3.0, len(many_s)
q, p = (ops.softmax_forward(each, T)[0] for each in (many_s, many_t))
free = q * np.log(q / p)
right = ReverseKL(temperature=T, alpha=1)(many_s, many_t, None)[1]
check("reverse_kl_gradient", lambda: reverse_kl_gradient(many_s, many_t, T), right, factors={"T": T, "B": B}, mistakes={
    "that is the gradient of the forward KL, T (q - p) / B: q and p have changed places": T * (q - p) / B,
    "the part q sum(g) is missing: a softmax ties the classes of a row together": T * free / B,
    "log_q is still free: its derivative must go through [SM-2]": T * (free + q) / B,
    "the row sum of g is subtracted without the factor q": T * (free - free.sum(axis=1, keepdims=True)) / B,
    "log p - log q stands where log q - log p should: the sign is wrong": -right,
    "that is the gradient of the forward KL with the wrong sign; here q is the weight": T * (p - q) / B,
    "g is summed over the whole table; each row has a sum of its own (axis=1)": T * (free - q * free.sum()) / B,
})

# %% [markdown]
# ### A student too small for its teacher
# When the student can match its teacher, both end at $q = p$ and the choice hardly matters. It matters when it cannot.
# Here is a teacher with two likely regions, over 60 classes in a row, and a student that can only make one hill: its
# logits are $-(c - m)^2 / 2w^2$, and it may choose the place $m$ and the width $w$. No training is needed: we try all.
#
# ### Exercise 3: predict before you look
# One of the two divergences makes the student a broad hill over *both* regions and the valley between. Which one? Write
# `"forward"` for $\mathrm{KL}(p \Vert q)$ or `"reverse"` for $\mathrm{KL}(q \Vert p)$.
#
# <details><summary>Hint</summary>
#
# Suppose the student sits on one region only. On the other one $q$ is almost 0. Which of the two KLs has $q$ inside the
# logarithm and $p$ as the weight there?
#
# </details>

# %% tags=["exercise"]
broad = ...                          # your answer: "forward" or "reverse"

# %% tags=["check"]
check("broad", broad, "forward", mistakes={
    "where q is almost 0 the reverse KL has almost no weight: it does not mind leaving out a region": "reverse",
})

# %%
places = np.arange(60)                                                          # (C,)
teacher_logits = np.logaddexp(-0.5 * ((places - 15) / 4) ** 2, -0.5 * ((places - 43) / 4) ** 2 - 0.4)  # (C,)
p = ops.softmax_forward(teacher_logits[None])[0][0]                             # (C,)


def hill(m, w):
    return ops.softmax_forward(-0.5 * ((places[None] - m) / w) ** 2)[0][0]      # (C,)


choices = [hill(m, w) for m in np.arange(5, 55, 1.0) for w in np.arange(2, 25, 0.5)]
forward = min(choices, key=lambda q: (p * np.log(p / q.clip(1e-300))).sum())    # (C,)
reverse = min(choices, key=lambda q: (q * np.log(q.clip(1e-300) / p)).sum())    # (C,)

figure, ax = plt.subplots(figsize=(7, 3), layout="constrained")
ax.fill_between(places, p, color="#c9ccd3", label="teacher")
for each, name, colour in ((forward, "forward KL", "#00798c"), (reverse, "reverse KL", "#d1495b")):
    ax.plot(places, each, label=name, color=colour)
ax.set(title="The best single hill, by two divergences", xlabel="class", ylabel="probability")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# The forward KL covers everything, and spends probability on the valley, which the teacher finds unlikely. It is
# called *mode covering*. The reverse KL sits down on one region and forgets the other: *mode seeking*. For a
# classifier with ten classes this is seldom dramatic. For a language model, which picks a word out of tens of
# thousands, it is the difference between a student that says odd things and one that says fewer things.

# %% [markdown]
# ## DKD: two parts, weighed apart
#
# Split a row at its label $y$. *How sure* is the teacher of the label: the two shares $(p_y, 1 - p_y)$. And *how is
# the rest shared out*: $\hat p_c = p_c / (1 - p_y)$ for the other classes, which sum to 1. The KL of soft targets is
# exactly
#
# $$ \mathrm{KL}(p \Vert q) = \mathrm{TCKD} + (1 - p_y)\, \mathrm{NCKD} , \quad \text{[DKD-3]} $$
#
# TCKD the KL of the two shares [DKD-1], NCKD the KL of the hatted rows [DKD-2]. The second part is the dark knowledge.
# It carries the factor $1 - p_y$: the surer the teacher, the less it says about the other classes. DKD replaces the
# factor by a constant of your choice.
#
# ### Exercise 4: the part without the label
# Write `nckd(s, t, y, T)`: value and gradient of $T^2\,\mathrm{NCKD}$, mean over the batch. Value $()$ and `ds`
# $(B,C)$, with zeros in the label's column of each row.
#
# <details><summary>Hint</summary>
#
# $\hat p$ is the softmax of the teacher's logits *without the label's*. `others = np.arange(C) != y[:, None]` $(B,C)$
# is True for these, `s[others].reshape(B, C - 1)` takes them out, and on what is left NCKD is the softened KL of
# notebook 7: `ops.soft_target_forward` and `ops.soft_target_backward` know it, $T^2$ and $1/B$ included. Put its
# gradient back with `ds[others] = ....ravel()`.
#
# </details>

# %% tags=["exercise"]
def nckd(s, t, y, T):                # s, t (B,C)  y (B,)
    ...                              # your code: return the value and ds (B,C)


# %% tags=["check"]
only_others = DecoupledKD(alpha_target=0, beta_other=1, temperature=T, alpha=1)
kl, cache = ops.soft_target_forward(many_s, many_t, T)
of_all = ops.soft_target_backward(cache)
right = only_others(many_s, many_t, many_y)
check("nckd", lambda: nckd(many_s, many_t, many_y, T), right, factors={"T": T, "B": B}, mistakes={
    "that is the KL of all classes: take the label's column out before the softmax": kl,
    "that is the gradient of the KL of all classes: take the label's column out before the softmax": of_all,
    "the label's column is set to 0 after a softmax over all classes; take it out before": of_all
    * (np.arange(6) != many_y[:, None]),
    "the label's logit is set to 0; that is a logit like any other. Take the column out": ops.soft_target_forward(
        *(each * (np.arange(6) != many_y[:, None]) for each in (many_s, many_t)), T)[0],
})

# %% [markdown]
# ### How much does a real teacher switch off?
# We train a teacher on the digits, and look at $1 - p_y$ on the same images, at temperature 1 and 4. The identity
# [DKD-3] is checked on the way, for one image and a student of random logits.

# %%
train, test = digits()
teacher = MLP((64, 128, 128, 10), dropout=0.3, seed=0)
fit(teacher, train, optimizer=Adam(CosineSchedule(0.002)), epochs=60, seed=0)
targets = teacher.logits(train.x).astype(np.float64)                            # (N,C)
print(f"teacher on the test images: {accuracy(teacher.predict_proba(test.x), test.y):.1%}")

rest = {T: 1 - ops.softmax_forward(targets, T)[0][np.arange(len(train)), train.y] for T in (1, 4)}  # (N,) each
for T, share in rest.items():
    quarter, median, three_quarters = np.quantile(share, (0.25, 0.5, 0.75))
    print(f"T = {T}: 1 - p_y has the quartiles {quarter:.2g}, {median:.2g}, {three_quarters:.2g}")

guess = np.random.default_rng(1).standard_normal(targets.shape)                 # (N,C)  some student
whole, _ = ops.soft_target_forward(guess[:1], targets[:1], 4)
tckd, _ = DecoupledKD(1.0, 0.0, 4, 1.0)(guess[:1], targets[:1], train.y[:1])
other, _ = DecoupledKD(0.0, 1.0, 4, 1.0)(guess[:1], targets[:1], train.y[:1])
print(f"KL {whole:.6f} = TCKD {tckd:.6f} + {rest[4][0]:.4f} x NCKD {other:.6f} = {tckd + rest[4][0] * other:.6f}")

# %% [markdown]
# At $T = 1$ the factor is close to nothing for most images: the dark knowledge is there and has no weight. A higher
# temperature is one way to let it through, DKD's constant is another. (NKD splits at the same place, and multiplies
# the label's part by $p_y$: a label that the teacher does not believe hardly counts.)

# %% [markdown]
# ## Shape without size
#
# A student with few weights can seldom make logits as large as its teacher's. *Standardise* each row first, that is,
# put its *z-score* in its place:
#
# $$ z = \frac{s - \mathrm{mean}(s)}{\mathrm{std}(s)} \quad \text{[STD-1]} $$
#
# with mean and standard deviation over the $C$ classes of the row. Then compare the two standardised rows with the
# softened KL [STD-3].
#
# *Going back through it.* $z$ does not change when $s$ is shifted along a row or scaled. So of the gradient that
# arrives the parts in these two directions cannot pass: the part along $(1, \dots, 1)$, which is the mean of $dz$, and
# the part along $z$ itself, which is $z$ times the mean of $z\,dz$. (The mean of $z^2$ is 1.) What is left is divided
# by the standard deviation:
#
# $$ ds = \frac{dz - \mathrm{mean}(dz) - z\, \mathrm{mean}(z\, dz)}{\mathrm{std}(s)} \quad \text{[STD-2]} $$
#
# ### Exercise 5: backward through the z-score
# Write `zscore_backward(dz, s)`, both $(B,C)$. Compute $z$ and the standard deviation again from `s`, and return `ds`
# $(B,C)$.
#
# <details><summary>Hint</summary>
#
# All means are over `axis=1` with `keepdims=True`, so that they are columns $(B,1)$. `s.std(axis=1, keepdims=True)` is
# the standard deviation over $C$, which is meant here.
#
# </details>

# %% tags=["exercise"]
def zscore_backward(dz, s):          # dz, s (B,C)
    ...                              # your code: return ds (B,C)


# %% tags=["check"]
dz = np.random.default_rng(2).standard_normal(many_s.shape)                     # (B,C)
z, cache = standardize_forward(many_s)
std = many_s.std(axis=1, keepdims=True)
both_means = dz.mean(axis=1, keepdims=True), (z * dz).mean(axis=1, keepdims=True)
check("zscore_backward", lambda: zscore_backward(dz, many_s), standardize_backward(dz, cache), mistakes={
    "mean and standard deviation depend on s too: both parts that are taken off are missing": dz / std,
    "the part along z is missing": (dz - both_means[0]) / std,
    "the mean of dz is missing": (dz - z * both_means[1]) / std,
    "mean and standard deviation are those of all rows together; each row has its own": (dz - dz.mean()
    - (many_s - many_s.mean()) / many_s.std() * ((many_s - many_s.mean()) / many_s.std() * dz).mean()) / many_s.std(),
    "the division by the standard deviation is missing": dz - both_means[0] - z * both_means[1],
    "the mean of z dz is a sum: divide by C": (dz - both_means[0] - 6 * z * both_means[1]) / std,
    "the means of dz and z dz are those of all entries; each row has its own":
        (dz - dz.mean() - z * (z * dz).mean()) / std,
    "mean and standard deviation go along the columns; a row is axis=1":
        standardize_backward(dz.T, standardize_forward(many_s.T)[1]).T,
    "s stands where z should, its standardised row": (dz - both_means[0]
    - many_s * (many_s * dz).mean(axis=1, keepdims=True)) / std,
    "that is the standard deviation over C - 1; here it is over C (ddof=0)": standardize_backward(dz, cache)
    * np.sqrt(5 / 6),
})

# %% [markdown]
# DIST is built from the same brick. Pearson's correlation of two rows is the mean product of their z-scores, $\rho =
# \mathrm{mean}(z_q\, z_p)$, here of *probabilities*, and DIST makes $1 - \rho$ small: once along each row (which
# classes are likelier in a sample, [DIST-1]) and once along each column (which samples are likelier in a class,
# [DIST-2]). Columns run through the batch, so DIST is the one method here whose loss of a batch is not the mean of its
# samples' losses. Finite differences agree with the library:

# %%
term = DIST(alpha=1)
value, ds = term(many_s, many_t, None)
error = check_gradient(lambda s: term(s, many_t, None)[0], many_s, ds)
print(f"DIST: value {value:.4f}, largest relative error of ds {error:.1e}")

# %% [markdown]
# ## Does it pay?
#
# Papers report that each new method beats the ones before. Let us look, on a small scale, and honestly: the teacher
# from above, 400 of its images, a student with 16 hidden units, five seeds, each method with its default settings and
# $\alpha = 0.5$. Every seed starts all methods from the same weights and shows them the same batches, so that we may
# subtract seed by seed. Adam is used, for it makes up for the different sizes of the gradients. It takes about half a
# minute.

# %%
METHODS = {
    "soft targets": SoftTarget(),
    "logit matching": LogitMatching(),
    "reverse KL": ReverseKL(),
    "Jensen-Shannon": JensenShannon(),
    "total variation": TotalVariation(),
    "DKD": DecoupledKD(),
    "NKD": NKD(),
    "DIST": DIST(),
    "standardized": StandardizedTarget(),
}
SEEDS = range(5)
few = train.subset(np.arange(400))


def student_accuracy(loss, seed):
    student = MLP((64, 16, 10), seed=seed)
    settings = {"optimizer": Adam(CosineSchedule(0.01)), "epochs": 60, "batch_size": 64, "seed": seed}
    if loss is None:
        fit(student, few, CrossEntropy(), **settings)
    else:
        distill(teacher, student, few, loss, **settings)
    return 100 * accuracy(student.predict_proba(test.x), test.y)


found = {"labels alone": np.array([student_accuracy(None, seed) for seed in SEEDS])}      # (seeds,)
for name, loss in METHODS.items():
    found[name] = np.array([student_accuracy(loss, seed) for seed in SEEDS])              # (seeds,)

print(f"{'':16} {'mean %':>7} {'spread':>7} {'less soft targets, seed by seed':>34}")
for name, values in found.items():
    difference = values - found["soft targets"]                                           # (seeds,)
    paired = f"{difference.mean():+22.2f} +- {difference.std(ddof=1):.2f}"
    print(f"{name:16} {values.mean():7.2f} {values.std(ddof=1):7.2f} {paired}")
right_answers = found["soft targets"].mean() / 100
print(f"\nstandard error of one accuracy on {len(test)} images: "
      f"{100 * np.sqrt(right_answers * (1 - right_answers) / len(test)):.2f} %")

# %%
figure, ax = plt.subplots(figsize=(8, 3.4), layout="constrained")
for place, (name, values) in enumerate(found.items()):
    colour = "#d1495b" if name == "labels alone" else "#00798c"
    ax.plot(np.full(len(values), place), values, "o", color=colour, alpha=0.6)
    ax.plot(place, values.mean(), "_", color="black", markersize=22)
ax.set_xticks(range(len(found)), [name.replace(" ", "\n").replace("-", "-\n") for name in found], fontsize=8)
ax.set(title="Five seeds of each method; the line is their mean", ylabel="test accuracy, %")
plt.show()

# %% [markdown]
# Compare the last column's mean with the number after it, the spread of the differences. A difference that is smaller
# than its own spread over five seeds is no finding. Nor is the best of nine such rows: among nine equal methods one is
# always first. Look at labels alone, too: with default settings, a method may well fall behind it. And all of this is
# one teacher, one student and settings that nobody tuned; with others the order changes.
#
# So do not choose by the mean in a table. Choose by what you need, then measure on validation data of your own, with
# several seeds: a term that needs no labels (all but DKD and NKD), a student that may have a size of its own
# (standardised), one for which the order of the classes is enough (DIST), a cautious one (reverse KL).

# %% [markdown]
# ## What to remember
#
# Methods on logits differ in what they allow a student to ignore: a shift, a scale, the sureness, unlikely classes.
# Forward KL leaves nothing out, reverse KL invents nothing, and the two differ where the student is too small. Soft
# targets weigh the dark knowledge by $1 - p_y$, which a sure teacher makes almost nothing; temperature or DKD gives it
# back. Going back through a standardisation takes off the directions in which nothing changes. Differences between
# such methods are often smaller than the spread over seeds: report both.
#
# ## Read next in the source
#
# - `minidistill/losses/labels_and_teacher.py`: `LabelsAndTeacher`, the frame that all of these share.
# - `minidistill/losses/divergences.py`: `ReverseKL`, `SkewKL`, `JensenShannon`, and `log_mixture`, which keeps the
#   digits.
# - `minidistill/losses/decoupled.py`: `DecoupledKD`; `minidistill/losses/nkd.py`: `NKD`.
# - `minidistill/losses/standardized.py`: `standardize_backward`; `minidistill/losses/dist.py`: `correlation_distance`.
# - `docs/maths/logit_losses.md` derives every line.
#
# Next is notebook 12, hints and relations: what the *hidden* layers of a teacher can teach.
