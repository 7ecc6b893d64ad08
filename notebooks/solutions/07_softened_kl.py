# %% [markdown]
# # 7 · The softened KL and its gradient: the answers

# %%
import numpy as np

from minidistill import ops

# %% [markdown]
# ## Exercise 1: the divergence
# The teacher's p weighs the differences of the logarithms. The sum goes over the classes, the mean over the rows.

# %% tags=["solution"]
def kl(log_p, log_q):    # log_p, log_q (B,C)
    return (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()


# %% [markdown]
# ## Exercise 2: the gradient of the divergence
# Step 3, divided by the number of rows.

# %% tags=["solution"]
def kl_gradient(s, t, T):    # s, t (B,C)
    q, _ = ops.softmax_forward(s, T)                                            # (B,C)
    p, _ = ops.softmax_forward(t, T)                                            # (B,C)
    return (q - p) / (T * len(s))                                               # (B,C)


# %% [markdown]
# ## Exercise 3: the teacher's term
# Of the $T^2$ in the gradient one factor $T$ has gone against the $1/T$ of the chain rule.

# %% tags=["solution"]
def soft_target(s, t, T):    # s, t (B,C)
    log_q, _ = ops.log_softmax_forward(s, T)                                    # (B,C)
    log_p, _ = ops.log_softmax_forward(t, T)                                    # (B,C)
    q, p = np.exp(log_q), np.exp(log_p)                                         # (B,C)  (B,C)
    value = T**2 * (p * (log_p - log_q)).sum(axis=1).mean()                     # ()     [KD-2]
    return value, T * (q - p) / len(s)                                          # (B,C)  [KD-3]


# %% [markdown]
# ## Exercise 4: the limit
# Each row of s and of t loses its own mean. The rows of the result sum to 0, as those of every gradient by logits here.

# %% tags=["solution"]
def limit(s, t):     # s, t (B,C)
    difference = s - t                                                          # (B,C)
    return (difference - difference.mean(axis=1, keepdims=True)) / s.size       # (B,C)


# %% [markdown]
# ## Exercise 5: the whole loss
# Both parts come with their $1/B$, and the teacher's with its $T^2$. Only the weights are new.

# %% tags=["solution"]
def distillation_loss(s, t, y, T, alpha):    # s, t (B,C)  y (B,)
    ce, of_labels = ops.cross_entropy_forward(s, y)
    kl, of_teacher = ops.soft_target_forward(s, t, T)
    value = (1 - alpha) * ce + alpha * kl                                       # ()     [KD-4]
    ds = (1 - alpha) * ops.cross_entropy_backward(of_labels) + alpha * ops.soft_target_backward(of_teacher)
    return value, ds                                                            # (B,C)  [KD-5]
