# %% [markdown]
# # 5 · Training a teacher
#
# A teacher can only pass on what it has learnt. This notebook trains the network that notebooks 6 to 8 learn from, and
# explains each thing that makes its training work: the step, the momentum, the dropout, the data that is held back.
#
# **You will know at the end**
#
# - what one training step does, and how momentum and Adam change it;
# - how dropout works, and why what is kept is made larger;
# - how to see that a network learns by heart, and what helps against it;
# - why the learning rate goes down during training;
# - how the teacher of the next notebooks was trained, and on which images.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebooks 2 to 4: a forward pass, a backward
# pass, and the gradient $(q-y)/B$.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import (
    MLP,
    SGD,
    ConstantSchedule,
    CosineSchedule,
    CrossEntropy,
    LinearSchedule,
    StepSchedule,
    WarmUp,
    digits,
    fit,
    ops,
    with_label_noise,
)
from minidistill.diagnosis.exercises import check
from minidistill.training.evaluation import accuracy

# %% [markdown]
# ## Three sets of images
#
# We have 1,797 real handwritten digits of 8x8 pixels. They are put into three sets, and no image is in two of them.
#
# | set | what it is for |
# | --- | --- |
# | training | the gradient is computed from these |
# | validation | choices are made by these: how long, how fast, how large a network |
# | test | looked at once, at the very end |
#
# A choice made by looking at images suits these images a little better than others. That is why validation and test
# images are not the same.

# %%
everything, test = digits()
learning, validation = everything.split(len(everything) - 300, seed=0)
for name, part in (("training", learning), ("validation", validation), ("test", test)):
    print(f"{name:10}  x {part.x.shape}  y {part.y.shape}")

# %% [markdown]
# ## One step
#
# All weights and biases of the network are in one long vector $w$ $(P,)$. The backward pass fills a vector $dw$ $(P,)$
# of the same layout: how the loss changes with each of them. The simplest step goes against it:
#
# $$ w \leftarrow w - \eta\, dw $$
#
# $\eta$ is the **learning rate**. The loss is not taken over all images but over a few of them, a **mini-batch**. Its
# gradient is a noisy estimate of the whole one, and much cheaper. Hence the name: *stochastic gradient descent*, SGD.
# When each image has been used once, an **epoch** is over; the images are then shuffled anew.
#
# This is the whole loop. `update` is what this notebook is about. A loss of the library takes the student's logits, the
# teacher's (here there are none: `None`), the labels and the functions to compute with, and returns its value and $ds$.
# `training=True` and `step` matter for dropout only, which comes further down. The first cell that trains may take a
# minute or two: the library's kernels are compiled then.

# %%
def train(network, update, epochs=10, batch=32, seed=0):
    """The mean loss of each epoch."""
    losses, step = [], 0
    for epoch in range(epochs):
        order = np.random.default_rng((seed, epoch)).permutation(len(learning))
        total = 0.0
        for k in range(0, len(order), batch):
            rows = order[k : k + batch]
            s, cache = network.forward(learning.x[rows], training=True, step=step)  # (B,C)
            loss, ds = CrossEntropy()(s, None, learning.y[rows], network.ops)       # (), (B,C)
            network.backward(ds, cache)                                             # fills network.gradients (P,)
            step += 1
            update(network.parameters, network.gradients, step)                     # changes network.parameters (P,)
            total += loss * len(rows)
        losses.append(total / len(order))
    return losses


def plain(w, dw, step):          # each (P,)
    w -= 0.1 * dw


network = MLP((64, 128, 128, 10), seed=0)
print("mean loss of each epoch:", np.round(train(network, plain, epochs=5), 3))

# %% [markdown]
# ## Momentum
#
# In a narrow valley the gradient points mostly across, from wall to wall, and only a little along. Plain steps
# bounce between the walls; if they are made short enough not to, they crawl along the floor.
#
# **Momentum** remembers past gradients in a vector $v$ $(P,)$, the velocity, which starts at zero. It fades by the
# factor $\mu$ in each step, and the new gradient is added:
#
# $$ v \leftarrow \mu\, v + dw \quad \text{[OPT-1]} \qquad\qquad w \leftarrow w - \eta\, v \quad \text{[OPT-2]} $$
#
# Gradients that change their sign cancel in $v$. Those that agree add up: a constant gradient $g$ gives in the end
# $g\,(1 + \mu + \mu^2 + \dots) = g/(1-\mu)$, ten times the step at $\mu = 0.9$.

# %% [markdown]
# ### Exercise 1: a step with momentum
#
# Write `sgd(w, dw, v, rate, momentum)`. All three arrays are $(P,)$. Return the new `w` and the new `v`, as a pair. Do
# not change the arrays that came in: return fresh ones.
#
# <details><summary>Hint</summary>
#
# First the new velocity, $\mu v + dw$. Then the step, with the *new* velocity. The learning rate stands outside of $v$:
# so a rate that changes later does not stay in the memory of old gradients.
#
# </details>

# %% tags=["exercise"]
def sgd(w, dw, v, rate, momentum):   # w, dw, v (P,)
    ...                              # your code: return the new w and the new v


# %% tags=["check"]
rng = np.random.default_rng(1)
w, dw, v = rng.standard_normal((3, 6))                                          # (P,) each
w_right, v_right = w.copy(), v.copy()
ops.sgd_update(w_right, dw, v_right, 0.05, 0.9)
check("sgd", lambda: sgd(w.copy(), dw, v.copy(), 0.05, 0.9), (w_right, v_right), mistakes={
    "that is a step without momentum: v has to move w": w - 0.05 * dw,
    "the step was made with the old velocity; compute the new one first": w - 0.05 * v,
    "the sign of the step is wrong: the gradient points uphill": w + 0.05 * v_right,
    "the learning rate stands inside of the velocity; in [OPT-2] it multiplies all of v": w - (0.9 * v + 0.05 * dw),
    "the learning rate stands inside of the velocity, with the sign": w + (0.9 * v - 0.05 * dw),
    "the gradient is weighed by 1 - momentum; in [OPT-1] it is added as it is": w - 0.05 * (0.9 * v + 0.1 * dw),
    "the old velocity was returned": v,
})

# %% [markdown]
# ## Adam
#
# One learning rate for all parameters is a compromise: some have large gradients all the time, some small ones.
# **Adam** divides each gradient by its own usual size. It keeps two fading means, entry by entry:
#
# $$ m \leftarrow \beta_1 m + (1-\beta_1)\, dw \quad \text{[OPT-3]} \qquad
#    v \leftarrow \beta_2 v + (1-\beta_2)\, dw^2 \quad \text{[OPT-4]} $$
#
# Both start at zero, so in the first steps they are too small: after $k$ steps the weights of all gradients so far add
# up to $1 - \beta^k$ and not to 1. Dividing by that mends it:
#
# $$ \hat m = \frac{m}{1-\beta_1^k} , \qquad \hat v = \frac{v}{1-\beta_2^k} , \qquad
#    w \leftarrow w - \eta\, \frac{\hat m}{\sqrt{\hat v} + \epsilon} \quad \text{[OPT-5]} $$
#
# $\hat m$ and $\sqrt{\hat v}$ are in the same unit, so a parameter moves by about $\eta$ and as a rule no further,
# however large or small its gradient. The tiny $\epsilon$ keeps us from dividing by 0.

# %% [markdown]
# ### Exercise 2: a step of Adam
#
# Write `adam(w, dw, m, v, rate, step)` with $\beta_1 = 0.9$, $\beta_2 = 0.999$ and $\epsilon = 10^{-8}$. `step` is $k$
# and counts from 1. Return the new `w`, `m` and `v`, all $(P,)$.
#
# <details><summary>Hint</summary>
#
# `m_hat = m / (1 - 0.9**step)`, and alike for `v`. Return `m` and `v` themselves, not `m_hat` and `v_hat`: the
# correction is made anew in each step. $\epsilon$ is added after the square root.
#
# </details>

# %% tags=["exercise"]
def adam(w, dw, m, v, rate, step):   # w, dw, m, v (P,)
    ...                              # your code: return the new w, m and v


# %% tags=["check"]
w, dw, before = 0.01 * rng.standard_normal((3, 6))                               # (P,) each
m, v = 0.1 * before, 0.001 * before**2                                          # (P,)  as one step leaves them
w_right, m_right, v_right = w.copy(), m.copy(), v.copy()
ops.adam_update(w_right, dw, m_right, v_right, 0.01, 2)
sure = m_right / (1 - 0.9**2)                                                   # (P,)
size = v_right / (1 - 0.999**2)                                                 # (P,)
check("adam", lambda: adam(w.copy(), dw, m.copy(), v.copy(), 0.01, 2), (w_right, m_right, v_right), mistakes={
    "m and v are not divided by 1 - beta^step": w - 0.01 * m_right / (np.sqrt(v_right) + 1e-8),
    "v is not divided by 1 - beta2^step": w - 0.01 * sure / (np.sqrt(v_right) + 1e-8),
    "m is not divided by 1 - beta1^step": w - 0.01 * m_right / (np.sqrt(size) + 1e-8),
    "the power is step - 1; step itself is the power, for it starts at 1": w
    - 0.01 * m_right / 0.1 / (np.sqrt(v_right / 0.001) + 1e-8),
    "the means of the step before were corrected: compute the new m and v first": w
    - 0.01 * m / (1 - 0.9**2) / (np.sqrt(v / (1 - 0.999**2)) + 1e-8),
    "the square root is missing": w - 0.01 * sure / (size + 1e-8),
    "epsilon stands inside of the square root": w - 0.01 * sure / np.sqrt(size + 1e-8),
    "the sign of the step is wrong: the gradient points uphill": w + 0.01 * sure / (np.sqrt(size) + 1e-8),
    "the corrected mean was returned; the uncorrected one is what the next step needs": sure,
    "the corrected square was returned; the uncorrected one is what the next step needs": size,
    "v takes the square of the gradient": 0.999 * v + 0.001 * dw,
})

# %% [markdown]
# ## What the three do in a valley
#
# Here the loss is a bowl of two numbers, 25 times as steep across as along: $f(w) = (w_1^2 + 25\,w_2^2)/2$. All three
# start at the same point and make 40 steps.

# %%
def path(update, steps=40):
    w = np.array([-4.0, 1.5])                                                   # (2,)
    points = [w.copy()]
    for step in range(1, steps + 1):
        update(w, w * [1, 25], step)                                            # the gradient of the bowl
        points.append(w.copy())
    return np.array(points)                                                     # (steps+1,2)


def with_momentum(rate):
    v = None

    def update(w, dw, step):         # each (P,)
        nonlocal v
        v = np.zeros_like(w) if v is None else v
        ops.sgd_update(w, dw, v, rate, 0.9)

    return update


def with_adam(rate):
    m = v = None

    def update(w, dw, step):         # each (P,)
        nonlocal m, v
        m, v = (np.zeros_like(w), np.zeros_like(w)) if m is None else (m, v)
        ops.adam_update(w, dw, m, v, rate, step)

    return update


def without(rate):
    return lambda w, dw, step: ops.sgd_update(w, dw, np.zeros_like(w), rate, 0.0)


figure, axes = plt.subplots(1, 3, figsize=(9.6, 2.6), sharey=True, layout="constrained")
a, b = np.meshgrid(np.linspace(-5, 3, 80), np.linspace(-2.2, 2.2, 80))
chosen = {
    "plain, rate 0.03": without(0.03),
    "momentum 0.9, rate 0.02": with_momentum(0.02),
    "Adam, rate 0.3": with_adam(0.3),
}
for ax, (name, update) in zip(axes, chosen.items(), strict=True):
    points = path(update)
    ax.contour(a, b, (a**2 + 25 * b**2) / 2, levels=[0.5, 2, 5, 10, 20, 40], colors="#c9cdd6", linewidths=0.7)
    ax.plot(*points.T, "o-", markersize=2.5, linewidth=0.9, color="#00798c")
    ax.plot(0, 0, "+", color="#d1495b", markersize=10)
    ax.set_title(name, fontsize=10)
    ax.set_xlabel("$w_1$")
    print(f"{name:24}: {np.linalg.norm(points[-1]):.3f} from the lowest point after 40 steps")
axes[0].set_ylabel("$w_2$")
plt.show()

# %% [markdown]
# The red cross is the lowest point. The plain path crawls along the floor, and a larger rate is no way out: above
# $2/25 = 0.08$ each step across would overshoot by more than it mends, and the path would fly apart. Momentum shoots
# past and comes back: it rolls. Adam moves both numbers equally fast at first, as if the bowl were round.
#
# The same on the digits, one training run of 10 epochs each.

# %%
runs = {
    "plain, rate 0.1": without(0.1),
    "momentum 0.9, rate 0.1": with_momentum(0.1),
    "Adam, rate 0.001": with_adam(0.001),
}
figure, ax = plt.subplots(figsize=(5.2, 3.2), layout="constrained")
for name, update in runs.items():
    network = MLP((64, 128, 128, 10), seed=0)
    losses = train(network, update)
    ax.plot(range(1, 11), losses, "o-", markersize=3, label=name)
    print(f"{name:23}: training loss {losses[-1]:.4f}, "
          f"validation accuracy {accuracy(network.predict_proba(validation.x), validation.y):.1%}")
ax.set(xlabel="epoch", ylabel="mean training loss", yscale="log", title="Three ways to step")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# In this run momentum brings the *training* loss down fastest, at these rates. That is not yet a better network:
# compare the validation accuracies, and note how close they are. With 300 images, one image is a third of a percentage
# point. Adam with a larger rate, or plain steps with one, would give other curves. An optimizer is compared fairly
# only after the rate of each has been chosen.
#
# From here on `fit` does the loop. It is the one above with checks, validation and a history, in compiled code, and
# `SGD(0.1)` has a momentum of 0.9.

# %% [markdown]
# ## Learning by heart
#
# The training loss can fall to nothing while the network gets worse at images that it has not seen. It has learnt the
# images by heart, with all that is wrong about them. This is called **overfitting**. To see it well we make it easy:
# 500 images, and one label in five replaced by a wrong one, which no one could guess. The validation labels are right.

# %%
noisy = with_label_noise(learning.take(500, seed=0), 0.2, seed=0)
by_heart = MLP((64, 256, 10), seed=0)
history = fit(by_heart, noisy, epochs=60, batch_size=25, optimizer=SGD(0.05), validation=validation, seed=0)
print(str(history).splitlines()[0])
for epoch in (1, 5, 10, 20, 40, 60):
    print(str(history).splitlines()[epoch])

# %% [markdown]
# Read the columns from top to bottom. The training loss goes on falling to nearly 0: the network now "knows" the wrong
# labels too. The validation figures were best early, long before the end.
#
# ## Dropout
#
# **Dropout** makes learning by heart harder. In each training step it leaves out each hidden activation with
# probability $r$, a different choice for each row and step. No unit can rely on a particular other one, so what is
# learnt must be spread over many. Each entry of the activations $a$ $(B,O)$ is multiplied by a mask:
#
# $$ a'_{no} = a_{no}\, m_{no} , \qquad m_{no} = 0 \text{ with probability } r, \quad
#    \frac{1}{1-r} \text{ otherwise} \quad \text{[DROP-2], [DROP-3]} $$
#
# Why $1/(1-r)$? The mean of the mask is then $r \cdot 0 + (1-r) \cdot \frac{1}{1-r} = 1$, so the next layer gets on
# the average what it would get without dropout. When the network is used, nothing is dropped and nothing needs to be
# scaled. (This form is called *inverted* dropout; the older one scaled at use instead.)
#
# The mask is a constant in the step, so backward multiplies by it too: $da = da'\, m$ [DROP-4].

# %% [markdown]
# ### Exercise 3: dropout
#
# Write `dropout(a, u, rate)`. `a` is $(B,O)$. `u` is $(B,O)$ and holds random numbers, evenly distributed from 0 to 1.
# Leave out an activation where its `u` is below `rate`. Return what is left of `a` and the mask, both $(B,O)$.
#
# <details><summary>Hint</summary>
#
# `u >= rate` is an array of True and False: what is kept. Divided by a number it counts as 1 and 0.
#
# </details>

# %% tags=["exercise"]
def dropout(a, u, rate):     # a, u (B,O)
    ...                      # your code: return the new a and the mask, both (B,O)


# %% tags=["check"]
a, u = rng.standard_normal((4, 5)), rng.random((4, 5))                          # (B,O)
mask = np.heaviside(u - 0.25, 1.0) * 4 / 3                                      # (B,O)
check("dropout", lambda: dropout(a, u, 0.25), (a * mask, mask), factors={"1 - rate": 0.75}, mistakes={
    "what u chose to leave out was kept, and the rest left out": a * (u < 0.25) / 0.75,
    "what u chose to leave out was kept, and divided by the rate": a * (u < 0.25) / 0.25,
    "it was divided by the rate, the share left out; divide by the share that stays": a * (u >= 0.25) / 0.25,
    "the mask holds True and False; it has to hold 1 / (1 - rate) and 0, since backward multiplies by it": u >= 0.25,
})

# %% [markdown]
# The library's mask is made in another way, by hashing the place of each entry, so that it does not depend on the
# machine or the number of threads. Its mean is as it should be, and so is its share of zeros:

# %%
mask = ops.dropout_mask((1000, 256), 0.3, seed=0, step=1, layer=1)              # (B,O)
print(f"share of zeros {np.mean(mask == 0):.4f}, the others are {mask.max():.4f}, mean {mask.mean():.4f}")

# %%
dropped = MLP((64, 256, 10), dropout=0.5, seed=0)
with_dropout = fit(dropped, noisy, epochs=60, batch_size=25, optimizer=SGD(0.05), validation=validation, seed=0)

figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
for name, run, colour in (("without dropout", history, "#d1495b"), ("dropout 0.5", with_dropout, "#00798c")):
    axes[0].plot(run.column("loss"), "--", color=colour, label=f"{name}: training")
    axes[0].plot(run.column("validation_loss"), color=colour, label=f"{name}: validation")
    axes[1].plot(100 * run.column("validation_accuracy"), color=colour, label=name)
    print(f"{name:15}: lowest validation loss in epoch {run.column('validation_loss').argmin() + 1}, "
          f"accuracy at the end {run.epochs[-1].validation_accuracy:.1%}")
axes[0].set(xlabel="epoch", ylabel="mean loss", title="One label in five is wrong", ylim=(0, 2.2))
axes[1].set(xlabel="epoch", ylabel="%", title="Validation accuracy")
axes[0].legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# With dropout the dashed line stays well above 0: the wrong labels are not learnt so easily. The two solid lines on the
# left tell which network has lost less. Dropout slows overfitting down; it does not forbid it. And it is no gift: a
# small network that is short of units may get worse by it.
#
# ## Stopping early
#
# The other remedy costs nothing: stop while the validation figures are best, and go back to the weights of that epoch.
# To stop at the first bad epoch would be hasty, since the curve is jagged. So one waits for some epochs without a new
# best: the **patience**.

# %% [markdown]
# ### Exercise 4: when to stop
#
# Write `stop(accuracies, patience)`. `accuracies` holds the validation accuracy of each epoch. Training stops after
# the first epoch that lies `patience` epochs behind the best one so far (the first, where several are equal). Return
# the best epoch and the epoch after which it stops, as a pair, counted from 1. Where it never stops, that is the last
# one.
#
# For `[0.5, 0.7, 0.6, 0.7, 0.9]` and a patience of 2 the answer is `(2, 4)`: the 0.9 is never seen.
#
# <details><summary>Hint</summary>
#
# Go through the epochs with `enumerate(accuracies, start=1)`. Keep the best accuracy so far, and its epoch. A value
# that is only as good as the best is not better: use `>`.
#
# </details>

# %% tags=["exercise"]
def stop(accuracies, patience):
    ...                      # your code: return the best epoch and the last one


# %% tags=["check"]
seen = [0.5, 0.7, 0.6, 0.7, 0.9]
check("stop, by the example", lambda: stop(seen, 2), (2, 4), mistakes={
    "the epochs count from 1, not from 0": 1,
    "training had stopped by then: an equal accuracy is no better one, and to be patience behind is enough": 5,
    "it stopped an epoch too early: an epoch that is patience behind the best is the last": 3,
})
check("stop, with patience enough", lambda: stop(seen, 3), (5, 5))

# %% [markdown]
# `fit(..., patience=10)` does this: it keeps the best weights, and compares the validation loss where two accuracies
# are equal.

# %%
stopped = MLP((64, 256, 10), seed=0)
early = fit(stopped, noisy, epochs=60, batch_size=25, optimizer=SGD(0.05), validation=validation, seed=0, patience=10)
print(f"stopped after epoch {len(early.epochs)}, went back to epoch {early.best.epoch}: validation accuracy "
      f"{early.best.validation_accuracy:.1%}, where 60 epochs gave {history.epochs[-1].validation_accuracy:.1%}")

# %% [markdown]
# Note that the validation images have now made a choice. Their accuracy at the chosen epoch is flattered a little: it
# is the best of many.
#
# ## The learning rate goes down
#
# A large rate gets far, and then jumps about the lowest point: each mini-batch pulls in another direction. A small
# rate settles, but takes long to get there. So one starts large and ends small. A **schedule** says which rate
# belongs to which progress, from 0 at the first step to 1 after the last. The one most used here is half a cosine:
#
# $$ \eta(\text{progress}) = \eta_0\, \frac{1 + \cos(\pi \cdot \text{progress})}{2} $$

# %% [markdown]
# ### Exercise 5: half a cosine
#
# Write `cosine(rate, progress)`, with `rate` for $\eta_0$.
#
# <details><summary>Hint</summary>
#
# At progress 0 the cosine is 1 and the rate is $\eta_0$. At progress 1 the cosine is $-1$ and the rate is 0. `np.pi`
# is in radians, which is what `np.cos` takes.
#
# </details>

# %% tags=["exercise"]
def cosine(rate, progress):
    ...                      # your code: return the rate at this progress


# %% tags=["check"]
at = np.array([0.0, 0.2, 0.5, 0.9])
check("cosine", lambda: [cosine(0.3, p) for p in at], [CosineSchedule(0.3)(p) for p in at], mistakes={
    "the cosine went all the way round: from 0 to pi, not to 2 pi": 0.3 * (1 + np.cos(2 * np.pi * at)) / 2,
    "add 1 to the cosine: it is negative in the second half": 0.3 * np.cos(np.pi * at) / 2,
    "add 1 to the cosine, which is negative in the second half, and halve": 0.3 * np.cos(np.pi * at),
    "pi is missing inside of the cosine": 0.3 * (1 + np.cos(at)) / 2,
    "brackets are missing: (1 + cos) is halved as a whole, and multiplied by the rate": 0.3 + np.cos(np.pi * at) / 2,
    "that is a quarter of a wave: the rate falls late": 0.3 * np.cos(np.pi * at / 2),
    "that goes up; the rate is to go down": 0.3 * (1 - np.cos(np.pi * at)) / 2,
    "np.cos takes radians": 0.3 * (1 + np.cos(180 * at)) / 2,
}, factors={"2": 2.0})

# %%
schedules = {"constant": ConstantSchedule(0.1), "in steps": StepSchedule(0.1), "straight": LinearSchedule(0.1),
             "cosine": CosineSchedule(0.1), "cosine after a warm-up": WarmUp(CosineSchedule(0.1))}
figure, ax = plt.subplots(figsize=(5.2, 3.0), layout="constrained")
progress = np.linspace(0, 1, 200, endpoint=False)
for name, schedule in schedules.items():
    ax.plot(progress, [schedule(p) for p in progress], label=name)
    found = []
    for seed in range(3):
        network = MLP((64, 128, 128, 10), seed=seed)
        fit(network, learning, epochs=15, optimizer=SGD(schedule), seed=seed)
        found.append(100 * accuracy(network.predict_proba(validation.x), validation.y))
    print(f"{name:23}: validation accuracy {np.mean(found):.2f}% ± {np.std(found, ddof=1):.2f} over 3 seeds")
ax.set(xlabel="progress", ylabel="learning rate", title="Schedules")
ax.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# Compare the means with the spread behind the ±. Those that fall can hardly be told apart on so easy a task, and we do
# not claim that one of them wins. What a falling rate does give is an end that does not depend on the last few batches:
# look at the spread of the constant rate beside the others.
#
# ## The teacher
#
# Now all of it together. This is the teacher of notebooks 6, 7 and 8, and they train it anew with exactly these lines:
# two hidden layers of 256 units, dropout of 0.3, momentum 0.9, a rate of 0.1 that falls along a cosine, 40 epochs.

# %%
teacher = MLP((64, 256, 256, 10), dropout=0.3, seed=0)
options = {"epochs": 40, "batch_size": 64, "optimizer": SGD(CosineSchedule(0.1))}
history = fit(teacher, learning, validation=validation, seed=0, **options)
print(teacher)
for epoch in (1, 2, 5, 10, 20, 40):
    print(str(history).splitlines()[epoch])

# %% [markdown]
# Is it right more often than a network without dropout? Three seeds of each, on the validation images:

# %%
for rate in (0.0, 0.3):
    found = []
    for seed in range(3):
        network = MLP((64, 256, 256, 10), dropout=rate, seed=seed)
        fit(network, learning, epochs=40, batch_size=64, optimizer=SGD(CosineSchedule(0.1)), seed=seed)
        probabilities = network.predict_proba(validation.x)                     # (N,C)
        loss, _ = ops.cross_entropy_forward(network.logits(validation.x), validation.y)
        found.append((100 * accuracy(probabilities, validation.y), loss))
    (right, losses) = np.mean(found, axis=0)
    spread = np.std(found, axis=0, ddof=1)
    print(f"dropout {rate}: accuracy {right:.2f}% ± {spread[0]:.2f}, loss {losses:.4f} ± {spread[1]:.4f}")

# %% [markdown]
# Read both columns with their spread. Where the accuracies are too close to call, the loss still says something that
# matters for a teacher: it measures *all* of a network's probabilities, not its first choice alone. These probabilities
# are what a student will learn from, and the next notebook looks at them.
#
# ## What to remember
#
# A step goes against the gradient of a mini-batch. Momentum adds up gradients that agree; Adam divides each by its own
# size. Dropout leaves out activations at random and makes the others larger, so that the mean stays. A training loss
# that falls while the validation loss rises means learning by heart: stop early, or make it harder. Choose by
# validation images, and look at the test images once.
#
# ## Read next in the source
#
# - `minidistill/ops.py`: `sgd_update`, `adam_update` and `dropout_mask`, derived in `docs/maths/ops.md`.
# - `minidistill/training/optim.py`: the schedules and `SGD`.
# - `minidistill/training/run.py`: `train_step`, the body of our loop; `minidistill/training/loop.py`: `fit`.
#
# Next: notebook 6, temperature and dark knowledge.
