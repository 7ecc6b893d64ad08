# %% [markdown]
# # 18 · Smaller still: the answers

# %%
import numpy as np

# %% [markdown]
# ## Exercise 1: codes
# 256 codes have 255 steps between them. The zero point is rounded, so that 0 has a code of its own, and the ends of the
# range move by less than half a step.

# %% tags=["solution"]
def on_codes(x, low, high):  # x (N,)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = (high - low) / 255
    zero = int(np.rint(-low / scale))
    codes = np.clip(np.rint(x / scale) + zero, 0, 255)                          # (N,)
    return scale, zero, codes


# %% [markdown]
# ## Exercise 2: two errors
# Each entry belongs to one of the two kinds, and both means run over all entries: so they add up to the whole.

# %% tags=["solution"]
def two_errors(x, scale, top):       # x (N,H)
    steps = np.rint(x / scale)                                                  # (N,H)
    clipped = steps > top                                                       # (N,H)
    squares = np.square(scale * np.minimum(steps, top) - x)                     # (N,H)
    return (squares * ~clipped).mean(), (squares * clipped).mean()


# %% [markdown]
# ## Exercise 3: rounded weights
# The maximum down each column, and NumPy's broadcasting gives each column its scale.

# %% tags=["solution"]
def round_weights(W, top):   # W (I,O)
    scale = np.abs(W).max(axis=0) / top                                         # (O,)
    return scale * np.rint(W / scale)                                           # (I,O)


# %% [markdown]
# ## Exercise 4: a layer in whole numbers
# The only floats are those of the multiplication by `m`. Clipping comes before bytes are made of the result.

# %% tags=["solution"]
def integer_layer(q, K, c, m, zero):     # q (B,I)  K (I,O)  c, m (O,)
    sums = q.astype(np.int32) @ K + c                                           # (B,O) 
    v = sums.astype(np.float32) * m                                             # (B,O)
    return (np.rint(np.clip(v, -zero, 255 - zero)) + zero).astype(np.uint8)     # (B,O) 


# %% [markdown]
# ## Exercise 5: straight through
# Forward with the rounded weights, backward as if they were not: the only trace of the grid is the mask.

# %% tags=["solution"]
def straight_through(x, W, goal, scale, top):    # x (B,I)  W (I,H)  goal (B,H)  scale (H,)
    steps = np.rint(W / scale)                                                  # (I,H)
    rounded = scale * np.clip(steps, -top, top)                                 # (I,H) 
    dz = (x @ rounded - goal) / len(x)                                          # (B,H)
    return x.T @ dz * (np.abs(steps) <= top)                                    # (I,H) 


# %% [markdown]
# ## Exercise 6: take a unit out
# A column, a number and a row go. The mean of what the unit said stays, in the bias.

# %% tags=["solution"]
def without(W1, b1, W2, b2, h, j):   # W1 (I,H)  b1 (H,)  W2 (H,O)  b2 (O,)  h (N,H)
    moved = b2 + h[:, j].mean() * W2[j]                                         # (O,)   [PRUNE-3]
    return np.delete(W1, j, axis=1), np.delete(b1, j), np.delete(W2, j, axis=0), moved
