# %% [markdown]
# # 8 · Your first student: the answers

# %%
import numpy as np

from minidistill import SoftTarget, ops

# %% [markdown]
# ## Exercise 1: a step of distillation
# The four lines of the list. `v` is changed in place, so that the next step finds it.

# %% tags=["solution"]
def step(student, x, y, t, v, rate):     # x (B,I)  y (B,)  t (B,C)  v (P,)
    s, cache = student.forward(x, training=True)                                # (B,C)
    loss, ds = SoftTarget(4.0, 0.9)(s, t, y)                                    # (), (B,C)
    student.backward(ds, cache)                                                 # fills student.gradients (P,)
    ops.sgd_update(student.parameters, student.gradients, v, rate, 0.9)
    return loss


# %% [markdown]
# ## Exercise 2: the run
# Three arrays, one `rows`. To forget it at one of them is the mistake that costs most, and that no error tells of.

# %% tags=["solution"]
def run(step, student, x, y, t, rate, epochs, batch, seed):  # x (N,I)  y (N,)  t (N,C)
    v, losses = np.zeros_like(student.parameters), []
    for epoch in range(epochs):
        order = order_of(epoch, len(x), seed)                                   # (N,)
        for k in range(0, len(x), batch):
            rows = order[k : k + batch]
            losses.append(step(student, x[rows], y[rows], t[rows], v, rate))
    return losses


# %% [markdown]
# ## Exercise 3: the class average
# All images of a digit get the same row. What the teacher said about the single image is gone, and what it says about
# the digit is left.

# %% tags=["solution"]
def class_average(t, y):     # t (N,C)  y (N,)
    average = np.empty_like(t)                                                  # (N,C)
    for c in np.unique(y):
        average[y == c] = t[y == c].mean(axis=0)                                # (C,)
    return average


# %% [markdown]
# ## Exercise 4: paired differences
# What the seeds have in common, good or bad sets of images, cancels in the differences.

# %% tags=["solution"]
def gain(alone, taught):     # (S,)  (S,)
    difference = taught - alone                                                 # (S,)
    return difference.mean(), difference.std(ddof=1), (difference > 0).sum()


# %% [markdown]
# ## Exercise 5: retention and agreement
# Agreement does not look at the labels at all.

# %% tags=["solution"]
def kept(student, teacher, y):   # student, teacher (N,C)  y (N,)
    mine, theirs = student.argmax(axis=1), teacher.argmax(axis=1)               # (N,)  (N,)
    return (mine == y).mean() / (theirs == y).mean(), (mine == theirs).mean()
