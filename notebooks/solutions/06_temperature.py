# %% [markdown]
# # 6 · Temperature and dark knowledge: the answers

# %%
import numpy as np

from minidistill import ops

# %% [markdown]
# ## Exercise 1: soften
# The largest logit of each row is subtracted first. That changes nothing in the result, and no power can overflow.

# %% tags=["solution"]
def soften(t, T):        # t (B,C)
    e = np.exp((t - t.max(axis=1, keepdims=True)) / T)                          # (B,C)
    return e / e.sum(axis=1, keepdims=True)                                     # (B,C)


# %% [markdown]
# ## Exercise 2: from probabilities alone
# $\log p$ are logits of the same softmax. Dividing them by $T$ is the power $1/T$ of the probabilities.

# %% tags=["solution"]
def soften_probabilities(p, T):  # p (B,C)
    powers = p ** (1 / T)                                                       # (B,C)
    return powers / powers.sum(axis=1, keepdims=True)                           # (B,C)


# %% [markdown]
# ## Exercise 3: which temperature?
# From $\text{gap}/T = \log \text{ratio}$.

# %% tags=["solution"]
def temperature_for(gap, ratio):
    return gap / np.log(ratio)


# %% [markdown]
# ## Exercise 4: entropy
# Where p is 0 the logarithm sees a 1, and the product is 0.

# %% tags=["solution"]
def entropy(p):          # p (B,C)
    return -(p * np.log(np.where(p > 0, p, 1))).sum(axis=1)                     # (B,)


# %% [markdown]
# ## Exercise 5: the shares of the wrong classes
# The label's entry is set to 0, not the largest one: where the teacher errs these are two. What is left is divided by
# its sum.

# %% tags=["solution"]
def wrong_shares(t, y, T):   # t (B,C)  y (B,)
    r, _ = ops.softmax_forward(t, T)                                            # (B,C)
    r[np.arange(len(y)), y] = 0
    return r / r.sum(axis=1, keepdims=True)                                     # (B,C)


# %% [markdown]
# ## Exercise 6: predict before you look
# All classes become alike, and they share 1.

# %% tags=["solution"]
largest_at_last = 1 / 10
