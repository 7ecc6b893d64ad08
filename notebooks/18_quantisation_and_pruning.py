# %% [markdown]
# # 18 · Smaller still: quantisation and pruning
#
# A distilled student is small because it has few units. There are two more ways to make it smaller: keep its numbers
# with fewer digits (**quantisation**), and take out what it hardly uses (**pruning**). Either may cost accuracy, and
# distilling wins some of it back: the network learns on, from its teacher.
#
# **You will know at the end**
#
# - what a grid of codes is, and why a range can be too wide and too narrow;
# - how a layer is computed in whole numbers, and why its sums are exact;
# - how a network learns through a rounding whose derivative is 0: a lie, where it is false, and why it works;
# - which kind of pruning makes a network faster, and which does not;
# - when a smaller student beats a larger one that was rounded.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebook 4 (finite differences) and notebook 8
# (distilling, several seeds, paired differences).

# %%
import time

import matplotlib.pyplot as plt
import numpy as np

from minidistill import (
    MLP,
    SGD,
    CosineSchedule,
    QuantizationAwareMLP,
    SoftTarget,
    compress,
    digits,
    distill,
    fit,
    prune_weights,
    quantize,
    remove_units,
)
from minidistill.deployment.prune import cut_weights, density, sparse_bytes, variance_saliency
from minidistill.deployment.quantization import Grid, calibrate, fake_quantize_backward, fake_quantize_forward
from minidistill.deployment.quantization.calibration import METHODS
from minidistill.deployment.quantization.codes import requantized, unit_scales
from minidistill.deployment.quantization.network import accumulated
from minidistill.diagnosis.exercises import check
from minidistill.distillation.soft_targets import soft_targets
from minidistill.kernels import default_backend, one_thread

# %% [markdown]
# ## The situation
#
# The teacher is that of notebook 5. It teaches five students of each size, with all 997 images. Each size chooses its
# learning rate on validation images, with three other seeds: small students will be compared with shrunken large ones,
# and an ill-chosen rate would decide that. Each number is a float32: 32 bits, 4 bytes.

# %%
everything, test = digits()
learning, validation = everything.split(len(everything) - 300, seed=0)
teacher = MLP((64, 256, 256, 10), dropout=0.3, seed=0)
fit(teacher, learning, epochs=40, batch_size=64, optimizer=SGD(CosineSchedule(0.1)), seed=0)
answers = soft_targets(teacher, learning, 10)
LOSS, SEEDS, RATES = SoftTarget(4.0, 0.9), range(5), (0.02, 0.03, 0.05, 0.1)


def distilled(width, seed, rate, epochs=40):
    network = MLP((64, width, 10), seed=seed)
    optimizer = SGD(CosineSchedule(rate))
    distill(answers, network, learning, LOSS, epochs=epochs, batch_size=32, optimizer=optimizer, seed=seed)
    return network


def accuracies(networks, data=test):             # in percent, one a network
    return np.array([100 * np.mean(network.predict(data.x) == data.y) for network in networks])


def best_rate(width):
    trials = {rate: [distilled(width, seed, rate) for seed in (100, 101, 102)] for rate in RATES}
    return max(RATES, key=lambda rate: accuracies(trials[rate], validation).mean())


rates = {width: best_rate(width) for width in (8, 16, 32, 64)}
students = {width: [distilled(width, seed, rate) for seed in SEEDS] for width, rate in rates.items()}
for width, networks in students.items():
    found = accuracies(networks)     # (5,)
    print(f"{width:2} hidden units  {networks[0].nbytes:6,} bytes  {found.mean():5.1f}% ± {found.std(ddof=1):.1f}"
          f"   rate {rates[width]:g}")
student = students[16][0]
print(f"one of {len(test)} test images is {100 / len(test):.1f} points; differences of that size say nothing")

# %% [markdown]
# ## A grid
#
# A byte has 256 values. To hold a number $x$ in a byte, lay a **grid** over the line: equally spaced points, each with
# a **code** $k$ from 0 to 255. Two numbers say where it lies,
#
# $$ x \approx s\,(k - z) , $$
#
# the **scale** $s$, which is the distance between neighbours, and the **zero point** $z$, the code of 0. For a range
# from $l$ to $h$
#
# $$ s = \frac{h - l}{255} , \qquad z = -\frac{l}{s} \text{ , rounded} \quad \text{[Q-1]} . $$
#
# 0 itself has to be on the grid: ReLU makes many zeros, and the background of an image is one. An error there would be
# made all the time, always in the same direction. So a range that does not reach 0 is first widened until it does.

# %% [markdown]
# ### Exercise 1: codes
#
# Write `on_codes(x, low, high)` for numbers $(N,)$ and the range to cover. Return three results: the scale, the zero
# point, and the codes of `x`. What lies beyond the range gets the nearest code that there is.
#
# <details><summary>Hint</summary>
#
# First `low, high = min(low, 0), max(high, 0)`. The code of a number is `np.rint(x / scale) + zero`, held between 0
# and 255 by `np.clip`. (`np.rint` rounds to the nearest whole number.)
#
# </details>

# %% tags=["exercise"]
def on_codes(x, low, high):  # x (N,)
    ...                      # your code: return scale, zero point, codes (N,)


# %% tags=["check"]
x = np.array([-1.2, -0.5, 0.0, 0.02, 0.3, 1.71, 3.0, 3.4])                      # (N,)
grid = Grid.over(-0.5, 3.0)
steps = np.rint(x / grid.scale)                                                 # (N,)
check("on_codes", lambda: on_codes(x, -0.5, 3.0), (grid.scale, grid.zero, requantized(x / grid.scale, grid.zero)),
      mistakes={
    "256 codes have 255 steps between them": 3.5 / 256,
    "the zero point is a code, a whole number: round it": 0.5 / grid.scale,
    "the codes are not clipped: there is none below 0 and none above 255": steps + grid.zero,
    "clip before you turn the codes into bytes: 256 becomes 0 there": (steps + grid.zero) % 256,
    "the zero point is missing in the codes: that of 0 is zero": np.clip(steps, 0, 255),
    "first add the zero point, then clip": np.clip(steps, 0, 255) + grid.zero,
    "the codes were cut down to whole numbers, not rounded": np.clip(np.floor(x / grid.scale + grid.zero), 0, 255),
    "the codes are not rounded": np.clip(x / grid.scale + grid.zero, 0, 255),
    "that counts from the low end; count from 0: round x / scale, then add the zero point":
        np.clip(np.rint((x + 0.5) / grid.scale), 0, 255),
    "x has to be divided by the scale, not multiplied": np.clip(np.rint(x * grid.scale) + grid.zero, 0, 255),
    "these are numbers again; codes are wanted": grid.values(requantized(x / grid.scale, grid.zero)),
})
positive = Grid.over(0.5, 3.0)
check("on_codes of a range above 0", lambda: on_codes(x, 0.5, 3.0),
      (positive.scale, positive.zero, requantized(x / positive.scale, positive.zero)), mistakes={
    "0 has to be on the grid: widen the range to it first": 2.5 / 255,
})

# %% [markdown]
# ## Rounding error, clipping error
#
# A number that goes to its code and back becomes
#
# $$ \hat x = s \cdot \operatorname{clip}\bigl( \operatorname{rint}(x/s),\, L,\, H \bigr) \quad \text{[Q-2]} , $$
#
# with $L$ and $H$ the first and last step, counted from 0. Inside of the range *rounding* moves it by at most $s/2$.
# Beyond, it is **clipped**, and wrong by however far it lies out. Here with eight codes:

# %%
line = np.linspace(-2, 5, 1401)                                                 # (N,)
on_grid, inside = fake_quantize_forward(line, 0.5, -2, 5)                       # (N,)  (N,) bool
figure, axes = plt.subplots(1, 2, figsize=(7.6, 2.6), layout="constrained")
axes[0].plot(line, line, color="#7a7f8c", linewidth=1, label="x itself")
axes[0].plot(line, on_grid, color="#00798c", label="on the grid")
axes[0].set(xlabel="x", ylabel="what is left of it", title="Eight codes, s = 0.5")
axes[0].legend(frameon=False)
for where, colour, label in ((inside, "#00798c", "rounding"), (~inside, "#d1495b", "clipping")):
    axes[1].plot(line, np.where(where, on_grid - line, np.nan), color=colour, label=label)
axes[1].set(xlabel="x", ylabel="error", title="Small teeth, and slopes without end")
axes[1].legend(frameon=False)
plt.show()

# %% [markdown]
# A wide range clips nothing and rounds coarsely; a narrow one rounds finely and clips. How much of each? Take the
# student's hidden activations $h$ $(N,H)$. They come from ReLU, so the grid begins at 0.

# %% [markdown]
# ### Exercise 2: two errors
#
# Write `two_errors(x, scale, top)` for numbers $x \ge 0$ and the codes from 0 to `top`, with the zero point 0. Return
# the mean squared error due to rounding and the one due to clipping. A number is clipped where
# $\operatorname{rint}(x/s)$ is above `top`. Divide both sums by the number of *all* entries, so that the two add up to
# the whole.
#
# <details><summary>Hint</summary>
#
# `steps = np.rint(x / scale)`, `clipped = steps > top`, and the error is `scale * np.minimum(steps, top) - x`. An error
# that does not belong to a kind counts 0 there: multiply its square by `clipped`, or by `~clipped`.
#
# </details>

# %% tags=["exercise"]
def two_errors(x, scale, top):       # x (N,H)
    ...                              # your code: return the error of rounding, the error of clipping


# %% tags=["check"]
h = student.outputs(learning.x[:300]).hidden[0].astype(np.float64)              # (N,H)
scale, top = 0.6 * h.max() / 15, 15
values, inside = fake_quantize_forward(h, scale, 0, top)                        # (N,H)  (N,H)
off = np.square(values - h)                                                     # (N,H)
beyond = h > scale * top                                                        # (N,H)
unclipped = np.square(scale * np.rint(h / scale) - h)                           # (N,H)
check("two_errors", lambda: two_errors(h, scale, top), ((off * inside).mean(), (off * ~inside).mean()),
      factors={"N H (the number of entries)": h.size}, mistakes={
    "the two have changed places: rounding comes first": (off * ~inside).mean(),
    "each was divided by the number of its own entries; divide by that of all": off[inside].mean(),
    "each was divided by the number of its own entries; divide by that of all (here the clipped)": off[~inside].mean(),
    "that is the mean of the sizes; the squares are wanted": (np.abs(values - h) * inside).mean(),
    "what is less than half a step above the last code is rounded to it: clipped is where rint(x / scale) > top":
        (off * ~beyond).mean(),
    "that is the whole error; split it": off.mean(),
    "nothing was clipped: the steps have to end at top": (unclipped * ~inside).mean(),
    "that is the whole error, and nothing was clipped: the steps have to end at top": unclipped.mean(),
    "that is a root; the mean of the squares is wanted": (off * inside).mean() ** 0.5,
    "steps are whole numbers: multiply them by the scale to have numbers again":
        (np.square(values / scale - h) * inside).mean(),
})

# %%
h = student.outputs(learning.x).hidden[0].astype(np.float64)                    # (N,H)
shrinks = np.linspace(1.0, 0.3, 71)
figure, axes = plt.subplots(1, 2, figsize=(7.6, 2.8), layout="constrained")
for ax, top in zip(axes, (15, 255), strict=True):
    errors = []
    for shrink in shrinks:
        values, inside = fake_quantize_forward(h, shrink * h.max() / top, 0, top)       # (N,H)  (N,H)
        off = np.square(values - h)                                             # (N,H)
        errors.append([(off * inside).mean(), (off * ~inside).mean(), off.mean()])
    errors = np.where(np.array(errors) > 0, errors, np.nan)                     # (71,3)  a logarithm has no 0
    for column, colour, label in ((0, "#00798c", "rounding"), (1, "#d1495b", "clipping"), (2, "black", "both")):
        ax.plot(shrinks, errors[:, column], color=colour, label=label, linestyle=":" if column == 2 else "-")
    best = shrinks[np.nanargmin(errors[:, 2])]
    ax.axvline(best, color="#7a7f8c", linewidth=1)
    ax.set(yscale="log", xlabel="range, as a share of all that was seen", ylabel="mean squared error",
           title=f"{top + 1} codes: least at {best:.2f}")
axes[0].legend(frameon=False)
plt.show()

# %% [markdown]
# With few codes it pays to give up the outermost numbers for finer steps. With 256 there is little to gain by it:
# rounding is cheap and clipping is dear.
#
# ### Calibration
#
# Some rows, without labels, show how large activations become: that is **calibration**. The range may be all that was
# seen (`minmax`), leave out the outermost at either end (`percentile`), or be the one with the least squared error of
# both kinds together (`mse`, [Q-7]). Suppose that one row is broken, eight times too bright:

# %%
good, broken = learning.x.copy(), learning.x.copy()                             # (N,I) each
broken[0] *= 8
for method, percentile in (*((method, 99.99) for method in METHODS), ("percentile", 99.9)):
    line = f"{method} {percentile}" if method == "percentile" else method
    for rows in (good, broken):
        grids = calibrate(student, rows, method, percentile)
        right = accuracies([quantize(student, grids)])[0]
        line = f"{line:17} step of h {grids.hidden[0].scale:.3f}, test {right:.1f}%;"
    print(line)
print(f"in floats {accuracies([student])[0]:.1f}%.  Left: good rows.  Right: one of them is broken")

# %% [markdown]
# A mean *squared* error does not protect from an outlier: clipping that one row weighs so much that the range may stay
# as wide as `minmax` has it. A percentile does not care how far out a number lies, but you have to know how many to
# give up. And 256 codes are so many that even steps several times too coarse cost little here.

# %% [markdown]
# ## Weights: a scale for each unit
#
# Weights get codes from -127 to 127, or from -7 to 7 with 4 bits: as many down as up, so their zero point is 0. The
# largest weight sets the scale. The largest of *what*? The weights into different units are of different size:

# %%
speaks = student.outputs(learning.x).hidden[0].max(axis=0) > 0                  # (H,) units that are not always 0
W = student.weights[0][:, speaks].astype(np.float64)                            # (I,H)
largest = np.abs(W).max(axis=0)                                                 # (H,)
print("largest weight into each hidden unit:", *(f"{value:.1f}" for value in np.sort(largest)))
print("error as a share of the weights,                   of all   of the unit with the smallest")
for bits, top in ((8, 127), (4, 7)):
    for name, steps in (("one scale for the layer", largest.max() / top), ("one for each unit", largest / top)):
        error = fake_quantize_forward(W, steps, -top, top)[0] - W               # (I,H)
        of_units = np.linalg.norm(error, axis=0) / np.linalg.norm(W, axis=0)    # (H,)
        print(f"{bits} bits, {name:40} {np.linalg.norm(error) / np.linalg.norm(W):6.2%} "
              f"{of_units[largest.argmin()]:10.2%}")

# %% [markdown]
# With one scale for all, the steps suit the unit with the largest weights and are too coarse for the others. A scale
# for each *output unit* costs nothing, for it can be taken out of the unit's sum:
#
# $$ \sum_i x_i\, (s_o k_{io}) = s_o \sum_i x_i k_{io} . $$
#
# A scale for each *input* could not: it would differ from term to term. (The library keeps a unit's scale as a byte
# times a scale of the layer; here it may be any number.)

# %% [markdown]
# ### Exercise 3: rounded weights
#
# Write `round_weights(W, top)`: what is left of $W$ $(I,O)$ when each output unit has a scale of its own, such that its
# largest weight, in size, gets the code `top` or `-top`. Return numbers $(I,O)$, not codes.
#
# <details><summary>Hint</summary>
#
# The weights of unit $o$ stand in column $o$, so the largest is looked for along `axis=0`. Then; nothing can be
# beyond the range.
#
# </details>

# %% tags=["exercise"]
def round_weights(W, top):   # W (I,O)
    ...                      # your code: return the rounded weights (I,O)


# %% tags=["check"]
W = student.weights[0].astype(np.float64)                                       # (I,O)
top = 127
by_unit = unit_scales(W, top)                                                   # (O,)


def on_steps(steps):                 # () or (O,) or (I,1)
    return steps * np.rint(W / steps)                                           # (I,O)


inputs_largest = np.maximum(np.abs(W).max(axis=1, keepdims=True), 1e-9)         # (I,1)
check("round_weights", lambda: round_weights(W, top), fake_quantize_forward(W, by_unit, -top, top)[0], mistakes={
    "one scale was used for the whole layer": on_steps(np.abs(W).max() / top),
    "each input got a scale; each output unit is to have one, along axis=0": on_steps(inputs_largest / top),
    "the largest in size is wanted: take np.abs first": on_steps(W.max(axis=0) / top),
    "the largest in size is wanted, or some are clipped: take np.abs first":
        fake_quantize_forward(W, W.max(axis=0) / top, -top, top)[0],
    "that is the distance from the smallest to the largest: take the largest in size, and divide by top":
        on_steps((W.max(axis=0) - W.min(axis=0)) / (2 * top + 1)),
    "the codes were cut down to whole numbers, not rounded: np.rint": by_unit * np.trunc(W / by_unit),
    "the largest weight gets the code top: divide by top, not by the number of codes":
        on_steps(np.abs(W).max(axis=0) / (2 * top + 1)),
    "divide by top, and not by one more": on_steps(np.abs(W).max(axis=0) / (top + 1)),
    "these are the codes: multiply them by the scale": np.rint(W / by_unit),
    "nothing is rounded": W,
})

# %% [markdown]
# ## A layer in whole numbers
#
# Now activations are $s(q - z)$ and weights $s_o k_{io}$, with whole numbers $q$ and $k$. A layer's sum is
#
# $$ \sum_i s\,(q_i - z)\, s_o k_{io} + b_o = s\, s_o \Bigl( \sum_i q_i k_{io} + c_o \Bigr) ,
#    \qquad c_o = \frac{b_o}{s\, s_o} - z \sum_i k_{io} \text{ , rounded} \quad \text{[Q-10]} . $$
#
# Bias and zero point have become *one whole number* $c_o$, known beforehand. What is left to do for an image is a
# product of whole numbers and, once for each unit, **requantising**: bring the sum to the next layer's grid,
#
# $$ v = (qK + c) \cdot m , \qquad m_o = \frac{s\, s_o}{s'} , \qquad
#    q' = \operatorname{rint}(\operatorname{clip}(v,\, -z',\, 255 - z')) + z' \quad \text{[Q-9]} , $$
#
# which has $s'$ and $z'$. And ReLU? Its grid begins at 0, so $z' = 0$, and clipping below 0 is what it does.

# %% [markdown]
# ### Exercise 4: a layer in whole numbers
#
# Write `integer_layer(q, K, c, m, zero)` for the codes `q` $(B,I)$ uint8, the weight codes `K` $(I,O)$ int8, `c` $(O,)$
# int32, the multipliers `m` $(O,)$ float32 and the next zero point. Return the next codes $(B,O)$. Mind how large the
# sums become: NumPy multiplies uint8 by int8 in 16 bits, and says nothing when that is too little.
#
# <details><summary>Hint</summary>
#
# `q.astype(np.int32) @ K` has room for the sums. Then add `c`, multiply `.astype(np.float32)` by `m`, clip, round, and
# move by the zero point.
#
# </details>

# %% tags=["exercise"]
def integer_layer(q, K, c, m, zero):     # q (B,I)  K (I,O)  c, m (O,)
    ...                                  # your code: return the next codes (B,O)


# %% tags=["check"]
rng = np.random.default_rng(0)
q = rng.integers(0, 256, (6, 64), dtype=np.uint8)                               # (B,I)
K = rng.integers(-127, 128, (64, 5), dtype=np.int8)                             # (I,O)
c = rng.integers(-50_000, 50_000, 5, dtype=np.int32)                            # (O,)
m = rng.uniform(0.001, 0.003, 5).astype(np.float32)                             # (O,)
zero = 60
sums = accumulated(q, K, c)                                                     # (B,O)
v = sums.astype(np.float32) * m                                                 # (B,O)
check("integer_layer", lambda: integer_layer(q, K, c, m, zero), requantized(v, zero), mistakes={
    "the sums did not fit into 16 bits: turn q into np.int32 first":
        requantized((q @ K + c).astype(np.float32) * m, zero),
    "c is missing": requantized((sums - c).astype(np.float32) * m, zero),
    "c belongs to the sum: add it before you multiply by m": requantized((sums - c).astype(np.float32) * m + c, zero),
    "the codes are not moved by the zero point": requantized(v, zero).astype(np.float64) - zero,
    "first move by the zero point, then clip; or clip to -zero and 255 - zero": np.rint(np.clip(v, 0, 255)) + zero,
    "the zero point is missing: the codes were clipped as if it were 0": requantized(v, 0),
    "it is not clipped": np.rint(v) + zero,
    "clip before you turn the codes into bytes: 256 becomes 0 there": (np.rint(v) + zero) % 256,
    "it was cut down to whole numbers, not rounded": np.floor(np.clip(v + zero, 0, 255)),
    "it was cut down to whole numbers, not rounded (astype does that)": np.trunc(np.clip(v, -zero, 255 - zero)) + zero,
    "it is not rounded": np.clip(v + zero, 0, 255),
})

# %% [markdown]
# A sum of floats depends on the order of its terms (notebook 16). A sum of whole numbers is exact: any order, number of
# threads and processor gives the same bits. And 32 bits are enough: a product is at most $255 \cdot 127$, and even
# 16,384 of these stay below $2^{31}$.

# %%
integers = quantize(student, learning.x)
first, last = integers.layers
pixels = requantized(test.x * integers.input_multiplier, integers.grids[0].zero)    # (N,I) uint8
v = accumulated(pixels, first.codes, first.bias).astype(np.float32) * first.multipliers             # (N,H)
q = requantized(v, first.zero)                                                  # (N,H) uint8
logits = accumulated(q, last.codes, last.bias).astype(np.float32) * last.multipliers                # (N,C)
print(integers)
print("these lines and the library's compiled kernel, bit for bit:", np.array_equal(logits, integers.logits(test.x)))

terms = test.x[0] * student.weights[0][:, 0]                                    # (I,) float32
codes = pixels[0].astype(np.int32) * first.codes[:, 0]                          # (I,) int32
orders = [np.random.default_rng(seed).permutation(len(terms)) for seed in range(200)]
print("one sum in 200 orders has", len({np.cumsum(terms[order])[-1] for order in orders}), "results in float32,",
      len({np.cumsum(codes[order])[-1] for order in orders}), "in whole numbers")
print(f"{16_384 * 255 * 127:,} < {2**31:,}")

# %% [markdown]
# ## Learning through a rounding
#
# With 4 bits rounding costs something. Could the network learn to live with it? Round in the forward pass, and walk
# back. But $\hat w = s \operatorname{rint}(w/s)$ is a staircase: its derivative is 0 on each step, and does not exist
# where it jumps. Nothing could be learnt.
#
# The **straight-through estimator** (Bengio, Léonard and Courville 2013) tells a lie on the way back. It takes the
# rounding for the identity, and keeps the clipping:
#
# $$ dw = d\hat w \text{ where } w \text{ was not clipped, and } 0 \text{ where it was} \quad \text{[Q-3]} . $$
#
# A small task shows where that is false and why it works: weights of 4 bits for the student's first layer that give
# what its float weights $W_0$ give. So $\hat z = x \hat W$ is to be $g = x W_0$, and the loss is
# $\frac{1}{2B} \sum (\hat z - g)^2$. What is trained is an unrounded $W$, which begins at $W_0$. (With 4 bits the scale
# is such that a few large weights are clipped: the others gain by finer steps.)

# %%
x = learning.x[:200].astype(np.float64)                                         # (B,I)
W0 = student.weights[0].astype(np.float64)                                      # (I,H)
goal, TOP = x @ W0, 7                                                           # (B,H)
scale = unit_scales(W0, TOP)                                                    # (H,)


def loss_of(W):              # W (I,H)
    rounded, _ = fake_quantize_forward(W, scale, -TOP, TOP)                     # (I,H)
    return np.square(x @ rounded - goal).sum() / (2 * len(x))


print(f"loss of W0: {loss_of(W0):.2f} with the rounding, 0 without")

# %% [markdown]
# ### Exercise 5: straight through
#
# Write `straight_through(x, W, goal, scale, top)`: the gradient $dW$ $(I,H)$ of that loss by the straight-through
# estimator. `x` is $(B,I)$, `W` $(I,H)$, `goal` $(B,H)$, `scale` $(H,)$; steps go from `-top` to `top`.
#
# <details><summary>Hint</summary>
#
# Forward first: `steps = np.rint(W / scale)`, and the rounded weights. The layer's gradient is that of notebook 2,
# $x^\top d\hat z$ with $d\hat z = (\hat z - g)/B$. What was clipped, `np.abs(steps) > top`, gets 0.
#
# </details>

# %% tags=["exercise"]
def straight_through(x, W, goal, scale, top):    # x (B,I)  W (I,H)  goal (B,H)  scale (H,)
    ...                                          # your code: return dW (I,H)


# %% tags=["check"]
V = W0 + 0.3 * np.random.default_rng(0).standard_normal(W0.shape) * scale       # (I,H)  somewhere on the way
rounded, inside = fake_quantize_forward(V, scale, -TOP, TOP)                    # (I,H)  (I,H)
full = x.T @ (x @ rounded - goal) / len(x)                                      # (I,H)
as_float = x.T @ (x @ V - goal) / len(x)                                        # (I,H)
check("straight_through", lambda: straight_through(x, V, goal, scale, TOP), fake_quantize_backward(full, inside),
      factors={"B": len(x), "2": 2.0}, mistakes={
    "what was clipped gets no gradient: it would have to move far before anything changes": full,
    "it is the other way round: what was clipped gets 0, all else its gradient": full * ~inside,
    "that is the gradient without any rounding: on the way forward the weights are rounded": as_float * inside,
    "that is the gradient without any rounding and clipping: forward, the weights are rounded": as_float,
    "it is zero everywhere: that is the true derivative, through which nothing is learnt": np.zeros_like(full),
    "the scale came in: the identity has the derivative 1": full * inside * scale,
    "the scale came in: the identity has the derivative 1 (it was divided by it)": full * inside / scale,
    "the largest code still has a gradient: clipped is what is beyond it":
        full * (np.abs(np.rint(V / scale)) < TOP),
    "weights up to half a step beyond the last code are rounded to it: clipped is where np.rint(W / scale) is beyond":
        full * (np.abs(V / scale) <= TOP),
    "codes stand where weights should: multiply them by the scale":
        x.T @ (x @ (rounded / scale) - goal) / len(x) * inside,
    "rounded weights beyond the last code were not clipped on the way forward":
        x.T @ (x @ (scale * np.rint(V / scale)) - goal) / len(x) * inside,
})

# %% [markdown]
# ### Where it is false, and where it is true
#
# Ask finite differences (notebook 4), by small moves and by large ones, for each weight that has a code above it and
# one below. Their cosine with the estimator's gradient is 1 where the two point the same way.

# %%
def differences(W, steps):   # steps: how far to go, as a share of the scale
    found = np.zeros_like(W)                                                    # (I,H)
    for i, o in np.ndindex(W.shape):
        moved = [W.copy(), W.copy()]
        moved[0][i, o] += steps * scale[o]
        moved[1][i, o] -= steps * scale[o]
        found[i, o] = (loss_of(moved[0]) - loss_of(moved[1])) / (2 * steps * scale[o])
    return found


rounded, _ = fake_quantize_forward(W0, scale, -TOP, TOP)                        # (I,H)
neighboured = np.abs(np.rint(W0 / scale)) < TOP                                 # (I,H)
estimate = (x.T @ (x @ rounded - goal) / len(x))[neighboured]                   # (weights,)
print("moved by, in steps   of the differences are 0   cosine with the estimator")
for steps in (1e-6, 0.1, 0.25, 0.5, 1.0, 2.0):
    measured = differences(W0, steps)[neighboured]                              # (weights,)
    lengths = np.linalg.norm(measured) * np.linalg.norm(estimate)
    cosine = f"{measured @ estimate / lengths:.3f}" if lengths else "none: all are 0"
    print(f"{steps:18g}   {np.mean(measured == 0):23.0%}   {cosine}")

# %% [markdown]
# In the first line the estimator is wrong about every weight: moving one by a millionth of a step changes nothing. But
# move it by *one whole step*, and the rounded weight moves exactly as far as the unrounded one. Then the difference
# says what the estimator says. It is false where the weight is, and true of the stretch around it. (The zeros that stay
# belong to pixels that are black in all of these images.)
#
# So it trains like this: an unrounded weight gathers small moves, of which none changes anything, until one day a step
# is crossed.

# %%
STEPS = 300
W = W0.copy()                                                                   # (I,H)
losses, path = [loss_of(W)], [W.copy()]
for k in range(STEPS):
    rounded, inside = fake_quantize_forward(W, scale, -TOP, TOP)                # (I,H)  (I,H)
    dW = fake_quantize_backward(x.T @ (x @ rounded - goal) / len(x), inside)    # (I,H)
    W -= 0.005 * (1 + np.cos(np.pi * k / STEPS)) / 2 * dW                       # the rate falls to 0
    losses.append(loss_of(W))
    path.append(W.copy())
moves = np.array(path) / scale                                                  # (STEPS+1,I,H) in steps
codes = np.clip(np.rint(moves), -TOP, TOP)                                      # (STEPS+1,I,H)
jumps = (np.diff(codes, axis=0) != 0).sum(axis=0)                               # (I,H)
settled = np.where((codes[0] != codes[-1]) & (jumps <= 5), jumps, 0)            # (I,H)
i, o = np.unravel_index(settled.argmax(), W.shape)

figure, axes = plt.subplots(1, 2, figsize=(7.6, 2.8), layout="constrained")
axes[0].plot(losses, color="#00798c")
axes[0].set(xlabel="step of training", ylabel="loss", title="4 bits: learning on", ylim=(0, 1.05 * max(losses)))
axes[1].plot(moves[:, i, o], color="#7a7f8c", label="unrounded")
axes[1].plot(codes[:, i, o], color="#d1495b", label="its code")
axes[1].set(xlabel="step of training", ylabel="steps of the grid", title="One weight")
axes[1].legend(frameon=False)
plt.show()
print(f"loss {losses[0]:.2f} when rounded, {losses[-1]:.2f} at the end; "
      f"{np.mean(codes[0] != codes[-1]):.1%} of the weights have another code")

# %% [markdown]
# *The nearest code of each weight is not the best choice of codes.* A few weights that go to the other neighbour
# balance the errors of the rest. But the rate has to fall: weights in the middle between two codes jump back and forth,
# which makes the loss rough.

# %% [markdown]
# ## A whole network, five seeds
#
# `QuantizationAwareMLP` does this for all weights and activations; `fit` and `distill` train the unrounded weights.
# Five students of 16 units are each compared with themselves in floats (the last column is the paired difference). A
# control learns on for as long in floats: a gain might be owed to the extra epochs. Activations always have 8 bits.

# %%
def learnt_on(network, seed, taught=True, epochs=10, rate=0.02):
    options = {"epochs": epochs, "batch_size": 64, "optimizer": SGD(CosineSchedule(rate)), "seed": seed}
    if taught:
        distill(answers, network, learning, LOSS, **options)
    else:
        fit(network, learning, **options)
    return network


def aware(network, bits, taught=True):
    return quantize(learnt_on(QuantizationAwareMLP(network, learning.x, bits), network.seed, taught))


def table(forms, beside):
    """A line a form: its bytes, mean and spread over the seeds, and the paired difference to `beside`."""
    for name, networks in forms.items():
        found = accuracies(networks)                                            # (5,)
        gains = found - accuracies(beside)                                      # (5,)
        print(f"{name:38} {networks[0].nbytes:6,} bytes  {found.mean():5.1f}% ± {found.std(ddof=1):.1f}"
              f"   {gains.mean():+5.1f} ± {gains.std(ddof=1):.1f}")


floats = students[16]
forms = {
    "float": floats,
    "float, learned on from the teacher": [learnt_on(network.copy(), network.seed) for network in floats],
    "8 bits": [quantize(network, learning.x) for network in floats],
    "4 bits": [quantize(network, learning.x, 4) for network in floats],
    "4 bits, learned on from labels": [aware(network, 4, taught=False) for network in floats],
    "4 bits, learned on from the teacher": [aware(network, 4) for network in floats],
}
table(forms, floats)

# %% [markdown]
# Eight bits cost nothing that one could see. Four bits cost something, more for one student than for another, and
# learning on wins part of it back. Is the teacher better at that than labels? Compare the two lines, and mind the ±. On
# larger data labels did more ([what it costs](../docs/guides/quantize.md)).

# %% [markdown]
# ## Pruning: zeros
#
# The simplest thing to leave out are the smallest weights: set them to zero [PRUNE-1]. All at once is rough.
# `prune_weights` cuts more of them after each epoch, fast at first and then ever more slowly [PRUNE-2], while the
# network learns on. Here nine in ten go, of students with 32 units:

# %%
wide = students[32]


def cut_at_once(network):
    smaller = network.copy()
    cut_weights(smaller, 0.9)
    return smaller


def cut_in_steps(network, teacher=None):
    smaller = network.copy()
    options = {"epochs": 20, "batch_size": 32, "optimizer": SGD(CosineSchedule(0.05)), "seed": network.seed}
    prune_weights(smaller, learning, 0.9, teacher=teacher, loss=LOSS if teacher else None, **options)
    return smaller


sparse = [cut_in_steps(network, answers) for network in wide]
table({
    "float, nothing cut": wide,
    "90% zeros, at once": [cut_at_once(network) for network in wide],
    "90% zeros, in steps, from labels": [cut_in_steps(network) for network in wide],
    "90% zeros, in steps, from the teacher": sparse,
}, wide)
print(f"one of the last: {density(sparse[0]):.0%} of its weights are left, {sparse_bytes(sparse[0]):,} bytes in a file "
      "without zeros")

# %% [markdown]
# The bytes in the table did not change: a zero takes four bytes, and a product multiplies by it, as with any other
# number. Only a file that does not store zeros is smaller. (A student of 16 units in 8 bits takes about as many bytes
# as that file: compare the accuracies.)

# %% [markdown]
# ## Pruning: whole units
#
# Take out hidden unit $j$, and a column of $W_1$, a number of $b_1$ and a row of $W_2$ are gone: what is left is an
# ordinary, smaller network. The next layer misses $h_{nj} W_{jo}$. The best constant in place of $h_{nj}$ is its mean
# over the rows, and a constant can go into the bias:
#
# $$ b'_o = b_o + \bar h_j W_{jo} \quad \text{[PRUNE-3]} . $$
#
# What is still missed is how far $h_j$ strays from its mean, so the unit with the least
# $\operatorname{Var}(h_j) \sum_o W_{jo}^2$ goes first [PRUNE-4]. Some never stray: they are 0 for every image, and
# since ReLU's slope is 0 there, they cannot learn. Such units are called **dead**. Of these students' 32 units so many
# are:

# %%
hidden = [network.outputs(learning.x).hidden[0] for network in wide]            # each (N,H)
print("dead units of each student:", *((h.max(axis=0) == 0).sum() for h in hidden))

# %% [markdown]
# ### Exercise 6: take a unit out
#
# Write `without(W1, b1, W2, b2, h, j)` for `W1` $(I,H)$, `b1` $(H,)$, `W2` $(H,O)$, `b2` $(O,)$ and the activations `h`
# $(N,H)$. Return the four arrays of the network without unit `j`, in this order; change none of those that came.
#
# <details><summary>Hint</summary>
#
# `np.delete(W1, j, axis=1)` is a copy without column `j`. Of `W2` it is a row. The new `b2` is `b2 + ...`, not
# `b2 += ...`.
#
# </details>

# %% tags=["exercise"]
def without(W1, b1, W2, b2, h, j):   # W1 (I,H)  b1 (H,)  W2 (H,O)  b2 (O,)  h (N,H)
    ...                              # your code: return W1, b1, W2, b2 without unit j


# %% tags=["check"]
exact = MLP(student.sizes, dtype=np.float64, backend="numpy")
exact.parameters[:] = student.parameters
alive = int((exact.outputs(learning.x).hidden[0].max(axis=0) > 0).sum())
whole = remove_units(exact, alive, learning)         # without the dead ones, or the mean would not matter
h = whole.outputs(learning.x).hidden[0]                                         # (N,H)
(W1, W2), (b1, b2) = whole.weights, whole.biases
j = int(variance_saliency(h, W2).argmin())
smaller = remove_units(whole, alive - 1, learning)
kept = np.arange(alive) != j                                                    # (H,)
right = (smaller.weights[0], smaller.biases[0], smaller.weights[1], smaller.biases[1])
check("without", lambda: without(W1.copy(), b1.copy(), W2.copy(), b2.copy(), h, j), right, mistakes={
    "the mean of the unit has to go into b2": b2,
    "the sign is wrong: what the unit gave is added to b2": b2 - h[:, j].mean() * W2[j],
    "the mean of h_j is missing: b2 gets it times the weights": b2 + W2[j],
    "the sum was taken; the mean over the rows is wanted": b2 + h[:, j].sum() * W2[j],
    "only unit j gives its mean to b2, not all units": b2 + h.mean(axis=0) @ W2,
    "unit j is the one to give its mean, not those that stay": b2 + h.mean(axis=0)[kept] @ W2[kept],
    "one mean was taken over all units; that of unit j is wanted": b2 + h.mean() * W2[j],
    "units are the columns of h: h[:, j] is that of unit j, h[j] is an image": b2 + h[j].mean() * W2[j],
    "another unit is gone: it is j that has to go": np.delete(W1, j - 1, axis=1),
})


def what_came(W1, b1, W2, b2):
    without(W1, b1, W2, b2, h, j)
    return W1, b1, W2, b2


check("what came is unchanged", lambda: what_came(W1.copy(), b1.copy(), W2.copy(), b2.copy()), (W1, b1, W2, b2),
      mistakes={"b2 was changed in place: write b2 + ..., not b2 += ...": b2 + h[:, j].mean() * W2[j]})

# %% [markdown]
# Take out half of the 32 units, then three quarters. The controls are students that had 16 or 8 units from the start
# and learnt for as many epochs in all, with the best rate for their size. What differs is the way there.

# %%
pruned = {}
table({"32 units": wide}, wide)
for keep in (16, 8):
    fewer = [remove_units(network, keep, learning) for network in wide]
    on = {"epochs": 20, "rate": 0.05}
    pruned[keep] = [learnt_on(network.copy(), network.seed, **on) for network in fewer]
    small = [distilled(keep, seed, rates[keep], epochs=60) for seed in SEEDS]
    table({
        f"{keep} of 32 units left": fewer,
        "   learned on from labels": [learnt_on(one.copy(), one.seed, taught=False, **on) for one in fewer],
        "   learned on from the teacher": pruned[keep],
        f"{keep} units from the start": small,
    }, wide)
    gains = accuracies(pruned[keep]) - accuracies(small)                        # (5,)
    print(f"   teacher's, less from the start: {gains.mean():+.1f} ± {gains.std(ddof=1):.1f}, "
          f"better with {np.sum(gains > 0)} of 5 seeds")

# %% [markdown]
# A network loses by it, sometimes a good deal, and learning on repairs most of that; the teacher repairs more than
# labels do. But is it better to prune than to begin small? See the paired differences, and whether they are more than
# their ±. An ill-chosen rate for the small ones would have made pruning look far better: try 0.1 in place of
# `rates[keep]`. Then many units die, and a student of 8 has no others to turn to.

# %% [markdown]
# ## What becomes faster
#
# Here are the times of one call, of a large network and of a small one, in turns and on one thread (notebook 15). Of 15
# rounds the quickest counts: what disturbs a run makes it slower, never quicker.

# %%
rng = np.random.default_rng(0)
x = {64: rng.random((128, 64), dtype=np.float32), 784: rng.random((128, 784), dtype=np.float32)}        # (B,I)
large = MLP((784, 1200, 1200, 10), seed=0)
timed = {
    "784-1200-1200-10": large,
    "   90% zeros": cut_at_once(large),
    "   8 bits": quantize(large, x[784]),
    "   half of the units": MLP((784, 600, 600, 10), seed=0),
    "64-32-10": wide[0],
    "   90% zeros, small": sparse[0],
    "   8 bits, small": quantize(wide[0], learning.x),
    "   half of the units, small": pruned[16][0],
}
times = {name: {1: [], 128: []} for name in timed}
with one_thread(default_backend()):
    for network in timed.values():
        network.logits(x[network.sizes[0]])      # compiles, and warms the caches
    for _ in range(15):
        for name, network in timed.items():
            for rows in (1, 128):
                some, calls = x[network.sizes[0]][:rows], 2 if network.sizes[0] == 784 else 100
                start = time.perf_counter()
                for _ in range(calls):
                    network.logits(some)
                times[name][rows].append((time.perf_counter() - start) / calls)
print(f"{'':28} {'bytes':>10} {'multiply-adds':>14} {'1 row, us':>10} {'128 rows, us':>13}")
for name, network in timed.items():
    print(f"{name:28} {network.nbytes:10,} {network.multiply_adds:14,} {1e6 * min(times[name][1]):10.1f} "
          f"{1e6 * min(times[name][128]):13.1f}")

# %% [markdown]
# Zeros change nothing. Fewer units are fewer multiply-adds and fewer bytes to read, and faster where either takes the
# time. Eight bits help a large network most with a single row, where reading the weights takes the time: there is a
# quarter of the bytes. A small network lies in the nearest cache, and one row of it takes about as long as the call
# itself: there is nothing to gain by rounding.

# %% [markdown]
# ## Putting them together
#
# First the units, then the digits: prune and learn on; round, and with 4 bits learn on through the rounding.

# %%
together = {
    "32 units": wide,
    "32 units, 8 bits": [quantize(network, learning.x) for network in wide],
    "32 units, 4 bits, learned on": [aware(network, 4) for network in wide],
}
for keep in (16, 8):
    together[f"{keep} of 32, 8 bits"] = [quantize(network, learning.x) for network in pruned[keep]]
    together[f"{keep} of 32, 4 bits, learned on"] = [aware(network, 4) for network in pruned[keep]]
table(together, wide)

# %%
figure, ax = plt.subplots(figsize=(6.2, 3.4), layout="constrained")
eight = {width: [quantize(network, learning.x) for network in networks] for width, networks in students.items()}
from_32 = {keep: together[f"{keep} of 32, 8 bits"] for keep in (8, 16)}
four = {8: together["8 of 32, 4 bits, learned on"], 16: together["16 of 32, 4 bits, learned on"]}
for label, kind, colour, style, place in (
    ("floats", students, "#7a7f8c", "o-", (6, -12)), ("8 bits", eight, "#00798c", "o-", (6, -12)),
    ("pruned from 32, 8 bits", from_32, "#d1495b", "s-", (-15, 5)),
    ("pruned from 32, 4 bits", four, "#edae49", "^-", (-15, 5)),
):
    found = np.array([accuracies(networks) for networks in kind.values()])      # (widths,5)
    sizes = [networks[0].nbytes for networks in kind.values()]
    ax.errorbar(sizes, found.mean(axis=1), found.std(axis=1, ddof=1), fmt=style, color=colour, label=label, capsize=3)
    for width, size, mean in zip(kind, sizes, found.mean(axis=1), strict=True):
        ax.annotate(f"{width}", (size, mean), place, textcoords="offset points", fontsize=8, color=colour)
ax.set(xscale="log", xlabel="bytes", ylabel="test accuracy, %", title="Bytes and accuracy, with the hidden units")
ax.set_xticks([500, 1000, 2000, 5000, 10_000, 20_000], ["500", "1,000", "2,000", "5,000", "10,000", "20,000"])
ax.minorticks_off()
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Along a vertical line the bytes are the same, spent in different ways: here few digits for many units are better than
# many digits for few. So where bytes count, round before you give up units.
#
# But bytes are not the only cost. `compress` shows the teacher, in floats and in 8 bits, and the forms of a student,
# with all costs. A student of labels alone stands beside them. Both chose their learning rate on validation images, and
# the distilled one its temperature too.

# %%
print(compress(teacher, learning, test, hidden=(32,), epochs=40, seeds=3))

# %% [markdown]
# ### When does a smaller student beat a rounded larger one?
#
# - *Where the larger one is much larger than it need be.* Eight bits divide its bytes by 4, and no further. Compare
#   "teacher int8" with "distilled" in all lines, and with "int8": the student may be rounded as well.
# - *Where time counts and the network is small.* Rounding saves no multiply-adds. In the table of times, what makes
#   many rows of the small network faster is fewer units.
# - *Where nothing multiplies bytes.* It takes instructions and kernels made for them. Elsewhere codes are unpacked to
#   floats first, and only the file is smaller.
# - *Where the larger one cannot bear the rounding.* That differs from network to network; see the ± of four bits.
#
# Where the two are of one size in bytes, or the reading of weights takes the time, *the rounded larger one wins*, as in
# the picture. The teacher matters in either case: compare "alone" with "distilled".
#
# **What this does not show.** Digits are easy, and 500 test images are few: a difference below half a point is that of
# one or two images. On Fashion-MNIST, which is harder, four bits cost more ([what it
# costs](../docs/guides/quantize.md)).
#
# ## What to remember
#
# A grid has a scale and a zero point; the range decides between rounding and clipping. A scale for each output unit is
# free, sums of codes are exact, and bias and zero point become one whole number. Learning through the rounding pretends
# that it is not there: false for each small move, true over whole steps. Zeros save bytes in a file; only fewer units
# save time. Whatever was taken away, learn on, and compare with a network that was small from the start.
#
# ## Read next in the source
#
# - `minidistill/deployment/quantization/codes.py`: `Grid`, `fake_quantize_forward` and `weight_codes`.
# - `minidistill/deployment/quantization/network.py`: `QuantizedMLP`.
# - `minidistill/deployment/quantization/aware.py`: `QuantizationAwareMLP`.
# - `minidistill/deployment/prune.py`: `prune_weights` and `remove_units`.
# - `minidistill/deployment/compression.py`: `compress`.
# - `minidistill/kernels/cpu/int8.py`: `emit_dot`, the instructions that multiply bytes.
#
# Next: notebook 19, going into production.
