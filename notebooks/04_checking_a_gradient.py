# %% [markdown]
# # 4 · Checking a gradient; how wrong ones look
#
# A gradient is easy to get wrong and hard to see wrong: a network with a wrong one often learns all the same, only less
# well. This notebook builds the test that every gradient of this library has to pass, and then looks at wrong
# gradients, so that you recognise them when you meet your own.
#
# **You will know at the end**
#
# - how to measure a slope from two values of a function, and how far apart the two should be;
# - how to check a gradient of many numbers, entry by entry or along one direction;
# - what a missing factor, a wrong sign, a transpose and a missing term look like;
# - where a check is blind: at zeros, at kinks, in float32.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebooks 2 and 3: the linear layer, ReLU, and
# the gradient $(q - y)/B$ of the cross-entropy.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import MLP, check_direction, check_gradient, digits, ops
from minidistill.diagnosis.exercises import check
from minidistill.diagnosis.gradcheck import GradientError, numerical_gradient

# %% [markdown]
# ## A wrong gradient learns too
#
# Below, one layer learns the digits twice by the same loop. The second time its gradient lacks the $-y$ of $q - y$ for
# half of the classes. Look at the losses before you read on: would you have noticed?

# %%
train, test = digits()
B, C = len(train), 10
x = train.x.astype(np.float64)                                                  # (B,I)
onehot = np.eye(C)[train.y]                                                     # (B,C)


def learn(gradient, steps=60, rate=1.0):
    """The loss after each step of a layer W (I,C) that begins at zero."""
    W, b, losses = np.zeros((64, C)), np.zeros(C), []
    for _ in range(steps):
        s = x @ W + b                                                           # (B,C)
        loss, _ = ops.cross_entropy_forward(s, train.y)
        losses.append(float(loss))
        ds = gradient(s)                                                        # (B,C)
        W -= rate * x.T @ ds                                                    # (I,C)
        b -= rate * ds.sum(axis=0)                                              # (C,)
    return losses


def right(s):                # s (B,C)
    q, _ = ops.softmax_forward(s)                                               # (B,C)
    return (q - onehot) / B                                                     # (B,C)  [CE-2]


def wrong(s):                # s (B,C)
    q, _ = ops.softmax_forward(s)                                               # (B,C)
    return (q - onehot * (np.arange(C) < 5)) / B                                # (B,C)  half of the labels is forgotten


for name, gradient in (("right", right), ("wrong", wrong)):
    losses = learn(gradient)
    print(f"{name}: loss {losses[0]:.2f} at first, lowest {min(losses):.2f}, {losses[-1]:.2f} after 60 steps")

# %% [markdown]
# The wrong one goes down as well: it only ends higher. With a smaller mistake, a factor or one forgotten entry, it
# would end a little higher, and nobody would know why. So we do not watch the loss. We measure the slope.
#
# ## The slope from two points
#
# The derivative $f'(x)$ is the slope of $f$ at $x$. Without any calculus one gets it from two values of $f$ close by.
# The obvious way is to go one step to the right; the better way goes one step to each side:
#
# $$ f'(x) \approx \frac{f(x + h) - f(x)}{h} \qquad\text{or}\qquad f'(x) \approx \frac{f(x + h) - f(x - h)}{2h} $$
#
# The second is called the *central difference*. Why it is better: near $x$ the function is a line, plus a bend. On one
# side the bend adds to the slope, on the other it takes away; with both sides it cancels.

# %% [markdown]
# ### Exercise 1: the central difference
#
# Write `slope(f, x, h)`: `f` is a function of a number, `x` the place, `h` the step. Return the central difference.
#
# <details><summary>Hint</summary>
#
# The two places are $2h$ apart, not $h$.
#
# </details>

# %% tags=["exercise"]
def slope(f, x, h):
    ...                      # your code: return the central difference


# %% tags=["check"]
h = 0.1
central = np.cos(1.0) * np.sin(h) / h                                           # what it is of the sine, exactly
check("slope of the sine", lambda: slope(np.sin, 1.0, h), central, mistakes={
    "that is the one-sided difference: take a step to the left as well":
        central + np.sin(1.0) * (np.cos(h) - 1) / h,
    "that is the one-sided difference to the left: take a step to the right as well":
        central - np.sin(1.0) * (np.cos(h) - 1) / h,
    "it was multiplied by h in place of being divided by it: put 2 * h in brackets": central * h * h,
    "the 2 stands above, and h too: divide by both": central * 4 * h * h,
}, factors={"2": 2.0, "h": h})

# %% [markdown]
# ## How far apart
#
# Smaller steps should be better: the bend matters less. But a computer has about 16 digits, and $f(x+h)$ and $f(x-h)$
# agree in more and more of them as $h$ shrinks. What is left of the difference is then mostly rounding.
#
# So there are two errors. The bend leaves about $h^2 |f'''| / 6$. Rounding leaves about $\epsilon\, |f| / h$, where
# $\epsilon$ is the relative rounding error of the numbers, $2 \cdot 10^{-16}$. One falls with $h$, the other rises.

# %%
steps = 10.0 ** np.arange(-14, 0.01, 0.25)
exact = np.cos(1.0)

fig, ax = plt.subplots(figsize=(6, 3.6), layout="constrained")
one_sided = [abs((np.sin(1 + h) - np.sin(1)) / h - exact) for h in steps]
two_sided = [abs((np.sin(1 + h) - np.sin(1 - h)) / (2 * h) - exact) for h in steps]
ax.loglog(steps, one_sided, ".-", color="#d1495b", label="one-sided")
ax.loglog(steps, two_sided, ".-", color="#00798c", label="central")
ax.loglog(steps, steps**2 / 6, ":", color="gray", label="$h^2/6$, from the bend")
ax.loglog(steps, 1e-16 / steps, "--", color="gray", label=r"$10^{-16}/h$, from rounding")
ax.set(xlabel="step h", ylabel="error of the slope", ylim=(1e-13, 1), title="The slope of the sine at 1")
ax.legend(frameon=False, fontsize=8)
plt.show()
best = steps[np.argmin(two_sided)]
print(f"the best central step here is {best:.0e}; its error is {min(two_sided):.0e}")

# %% [markdown]
# ### Exercise 2: the best step
#
# Set the two errors equal, $h^2 = \epsilon / h$, and solve for $h$. (The factors near 1 do not matter.) Write the
# number for float64, computed (not typed) from `np.finfo(np.float64).eps`.
#
# <details><summary>Hint</summary>
#
# $h^3 = \epsilon$. A cube root is a power of one third: `** (1 / 3)`.
#
# </details>

# %% tags=["exercise"]
best_step = ...              # your code: computed from np.finfo(np.float64).eps


# %% tags=["check"]
from minidistill.diagnosis.gradcheck import STEP

check("best step", best_step, STEP, mistakes={
    "the square root is the best step of the one-sided difference; here h^3 = eps": np.finfo(np.float64).eps ** 0.5,
    "that is eps itself: a step of which nothing is left after rounding": np.finfo(np.float64).eps,
    "1 / 3 is the power, not a factor; in Python it needs brackets": np.finfo(np.float64).eps / 3,
    "that is right, but rounded: compute it from np.finfo(np.float64).eps": 6e-6,
    "2e-16 is rounded: take np.finfo(np.float64).eps itself": 2e-16 ** (1 / 3),
})

# %% [markdown]
# At this step the error is about $h^2$, some $10^{-11}$: the check can see ten digits. That is why the library asks
# for agreement to $10^{-6}$ and no less. Whoever is content with two digits lets most mistakes pass.
#
# ## Many numbers
#
# A gradient has one slope for each entry of an array. So: move one entry at a time, leave all others, and measure.

# %% [markdown]
# ### Exercise 3: a numerical gradient
#
# Write `numerical(f, x, h)`. `f` takes an array and returns a number; `x` is a float64 array of any shape. Return an
# array of the shape of `x` with the central difference of each entry. `x` itself must be as before when you are done.
#
# <details><summary>Hint</summary>
#
# `for index in np.ndindex(x.shape):` visits each entry; `moved = x.copy()` and `moved[index] += h` moves one of them.
# Begin with `gradient = np.zeros_like(x)`.
#
# </details>

# %% tags=["exercise"]
def numerical(f, x, h=6e-6):
    ...                      # your code: return the gradient, in the shape of x


# %% tags=["check"]
rng = np.random.default_rng(0)
A, at = rng.standard_normal((2, 3, 4))
before = at.copy()
true = A * np.cos(at)                                                           # (3,4)  of sum(A sin(x))
check("numerical", lambda: numerical(lambda x: (A * np.sin(x)).sum(), at), true, tolerance=1e-7, mistakes={
    "all entries move together: x has to be copied anew for each entry": np.full((3, 4), true.sum()),
    "all entries move together, x + h: move one of them at a time": true.sum(),
    "all entries of a row move together: np.ndindex(x.shape) visits single entries": np.tile(
        true.sum(axis=1, keepdims=True), 4),
    "that is the one-sided difference: take a step to the other side as well": true - 6e-6 / 2 * A * np.sin(at),
    "only the first row is filled: np.ndindex(x.shape) visits all entries": true * (np.arange(3) == 0)[:, None],
}, factors={"2": 2.0, "h": 6e-6})
check("x as it was before", lambda: at, before, mistakes={
    "each entry was left a step lower: move a copy, x.copy(), and not x itself": before - 6e-6,
    "each entry was left a step higher: move a copy, x.copy(), and not x itself": before + 6e-6,
})

# %% [markdown]
# Now check a gradient that was derived by hand: that of the cross-entropy, for 5 rows and 4 classes. `check_gradient`
# of the library does what you have just written, compares, and returns the largest relative error. It raises
# `GradientError` where that is above $10^{-6}$.

# %%
B, C = 5, 4
s, y = 2 * rng.standard_normal((B, C)), np.array([3, 0, 1, 1, 2])               # (B,C), (B,)
onehot = np.eye(C)[y]                                                           # (B,C)
q, _ = ops.softmax_forward(s)                                                   # (B,C)


def loss(s):                 # s (B,C)
    value, _ = ops.cross_entropy_forward(s, y)
    return float(value)


ds = (q - onehot) / B                                                           # (B,C)
print(f"largest relative error: {check_gradient(loss, s, ds):.1e}")

# %% [markdown]
# ## How wrong ones look
#
# A check that only says "wrong" leaves you alone with it. The *pattern* of the error says much more. Here are six
# gradients of the same loss, five of them wrong. Each point is one entry: to the right what finite differences
# say, upwards what the gradient says. A right gradient lies on the grey line.

# %%
expected = numerical_gradient(loss, s)                                          # (B,C)
candidates = {
    "right": ds,
    "times B: a sum for a mean": ds * B,
    "sign": -ds,
    "minus y is missing": q / B,
    "y one class off": (q - np.roll(onehot, 1, axis=1)) / B,
    "softmax over the wrong axis": (ops.softmax_forward(s.T)[0].T - onehot) / B,
}
fig, axes = plt.subplots(2, 3, figsize=(8.4, 5.2), layout="constrained", sharex=True)
for ax, (name, given) in zip(axes.flat, candidates.items(), strict=True):
    ax.axline((0, 0), slope=1, color="lightgray", zorder=0)
    ax.plot(expected, given, "o", color="#00798c" if name == "right" else "#d1495b", markersize=4)
    ax.set_title(name, fontsize=9)
for ax in axes[1]:
    ax.set_xlabel("finite differences")
for ax in axes[:, 0]:
    ax.set_ylabel("the gradient")
plt.show()

# %% [markdown]
# - **A line of another slope** is a factor: a sum for a mean, a missing $T^2$, a division done twice. The slope is the
#   factor, so read it off and compare it with $B$, $C$, $T$ and their squares and inverses.
# - **A line of slope -1** is a sign.
# - **Two parallel lines**, or some points on the line and others off it, are a missing term that only some entries
#   have: here those of the right class.
# - **A cloud** is a wrong index, axis or transpose: numbers of the right size at the wrong places.

# %% [markdown]
# ### Exercise 4: let the computer say it
#
# Write `explain(given, expected)` for two arrays of the same shape. Return `"right"` where they agree, `"sign"` where
# one is minus the other, `"factor"` where one is the other times some other number, and `"pattern"` for all else. Take
# two arrays to agree where no entry differs by more than $10^{-6}$ times the largest entry of `expected`.
#
# <details><summary>Hint</summary>
#
# The factor, if there is one, is the ratio at the largest entry of `expected`:
# `k = np.abs(expected).argmax()`, `ratio = given.flat[k] / expected.flat[k]`. Then look whether `ratio * expected`
# agrees with `given`. An array of zeros has ratio 0: it is a factor as well.
#
# </details>

# %% tags=["exercise"]
def explain(given, expected):
    ...                      # your code: return one of the four words


# %% tags=["check"]
cases = {
    "the right one": (ds, "right"),
    "minus it": (-ds, "sign"),
    "B times it": (B * ds, "factor"),
    "a C-th of it, with the wrong sign": (-ds / C, "factor"),
    "it, rounded in the eighth digit": (ds * (1 + 1e-8), "right"),
    "nothing but zeros": (0 * ds, "factor"),
    "q / B": (q / B, "pattern"),
    "it, with one entry wrong": (ds + 0.1 * (np.arange(B * C).reshape(B, C) == 7), "pattern"),
}
for name, (given, word) in cases.items():
    check(f"{name} is {word!r}", lambda given=given: explain(given, ds), word, mistakes={
        {
            "right": "they agree up to a millionth: ask that before you ask for a factor",
            "sign": "minus one is a factor too: ask for the sign before you ask for a factor",
        }.get(word, "the ratio of one entry is no proof: compare all entries with ratio * expected"): "factor",
        "it is that: take the ratio at the largest entry of expected, and compare all entries by the rule above":
            "pattern",
        "they do not agree: compare them entry by entry, with np.abs": "right",
    })

# %% [markdown]
# ## Where a check is blind
#
# **At zeros.** A term that is multiplied by zero can be as wrong as it likes. Here the backward pass of a layer with
# ReLU forgets the mask: it hands on $da$ where it should hand on $da \cdot [z > 0]$. Watch when that is seen.

# %%
W = rng.standard_normal((3, 2))                                                 # (I,O)


def relu_loss(x):            # x (B,I)
    return float(np.square(np.maximum(x @ W, 0)).sum() / 2)


def without_mask(x):         # x (B,I)
    a = np.maximum(x @ W, 0)                                                    # (B,O)
    return a @ W.T                                                              # (B,I)  da = a, and dz = da


def verdict(f, x, gradient):
    try:
        return f"passes, error {check_gradient(f, x, gradient):.0e}"
    except GradientError as error:
        return f"is caught: {error}"


print("this loss, without the mask,", verdict(relu_loss, np.ones((4, 3)), without_mask(np.ones((4, 3)))))

# %% [markdown]
# It passes, since here $da = a$ is zero wherever the mask is. The mistake is there, and this loss cannot see it. So a
# backward pass is checked with a *random* $da$, not with one that happens to suit.

# %% [markdown]
# ### Exercise 5: a check that can see it
#
# With the loss $\sum (r \cdot a)$, in which $r$ is fixed random numbers, $da = r$ does not care about the mask. Now it
# depends on `x`: for which of these would the missing mask still not be seen? Answer with `"A"`, `"B"` or `"C"`.
#
# - A: `x` such that all of $z = xW$ is above 0
# - B: `x` such that all of $z$ is below 0
# - C: random `x`
#
# <details><summary>Hint</summary>
#
# The mask $[z > 0]$ makes a difference only where it is 0.
#
# </details>

# %% tags=["exercise"]
blind = ...                  # your code: "A", "B" or "C"


# %% tags=["check"]
check("where it is blind", blind, "A", mistakes={
    "there the right gradient is zero and the wrong one is not: that is seen at once": "b",
    "about half of the units have a mask of 0 there, and that is seen": "c",
})

# %% [markdown]
# **At kinks.** ReLU has no slope at 0. From the left it is 0, from the right it is 1, and the central difference takes
# the mean of the two. The library takes 0; both are allowed, and they disagree.

# %%
kink = np.zeros((1, 1))
found = numerical_gradient(lambda x: float(np.maximum(x, 0).sum()), kink)
by_hand = ops.relu_backward(np.ones((1, 1)), np.maximum(kink, 0))
print("finite differences:", found.item(), "  backward:", by_hand.item())

# %% [markdown]
# A step of $h$ across a kink spoils one entry of a check even where $z$ is only near 0. With random float64 numbers
# that is rare. Where it happens, another seed will do; where it happens with every seed, it is no kink.
#
# **In float32.** There are 7 digits in place of 16. The best step is then about 0.005, so the bend alone costs more
# than $10^{-6}$:

# %%
for dtype in (np.float64, np.float32):
    h = float(np.finfo(dtype).eps) ** (1 / 3)
    up, down = dtype(1) + dtype(h), dtype(1) - dtype(h)
    print(f"{dtype.__name__}: step {h:.0e}, error {abs(float((np.sin(up) - np.sin(down)) / (up - down)) - exact):.0e}")

# %% [markdown]
# And that is one sine; a loss adds up thousands of rounded numbers, and keeps fewer digits still. So gradients are
# checked in float64, and the float32 kernels are compared with them afterwards. `check_gradient` refuses float32.
#
# ## A whole network
#
# Entry by entry a gradient of $P$ numbers takes $2P$ values of the loss. That is fine for hundreds. For more there is a
# cheaper check: take one random direction $u$ $(P,)$ and compare a single number,
#
# $$ \frac{f(w + hu) - f(w - hu)}{2h} \approx \sum_k u_k\, dw_k . $$
#
# A wrong entry changes the right-hand side, whichever it is: to stay unseen it would have to be at a right angle to a
# direction that nobody has chosen.

# %%
network = MLP((64, 32, 10), seed=1, dtype=np.float64, backend="numpy")
rows = slice(0, 50)


def loss_at(w):              # w (P,)
    kept = network.parameters.copy()
    network.parameters[:] = w
    value, _ = ops.cross_entropy_forward(network.logits(x[rows]), train.y[rows])
    network.parameters[:] = kept
    return float(value)


logits, cache = network.forward(x[rows])                                        # (B,C)
_, entropy = ops.cross_entropy_forward(logits, train.y[rows])
network.backward(ops.cross_entropy_backward(entropy), cache)                    # fills network.gradients (P,)
print(f"{network.num_parameters:,} parameters, along one direction: error "
      f"{check_direction(loss_at, network.parameters, network.gradients):.0e}")

spoiled = network.gradients.copy()
spoiled[1000] += 0.01 * np.abs(spoiled).max()
print(f"one entry of {spoiled.size:,} is off by a hundredth of the largest one:")
for seed in range(3):
    try:
        check_direction(loss_at, network.parameters, spoiled, seed=seed)
        print("not seen")
    except GradientError as error:
        print(error)

# %% [markdown]
# This is how the tests of this library hold every gradient to $10^{-6}$: small cases entry by entry, whole networks
# along a direction.
#
# ## What to remember
#
# A central difference with a step of about the cube root of the rounding error measures a slope to ten digits, in
# float64 only. Check with random numbers, not with zeros and not with ones. Look at the pattern: a factor is a line of
# another slope, a missing term is some points off the line, a wrong axis is a cloud. Ask for $10^{-6}$, not for "about
# right".
#
# ## Read next in the source
#
# - `minidistill/diagnosis/gradcheck.py`: `check_gradient` and `check_direction`, with what they say about a wrong
#   gradient.
# - `minidistill/diagnosis/check_loss.py`: `check_loss`, which tries a whole loss; you will meet it in notebook 7.
#
# Next: notebook 5, training a teacher.
