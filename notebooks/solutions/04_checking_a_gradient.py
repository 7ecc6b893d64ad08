# %% [markdown]
# # Answers to 4 · Checking a gradient

# %% [markdown]
# ## Exercise 1: the central difference
# From $x - h$ to $x + h$ the way is $2h$ long.

# %% tags=["solution"]
def central_difference(f, x, h):  # f: from a number to a number
    return (f(x + h) - f(x - h)) / (2 * h)

# %% [markdown]
# ## Exercise 2: read the best step off
# $\varepsilon$ is about $2 \cdot 10^{-16}$ in float64, and its cube root about $6 \cdot 10^{-6}$: between $10^{-5}$ and
# $10^{-6}$. Which of the two is better in the table is a matter of rounding, so it is computed here.

# %% tags=["solution"]
exponent = min(range(-12, 0), key=lambda k: central_error(1.0, 10.0**k))

# %% [markdown]
# ## Exercise 3: all entries
# A copy is nudged, so `x` stays as it is. (The library's own takes a step that fits the size of `x`.)

# %% tags=["solution"]
def numerical_gradient(f, x, h=1e-5):  # x: an array of any shape
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (f(up) - f(down)) / (2 * h)
    return gradient

# %% [markdown]
# ## Exercise 4: name the mistake
# Constant ratios first: $-1$ is the sign, $1/6$ is a second division by the six rows. Where `W2` and `b2` are right and
# only what lies behind the ReLU is wrong, the ReLU was skipped; where `W1` alone is wrong, it is transposed; where even
# `b2` is wrong and no ratio is constant, it is the gradient of the loss.
#
# (The answer is computed here by trying all names.)

# %% tags=["solution"]
def is_this(mystery, name):
    return all(np.array_equal(a, b) for a, b in zip(backward(others, x, y, name), mystery, strict=True))


names = tuple(name for mystery in mysteries for name in MISTAKES if is_this(mystery, name))

# %% [markdown]
# ## Exercise 5: mend it
# `db2` is a sum over rows, for the $1/B$ of the mean is in `ds` already: six rows made it six times too small. And the
# slope of the ReLU is 1 or 0, not `h`.

# %% tags=["solution"]
def mended(x, y, h, s, W2):  # x (B,4)  y (B,)  h (B,H)  s (B,C)  W2 (H,C)
    B, C = s.shape
    q, _ = ops.softmax_forward(s)                        # (B,C)
    ds = (q - ops.one_hot(y, C, s.dtype)) / B            # (B,C)
    dW2 = h.T @ ds                                       # (H,C)
    db2 = ds.sum(axis=0)                                 # (C,)
    dh = ds @ W2.T                                       # (B,H)
    dz = dh * (h > 0)                                    # (B,H)
    dW1 = x.T @ dz                                       # (4,H)
    db1 = dz.sum(axis=0)                                 # (H,)
    return dW1, db1, dW2, db2

# %% [markdown]
# ## Exercise 6: at the kink
# $(\max(h, 0) - \max(-h, 0)) / 2h = (h - 0) / 2h = \frac12$: the mean of both slopes. The backward pass takes 0.

# %% tags=["solution"]
at_the_kink = 0.5
