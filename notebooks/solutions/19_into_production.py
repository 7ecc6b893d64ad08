# %% [markdown]
# # 19 · Into production: the answers

# %%
import math

import numpy as np

from minidistill import ops
from minidistill.deployment.bounds import lower_bound

# %% [markdown]
# ## Exercise 1: the slope
# The logit that is expected less the one that came: zero where the network is as sure as it is right.

# %% tags=["solution"]
def slope(s, b, y):          # s (N,C)  b a number  y (N,)
    q = ops.softmax_forward(b * s)[0]                                           # (N,C)
    expected = (q * s).sum(axis=1)                                              # (N,)
    return (expected - s[np.arange(len(y)), y]).mean()                          # ()     [SERVE-7]


# %% [markdown]
# ## Exercise 2: a lower bound
# Forty halvings leave an interval of $2^{-40}$, about $10^{-12}$.

# %% tags=["solution"]
def lower(k, n, delta):
    low, high = 0.0, 1.0
    for _ in range(40):
        p = (low + high) / 2
        tail = sum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k, n + 1))    # [SERVE-1]
        low, high = (low, p) if tail > delta else (p, high)
    return low


# %% [markdown]
# ## Exercise 3: stop at the first that fails
# The loop ends at the first failure, and what passed before it is what counts.

# %% tags=["solution"]
def choose(rights, n, a, delta):
    chosen = -1
    for index, k in enumerate(rights):
        if lower_bound(k, n, delta) < a:
            break
        chosen = index
    return chosen


# %% [markdown]
# ## Exercise 4: is it ever an alarm?
# Sums up to each image, and of those the ones at which somebody looks.

# %% tags=["solution"]
def ever_below(agreed, promised, every):     # agreed (n,) bools
    m = np.arange(every, len(agreed) + 1, every)                                # (looks,)
    k = np.cumsum(agreed)[m - 1]                                                # (looks,)
    return bool((k / m < promised - 1.645 * np.sqrt(promised * (1 - promised) / m)).any())


# %% [markdown]
# ## Exercise 5: gather evidence
# The bet that begins at this image is the 1 that is added before its factor.

# %% tags=["solution"]
def gathered(agreed, promised, r):           # agreed (n,) bools
    R = 0.0
    for same in agreed:
        R = (R + 1) * (1 if same else r) / (1 + (r - 1) * (1 - promised))       # [SERVE-4]
    return R
