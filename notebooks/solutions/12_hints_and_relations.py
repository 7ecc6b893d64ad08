# %% [markdown]
# # 12 · Hints and relations: the answers

# %%
import numpy as np

from minidistill.losses.features import unit_backward, unit_forward

# %% [markdown]
# ## Exercise 1: the hint
# $1/B$ is in `dr` once, and in all that follows from it. The half in the value is what makes `dr` plain.

# %% tags=["solution"]
def hint(h, g, W, b):                # h (B,H)  g (B,G)  W (H,G)  b (G,)
    difference = h @ W + b - g       # (B,G)
    value = 0.5 * np.square(difference).sum() / len(h)                          # ()     [HINT-1]
    dr = difference / len(h)         # (B,G)  [HINT-2]
    return value, dr @ W.T, h.T @ dr, dr.sum(axis=0)                            # (), (B,H), (H,G), (G,)


# %% [markdown]
# ## Exercise 2: a row of length 1, backward
# A sum over `axis=1` for each scalar product, kept as a column so that it meets every entry of its row.

# %% tags=["solution"]
def unit_gradient(du, x):            # du, x (B,H)
    length = np.sqrt((x * x).sum(axis=1, keepdims=True))                        # (B,1)
    u = x / length                   # (B,H)  [FEAT-1]
    return (du - u * (u * du).sum(axis=1, keepdims=True)) / length              # (B,H)  [FEAT-2]


# %% [markdown]
# ## Exercise 3: the gradient of kept similarities
# `dA + dA.T` and not `2 * dA`: the rows of `dA` were divided by different lengths, and so it is not symmetric.

# %% tags=["solution"]
def similarity_gradient(h, Q):       # h (B,H)  Q (B,B)
    P, cache = unit_forward(h @ h.T)                                            # (B,B)
    dA = unit_backward(2 * (P - Q) / len(h)**2, cache)                          # (B,B)  [SP-2]
    return (dA + dA.T) @ h           # (B,H)  [SP-3]


# %% [markdown]
# ## Exercise 4: which one is right?
# `check_gradient(lambda h: distance_loss(h, y), h, version_a(h, y))` and so on. Version a forgets that $\mu$ moves with
# $h$. Version b is half of the right one, as the message says: it counts the row of each sample and not its column.

# %% tags=["solution"]
right_version = "c"
