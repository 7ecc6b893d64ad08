# %% [markdown]
# # 3 · Softmax, cross-entropy and why p - y
#
# A classifier should say how likely each class is, and it should be punished for being sure and wrong. This notebook
# builds both, the softmax and the cross-entropy, and derives the most pleasant gradient of the field: what was said
# minus what is true.
#
# **You will know at the end**
#
# - how any numbers become probabilities, and what may be added to them without any effect;
# - why one never takes the softmax as its formula stands, and what log-sum-exp does;
# - what cross-entropy measures, and what a network scores that knows nothing;
# - why the gradient is $q - y$, and what it has that the squared error lacks.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebook 2: rows are samples, $dz$ is the
# derivative of the loss with respect to $z$.
#
# (Books write $p - y$. In this course $p$ is kept for the teacher's probabilities, and the student's are called $q$.)

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import MLP, CrossEntropy, ops, spirals
from minidistill.diagnosis.exercises import check

# %% [markdown]
# ## From numbers to probabilities
#
# A network ends in *logits*: $C$ numbers a sample, one a class, of any size and sign. Probabilities must be positive
# and sum to 1. Two steps make them so:
#
# 1. the exponential makes each number positive, and keeps their order;
# 2. division by the sum makes them sum to 1.
#
# $$q_c = \frac{e^{s_c}}{\sum_j e^{s_j}}$$
#
# This is the *softmax*. By hand: with logits $(0, \log 2, \log 3)$ the exponentials are $1, 2, 3$, their sum is 6, and
# the probabilities are $\frac16, \frac26, \frac36$.

# %%
s = np.log([[1.0, 2.0, 3.0]])                 # (1,3)
q, _ = ops.softmax_forward(s)                 # (1,3)
print("logits       ", s[0].round(3))
print("probabilities", q[0].round(3), " sum", q.sum())

# %% [markdown]
# ### Exercise 1: softmax
# Write `softmax(s)` for a batch: `s` has a row of logits for each of $B$ samples, and each row becomes a row of
# probabilities. Take the formula as it stands; what is wrong with that comes next.
#
# <details><summary>Hint</summary>
#
# `.sum(axis=1)` has the shape `(B,)`, and `(B,C)` divided by that does not do what you want. `keepdims=True` keeps the
# shape `(B,1)`.
#
# </details>

# %% tags=["exercise"]
def softmax(s):  # s (B,C)
    ...          # your code: return q (B,C)

# %% tags=["check"]
batch = np.random.default_rng(0).standard_normal((4, 4))                           # (4,4)
e = np.exp(batch)
check(
    "softmax",
    lambda: softmax(batch),
    ops.softmax_forward(batch)[0],
    mistakes={
        "all entries together sum to 1; each row should": e / e.sum(),
        "the columns sum to 1; the rows should (axis=1)": e / e.sum(axis=0),
        "row and column have got mixed up in the division: keepdims=True keeps the sums a column": e / e.sum(axis=1),
        "the exponentials are not yet divided by their sum": e,
        "the exponential is missing": batch / batch.sum(axis=1, keepdims=True),
        "this is the logarithm of what is wanted": ops.log_softmax_forward(batch)[0],
    },
)

# %% [markdown]
# ## Only differences count
#
# Add the same number $m$ to all logits of a row. Each exponential is multiplied by $e^m$, above and below the line, and
# that cancels. So probabilities depend on the *differences* of logits alone: a gap of 1 between two logits always
# means that one class is $e$ times as likely as the other.
#
# ### Exercise 2: predict
# What are the probabilities for the logits $(101, 102, 103)$, if those for $(1, 2, 3)$ are $(0.09, 0.24, 0.67)$? Write
# down the third one, to two decimals.
#
# <details><summary>Hint</summary>
#
# How do the gaps between the three logits differ from those between 1, 2 and 3?
#
# </details>

# %% tags=["exercise"]
third = ...  # your code: a number

# %% tags=["check"]
check(
    "third probability",
    third,
    ops.softmax_forward(np.array([[101.0, 102.0, 103.0]]))[0][0, 2],
    mistakes={
        "the gap to the others has not grown by adding 100 to all": 1.0,
        "three equal logits would give that; these differ by 1": 0.33,
        "three equal logits would give that, and these differ by 1": 1 / 3,
        "103 of 306 would be the share without the exponential": 103 / 306,
        "103 of 306, rounded, would be the share without the exponential": 0.34,
        "this is the first probability; wanted is the third": 0.09,
        "this is the second probability; wanted is the third": 0.24,
    },
    tolerance=0.0075,  # two decimals
)

# %% [markdown]
# ## What the computer makes of it
#
# On paper nothing is wrong with the formula. A computer's numbers have an end, though: in float32 (what networks are
# trained in) $e^{89}$ is infinite and $e^{-104}$ is 0. Infinity divided by infinity is "not a number", `nan`, and one
# `nan` in a gradient ruins a network at once.

# %%
with np.errstate(all="ignore"):
    for row in ([1, 2, 3], [101, 102, 103], [-120, -121, -122]):
        e = np.exp(np.array([row], np.float32))               # (1,3)
        safe, _ = ops.softmax_forward(np.array([row], np.float32))
        print(f"{row!s:20} as it stands {(e / e.sum())[0]}   safe {safe[0]}")

# %% [markdown]
# The cure uses what you have just seen: subtract the row's largest logit first. It changes nothing on paper. And now
# the largest exponent is 0, so nothing overflows; the sum is at least 1, so nothing is divided by 0.
#
# For the loss we shall need $\log q$. Take that logarithm on paper too:
#
# $$\log q_c = z_c - \log \sum_j e^{z_j} , \qquad z_c = s_c - \max_j s_j \qquad \text{[SM-1]}$$
#
# (the library's [SM-1] has a temperature $T$ besides; here $T = 1$). The second term is called *log-sum-exp*. Why not
# simply `np.log(softmax(s))`? Because a small probability may have become 0 by then, and its logarithm
# $-\infty$. By [SM-1] it is never computed at all.

# %%
far = np.array([[0.0, 120.0]], np.float32)    # (1,2)
with np.errstate(divide="ignore"):
    print("log of the softmax", np.log(ops.softmax_forward(far)[0])[0])
print("[SM-1]            ", ops.log_softmax_forward(far)[0][0])

# %% [markdown]
# ### Exercise 3: the logarithm, safely
# Write `log_softmax(s)` by [SM-1], so that it is right for any finite logits.
#
# <details><summary>Hint</summary>
#
# First `z`, with `s.max(axis=1, keepdims=True)`. Then subtract the logarithm of the sum of `np.exp(z)` over each row.
#
# </details>

# %% tags=["exercise"]
def log_softmax(s):  # s (B,C)
    ...              # your code: return log q (B,C)

# %% tags=["check"]
large = np.vstack([batch[:2] * 3, [[1000.0, 0.0, -1000.0, 999.0], [-800.0, -801.0, -802.0, -900.0]]])  # (4,4)
z = batch - batch.max(axis=1, keepdims=True)
log_sum = np.log(np.exp(z).sum(axis=1, keepdims=True))                             # (4,1)
mixed_up = batch - batch.max(axis=1)                                               # (4,4)
check(
    "log_softmax of moderate logits",
    lambda: log_softmax(batch),
    ops.log_softmax_forward(batch)[0],
    mistakes={
        "this is the softmax itself": ops.softmax_forward(batch)[0],
        "only the largest was subtracted; log-sum-exp is still missing": z,
        "log-sum-exp is subtracted, and not added": z + log_sum,
        "rows and columns got mixed up in the subtraction: keepdims=True keeps the sums a column": z - log_sum[:, 0],
        "rows and columns got mixed up where the largest is subtracted: it needs keepdims=True": mixed_up
        - np.log(np.exp(mixed_up).sum(axis=1, keepdims=True)),
        "rows and columns got mixed up twice: both the largest and the sum need keepdims=True": mixed_up
        - np.log(np.exp(mixed_up).sum(axis=1)),
        "the sum is subtracted, and not its logarithm": z - np.exp(z).sum(axis=1, keepdims=True),
        "the sum went over the whole array": z - np.log(np.exp(z).sum()),
        "the largest was subtracted inside the sum, and not outside": batch - log_sum,
    },
)
check("log_softmax of large logits", lambda: log_softmax(large), ops.log_softmax_forward(large)[0])

# %% [markdown]
# ## Cross-entropy: the price of a surprise
#
# The network said $q$; then the label $y$ came out. How bad was that? The *cross-entropy* charges $-\log q_y$: minus
# the logarithm of the probability that was given to the right class.
#
# - $q_y = 1$ costs nothing.
# - Each halving of $q_y$ costs the same on top, $\log 2 \approx 0.69$.
# - To be sure and wrong, $q_y \to 0$, costs without limit.

# %%
probability = np.linspace(0.003, 1, 300)      # (300,)
fig, ax = plt.subplots(figsize=(4.6, 2.8), layout="constrained")
ax.plot(probability, -np.log(probability), color="#00798c", label=r"cross-entropy, $-\log q_y$")
ax.plot(probability, (1 - probability) ** 2, color="#d1495b", label="squared error, $(1 - q_y)^2$")
ax.set(title="The price of an answer", xlabel="probability given to the right class", ylabel="loss of one sample")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Write the label as a row of zeros with a 1 at the right class: $y_{nc}$ is 1 where $c$ is the label of row $n$, else
# 0. Such a row is *one-hot*. The sum $\sum_c y_{nc} \log q_{nc}$ then picks out the one logarithm that counts. Over a
# batch one takes the mean of the rows:
#
# $$L = -\frac1B \sum_n \sum_c y_{nc} \log q_{nc} \qquad \text{[CE-1]}$$
#
# The mean goes over the $B$ rows, and not over the $BC$ entries. All but one of the $C$ terms of a row are 0, and
# counting them would make the loss $C$ times smaller.

# %%
y = np.array([2, 0, 3, 2])                    # (4,)
print(ops.one_hot(y, 4, np.float64))          # (4,4)

# %% [markdown]
# ### Exercise 4: cross-entropy
# Write `cross_entropy(s, y)`: `s` are logits, `y` labels, and it returns one number, the mean over the rows. You may
# use your `log_softmax`, or `ops.log_softmax_forward(s)[0]`.
#
# <details><summary>Hint</summary>
#
# `log_q[np.arange(len(y)), y]` picks one entry from each row. Or multiply by one-hot rows and sum.
#
# </details>

# %% tags=["exercise"]
def cross_entropy(s, y):  # s (B,C)  y (B,)
    ...                   # your code: return one number

# %% tags=["check"]
random = np.random.default_rng(1)
S, Y = 2 * random.standard_normal((5, 3)), np.array([0, 2, 1, 1, 0])               # (5,3)  (5,)
log_Q = ops.log_softmax_forward(S)[0]
check(
    "cross_entropy",
    lambda: cross_entropy(S, Y),
    ops.cross_entropy_forward(S, Y)[0],
    factors={"B": 5, "C": 3, "log 2 (the natural logarithm is meant)": np.log(2)},
    mistakes={
        "these are the losses of the rows; their mean is wanted": -log_Q[np.arange(5), Y],
        "all classes are counted; only the right one should be": -log_Q.sum(axis=1).mean(),
        "this is the mean over all entries; only the right class of each row counts": -log_Q.mean(),
        "log_q[:, y] takes five columns of every row; one entry a row is wanted": -log_Q[:, Y].mean(),
        "the logarithm is missing": -np.exp(log_Q)[np.arange(5), Y].mean(),
        "the logits of the right classes were taken, and not their log-probabilities": -S[np.arange(5), Y].mean(),
        "the mean was taken before the logarithm": -np.log(np.exp(log_Q)[np.arange(5), Y].mean()),
    },
)

# %% [markdown]
# One number is worth knowing by heart: a network that knows nothing gives every class $1/C$ and scores $\log C$.
# A training that begins far above it, or never gets below it, has something wrong.

# %%
for C in (2, 3, 10):
    knows_nothing = np.zeros((1, C))          # (1,C)
    print(f"C = {C:2}: loss {ops.cross_entropy_forward(knows_nothing, np.array([0]))[0]:.3f}, log C = {np.log(C):.3f}")

# %% [markdown]
# ## Why q - y
#
# Now the gradient, for one row with label $y$. Put the softmax into the loss:
#
# $$L = -\log \frac{e^{s_y}}{\sum_j e^{s_j}} = -s_y + \log \sum_j e^{s_j} .$$
#
# There are two terms. Take the derivative of each with respect to some logit $s_c$:
#
# - $-s_y$ has the slope $-1$ if $c$ is the right class, and 0 otherwise. That is minus the one-hot row.
# - The logarithm has the slope "one over what is inside", times the slope of what is inside:
#   $\dfrac{1}{\sum_j e^{s_j}} \cdot e^{s_c}$. Look at it: this is $q_c$.
#
# $$\frac{\partial L}{\partial s_c} = q_c - y_c$$
#
# and, since the loss of a batch is a mean over $B$ rows, each row of its gradient carries a $1/B$:
#
# $$ds = \frac{q - y}{B} \qquad \text{[CE-2]}$$
#
# ### Exercise 5: the gradient
# Write `gradient(s, y)`, which returns `ds` for logits `s` and labels `y`. You may use `ops.softmax_forward(s)[0]` and
# `ops.one_hot(y, C, np.float64)`; $C$ is `s.shape[1]`.
#
# <details><summary>Hint</summary>
#
# Subtract first, then divide all of it by the number of rows, `len(y)`.
#
# </details>

# %% tags=["exercise"]
def gradient(s, y):  # s (B,C)  y (B,)
    ...              # your code: return ds (B,C)

# %% tags=["check"]
Q, onehot = ops.softmax_forward(S)[0], np.eye(3)[Y]
check(
    "gradient",
    lambda: gradient(S, Y),
    CrossEntropy()(S, None, Y)[1],
    factors={"B": 5, "C": 3},
    mistakes={
        "the softmax stands where q - onehot(y) should": Q,
        "the softmax stands where q - onehot(y) should (it is divided by B already)": Q / 5,
        "this is the slope with respect to q; the step from the logits to q is missing": -onehot / Q / 5,
        "only q is divided by B; the one-hot row belongs into the bracket": Q / 5 - onehot,
        "only the one-hot row is divided by B; q belongs into the bracket": Q - onehot / 5,
        "log q stands where q should": (log_Q - onehot) / 5,
        "the logits stand where their softmax should": (S - onehot) / 5,
        "the label itself was subtracted from every column; its one-hot row is meant": (Q - Y[:, None]) / 5,
    },
)

# %% [markdown]
# ## Read it like a sentence
#
# The gradient is *what was said minus what is true*. Below are three samples of which the first class is the right one.
# The step goes against the gradient: where the lower bar is negative, the logit is pushed up.

# %%
rows = np.array([[5.0, 0.0, -1.0, 0.5], [0.3, 0.0, 0.2, -0.1], [-2.0, 3.0, 0.0, 0.0]])   # (3,4)
said, _ = ops.softmax_forward(rows)           # (3,4)
true = ops.one_hot(np.array([0, 0, 0]), 4, np.float64)                                   # (3,4)

fig, axes = plt.subplots(2, 3, figsize=(8, 3.6), layout="constrained", sharex=True, sharey="row")
for k, name in enumerate(("sure and right", "undecided", "sure and wrong")):
    axes[0, k].bar(np.arange(4), said[k], color="#7a7f8c")
    axes[0, k].set_title(name)
    axes[1, k].bar(np.arange(4), (said - true)[k], color="#d1495b")
    axes[1, k].axhline(0, color="black", linewidth=0.6)
    axes[1, k].set(xlabel="class", xticks=range(4))
axes[0, 0].set(ylabel="$q$", ylim=(0, 1))
axes[1, 0].set(ylabel="$q - y$", ylim=(-1.05, 1.05))
plt.show()
print("sums of the rows of q - y:", (said - true).sum(axis=1).round(12) + 0.0)

# %% [markdown]
# Three things can be read off:
#
# - Who is sure and right is left alone: the gradient is nearly 0.
# - Each row sums to 0: what one class gets, the others lose. (It must be so: adding a constant to all logits changes
#   nothing.)
# - Who is sure and wrong is pushed hardest, with nearly 1.
#
# The last one is not a matter of course. Take the squared error of the *probabilities* instead, for two classes whose
# logits are a gap apart. On its way back through the softmax its gradient is multiplied by $q_c$, which is nearly 0
# just where the network is sure and wrong.

# %%
gap = np.linspace(-8, 8, 161)                 # (161,)  logit of the right class less that of the wrong one
two = np.stack([gap, np.zeros_like(gap)], axis=1)                       # (161,2)
two_q, cache = ops.softmax_forward(two)       # (161,2)
right_class = np.array([1.0, 0.0])            # (2,)
by_cross_entropy = (two_q - right_class)[:, 0]                          # (161,)
by_squares = ops.softmax_backward(2 * (two_q - right_class), cache)[:, 0]                # (161,)

fig, ax = plt.subplots(figsize=(4.8, 2.9), layout="constrained")
ax.plot(gap, -by_cross_entropy, color="#00798c", label="cross-entropy")
ax.plot(gap, -by_squares, color="#d1495b", label="squared error of $q$")
ax.set(title="How hard the right class is pushed up", ylabel="minus the gradient")
ax.set_xlabel("sure and wrong   $\\leftarrow$   gap of the logits   $\\rightarrow$   sure and right")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# On the left the squared error gives up: the more wrong the network is, the less it learns. Cross-entropy does not.
#
# ## At work
#
# The spirals of notebook 2 again, with the new loss. `MLP` is the network that you built there, for any number of
# layers; `forward` and `backward` are its two passes. All its $P$ weights and biases are in one array, `parameters`,
# and their slopes in another, `gradients`, which `backward` fills. (`backend="numpy"` chooses the NumPy functions you
# have met, `ops`, over compiled ones.) The loop is the same: forward, loss, backward, step.

# %%
data, new = spirals(300, seed=0), spirals(300, seed=1)
network = MLP((2, 64, 3), seed=0, backend="numpy")
losses = []
for _ in range(1500):
    s, cache = network.forward(data.x)                        # (300,3)
    loss, kept = ops.cross_entropy_forward(s, data.y)         # ()
    network.backward(ops.cross_entropy_backward(kept), cache)
    network.parameters -= 0.5 * network.gradients             # (P,)
    losses.append(float(loss))

print(f"loss: {losses[0]:.3f} at the first step, {losses[-1]:.3f} at the last (knowing nothing: {np.log(3):.3f})")
print(f"right on new points: {(network.predict(new.x) == new.y).mean():.1%}")

# %% [markdown]
# A last look at what all this is for. The formula [CE-2] nowhere asks that $y$ be one-hot: any row of probabilities
# will do. Put a *teacher's* probabilities $p$ there, and the gradient is $q - p$: what the student said minus what the
# teacher believes. That is distillation, and notebook 7 adds the temperature to it.
#
# ### Exercise 6: a soft target
# A teacher gives the three classes $p = (0.7, 0.2, 0.1)$; the student, for its one sample, gives $q = (0.5, 0.3, 0.2)$.
# Write down the gradient for the student's three logits.
#
# <details><summary>Hint</summary>
#
# [CE-2], with $B = 1$ and the row $p$ in the place of $y$.
#
# </details>

# %% tags=["exercise"]
answer = ...  # your code: (ds1, ds2, ds3)

# %% tags=["check"]
student, teacher = np.log([[0.5, 0.3, 0.2]]), np.array([[0.7, 0.2, 0.1]])
check(
    "a soft target",
    answer,
    ops.cross_entropy_backward(ops.cross_entropy_forward(student, teacher)[1])[0],
    mistakes={
        "the teacher's favourite was taken for a label; the teacher said more than that": np.array([-0.5, 0.3, 0.2]),
        "this is q itself: subtract what the teacher believes": np.array([0.5, 0.3, 0.2]),
        "this is the slope with respect to q; the step from the logits to q is missing": np.array([-1.4, -2 / 3, -0.5]),
    },
)

# %% [markdown]
# ## What to remember
#
# Softmax turns logits into probabilities; only differences of logits count, which allows one to subtract the largest
# and never overflow. Cross-entropy is minus the logarithm of the probability of the right class, a mean over rows; who
# knows nothing scores $\log C$. Its gradient is $(q - y)/B$, what was said minus what is true: it sums to 0 in each row
# and does not fade where the network is sure and wrong. It holds for any row of probabilities in the place of $y$, a
# teacher's too.
#
# ## Read next in the source
#
# - `minidistill/ops.py`: `log_softmax_forward`, `cross_entropy_forward`, `cross_entropy_backward`.
# - `minidistill/losses/cross_entropy.py`: `CrossEntropy`, the same as a loss to train with.
# - `docs/maths/ops.md`, from [SM-1] to [CE-2], derives all of it with batch and temperature.
#
# Next: **4 · Checking a gradient**. You have now written several. How would you know if one of them were wrong?
