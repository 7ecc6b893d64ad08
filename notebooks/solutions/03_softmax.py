# %% [markdown]
# # Answers to 3 · Softmax, cross-entropy and why p - y

# %% [markdown]
# ## Exercise 1: softmax
# The sum of each row stays a column `(B,1)`, so that each row is divided by its own sum.

# %% tags=["solution"]
def softmax(s):                                # s (B,C)
    e = np.exp(s)                              # (B,C)
    return e / e.sum(axis=1, keepdims=True)    # (B,C)

# %% [markdown]
# ## Exercise 2: predict
# 100 was added to all three logits. Their differences are the same, and so are the probabilities.

# %% tags=["solution"]
third = 0.67

# %% [markdown]
# ## Exercise 3: the logarithm, safely
# The sum is between 1 and $C$, so its logarithm is between 0 and $\log C$: nothing can overflow or vanish.

# %% tags=["solution"]
def log_softmax(s):                            # s (B,C)
    z = s - s.max(axis=1, keepdims=True)       # (B,C)  the largest is 0
    return z - np.log(np.exp(z).sum(axis=1, keepdims=True))  # (B,C)

# %% [markdown]
# ## Exercise 4: cross-entropy
# One log-probability a row, and the mean of them.

# %% tags=["solution"]
def cross_entropy(s, y):  # s (B,C)  y (B,)
    log_q, _ = ops.log_softmax_forward(s)      # (B,C)
    return -log_q[np.arange(len(y)), y].mean()

# %% [markdown]
# ## Exercise 5: the gradient
# What was said minus what is true, a $B$-th of it for each row.

# %% tags=["solution"]
def gradient(s, y):                            # s (B,C)  y (B,)
    q, _ = ops.softmax_forward(s)              # (B,C)
    return (q - ops.one_hot(y, s.shape[1], s.dtype)) / len(y)  # (B,C)

# %% [markdown]
# ## Exercise 6: a soft target
# $q - p$. The teacher pulls the first logit up and pushes the other two down, both equally. A label would have pushed
# the second one down harder: the teacher says that it is not so wrong.

# %% tags=["solution"]
answer = (0.5 - 0.7, 0.3 - 0.2, 0.2 - 0.1)
