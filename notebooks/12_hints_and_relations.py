# %% [markdown]
# # 12 · Hints and relations
#
# A teacher's logits say what it answers. Its hidden layers say how it sees the input: which images it finds alike, and
# what it looks for. This notebook teaches that.
#
# **You will know at the end**
#
# - how a loss on a hidden layer enters the backward pass;
# - what a hint is, why it needs a regressor, and the gradient of both;
# - how to teach relations between samples, for which no regressor is needed, and their gradient;
# - what each of these losses ignores;
# - how to find a wrong gradient among three that look right.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebook 2 (the linear layer), notebook 4
# (checking a gradient) and notebook 8.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import (
    MLP,
    Adam,
    CorrelationCongruence,
    CosineSchedule,
    Hint,
    ProbabilisticTransfer,
    RelationalAngle,
    RelationalDistance,
    SimilarityPreserving,
    SoftTarget,
    digits,
    distill,
    fit,
)
from minidistill.diagnosis.exercises import check
from minidistill.losses.features import unit_backward, unit_forward
from minidistill.training.evaluation import accuracy

# %% [markdown]
# ## What a network makes of its input
#
# `network.outputs(x)` gives `Outputs`: the logits, and the activations of each hidden layer. We call one hidden layer
# of the student $h$ $(B,H)$, and one of the teacher $g$ $(B,G)$. The two may differ in width.

# %%
train, test = digits()
teacher = MLP((64, 96, 48, 10), dropout=0.2, seed=0)
fit(teacher, train, optimizer=Adam(CosineSchedule(0.002)), epochs=60, seed=0)
student = MLP((64, 16, 10), seed=1)

said, seen = teacher.outputs(train.x[:32]), student.outputs(train.x[:32])
print("teacher: logits", said.logits.shape, " hidden", [g.shape for g in said.hidden])
print("student: logits", seen.logits.shape, " hidden", [h.shape for h in seen.hidden])
print(f"teacher on the test images: {accuracy(teacher.predict_proba(test.x), test.y):.1%}")

# %% [markdown]
# ### Two ways into the loss
# A hidden activation now reaches the loss in two ways: through the layers above it, as ever, and directly. By the
# chain rule the two effects add up. So `backward` takes the gradient $dh$ of the new loss, and where it passes that
# layer adds it to what comes from above; from there on everything is as before. In the source it is one line: `da = da
# + dhidden[k - 1]`.
#
# A gradient for all of a network's outputs has the form of these outputs: `Outputs(ds, [dh])`, with `None` for a layer
# that has no part in the loss.

# %% [markdown]
# ## Hints
#
# FitNets (2015) ask the student to *hold* what the teacher holds. Where the widths differ that cannot be taken
# literally. A linear **regressor** stands in between, $r = hW + b$ with $W$ $(H,G)$ and $b$ $(G,)$. It learns together
# with the student and is thrown away afterwards.
#
# $$ L = \frac{1}{2B} \sum_n \sum_{j=1}^{G} (r_{nj} - g_{nj})^2 \quad \text{[HINT-1]} \qquad
#    dr_{nj} = \frac{r_{nj} - g_{nj}}{B} \quad \text{[HINT-2]} $$
#
# The squares are summed over the units and averaged over the batch. Below $r$ stands a linear layer, whose backward you
# wrote in notebook 2: $dh = dr\,W^\top$, $dW = h^\top dr$, $db$ the sum of $dr$ over the rows.
#
# ### Exercise 1: the hint
# Write `hint(h, g, W, b)`. Return four things: the value, `dh` $(B,H)$, `dW` $(H,G)$ and `db` $(G,)$.
#
# <details><summary>Hint</summary>
#
# Compute `r` and `dr` first, each $(B,G)$. `len(h)` is $B$. Shapes tell you where a transpose belongs.
#
# </details>

# %% tags=["exercise"]
def hint(h, g, W, b):                # h (B,H)  g (B,G)  W (H,G)  b (G,)
    ...                              # your code: return the value, dh, dW, db


# %% tags=["check"]
rng = np.random.default_rng(12)
B, H, G = 6, 3, 5
h, g, W, b = (rng.standard_normal(shape) for shape in ((B, H), (B, G), (H, G), (G,)))
regressor = MLP((H, G), dtype=np.float64, backend="numpy")
regressor.weights[0][:], regressor.biases[0][:] = W, b
value, dh = Hint(regressor=regressor).between(h, g)
right = (value, dh, regressor.weight_gradients[0], regressor.bias_gradients[0])
dr = h @ W + b - g
check("hint", lambda: hint(h, g, W, b), right, factors={"B": B, "G": G, "2": 2}, mistakes={
    "the regressor's bias is missing": 0.5 * np.square(dr - b).sum() / B,
    "that is dr, not what it becomes behind the regressor's weights": dr / B,
    "db is a mean over the rows; B is in dr already": dr.mean(axis=0) / B,
})

# %% [markdown]
# ### Who owns the regressor
# In the library the loss owns it. `start` makes it for one student and one teacher; `learners` names what is to be
# trained beside the student, and `fit` and `distill` train them with the student's own optimizer. A call of the loss
# fills the learners' gradients on the way.

# %%
started = Hint().start(student, teacher_widths=teacher.sizes[1:-1], seed=0)
value, gradient = started(seen, said)                                           # (), Outputs
print("learners:", started.learners)
print(f"value {value:.2f};  ds is zero: {not gradient.logits.any()};  dh {gradient.hidden[0].shape}")
print(f"gradient of the regressor filled: {bool(started.learners[0].gradients.any())}")

# %% [markdown]
# `ds` is zero: a hint says nothing to the layers above the one that it compares. So it is trained first, and the logits
# afterwards (FitNets), or it stands in a sum: `SoftTarget() + 0.1 * Hint()`.

# %% [markdown]
# ## Relations
#
# Perhaps it does not matter *where* a sample lies in the hidden layer, only how the samples of a batch lie to each
# other. That is a table of $B \times B$ numbers, whatever the width of the layer: no regressor is needed.
#
# Similarity-preserving distillation (2019) takes the scalar products of all pairs, $A = h h^\top$ $(B,B)$, puts each
# row of $A$ to length 1, and calls that $P$. The teacher's is $Q$. Below you see $Q$ for images sorted by their digit,
# and $P$ of a student with random weights.

# %%
order = np.argsort(train.y[:60], kind="stable")                                # (B,)
images = train.x[:60][order]                                                   # (B,I)


def relations(network):
    h = network.outputs(images).hidden[-1].astype(np.float64)                   # (B,H)
    return unit_forward(h @ h.T)[0]                                             # (B,B)


figure, axes = plt.subplots(1, 2, figsize=(7.4, 3.6), layout="constrained")
edges = np.flatnonzero(np.diff(train.y[:60][order])) + 0.5
for ax, network, title in ((axes[0], teacher, "Q, the teacher"), (axes[1], student, "P, a random student")):
    picture = ax.imshow(relations(network), vmin=0, vmax=0.3, cmap="magma", interpolation="nearest")
    ax.set(title=title, xlabel="image, sorted by digit", ylabel="image")
    ax.vlines(edges, -0.5, 59.5, color="white", linewidth=0.3)
    ax.hlines(edges, -0.5, 59.5, color="white", linewidth=0.3)
figure.colorbar(picture, ax=list(axes), label="similarity, rows of length 1")
plt.show()

# %% [markdown]
# The squares along the diagonal are the ten digits: the teacher finds images of one digit alike. Bright spots
# elsewhere are its dark knowledge about images. The loss is the mean squared difference of the tables, [SP-1], and
# $dP$ is plain [SP-2]:
#
# $$ L = \frac{1}{B^2} \sum_{ij} (P_{ij} - Q_{ij})^2 , \qquad dP_{ij} = \frac{2}{B^2} (P_{ij} - Q_{ij}) . $$
#
# ### Back through a row of length 1
# $u = x / |x|$ [FEAT-1] does not change when $x$ grows along itself. So the part of $du$ along $u$ cannot pass, and the
# rest is divided by the length:
#
# $$ dx = \frac{du - u\,(u \cdot du)}{|x|} \quad \text{[FEAT-2]} $$
#
# ### Exercise 2: a row of length 1, backward
# Write `unit_gradient(du, x)`, both $(B,H)$; no row of `x` is zero. Return `dx` $(B,H)$.
#
# <details><summary>Hint</summary>
#
# The length of each row as a column $(B,1)$: `np.sqrt((x * x).sum(axis=1, keepdims=True))`. The scalar product of two
# rows is a sum of products over `axis=1`.
#
# </details>

# %% tags=["exercise"]
def unit_gradient(du, x):            # du, x (B,H)
    ...                              # your code: return dx (B,H)


# %% tags=["check"]
x, du = np.random.default_rng(2).standard_normal((2, 4, 3))                     # (B,H) each
u, cache = unit_forward(x)
length = np.sqrt((x * x).sum(axis=1, keepdims=True))
along = (u * du).sum(axis=1, keepdims=True)
check("unit_gradient", lambda: unit_gradient(du, x), unit_backward(du, cache), mistakes={
    "the length depends on x too: the part of du along u is to be taken off": du / length,
    "the length is that of the whole array; each row has its own":
        (du - x * (x * du).sum(axis=1, keepdims=True) / (x * x).sum()) / np.sqrt((x * x).sum()),
    "the division by the length is missing": du - u * along,
    "the scalar product of two rows is a sum: u * du is not summed yet": (du - u * u * du) / length,
    "the scalar product of two rows is a sum, not a mean": (du - u * along / 3) / length,
    "the scalar product is that of the whole arrays; each row has its own": (du - u * along.sum()) / length,
    "it is divided by the square of the length": (du - u * along) / length**2,
    "x stands where u should, the row of length 1": (du - x * (x * du).sum(axis=1, keepdims=True)) / length,
    "the part along u is added; it is to be taken off": (du + u * along) / length,
})

# %% [markdown]
# ### Back through the table
# $A_{ij} = h_i \cdot h_j$. Row $k$ of $h$ stands in row $k$ of $A$ and in column $k$: on both sides of the product.
#
# $$ dh_k = \sum_j dA_{kj}\, h_j + \sum_i dA_{ik}\, h_i , \qquad dh = (dA + dA^\top)\, h \quad \text{[SP-3]} $$
#
# ### Exercise 3: the gradient of kept similarities
# Write `similarity_gradient(h, Q)`: the derivative of [SP-1] by $h$ $(B,H)$, where `Q` $(B,B)$ is the teacher's table.
# `unit_forward(A)` gives `P` and a cache, and `unit_backward(dP, cache)` is what you just wrote.
#
# <details><summary>Hint</summary>
#
# Four lines: `A`, then `P`, then `dA` out of `dP`, then `dh`. $A$ is symmetric. Is $dA$? Each row of it was divided by
# a length of its own.
#
# </details>

# %% tags=["exercise"]
def similarity_gradient(h, Q):       # h (B,H)  Q (B,B)
    ...                              # your code: return dh (B,H)


# %% tags=["check"]
rng = np.random.default_rng(3)
h, g = rng.standard_normal((6, 3)), rng.standard_normal((6, 5))                 # (B,H), (B,G)
Q, _ = unit_forward(g @ g.T)
P, cache = unit_forward(h @ h.T)
to_table = unit_backward(2 * (P - Q) / 36, cache)
check("similarity_gradient", lambda: similarity_gradient(h, Q), SimilarityPreserving().between(h, g)[1],
      factors={"B": 6, "2": 2}, mistakes={
    "h stands on both sides of h h^T, and one of the two is missing: the columns": to_table @ h,
    "h stands on both sides of h h^T, and one of the two is missing: the rows": to_table.T @ h,
    "dA is taken for symmetric, and it is not": 2 * to_table @ h,
    "the rows of length 1 were skipped on the way back, and one side of h h^T": 2 * (P - Q) / 36 @ h,
    "the rows of length 1 were skipped on the way back": (2 * (P - Q) / 36 + (2 * (P - Q) / 36).T) @ h,
})

# %% [markdown]
# ## Relative distances
#
# Relational distillation (RKD, 2019) compares the distances of all pairs, $d_{ij} = |h_i - h_j|$, each divided by their
# mean $\mu$ [RKD-1], with the teacher's, by a Huber loss $\ell$: squares near 0, straight lines further out [RKD-2].
# The mean is over the $N = B(B-1)$ pairs that differ.
#
# $$ x_{ij} = \frac{d_{ij}}{\mu} , \qquad L = \frac1N \sum_{i \ne j} \ell(x_{ij} - y_{ij}) $$
#
# Here are three gradients. They have the same signature and the right shape, and each would train. One is right.

# %%
def distances(h):                    # h (B,H)
    return np.sqrt(np.square(h[:, None] - h).sum(axis=2))                       # (B,B)


def distance_loss(h, y):             # h (B,H)  y (B,B)
    d, N = distances(h), len(h) * (len(h) - 1)                                  # (B,B)
    r = d / (d.sum() / N) - y                                                   # (B,B)
    return np.where(np.abs(r) <= 1, 0.5 * r * r, np.abs(r) - 0.5).sum() / N     # ()


def slopes(h, y):                    # of the loss by x: d, mu, x, dx
    d, N = distances(h), len(h) * (len(h) - 1)                                  # (B,B)
    mu = d.sum() / N                                                            # ()
    return d, mu, d / mu, np.clip(d / mu - y, -1, 1) / N                        # (B,B), (), (B,B), (B,B)


def towards_rows(dd, d, h):          # from the distances to h
    w = dd / np.where(d > 0, d, np.inf)                                         # (B,B)
    return w.sum(axis=1, keepdims=True) * h - w @ h                             # (B,H)


def version_a(h, y):
    d, mu, _, dx = slopes(h, y)
    return 2 * towards_rows(dx / mu, d, h)                                      # (B,H)


def version_b(h, y):
    d, mu, x, dx = slopes(h, y)
    return towards_rows((dx - (dx * x).sum() / (len(h) * (len(h) - 1))) / mu, d, h)     # (B,H)


def version_c(h, y):
    d, mu, x, dx = slopes(h, y)
    return 2 * towards_rows((dx - (dx * x).sum() / (len(h) * (len(h) - 1))) / mu, d, h)     # (B,H)


h, g = np.random.default_rng(4).standard_normal((2, 5, 3))                      # (B,H), (B,G): here of one width
y = distances(g) / (distances(g).sum() / 20)                                    # (B,B)  the teacher's

# %% [markdown]
# ### Exercise 4: which one is right?
# Import `check_gradient` from `minidistill` and use `check_gradient(f, x, gradient)`: `f` is a function of `x` alone,
# such as `lambda h: distance_loss(h, y)`. It returns the error or raises `GradientError`, whose message says more.
# Then write `"a"`, `"b"` or `"c"`.
#
# <details><summary>Hint</summary>
#
# `check_gradient(lambda h: distance_loss(h, y), h, version_a(h, y))`, and the same for the other two. For the wrong
# ones ask yourself what their author forgot: $h_i$ stands in a row *and* in a column, and $\mu$ is a function of $h$,
# too.
#
# </details>

# %% tags=["exercise"]
right_version = ...                  # your answer: "a", "b" or "c"

# %% tags=["check"]
check("right_version", right_version, "c", mistakes={
    "version a takes the mean distance mu for a constant; through it every distance acts on every other [RKD-3]": "a",
    "version b lets a sample pull by its row alone: h_i stands in row i and in column i of the distances": "b",
})

# %% [markdown]
# A training run would not have told you: a gradient that is half of the right one only learns half as fast, and one
# that takes $\mu$ for a constant still points roughly downhill.

# %% [markdown]
# ## What each one ignores
#
# A loss on relations is zero wherever the relations are the same. Let the teacher's layer be the student's own,
# changed in one way at a time: rotated, three times as large, shifted, with 4 units of zeros more.

# %%
rng = np.random.default_rng(5)
h = np.abs(rng.standard_normal((12, 6)))                                        # (B,H)
turn, _ = np.linalg.qr(rng.standard_normal((6, 6)))                             # (H,H)  a rotation
CHANGED = {"rotated": h @ turn, "3 times": 3 * h, "shifted": h + 1, "wider": np.hstack([h, np.zeros((12, 4))])}
RELATIONS = {
    "similarities kept": SimilarityPreserving(),
    "relative distances": RelationalDistance(),
    "angles": RelationalAngle(),
    "neighbours' probabilities (PKT)": ProbabilisticTransfer(),
    "Gaussian kernel (CC)": CorrelationCongruence(),
}
print(f"{'':32}", *(f"{name:>9}" for name in CHANGED))
for name, loss in RELATIONS.items():
    print(f"{name:32}", *(f"{abs(loss.between(h, g)[0]):9.5f}" for g in CHANGED.values()))

# %% [markdown]
# None of them minds a rotation, a scale, or another width; so they ask for less than a hint does. Distances and angles
# do not mind a shift either. (A hint's regressor can undo all four changes, once it has learnt how.)

# %% [markdown]
# ## Does it pay?
#
# The same small experiment as in notebook 11: 400 images, a student with 16 hidden units, five seeds; the teacher has
# seen all training images. Each feature loss is added to soft targets, with a weight that makes it as large as these at
# the start. `hint first` is what FitNets do: 20 epochs of the hint alone, then soft targets.

# %%
SEEDS = range(5)
few = train.subset(np.arange(400))
few_said = teacher.outputs(few.x)


def trained(loss, seed, hint_first=False):
    student = MLP((64, 16, 10), seed=seed)
    settings = {"batch_size": 64, "seed": seed}
    if hint_first:
        distill(teacher, student, few, Hint(), epochs=20, optimizer=Adam(0.01), **settings)
    distill(teacher, student, few, loss, epochs=60, optimizer=Adam(CosineSchedule(0.01)), **settings)
    return student


def starting_value(loss):
    """Mean over the seeds, on all 400 images, before any training."""
    values = []
    for seed in SEEDS:
        student = MLP((64, 16, 10), seed=seed)
        started = (1.0 * loss).start(student, teacher.sizes[1:-1], seed)  # of a sum: it takes losses of both kinds
        values.append(started(student.outputs(few.x), few_said, few.y)[0])
    return np.mean(values)


soft = SoftTarget()
ADDED = {"hint": Hint(), "similarities": SimilarityPreserving(), "distances": RelationalDistance()}
SUMS = {name: soft + starting_value(soft) / starting_value(loss) * loss for name, loss in ADDED.items()}
students = {"soft targets": [trained(soft, seed) for seed in SEEDS]}
students["hint first"] = [trained(soft, seed, hint_first=True) for seed in SEEDS]
for name, loss in SUMS.items():
    students[f"+ {name}"] = [trained(loss, seed) for seed in SEEDS]

scores = {name: np.array([100 * accuracy(each.predict_proba(test.x), test.y) for each in networks])
          for name, networks in students.items()}                               # (seeds,) each
print(f"{'':16} {'mean %':>7} {'spread':>7} {'less soft targets':>20} {'table of relations, off by':>28}")
teachers_table = relations(teacher)
for name, values in scores.items():
    difference = values - scores["soft targets"]
    off = np.mean([np.square(relations(each) - teachers_table).mean() for each in students[name]])  # ()
    paired = f"{difference.mean():+.2f} +- {difference.std(ddof=1):.2f}"
    print(f"{name:16} {values.mean():7.2f} {values.std(ddof=1):7.2f} {paired:>20} {off:28.2e}")

# %%
figure, axes = plt.subplots(1, 2, figsize=(9.4, 3.4), layout="constrained", width_ratios=(1.7, 1))
for place, values in enumerate(scores.values()):
    axes[0].plot(np.full(len(values), place), values, "o", color="#00798c", alpha=0.6)
    axes[0].plot(place, values.mean(), "_", color="black", markersize=22)
axes[0].set_xticks(range(len(scores)), [name.replace(" ", "\n", 1) for name in scores], fontsize=8)
axes[0].set(title="Five seeds of each; the line is their mean", ylabel="test accuracy, %")
axes[1].imshow(relations(students["+ similarities"][0]), vmin=0, vmax=0.3, cmap="magma", interpolation="nearest")
axes[1].set(title="P of a student taught similarities", xlabel="image, sorted by digit", ylabel="image")
plt.show()

# %% [markdown]
# Read two columns against each other. The last one says whether the student's hidden layer has taken on the teacher's
# relations (the first 60 training images, which it has seen). The third says what that was worth: compare the mean of
# the differences with their spread. That a student can be taught something does not mean that it helps the answers.
# Hints were made for students that are deep and thin, where the first layers are far from the labels; ours has one
# hidden layer, and soft targets reach it directly.
#
# Two more methods of the same kind stand in the source. Variational information distillation (VID) is a hint that
# learns for each unit of the teacher how well it can be foretold. Contrastive representation distillation (CRD) asks
# only that the student's view of a sample can be told to belong to the teacher's view of the same one.

# %% [markdown]
# ## What to remember
#
# A loss on a hidden layer sends its $dh$ into the backward pass, where it is added to what comes from above. A hint
# compares activations, and needs a regressor that learns along. Relations compare tables of $B \times B$ numbers, and
# need none; in a table each sample stands in a row and in a column, and both count in the gradient. A normalisation
# has its share in the gradient, too. Training does not show such mistakes; `check_gradient` does.
#
# ## Read next in the source
#
# - `minidistill/losses/features.py`: `FeatureLoss`, `unit_forward`, `unit_backward`.
# - `minidistill/losses/hint.py`: `Hint`.
# - `minidistill/losses/similarity.py`: `SimilarityPreserving`.
# - `minidistill/losses/relational.py`: `RelationalDistance`.
# - `minidistill/network.py`: `MLP.backward` and its `dhidden`; `Outputs`.
# - `docs/maths/features.md` derives every line.
#
# Next is notebook 13, who teaches whom: ensembles, assistants, born-again networks and mutual learning.
