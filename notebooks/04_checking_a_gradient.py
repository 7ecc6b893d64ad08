# %% [markdown]
# # 4 · Checking a gradient
#
# A wrong gradient rarely stops a program. The network still learns something, only worse, and one blames the learning
# rate. So every gradient is checked once, against the one thing that needs no derivation: the definition of a slope.
# This notebook builds that check, finds out how exact it is, and then looks at wrong gradients until you
# recognise them by their looks.
#
# **You will know at the end**
#
# - how to compute a gradient from values of the loss alone, and why that is for checking and not for training;
# - how large the nudge must be, and why neither smaller nor float32 will do;
# - what the common mistakes look like, and where to search first;
# - when a right gradient fails the check, and a wrong one passes.
#
# It takes about 25 minutes. You need notebooks 2 and 3.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import MLP, check_direction, check_gradient, ops
from minidistill.course import check
from minidistill.gradcheck import GradientError

# %% [markdown]
# ## Nudge and look
#
# The slope of $f$ at $x$ says how much $f$ changes for a small change of $x$. So change $x$ by a small $h$ and look.
# One can nudge to one side (*forward difference*) or to both (*central difference*):
#
# $$f'(x) \approx \frac{f(x+h) - f(x)}{h} \qquad\qquad f'(x) \approx \frac{f(x+h) - f(x-h)}{2h}$$
#
# Both together are called *finite differences*: $h$ is small, but not infinitely so. The central one is much better for
# the price of one more value. Taylor's formula says why:
#
# $$f(x \pm h) = f(x) \pm h f'(x) + \tfrac{h^2}{2} f''(x) \pm \tfrac{h^3}{6} f'''(x) + \dots$$
#
# Put it in: the forward difference is off by about $\frac h2 f''$. In the central one everything of even order cancels,
# and it is off by about $\frac{h^2}{6} f'''$ only.
#
# ### Exercise 1: the central difference
# Write `central_difference(f, x, h)` for a function `f` of one number.
#
# <details><summary>Hint</summary>
#
# It is the formula on the right. Mind the brackets around $2h$: in Python `a / 2 * h` is $(a/2) \cdot h$.
#
# </details>

# %% tags=["exercise"]
def central_difference(f, x, h):  # f: from a number to a number
    ...                           # your code: return one number

# %% tags=["check"]
check(
    "central_difference",
    lambda: central_difference(lambda x: x**3, 2.0, 0.1),
    12.01,
    factors={"2": 2.0, "h": 0.1},
    mistakes={
        "this is the forward difference: nudge to both sides": 12.61,
        "this nudges downwards only: nudge to both sides": 11.41,
        "this is the exact slope of x^3; it should work without knowing one": 12.0,
        "the whole way is 2h, not h / 2": 48.04,
    },
)

# %% [markdown]
# ## How small is small?
#
# On paper, the smaller $h$ the better. A computer rounds, though: float64 keeps about 16 digits, float32 about 7. When
# $h$ is tiny, $f(x+h)$ and $f(x-h)$ agree in nearly all of them, and the difference is made of what is left. Let
# $\varepsilon$ be the relative rounding error. Then the difference is off by about $\varepsilon |f|$, and after the
# division by $h$ the slope is off by $\varepsilon |f| / h$: this grows as $h$ shrinks.
#
# Measure it with a loss whose gradient you know: cross-entropy for the logits $(x, 0)$ where the second class is the
# right one, $L = \log(1 + e^x)$. By notebook 3 its slope is $q_1$, the probability given to the wrong class.

# %%
def loss(x):
    return np.log1p(np.exp(x))


def forward_error(x, h):
    return abs((loss(x + h) - loss(x)) / h - slope) / slope


def central_error(x, h):
    return abs((loss(x + h) - loss(x - h)) / (2 * h) - slope) / slope


slope = 1 / (1 + np.exp(-1.0))                # q_1 at x = 1
steps = 10.0 ** -np.arange(0, 14, 0.25)       # (56,)
steps32 = steps[steps > 1e-7].astype(np.float32)

fig, ax = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
ax.loglog(steps, [forward_error(1.0, h) for h in steps], color="#7a7f8c", label="forward, float64")
ax.loglog(steps, [central_error(1.0, h) for h in steps], color="#00798c", label="central, float64")
ax.loglog(steps32, [central_error(np.float32(1), h) for h in steps32], color="#d1495b", label="central, float32")
ax.set(title="Too large a nudge, and too small a one", xlabel="step $h$", ylabel="relative error of the slope")
ax.legend(frameon=False, fontsize=8)
plt.show()

print(f"{'h':>6} {'forward':>10} {'central':>10}   (float64)")
for k in range(1, 13):
    print(f" 1e-{k:02d} {forward_error(1.0, 10.0**-k):10.1e} {central_error(1.0, 10.0**-k):10.1e}")

# %% [markdown]
# Each curve is a U, or rather a V. On the right the curve of $f$ is to blame: there the error of the central difference
# falls by a factor 100 when $h$ falls by 10, that of the forward one by 10. On the left rounding is: the error is
# ragged, for rounding is a matter of luck, and grows as $h$ falls.
#
# The best $h$ is where both are equal. For the central difference, $h^2 \approx \varepsilon / h$ gives
# $h \approx \varepsilon^{1/3}$; for the forward one $h \approx \varepsilon^{1/2}$.
#
# And look at float32: even its best step leaves some five digits of this simple function's slope, and fewer in a
# network with long sums. A small mistake hides in that. So gradients are **checked in float64**, whatever one trains
# in.
#
# ### Exercise 2: read the best step off
# In the table, for which power of ten is the *central* difference best? Write down the exponent, such as -3 for
# $h = 10^{-3}$.
#
# <details><summary>Hint</summary>
#
# Find the smallest number in the third column, `central`. `1e-03` stands for $10^{-3}$, whose exponent is -3.
#
# </details>

# %% tags=["exercise"]
exponent = ...  # your code: a negative whole number

# %% tags=["check"]
powers = np.arange(-1, -13, -1)
best_forward, best_central = (
    int(powers[np.argmin([error(1.0, 10.0**k) for k in powers])]) for error in (forward_error, central_error)
)
check(
    "exponent",
    exponent,
    best_central,
    mistakes={
        "this is the best of the forward difference; look at the other column": best_forward,
        "the exponent is negative: the step is smaller than 1": -best_central,
        "this is the smallest step of the table, and not that of the smallest error": -12,
        "this is the largest step of the table": -1,
        "this is the step; its exponent is wanted": 10.0**best_central,
    },
)

# %% [markdown]
# ## A whole gradient
#
# A loss depends on many numbers. Nudge one entry at a time, leave all others alone, and you have the whole gradient.
# That takes two values of the loss for *each* parameter. A backward pass takes about as long as two forward passes for
# *all* of them. That is why one trains with the backward pass and keeps nudging for checks on small networks.
#
# ### Exercise 3: all entries
# Write `numerical_gradient(f, x, h=1e-5)` for a function `f` of an array of any shape. Return an array of that shape.
# Leave `x` as you found it.
#
# <details><summary>Hint</summary>
#
# `for index in np.ndindex(x.shape):` goes through all entries, with `x[index]` being one of them. Work on a copy:
# `up = x.copy()`, `up[index] += h`.
#
# </details>

# %% tags=["exercise"]
def numerical_gradient(f, x, h=1e-5):  # x: an array of any shape
    ...                                # your code: return an array of that shape

# %% tags=["check"]
random = np.random.default_rng(0)
place, factor = random.standard_normal((2, 3)), random.standard_normal((2, 3))


def cubes(x):
    return float((factor * x**3).sum())


def place_after_a_call():
    mine = place.copy()
    return None if numerical_gradient(cubes, mine) is None else mine


check(
    "numerical_gradient",
    lambda: numerical_gradient(cubes, place.copy()),
    3 * factor * place**2,
    factors={"2": 2.0, "h": 1e-5},
    mistakes={
        "all entries were nudged at once; one at a time is meant": np.full((2, 3), (3 * factor * place**2).sum()),
        "each entry goes one step up only: nudge to both sides": 3 * factor * (place**2 + 1e-5 * place),
        "this is a flat list of slopes; the shape of x is wanted": (3 * factor * place**2).ravel(),
    },
    tolerance=1e-7,
)
check(
    "x after numerical_gradient",
    place_after_a_call,
    place,
    mistakes={
        "its entries are one step too low: the last nudge was not taken back": place - 1e-5,
        "its entries are one step too high: the last nudge was not taken back": place + 1e-5,
    },
)

# %% [markdown]
# ## Right, or nearly right?
#
# Two numbers that were computed in different ways never agree in the last digit. How close is close enough? Compare
# *relatively*: the difference, divided by the largest entry of the gradient. For central differences in float64 expect
# an error of $10^{-8}$ or less; the library takes $10^{-6}$ as the limit. A real mistake is hardly ever so small.
#
# `check_gradient(f, x, gradient)` does all of this. Try it on a network: `f` is the loss as a function of the one array
# that has all parameters, and `network.backward` gives the gradient to be checked.

# %%
random = np.random.default_rng(1)
x, y = random.standard_normal((6, 4)), np.array([0, 1, 2, 0, 1, 2])                      # (6,4)  (6,)


def loss_and_gradient(network, parameters):
    """The cross-entropy of x and y with these parameters (P,), and the gradient (P,) by the backward pass."""
    network.parameters[:] = parameters
    s, cache = network.forward(x)             # (6,3)
    loss, kept = ops.cross_entropy_forward(s, y)
    network.backward(ops.cross_entropy_backward(kept), cache)
    return loss, network.gradients.copy()


network = MLP((4, 5, 3), dtype=np.float64, backend="numpy", seed=0)
start = random.standard_normal(network.num_parameters)                                   # (P,)
_, gradient = loss_and_gradient(network, start)

calls = []
def f(parameters):
    calls.append(1)
    return loss_and_gradient(network, parameters)[0]


error = check_gradient(f, start, gradient)
print(f"all {len(start)} entries:         relative error {error:.1e}, {len(calls)} values of the loss")
calls.clear()
error = check_direction(f, start, gradient, seed=0)
print(f"one random direction:   relative error {error:.1e}, {len(calls)} values of the loss")

# %% [markdown]
# The second line is a bargain. Instead of each entry by itself, all are nudged at once, along a random direction $v$;
# the slope along $v$ must be $\sum_k \text{gradient}_k\, v_k$. Two values of the loss suffice for any number of
# parameters. It does not say *which* entry is wrong, and a mistake in a single small entry among thousands may drown.
# So check small networks entry by entry, and large ones along a few directions.
#
# What a wrong gradient gets to hear:

# %%
for words, wrong in (("twice as large", 2 * gradient), ("with a wrong sign", -gradient)):
    try:
        check_gradient(f, start, wrong)
    except GradientError as problem:
        print(f"{words}: {problem}\n")
try:
    check_gradient(f, start.astype(np.float32), gradient)
except TypeError as problem:
    print(f"in float32: {problem}")

# %% [markdown]
# ## The zoo: how wrong ones look
#
# Now make mistakes on purpose. Below is the two-layer network of notebook 2 with the loss of notebook 3, and a backward
# pass that can be told to be wrong. Each point of a picture is one parameter: finite differences to the right, the
# backward pass upwards. If all is well, the points lie on the diagonal.

# %%
def values(parameters, x, y):
    """The forward pass of a network with 4 inputs, 4 hidden units, 3 classes. parameters: W1, b1, W2, b2."""
    W1, b1, W2, b2 = parameters               # (4,4)  (4,)  (4,3)  (3,)
    h, _ = ops.relu_forward(x @ W1 + b1)      # (B,4)
    s = h @ W2 + b2                           # (B,3)
    return h, s, ops.cross_entropy_forward(s, y)[0]


def backward(parameters, x, y, mistake=None):
    """The gradients of W1, b1, W2, b2, with one of the mistakes of the zoo."""
    h, s, _ = values(parameters, x, y)
    q, _ = ops.softmax_forward(s)             # (B,3)
    ds = (q - ops.one_hot(y, 3, s.dtype)) / len(y)                       # (B,3)
    if mistake == "label forgotten":
        ds = q / len(y)
    if mistake == "sign":
        ds = -ds
    if mistake == "B twice":
        ds = ds / len(y)
    dh, dW2, db2 = ops.linear_backward(ds, (h, parameters[2]))
    dz = dh if mistake == "relu skipped" else ops.relu_backward(dh, h)   # (B,4)
    _, dW1, db1 = ops.linear_backward(dz, (x, parameters[0]))
    return [dW1.T if mistake == "transposed" else dW1, db1, dW2, db2]


def differences(parameters, x, y, h=1e-5):
    """The same gradients by central differences."""
    gradients = [np.zeros_like(array) for array in parameters]
    for array, slopes in zip(parameters, gradients, strict=True):
        for index in np.ndindex(array.shape):
            kept = array[index]
            array[index] = kept + h
            above = values(parameters, x, y)[2]
            array[index] = kept - h
            below = values(parameters, x, y)[2]
            array[index] = kept               # exactly what it was
            slopes[index] = (above - below) / (2 * h)
    return gradients


def random_network(seed):
    random = np.random.default_rng(seed)
    return [random.standard_normal(shape) for shape in ((4, 4), 4, (4, 3), 3)]


def draw(ax, given, numerical, title):
    given, numerical = (np.concatenate([array.ravel() for array in part]) for part in (given, numerical))  # (P,)
    limit = 1.1 * max(np.abs(given).max(), np.abs(numerical).max())
    ax.plot((-limit, limit), (-limit, limit), color="#7a7f8c", linewidth=0.8)
    ax.plot(numerical, given, ".", color="#00798c")
    ax.set(title=title, xticks=[0], yticks=[0])
    ax.grid(alpha=0.4)


MISTAKES = ("sign", "B twice", "label forgotten", "relu skipped", "transposed")
parameters = random_network(seed=2)
numerical = differences(parameters, x, y)

fig, axes = plt.subplots(2, 3, figsize=(7.6, 5.0), layout="constrained")
for ax, mistake in zip(axes.flat, (None, *MISTAKES), strict=True):
    draw(ax, backward(parameters, x, y, mistake), numerical, mistake or "right")
fig.supxlabel("by finite differences", fontsize=10)
fig.supylabel("by the backward pass", fontsize=10)
plt.show()

# %% [markdown]
# | what you see | what it is, most likely |
# | --- | --- |
# | a line with the slope $-1$ | the **sign**: the loss goes up in training |
# | a line with another slope: $1/B$, $B$, 2 ... | a **factor**: a mean taken twice, or not at all; the 2 of a square |
# | a cloud, in all layers | the **loss's own gradient**: here the labels have no effect at all |
# | some points on the diagonal, others off | **one step** on the way back is wrong, and all that comes after it |
# | one array wrong, with the right numbers in it | a **transpose**: it goes unnoticed where the matrix is square |
#
# So look at the *ratio* first, and then at *which arrays* are wrong.
#
# ### Exercise 4: name the mistake
# Three of the five mistakes, on another network, in an order that was drawn at random. Give their names in the order of
# the pictures A, B, C, written as in the titles above, such as `("sign", "transposed", "B twice")`. The printed lines
# may help: for each array the ratio of its entries to what they should be, from the smallest to the largest.
#
# <details><summary>Hint</summary>
#
# Where smallest and largest ratio are the same, it is a sign or a factor. Otherwise go from the loss backwards, `b2`
# and `W2` first, then `b1`, then `W1`: from which array on are the ratios no longer 1?
#
# </details>

# %%
chosen = np.random.default_rng(13).permutation(MISTAKES)[:3]
others = random_network(seed=5)
mysteries = [backward(others, x, y, mistake) for mistake in chosen]
truth = differences(others, x, y)

fig, axes = plt.subplots(1, 3, figsize=(7.6, 2.6), layout="constrained")
for ax, letter, mystery in zip(axes, "ABC", mysteries, strict=True):
    draw(ax, mystery, truth, letter)
fig.supxlabel("by finite differences", fontsize=10)
fig.supylabel("by the backward pass", fontsize=10)
plt.show()
for letter, mystery in zip("ABC", mysteries, strict=True):
    spans = []
    for name, mine, theirs in zip(("W1", "b1", "W2", "b2"), mystery, truth, strict=True):
        counts = np.abs(theirs) > 1e-8        # a ratio to 0 says nothing
        ratios = mine[counts] / theirs[counts]
        spans.append(f"{name} {ratios.min():6.2f} to {ratios.max():6.2f}")
    print(f"{letter}:  " + "    ".join(spans))

# %% tags=["exercise"]
names = ...  # your code: three names

# %% tags=["check"]
check(
    "the three mistakes, A, B and C",
    names,
    tuple(str(name) for name in chosen),
    mistakes={
        "a wrong sign would make every ratio -1": "sign",
        "a second division by B would make every ratio the same, 1/6": "b twice",
        "a forgotten label would spoil all arrays, b2 too": "label forgotten",
        "a skipped ReLU would leave W2 and b2 right, with ratios of 1, and spoil W1 and b1": "relu skipped",
        "a transposed dW1 would leave b1 right, with ratios of 1": "transposed",
    },
)

# %% [markdown]
# ## Search from the loss backwards
#
# A mistake spoils everything that comes after it *on the way back*, and nothing before it. So check each array by
# itself, in the order of the backward pass: the last layer first. The first array that is wrong tells where the mistake
# is.
#
# Here is a backward pass by somebody in a hurry. It has two mistakes.

# %%
def hurried(x, y, h, s, W2):  # x (B,4)  y (B,)  h (B,H)  s (B,C)  W2 (H,C)
    B, C = s.shape
    q, _ = ops.softmax_forward(s)                        # (B,C)
    ds = (q - ops.one_hot(y, C, s.dtype)) / B            # (B,C)
    dW2 = h.T @ ds                                       # (H,C)
    db2 = ds.mean(axis=0)                                # (C,)
    dh = ds @ W2.T                                       # (B,H)
    dz = dh * h                                          # (B,H)
    dW1 = x.T @ dz                                       # (4,H)
    db1 = dz.sum(axis=0)                                 # (H,)
    return dW1, db1, dW2, db2


def loss_of_one(place, array):
    """The loss with one of the four arrays replaced."""
    changed = [array if k == place else other for k, other in enumerate(parameters)]
    return values(changed, x, y)[2]


h, s, _ = values(parameters, x, y)
found = dict(zip(("W1", "b1", "W2", "b2"), hurried(x, y, h, s, parameters[2]), strict=True))
for place in (2, 3, 0, 1):                    # in the order of the backward pass
    name = list(found)[place]
    try:
        error = check_gradient(lambda array, place=place: loss_of_one(place, array), parameters[place], found[name])
        print(f"{name}: right, relative error {error:.1e}")
    except GradientError as problem:
        print(f"{name}: {problem}")

# %% [markdown]
# ### Exercise 5: mend it
# Write `mended`, with the arguments and the results of `hurried`, but right. What do the lines above say about where
# to search?
#
# <details><summary>Hint</summary>
#
# `W2` is right, so `ds` is right. `b2` is wrong by a constant factor: which one, for six rows? `W1` and `b1` are both
# wrong, and not by a constant: the mistake is before them on the way back, and behind `W2`.
#
# </details>

# %% tags=["exercise"]
def mended(x, y, h, s, W2):  # x (B,4)  y (B,)  h (B,H)  s (B,C)  W2 (H,C)
    ...                      # your code: return dW1 (4,H), db1 (H,), dW2 (H,C), db2 (C,)

# %% tags=["check"]
wrong_W1, wrong_b1, _, wrong_b2 = hurried(x, y, h, s, parameters[2])
skipped_W1, skipped_b1, _, _ = backward(parameters, x, y, "relu skipped")
check(
    "mended",
    lambda: mended(x, y, h, s, parameters[2]),
    tuple(backward(parameters, x, y)),
    factors={"B": 6},
    mistakes={
        "dW1 is as wrong as it was: look at the line that makes dz": wrong_W1,
        "db1 is as wrong as it was: look at the line that makes dz": wrong_b1,
        "db2 is as wrong as it was: the 1/B is in ds already": wrong_b2,
        "the way back must go through the ReLU: its slope is 1 or 0": skipped_W1,
        "the way back to the bias must go through the ReLU too": skipped_b1,
    },
)

# %% [markdown]
# ## When the check itself misleads
#
# **A right gradient can fail.** ReLU has a kink at 0, and there is no slope to be found. If a nudge crosses the kink,
# the finite difference mixes both sides.
#
# ### Exercise 6: at the kink
# What does the central difference give for the ReLU at exactly $z = 0$, whatever $h$ is? Work it out from the formula.
#
# <details><summary>Hint</summary>
#
# $\max(h, 0) = h$, and $\max(-h, 0) = 0$.
#
# </details>

# %% tags=["exercise"]
at_the_kink = ...  # your code: a number

# %% tags=["check"]
check(
    "at the kink",
    at_the_kink,
    0.5,
    mistakes={
        "0 is what the backward pass takes there; put z = 0 into the central difference": 0.0,
        "1 is the slope to the right; put z = 0 into the central difference": 1.0,
        "mind the 2h": 0.25,
    },
)

# %% [markdown]
# Does it happen in practice? By chance hardly ever: a $z$ would have to be within $10^{-5}$ of 0. On purpose easily: a
# new network has biases of zero, and an empty image has inputs of zero, so each $z$ of that row is exactly 0. The
# remedy is to check at a place where nothing is exactly 0, for instance with random biases, as `start` above has them.
#
# **A wrong gradient can pass.** Zeros do that too. If the second layer's weights are zero, nothing comes back to the
# first layer, and *any* mistake there gives the right answer, zero. So the biases of a check should not be zero, nor
# its weights, nor its inputs, and the classes should not all be alike.

# %%
def verdict(parameters, x, mistake=None):
    try:
        for place, slopes in enumerate(backward(parameters, x, y, mistake)):
            def with_array(array, place=place):
                return values([array if k == place else other for k, other in enumerate(parameters)], x, y)[2]
            check_gradient(with_array, parameters[place], slopes)
        return "passes"
    except GradientError:
        return "fails"


W1, b1, W2, b2 = parameters
empty = np.vstack([np.zeros(4), x[1:]])       # (6,4)  its first row is an empty image
print("right gradient, random place:             ", verdict(parameters, x))
print("right gradient, empty image, biases of 0: ", verdict([W1, 0 * b1, W2, b2], empty))
print("right gradient, empty image, random ones: ", verdict(parameters, empty))
print("ReLU skipped, random place:               ", verdict(parameters, x, "relu skipped"))
print("ReLU skipped, second layer of zeros:      ", verdict([W1, b1, 0 * W2, b2], x, "relu skipped"))

# %% [markdown]
# ## What to remember
#
# Check every gradient that you write, once, on a small network, in float64, with central differences and a step near
# $\varepsilon^{1/3}$, at a place without zeros. Judge the relative error: about $10^{-8}$ is right, $10^{-3}$ is a
# mistake. When it is wrong, look at the ratio first (a constant one is a sign or a factor), then at which arrays are
# wrong, from the loss backwards. Finite differences check what you *coded* against the loss that you *coded*: if the
# loss itself is the wrong one, they will agree with each other. Notebook 14 is about those mistakes.
#
# ## Read next in the source
#
# - `minidistill/gradcheck.py`: `numerical_gradient`, `check_gradient`, `check_direction`.
# - `tests/test_ops.py`, where every backward of `minidistill/ops.py` meets its finite differences.
#
# Next: **5 · Training a teacher**.
