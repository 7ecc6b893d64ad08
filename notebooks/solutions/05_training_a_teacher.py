# %% [markdown]
# # 5 · Training a teacher: the answers

# %%
import numpy as np

# %% [markdown]
# ## Exercise 1: a step with momentum
# The velocity first, the step with the new velocity after it. Both results are fresh arrays. With `momentum=0` the
# velocity is the gradient, and this is the plain step.

# %% tags=["solution"]
def sgd(w, dw, v, rate, momentum):   # w, dw, v (P,)
    v = momentum * v + dw            # (P,)  [OPT-1]
    return w - rate * v, v           # (P,)  [OPT-2]


# %% [markdown]
# ## Exercise 2: a step of Adam
# `m` and `v` are kept as they are; the corrected ones live for this step only. At step 1 the corrections make
# $\hat m = dw$ and $\hat v = dw^2$, so every parameter moves by about the rate.

# %% tags=["solution"]
def adam(w, dw, m, v, rate, step):   # w, dw, m, v (P,)
    m = 0.9 * m + 0.1 * dw           # (P,)  [OPT-3]
    v = 0.999 * v + 0.001 * dw**2    # (P,)  [OPT-4]
    m_hat = m / (1 - 0.9**step)      # (P,)
    v_hat = v / (1 - 0.999**step)    # (P,)
    return w - rate * m_hat / (np.sqrt(v_hat) + 1e-8), m, v                     # [OPT-5]


# %% [markdown]
# ## Exercise 3: dropout
# True and False count as 1 and 0. The mask is returned since backward needs it: what was left out gets no gradient, and
# what was made larger gets a larger one.

# %% tags=["solution"]
def dropout(a, u, rate):     # a, u (B,O)
    mask = (u >= rate) / (1 - rate)                                             # (B,O)
    return a * mask, mask


# %% [markdown]
# ## Exercise 4: when to stop
# Only a better accuracy moves the best epoch. The test for stopping comes after it, so an epoch that is a new best
# never stops the training.

# %% tags=["solution"]
def stop(accuracies, patience):
    best, best_epoch = -1.0, 0
    for epoch, accuracy_now in enumerate(accuracies, start=1):
        if accuracy_now > best:
            best, best_epoch = accuracy_now, epoch
        if epoch - best_epoch >= patience:
            break
    return best_epoch, epoch


# %% [markdown]
# ## Exercise 5: half a cosine
# $1 + \cos$ goes from 2 to 0 as the progress goes from 0 to 1; half of it goes from 1 to 0.

# %% tags=["solution"]
def cosine(rate, progress):
    return rate * (1 + np.cos(np.pi * progress)) / 2
