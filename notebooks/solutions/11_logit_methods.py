# %% [markdown]
# # 11 · Beyond soft targets: the answers

# %%
import numpy as np

from minidistill import ops

# %% [markdown]
# ## Exercise 1: logit matching
# `mean` divides by $BC$; the half makes the slope of the square plain. The derivative keeps the $BC$ and loses the
# half.

# %% tags=["solution"]
def logit_matching(s, t):            # s, t (B,C)
    difference = s - t               # (B,C)
    return 0.5 * (difference**2).mean(), difference / s.size                    # (), (B,C)  [LM-1] [LM-2]


# %% [markdown]
# ## Exercise 2: the gradient of the reverse KL
# The term $+\,q$ of $g$ is left out from the beginning: [SM-2] would take it off. $T^2$ from the loss and $1/T$ from
# the softmax leave one $T$.

# %% tags=["solution"]
def reverse_kl_gradient(s, t, T):    # s, t (B,C)
    log_q, _ = ops.log_softmax_forward(s, T)                                    # (B,C)
    log_p, _ = ops.log_softmax_forward(t, T)                                    # (B,C)
    q = np.exp(log_q)                # (B,C)
    g = q * (log_q - log_p)          # (B,C)  [DIV-1]
    return T * (g - q * g.sum(axis=1, keepdims=True)) / len(s)                  # (B,C)  [SM-2]


# %% [markdown]
# ## Exercise 3: predict before you look
# The forward KL weighs $\log (p/q)$ by $p$. Where $p$ is large and $q$ almost 0 it is huge, so $q$ must be everywhere
# that $p$ is. The reverse KL weighs by $q$, and does not notice a region that the student leaves out.

# %% tags=["solution"]
broad = "forward"

# %% [markdown]
# ## Exercise 4: the part without the label
# A softmax over fewer classes is the softmax over all, renormalised: the hats need no division. No label column is
# masked with a large negative number; it is simply not there.

# %% tags=["solution"]
def nckd(s, t, y, T):                # s, t (B,C)  y (B,)
    B, C = s.shape
    others = np.arange(C) != y[:, None]                                         # (B,C)
    s_others, t_others = s[others].reshape(B, C - 1), t[others].reshape(B, C - 1)   # (B,C-1)
    value, cache = ops.soft_target_forward(s_others, t_others, T)               # ()     [DKD-2]
    ds = np.zeros_like(s)            # (B,C)
    ds[others] = ops.soft_target_backward(cache).ravel()
    return value, ds


# %% [markdown]
# ## Exercise 5: backward through the z-score
# Two projections, then the division. Check it by thinking: if $dz$ is a constant row, the answer is 0, and if $dz =
# z$, it is 0 as well.

# %% tags=["solution"]
def zscore_backward(dz, s):          # dz, s (B,C)
    std = s.std(axis=1, keepdims=True)                                          # (B,1)
    z = (s - s.mean(axis=1, keepdims=True)) / std                               # (B,C)  [STD-1]
    along_one = dz.mean(axis=1, keepdims=True)                                  # (B,1)
    along_z = (z * dz).mean(axis=1, keepdims=True)                              # (B,1)
    return (dz - along_one - z * along_z) / std                                 # (B,C)  [STD-2]
