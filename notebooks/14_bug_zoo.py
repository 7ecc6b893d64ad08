# %% [markdown]
# # 14 · The bug zoo: find the mistake
#
# Distillation code is short, and most of its mistakes do not stop it. The loss falls, the student learns something, and
# nothing says that it could have learnt more. Eighteen such mistakes have been published, some in well-known libraries.
# Here you meet a few of them, find them, name them and mend them.
#
# **You will know at the end**
#
# - which questions to ask a loss, without knowing the right formula;
# - how to read a mistake off the size and the direction of its gradient;
# - which mistakes are in no loss but in the training loop;
# - what `check_loss` and `check_training` do, so that you can let them look at code of yours.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebooks 4, 7 and 8: gradient checks, the
# softened KL, the distillation loop.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import MLP, SoftTarget, check_loss, check_training, digits, distill, fit, ops
from minidistill.diagnosis.exercises import check

# %% [markdown]
# ## The cages
#
# Here are six functions that are all meant to be the teacher's term, $T^2\, \mathrm{KL}(p \,\Vert\, q)$, the mean over
# a batch. Each takes logits `s` and `t` $(B,C)$ and a temperature, and returns the value and the gradient `ds` $(B,C)$.
# One of them is right. Read them once. Do not try too hard to find the mistakes by reading: that is what everyone did
# before they were published.

# %%
def softmax(z, T=1.0):       # z (B,C)
    return ops.softmax_forward(z, T)[0]                                         # (B,C)


def log_softmax(z, T=1.0):   # z (B,C)
    return ops.log_softmax_forward(z, T)[0]                                     # (B,C)


def a(s, t, T):              # s, t (B,C)
    p, q = softmax(t, T), softmax(s, T)                                         # (B,C)
    value = T**2 * (p * (log_softmax(t, T) - log_softmax(s, T))).mean()
    return value, T * (q - p) / s.size


def b(s, t, T):
    p, q = softmax(t, T), softmax(s, T)
    value = (p * (log_softmax(t, T) - log_softmax(s, T))).sum() / len(s)
    return value, (q - p) / T / len(s)


def c(s, t, T):
    q, difference = softmax(s, T), log_softmax(s, T) - log_softmax(t, T)        # (B,C)
    value = T**2 * (q * difference).sum() / len(s)
    return value, T * q * (difference - (q * difference).sum(axis=1, keepdims=True)) / len(s)


def d(s, t, T):
    p, q = softmax(t, T), softmax(s, T)
    value = T**2 * (p * (log_softmax(t, T) - log_softmax(s, T))).sum() / len(s)
    return value, T * (q - p) / len(s)


def e(s, t, T):
    inner = softmax(s, T)
    p, q = softmax(softmax(t, T)), softmax(inner)
    value = T**2 * (p * (np.log(p) - np.log(q))).sum() / len(s)
    dinner = T**2 * (q - p) / len(s)
    return value, ops.softmax_backward(dinner, (inner, T))


def f(s, t, T):
    p, q = softmax(t, T), softmax(s, T)
    value = -(T**2) * (p * q).sum() / len(s)
    return value, -T * q * (p - (p * q).sum(axis=1, keepdims=True)) / len(s)


CAGES = {"a": a, "b": b, "c": c, "d": d, "e": e, "f": f}

# %% [markdown]
# Every one of these gradients *is* the gradient of its value. So the test of notebook 4 finds nothing: a gradient check
# cannot see that the function itself is not the one that was meant.

# %%
from minidistill import check_gradient

rng = np.random.default_rng(0)
s, t = 2 * rng.standard_normal((2, 6, 5))                                       # (B,C) each
for name, loss in CAGES.items():
    error = check_gradient(lambda s, loss=loss: loss(s, t, 4.0)[0], s, loss(s, t, 4.0)[1])
    print(f"{name}: value {loss(s, t, 4.0)[0]:8.4f}, error of the gradient {error:.0e}")

# %% [markdown]
# And does it train? Each teaches a small student of the digits, which sees 150 images. Printed are the accuracy on the
# test images, and the mean loss of the first and of the last epoch.

# %%
train, test = digits()
few = train.take(150)
teacher = MLP((64, 256, 10), dropout=0.3)
fit(teacher, train, epochs=10)


def taught_by(loss, seed):
    student = MLP((64, 32, 10), seed=seed, backend="numpy")
    history = distill(teacher, student, few, lambda s, t, y, ops: loss(s, t, 4.0), epochs=40, seed=seed)
    return (student.predict(test.x) == test.y).mean(), history.column("loss")


for name, loss in CAGES.items():
    found = [taught_by(loss, seed) for seed in range(3)]
    accuracies = [100 * accuracy for accuracy, _ in found]
    losses = found[0][1]
    print(f"{name}: accuracy {np.mean(accuracies):.1f}% ± {np.std(accuracies, ddof=1):.1f}, "
          f"loss {losses[0]:8.4f} -> {losses[-1]:8.4f}")

# %% [markdown]
# All of them fall, and every student knows far more than one that guesses and is right one time in ten. Had you had
# only one of them, would you have known?
#
# ## Questions for a loss
#
# One need not know the right formula to see that something is off. What is asked of a loss follows from what it is for:
#
# - **match**: where student and teacher are the same, nothing is to be learnt: value and gradient are zero;
# - **shift**: a softmax does not feel a constant added to a row, so neither may the loss;
# - **batch**: a mean over rows does not change when every row comes twice.

# %% [markdown]
# ### Exercise 1: three questions
#
# Write `questions(loss, T)`. `loss` is a function like those above. Return three values, True or False: whether it is
# zero at the match (value and gradient, with `t` in place of `s`), whether its value stays when 3 is added to the first
# row of `s`, and whether its value stays when `s` and `t` are repeated. Use the `s` and `t` that are there, and take
# numbers as equal when they differ by less than $10^{-9}$.
#
# <details><summary>Hint</summary>
#
# `np.concatenate([s, s])` has every row twice. For the shift, add a column: `s + 3 * (np.arange(len(s)) == 0)[:,
# None]`. The gradient is zero where `np.abs(ds).max()` is.
#
# </details>

# %% tags=["exercise"]
def questions(loss, T):
    ...                      # your code: return match, shift, batch


# %% tags=["check"]
def twice_divided(s, t, T):
    value, ds = d(s, t, T)
    return value / len(s), ds / len(s)


def raw(s, t, T):
    return float(np.square(s - t).mean()), 2 * (s - t) / s.size


def over_the_batch(s, t, T):     # one softmax over all rows at once
    value, ds = d(s.reshape(1, -1), t.reshape(1, -1), T)
    return value, ds.reshape(s.shape)


for name, loss, right in (
    ("questions to d", d, (True, True, True)),
    ("questions to one that divides by the batch twice", twice_divided, (True, True, False)),
    ("questions to the squared error of the logits", raw, (True, False, True)),
    ("questions to one softmax over all rows, which feels 3 more in one of them", over_the_batch, (True, False, True)),
    ("questions to f", f, (False, True, True)),
):
    check(name, lambda loss=loss: questions(loss, 4.0), right)

# %% [markdown]
# Put to the six, the three questions already unmask one. The others pass all three: they are proper losses, only not
# the one that was meant. So more is to be asked.

# %%
def answers(loss, T=4.0):
    value, ds = loss(t, t, T)
    moved = s + 3 * (np.arange(len(s)) == 0)[:, None]                           # (B,C)
    first = loss(s, t, T)[0]
    return {
        "match": abs(value) < 1e-9 and np.abs(ds).max() < 1e-9,
        "shift": abs(loss(moved, t, T)[0] - first) < 1e-9,
        "batch": abs(loss(np.tile(s, (2, 1)), np.tile(t, (2, 1)), T)[0] - first) < 1e-9,
    }


for name, loss in CAGES.items():
    asked = [f"{question} {'holds' if holds else 'BREAKS'}" for question, holds in answers(loss).items()]
    print(f"{name}: {', '.join(asked)}")

# %% [markdown]
# ## Size and direction
#
# A loss acts by its gradient alone. So compare the gradient $g$ $(B,C)$ with the right one $r$, by two numbers: how
# long it is beside $r$, and whether it points the same way.
#
# $$ \text{ratio} = \frac{\lVert g \rVert}{\lVert r \rVert} , \qquad
#    \text{cosine} = \frac{\sum_{bc} g_{bc}\, r_{bc}}{\lVert g \rVert\, \lVert r \rVert} $$

# %% [markdown]
# ### Exercise 2: the fingerprint
#
# Write `fingerprint(g, r)` for two arrays of the same shape. Return the ratio and the cosine.
#
# <details><summary>Hint</summary>
#
# `np.linalg.norm` of a matrix is the root of the sum of all squares, which is what is wanted here.
#
# </details>

# %% tags=["exercise"]
def fingerprint(g, r):       # g, r (B,C)
    ...                      # your code: return the ratio and the cosine


# %% tags=["check"]
g, r = rng.standard_normal((2, 4, 3))                                           # (B,C) each
lengths = np.sqrt((g**2).sum()), np.sqrt((r**2).sum())
right = lengths[0] / lengths[1], (g * r).sum() / (lengths[0] * lengths[1])
check("fingerprint", lambda: fingerprint(g, r), right, mistakes={
    "the ratio is upside down: the right gradient goes below": lengths[1] / lengths[0],
    "the roots of the sums of squares are missing": (g**2).sum() / (r**2).sum(),
    "the scalar product still has to be divided by both lengths": (g * r).sum(),
    "the scalar product is to be divided by both lengths, not by one of them": (g * r).sum() / lengths[1],
})

# %% [markdown]
# Here are the ratio and, in brackets, the cosine of the six, at three temperatures, for 32 rows and 10 classes. This
# table is the fingerprint of a mistake: nearly every one has its own.

# %%
S, R = 2 * rng.standard_normal((2, 32, 10))                                     # (B,C) each
TEMPERATURES = (1.0, 4.0, 20.0)
print("   " + "".join(f"{f'T = {T:g}':>18}" for T in TEMPERATURES))
prints = {}
for name, loss in CAGES.items():
    prints[name], row = [], f"{name}: "
    for T in TEMPERATURES:
        _, cache = ops.soft_target_forward(S, R, T)
        g, r = loss(S, R, T)[1], ops.soft_target_backward(cache)                # (B,C) each
        prints[name].append(np.linalg.norm(g) / np.linalg.norm(r))
        cosine = (g * r).sum() / (np.linalg.norm(g) * np.linalg.norm(r))
        row += f"{f'{prints[name][-1]:.2g} ({cosine:.2f})':>18}"
    print(row)

fig, ax = plt.subplots(figsize=(5.4, 3.4), layout="constrained")
for name, ratios in prints.items():
    ax.loglog(TEMPERATURES, ratios, "o-", label=name, markersize=4)
ax.set(xlabel="temperature", ylabel="size beside the right gradient", title="How large the gradient is")
ax.set_xticks(TEMPERATURES, [f"{T:g}" for T in TEMPERATURES])
ax.minorticks_off()
ax.legend(frameon=False, ncols=2, fontsize=8)
plt.show()

# %% [markdown]
# ### Exercise 3: name them
#
# Which cage holds which mistake? Write a letter for each. Use the table: a cosine of 1 means that only a factor is
# wrong, and how the factor goes with $T$, or that it is one over $C = 10$, says which.
#
# <details><summary>Hint</summary>
#
# A factor that does not change with $T$ comes from the mean. One that falls as $1/T^2$ says that something was not made
# up for. Where the cosine rises to 1 with $T$ at full size, both divergences are nearly the same there: at a high
# temperature $p$ and $q$ are both nearly flat. Where the whole is tiny and points elsewhere, the softmax was flattened
# once more than meant.
#
# </details>

# %% tags=["exercise"]
right_one = ...              # your code, a letter: "a" to "f"
element_mean = ...           # the mean over all entries stands where the mean over the rows should
no_t_squared = ...           # T^2 is missing
swapped = ...                # teacher and student have changed places: KL(q || p)
softmax_twice = ...          # the softmax was taken of what had been through one
no_logarithm = ...           # a probability stands where its logarithm should


# %% tags=["check"]
for name, answer, letter, hint in (
    ("right_one", right_one, "d", "its ratio has to be 1 at every temperature"),
    ("element_mean", element_mean, "a", "look for a ratio of 1/C, whatever T is"),
    ("no_t_squared", no_t_squared, "b", "look for a ratio of 1, 1/16 and 1/400, with a cosine of 1"),
    ("swapped", swapped, "c", "look for one of about full size whose cosine comes near 1 as T grows"),
    ("softmax_twice", softmax_twice, "e", "look for one that is small already at T = 1, and is zero at the match"),
    ("no_logarithm", no_logarithm, "f", "look for the one that is not zero at the match"),
):
    check(name, answer, letter, mistakes={
        f"it is not {other}; {hint}": other for other in "abcdef" if other != letter
    })

# %% [markdown]
# ## Mend one
#
# This one is put together from two mistakes that shipped. It is handed *probabilities* of the teacher, as kept on
# disk, and it is a fast path: value and gradient were written apart, and do not agree.

# %%
def fast(s, p, T):           # s (B,C), p (B,C) the teacher's softened probabilities
    q = softmax(s, T)                                                           # (B,C)
    value = T**2 * (p * np.log(p / q)).mean(axis=1).mean()
    ds = T**2 * (q - p) / len(s)                                                # (B,C)
    return value, ds

# %% [markdown]
# ### Exercise 4: a loss that is right
#
# Write `mended(s, p, T)` with the same arguments, so that it is the mean over the batch of $T^2\, \mathrm{KL}(p
# \,\Vert\, q)$, with its gradient. It must stay finite where the student is far off, with a logit of 1,000, and where
# some $p$ is 0.
#
# <details><summary>Hint</summary>
#
# The sum over classes belongs to one row; only rows are averaged. $q$ underflows to 0 where the logits are far apart,
# so take `log_softmax(s, T)`, not `np.log(q)`. Where $p = 0$ the term is 0: `np.where(p > 0, p, 1)` has a logarithm of
# 0 there. The gradient is $T(q - p)/B$ [KD-3].
#
# </details>

# %% tags=["exercise"]
def mended(s, p, T):         # s, p (B,C)
    ...                      # your code: return the value and ds (B,C)


# %% tags=["check"]
p = softmax(t, 4.0)                                                             # (B,C)
value, cache = ops.soft_target_forward(s, t, 4.0)
ds = ops.soft_target_backward(cache)                                            # (B,C)
check("mended", lambda: mended(s, p, 4.0), (value, ds), factors={"T": 4.0, "B": 6, "C": 5}, mistakes={
    "that is the mean over the classes as well; a row's KL is a sum": value / 5,
    "the gradient is that of the value without a temperature in q: the inner derivative 1/T is missing": 4 * ds,
})
far, sure = 1000 * np.eye(2, 3), np.roll(np.eye(2, 3), 1, axis=1)               # (B,C) each: p is 0 for two classes
value, cache = ops.soft_target_forward(far, 1e5 * sure, 4.0)
check("mended, far off", lambda: mended(far, sure, 4.0), (value, ops.soft_target_backward(cache)))

# %% [markdown]
# ## Let the library look
#
# `check_loss` puts such questions, a dozen of them, to a loss that you give it. Where one breaks, it compares the
# values with those of the known wrong formulas, and says which mistake this looks like. It expects `loss(s, t, y)`;
# `alpha=1` says that there is the teacher's term alone.

# %%
def of_three(loss, T):
    def called(s, t, y):
        return loss(s, t, T)

    called.__name__ = loss.__name__
    return called


for name, loss in CAGES.items():
    diagnosis = check_loss(of_three(loss, 4.0), temperature=4.0, alpha=1.0)
    mistakes = ", ".join(mistake.name for mistake in diagnosis.mistakes)
    print(f"{name}: {'all invariants hold' if diagnosis else mistakes or 'breaks ' + ', '.join(diagnosis.broken)}")

# %% [markdown]
# In full, for one of them:

# %%
print(check_loss(of_three(a, 4.0), temperature=4.0, alpha=1.0))

# %% [markdown]
# ## Mistakes that no loss can see
#
# A loss gets logits, and cannot know whose they are. This loop is built wrong in two ways, each of which has been
# published. It asks the teacher once, in the order of the data, and keeps the answers; then it shuffles.

# %%
def batches(data, epoch, size=20):
    """The rows of each batch, in an order of the epoch's own."""
    order = np.random.default_rng(epoch).permutation(len(data))
    return [order[k : k + size] for k in range(0, len(order), size)]


def step(student, ds, cache, rate=0.1):
    student.backward(ds, cache)
    student.parameters[:] -= rate * student.gradients


def wrong_loop(student, teacher, data, loss, epochs=3):
    kept = teacher.logits(data.x)                                               # (N,C)
    for epoch in range(epochs):
        for k, rows in enumerate(batches(data, epoch)):
            s, cache = student.forward(data.x[rows], training=epoch == 0, step=100 * epoch + k)     # (B,C)
            t = kept[k * len(rows) : (k + 1) * len(rows)]                       # (B,C)
            step(student, loss(s, t, data.y[rows])[1], cache)


print(check_training(wrong_loop))

# %% [markdown]
# `check_training` hands the loop a small teacher and student that note which rows they are asked about, and in which
# mode. What they saw is above: two mistakes, each with what to do instead.

# %% [markdown]
# ### Exercise 5: mend the loop
#
# Write `loop(student, teacher, data, loss, epochs=3)`: the same with both mended. `batches` and `step` are right.
# `teacher.logits(x)` asks a teacher in evaluation mode.
#
# <details><summary>Hint</summary>
#
# Either ask the teacher about the very rows of the batch, or keep its answers to all data and take `kept[rows]`. The
# student has `training=True` in every step; `step` counts on, so that each has a dropout mask of its own.
#
# </details>

# %% tags=["exercise"]
def loop(student, teacher, data, loss, epochs=3):
    ...                      # your code


# %% tags=["check"]
def told(train):
    try:
        return str(check_training(train))
    except Exception as error:
        return f"the loop stopped with {type(error).__name__}: {error}"


def sound(train):
    try:
        return check_training(train).ok
    except Exception:
        return False


check("loop", sound(loop), True, mistakes={told(loop): False})

# %% [markdown]
# What do they cost? The loop as it was, and with the answers in step, on the digits:

# %%
def in_step(student, teacher, data, loss, epochs=3):
    for epoch in range(epochs):
        for k, rows in enumerate(batches(data, epoch)):
            s, cache = student.forward(data.x[rows], training=True, step=100 * epoch + k)           # (B,C)
            step(student, loss(s, teacher.logits(data.x[rows]), data.y[rows])[1], cache)


for name, train_loop in (("wrong", wrong_loop), ("right", in_step)):
    accuracies = []
    for seed in range(3):
        student = MLP((64, 32, 10), dropout=0.1, seed=seed, backend="numpy")
        train_loop(student, teacher, few, SoftTarget(4.0, 0.9), epochs=40)
        accuracies.append(100 * (student.predict(test.x) == test.y).mean())
    print(f"{name}: {np.mean(accuracies):.1f}% ± {np.std(accuracies, ddof=1):.1f}")

# %% [markdown]
# Out of step, the teacher's word about one digit is told of another. Of all mistakes in the zoo it costs the most, and
# it needs but one shuffle. That is why `distill` keeps answers together with a fingerprint of the rows that they
# answer, and refuses them for others.
#
# The whole zoo, eighteen mistakes with what each does to gradient and accuracy, is in
# [docs/evidence/bug_zoo.md](../docs/evidence/bug_zoo.md).
#
# ## What to remember
#
# A falling loss proves nothing, and a gradient check only that the gradient is that of the value. Ask what must hold:
# zero at the match, no change by a shift, a mean over rows. Compare size and direction with the right gradient at
# several temperatures: the pattern names the mistake. And look at the loop too: whose answers are these, of which rows,
# in which mode?
#
# ## Read next in the source
#
# - `minidistill/diagnosis/invariants.py`: one function per invariant, which `check_loss` calls.
# - `minidistill/diagnosis/known_formulas.py`: `recognize`, which knows the wrong formulas by their values.
# - `minidistill/diagnosis/check_training.py`: `check_training`.
# - `minidistill/diagnosis/mistakes.py`: `Mistake`, and all eighteen by name.
#
# Next: notebook 15, kernels.
