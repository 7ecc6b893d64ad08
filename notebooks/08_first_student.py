# %% [markdown]
# # 8 · Your first student
#
# All parts are there: a teacher, soft targets, their gradient, a training loop. Here you put them together, and then
# do what many reports leave out: you find out whether it was the teacher that helped.
#
# **You will know at the end**
#
# - the whole of distillation, written by you, equal to the library's `distill` to the last digits;
# - which students have to be trained beside the distilled one before a gain means anything;
# - how to choose settings without fooling yourself, and how to compare over several seeds;
# - what retention and agreement say that accuracy does not;
# - which part of the teacher's answers did the work here.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebooks 5 to 7.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import (
    MLP,
    SGD,
    CosineSchedule,
    CrossEntropy,
    SoftTarget,
    SoftTargets,
    compare,
    digits,
    distill,
    fit,
    ops,
)
from minidistill.diagnosis.exercises import check
from minidistill.training.evaluation import accuracy, agreement

# %% [markdown]
# ## The situation
#
# The teacher of notebook 5 has learnt from 997 images. The student is small, and it gets to see only 150 of them. That
# is a case in which a teacher has something to give: it has seen more than the student's labels tell.

# %%
everything, test = digits()
learning, validation = everything.split(len(everything) - 300, seed=0)
teacher = MLP((64, 256, 256, 10), dropout=0.3, seed=0)
fit(teacher, learning, epochs=40, batch_size=64, optimizer=SGD(CosineSchedule(0.1)), seed=0)

SIZES, SEEN = (64, 32, 10), 150
student = MLP(SIZES, seed=0)
print(teacher)
print(student)
print(f"the teacher takes {teacher.multiply_adds / student.multiply_adds:.0f} times as many multiply-adds per image")

# %% [markdown]
# ## One step
#
# A step of distillation is a step of notebook 5 with the loss of notebook 7:
#
# 1. the student's logits for a mini-batch, and the cache;
# 2. the loss and its gradient $ds$ by these logits, from $s$, $t$ and $y$;
# 3. the backward pass, which fills `student.gradients`;
# 4. the update of `student.parameters`, with momentum.
#
# The teacher's logits $t$ come from outside. They do not change during training, so the teacher is asked once,
# beforehand.

# %% [markdown]
# ### Exercise 1: a step of distillation
#
# Write `step(student, x, y, t, v, rate)` for `x` $(B,I)$, `y` $(B,)$, `t` $(B,C)$, and the velocity `v` $(P,)$. Use
# $T = 4$, $\alpha = 0.9$ and a momentum of 0.9. Change `student.parameters` and `v` in place (`v *= 0.9` changes the
# array; `v = 0.9 * v` makes a new one, which nobody else sees), and return the loss.
#
# <details><summary>Hint</summary>
#
# `s, cache = student.forward(x, training=True)`; then `SoftTarget(4.0, 0.9)(s, t, y)` returns the loss and $ds$;
# `student.backward(ds, cache)` fills `student.gradients`. `ops.sgd_update(w, dw, v, rate, 0.9)` changes `w` and `v` in
# place.
#
# </details>

# %% tags=["exercise"]
def step(student, x, y, t, v, rate):     # x (B,I)  y (B,)  t (B,C)  v (P,)
    ...                                  # your code: return the loss


# %% tags=["check"]
batch = learning.take(30, seed=0)
x, y = batch.x.astype(np.float64), batch.y                                      # (B,I)  (B,)
t = teacher.logits(batch.x).astype(np.float64)                                  # (B,C)


def beginner():
    return MLP(SIZES, seed=0, dtype=np.float64, backend="numpy")


def after_two_steps():
    learner, v = beginner(), np.zeros(student.num_parameters)
    losses = [step(learner, x, y, t, v, 0.05) for _ in range(2)]
    return None if None in losses else (learner.parameters, losses[1])


def by_the_library(loss, momentum=0.9):
    learner = beginner()
    fit(learner, batch, loss, epochs=2, batch_size=30, optimizer=SGD(0.05, momentum), targets=t)
    return learner.parameters


def with_places_changed(s, t, y, backend):
    return SoftTarget(4.0, 0.9)(t, s, y)


def uphill(s, t, y, backend):
    value, ds = SoftTarget(4.0, 0.9)(s, t, y)
    return value, -ds


right = beginner()
history = distill(t, right, batch, SoftTarget(4.0, 0.9), epochs=2, batch_size=30, optimizer=SGD(0.05))
check("step", after_two_steps, (right.parameters, history.column("loss")[1]), tolerance=1e-8, mistakes={
    "they did not change: a backward pass or an update is missing": beginner().parameters,
    "the labels alone were learnt: the loss has to see t": by_the_library(CrossEntropy()),
    "v did not carry on: pass v itself, let it be changed, and give the momentum":
        by_the_library(SoftTarget(4.0, 0.9), momentum=0.0),
    "T is 4 here": by_the_library(SoftTarget(1.0, 0.9)),
    "alpha is 0.9 here; that is 0.5, the default": by_the_library(SoftTarget(4.0, 0.5)),
    "alpha is 0.9, the weight of the teacher; that is 0.1": by_the_library(SoftTarget(4.0, 0.1)),
    "teacher and student have changed places in the loss": by_the_library(with_places_changed),
    "the sign of the step is wrong: the gradient points uphill": by_the_library(uphill),
})

# %% [markdown]
# ## The whole run
#
# Around the step stands the loop over epochs and mini-batches. The order of the images in an epoch is this one:

# %%
def order_of(epoch, rows, seed):
    return np.random.default_rng((seed, epoch)).permutation(rows)               # (N,)  row numbers


print(order_of(epoch=0, rows=10, seed=0))
print(order_of(epoch=1, rows=10, seed=0))

# %% [markdown]
# ### Exercise 2: the run
#
# Write `run(step, student, x, y, t, rate, epochs, batch, seed)` for all images at once: `x` $(N,I)$, `y` $(N,)$, `t`
# $(N,C)$. In each epoch go through the images in the order of `order_of(epoch, N, seed)`, `batch` at a time; the last
# mini-batch may be smaller. Call `step(student, ..., v, rate)` on each, with one velocity `v` that begins at zero.
# Return the list of all losses that `step` returned.
#
# <details><summary>Hint</summary>
#
# `rows = order[k : k + batch]` for `k` in `range(0, len(x), batch)`. Images, labels *and* teacher's logits are taken
# at the same rows: `x[rows]`, `y[rows]`, `t[rows]`. The velocity is `np.zeros_like(student.parameters)`, made before
# the first epoch.
#
# </details>

# %% tags=["exercise"]
def run(step, student, x, y, t, rate, epochs, batch, seed):  # x (N,I)  y (N,)  t (N,C)
    ...                                                      # your code: return the list of losses


# %% tags=["check"]
hundred = learning.take(100, seed=1)
x, y = hundred.x.astype(np.float64), hundred.y                                  # (N,I)  (N,)
t = teacher.logits(hundred.x).astype(np.float64)                                # (N,C)


def what_steps_saw():
    seen = []

    def watching(student, x, y, t, v, rate):
        seen.append((x.copy(), t.copy(), y.copy(), [v.mean()]))
        v += 1
        return float(len(seen))

    losses = run(watching, beginner(), x, y, t, 0.05, 2, 30, 7)
    return None if losses is None else (*map(np.concatenate, zip(*seen, strict=True)), np.array(losses))


orders = [order_of(epoch, 100, 7) for epoch in range(2)]
order = np.concatenate(orders)                                                  # (2N,)
check("run", what_steps_saw, (x[order], t[order], y[order], np.arange(8.0), np.arange(1.0, 9.0)), mistakes={
    "the images came in the same order in each epoch": x[np.tile(orders[0], 2)],
    "the images were not shuffled": np.tile(x, (2, 1)),
    "the last mini-batch of each epoch, the smaller one, was left out": x[np.concatenate([o[:90] for o in orders])],
    "labels and teacher's answers have changed places: step takes x, y, t": y[order],
    "the teacher's answers are out of step: t has to be taken at the same rows as x": np.tile(t, (2, 1)),
    "the labels are out of step: y has to be taken at the same rows as x": np.tile(y, 2),
    "the velocity began anew at each step; it is made once": np.zeros(8),
    "the velocity began anew in each epoch; it is made once": np.tile(np.arange(4.0), 2),
    "the losses of the last epoch alone came back": np.arange(5.0, 9.0),
})

# %% [markdown]
# Both together are `distill`. After three epochs every weight should be the same:

# %% tags=["check"]
def by_you():
    learner = beginner()
    losses = run(step, learner, x, y, t, 0.05, 3, 30, 7)
    return None if losses is None else learner.parameters


library = beginner()
distill(t, library, hundred, SoftTarget(4.0, 0.9), epochs=3, batch_size=30, optimizer=SGD(0.05), seed=7)
check("your distillation, each weight", by_you, library.parameters, tolerance=1e-8, mistakes={
    "no weight has changed: is exercise 1 done?": beginner().parameters,
})

# %% [markdown]
# From here on the library's `distill` does it. It asks the teacher itself, and it keeps each answer with a fingerprint
# of the image that it belongs to, so that nothing gets out of step.
#
# ## Against what?
#
# "The distilled student has 95%" says nothing by itself. Had it got 95% without a teacher too? There are several ways
# in which the teacher could be innocent of a gain, and each has a **control**, a student that would show it:
#
# | student | learns from | if it does as well, then |
# | --- | --- | --- |
# | alone | labels | the teacher gave nothing |
# | smoothed | labels, 0.1 of each spread over all classes | any softening would have done |
# | class average | the teacher's mean answer for each digit | a table of ten rows would have done |
# | shuffled | the teacher's answers to other images | the answers' content does not matter |
# | distilled | the teacher's answers to its own images | |
#
# All of them see the same 150 images, with the same first weights, in the same order, for as many steps.

# %% [markdown]
# ### Exercise 3: the class average
#
# Write `class_average(t, y)` for logits `t` $(N,C)$ and labels `y` $(N,)$: an array $(N,C)$ whose row $n$ is the mean
# of all rows of `t` that have the label $y_n$.
#
# <details><summary>Hint</summary>
#
# Make an empty array of the shape of `t`, and go through the classes. `y == c` chooses the rows of class $c$, both
# where you read and where you write. The mean of these rows is taken with `axis=0`.
#
# </details>

# %% tags=["exercise"]
def class_average(t, y):     # t (N,C)  y (N,)
    ...                      # your code: return (N,C)


# %% tags=["check"]
members = (y[:, None] == y[None]).astype(float)                                 # (N,N)  1 where the labels are equal
counts = members.sum(axis=1, keepdims=True)                                     # (N,1)
check("class_average", lambda: class_average(t, y), members @ t / counts, mistakes={
    "the rows of each class were added up; divide by how many there are": members @ t,
    "that is the mean over all images, whatever their label": np.tile(t.mean(axis=0), (len(t), 1)),
    "that is the teacher as it is": t,
    "each row was replaced by its own mean over the classes": np.tile(t.mean(axis=1, keepdims=True), (1, 10)),
    "there is one row for each class; there has to be one for each image": np.stack(
        [t[y == c].mean(axis=0) for c in range(10)]
    ),
})

# %% [markdown]
# ## The students
#
# One function makes them all. What differs is what they are taught.

# %%
BUDGET = {"epochs": 200, "batch_size": 30}


def trained(method, seed, rate, T=4.0):
    data = learning.take(SEEN, seed=seed)
    network = MLP(SIZES, seed=seed)
    options = {**BUDGET, "optimizer": SGD(CosineSchedule(rate)), "seed": seed}
    if method in ("alone", "smoothed"):
        fit(network, data, CrossEntropy(0.1 if method == "smoothed" else 0.0), **options)
        return network
    answers = teacher.logits(data.x)                                            # (N,C)
    if method == "class average":
        answers = np.stack([answers[data.y == c].mean(axis=0) for c in range(10)])[data.y]          # (N,C)
    if method == "shuffled":
        answers = answers[np.random.default_rng(seed).permutation(SEEN)]        # (N,C)
    distill(SoftTargets.of(answers, data), network, data, SoftTarget(T, 0.9), check_teacher=False, **options)
    return network


seen = learning.take(SEEN, seed=0)
answers = teacher.logits(seen.x)                                                # (N,C)
print(f"on these images the teacher's first choice is the label: {np.mean(answers.argmax(axis=1) == seen.y):.1%}")
for T in (1.0, 4.0, 8.0):
    p, _ = ops.softmax_forward(answers, T)                                      # (N,C)
    print(f"T = {T:g}: it gives the other classes {1 - p.max(axis=1).mean():.1%} of its probability")

# %% [markdown]
# The teacher has learnt these images, so its first choice tells the student hardly anything that the labels do not.
# What it gives beyond them is all in the other classes.
#
# ## Choosing settings
#
# Each contender gets four trials, on the **validation** images, with three seeds of which the comparison below uses
# none. That is part of fairness: whoever tries more settings finds a better one by luck alone. The two that learn from
# labels try four learning rates; the two that learn from the teacher try two rates with two temperatures. The shuffled
# control takes what the distilled one has chosen.

# %%
def right_on(network, data):
    return accuracy(network.predict_proba(data.x), data.y)


by_rate = [{"rate": rate} for rate in (0.01, 0.03, 0.1, 0.3)]
by_both = [{"rate": rate, "T": T} for rate in (0.03, 0.1) for T in (2.0, 8.0)]
trials = {"alone": by_rate, "smoothed": by_rate, "class average": by_both, "distilled": by_both}
settings = {}
for method, choices in trials.items():
    scores = []
    for one in choices:
        networks = [trained(method, seed, **one) for seed in (100, 101, 102)]
        scores.append(np.mean([right_on(network, validation) for network in networks]))
    settings[method] = choices[int(np.argmax(scores))]
    print(f"{method:14}", *(f"{score:.2%}" for score in scores), "  chosen:", settings[method])
settings["shuffled"] = settings["distilled"]

# %% [markdown]
# ## Five seeds, and the test images once
#
# A seed decides which 150 images are seen, the first weights and the order. With one seed we would see one story. With
# five we see how much of it is luck.

# %%
methods = ("alone", "smoothed", "class average", "shuffled", "distilled")
students = {method: [trained(method, seed, **settings[method]) for seed in range(5)] for method in methods}
found = {method: np.array([right_on(network, test) for network in students[method]]) for method in methods}  # (5,) each
taught = right_on(teacher, test)
print(f"{'teacher':14} {taught:.2%}")
for method in methods:
    print(f"{method:14} {found[method].mean():.2%} ± {100 * found[method].std(ddof=1):.2f}   each seed:",
          *(f"{value:.1%}" for value in found[method]))

# %%
figure, ax = plt.subplots(figsize=(6.4, 3.4), layout="constrained")
shown = ("alone", "smoothed", "class average", "distilled")
for seed in range(5):
    ax.plot(shown, [100 * found[method][seed] for method in shown], "o-", linewidth=0.8, label=f"seed {seed}")
ax.axhline(100 * taught, color="#7a7f8c", linestyle="--", label="teacher")
ax.set(ylabel="test accuracy, %", title="The same seed, taught in four ways")
figure.legend(loc="outside right center", frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# The shuffled student is left out of the picture, since it would squeeze the others into one line.
#
# Follow one colour from left to right. The seeds differ a lot from each other, because some sets of 150 images are
# better than others, and they rise and fall together. So do not compare the two means with the spread of the
# accuracies. Compare each seed with itself: the **paired difference**.

# %% [markdown]
# ### Exercise 4: paired differences
#
# Write `gain(alone, taught)` for the accuracies of two methods, $(S,)$ each, the same seed at the same place. Return
# three numbers: the mean of the differences, their standard deviation (of a sample, divided by $S-1$), and with how
# many seeds `taught` was better.
#
# <details><summary>Hint</summary>
#
# Subtract first, then take `mean()` and `std(ddof=1)` of the differences. Counting is summing what is above 0.
#
# </details>

# %% tags=["exercise"]
def gain(alone, taught):     # (S,)  (S,)
    ...                      # your code: return mean, standard deviation, number of seeds


# %% tags=["check"]
a, b = np.array([0.91, 0.93, 0.88, 0.94]), np.array([0.95, 0.96, 0.945, 0.93])  # (S,)  (S,)
pairs = b - a                                                                   # (S,)
check("gain", lambda: gain(a, b), (pairs.mean(), (pairs @ (pairs - pairs.mean()) / 3) ** 0.5, 3), mistakes={
    "the standard deviation is divided by S; for a sample it is S - 1": pairs.std(),
    "that is the spread of one method; the spread of the differences is wanted": b.std(ddof=1),
    "that is the difference of the spreads; the spread of the differences is wanted": b.std(ddof=1) - a.std(ddof=1),
    "the spreads of the two methods were combined; the differences have a spread of their own":
        (a.var(ddof=1) + b.var(ddof=1)) ** 0.5,
    "that is the share of the seeds; their number is wanted": 0.75,
    "that counts where alone was better": 1,
})

# %%
for method in methods[1:]:
    difference = 100 * (found[method] - found["alone"])                         # (5,)
    print(f"{method:14} {difference.mean():+6.2f} points ± {difference.std(ddof=1):.2f}, "
          f"better than alone with {np.sum(difference > 0)} of 5 seeds")

# %% [markdown]
# How to read this. Were there no difference at all, each seed would be a coin, and all five would fall on the same
# side once in 16 times. So "5 of 5" is a hint and no proof; it becomes strong where the mean is large against the ± as
# well. A mean smaller than its ± says: not settled.
#
# Now go through the controls, one question each. Did softening the labels help? Did the average answer for each digit?
# What did answers to other images do? Compare the last line with all of them: the gain that only *the answer to this
# very image* can explain is the distance between "class average" and "distilled".
#
# ## Retention and agreement
#
# Accuracy compares a student with the labels. Two other figures compare it with its teacher:
#
# - **Retention**: the student's accuracy as a share of the teacher's. What was kept?
# - **Agreement**: the share of images to which both give the same answer, right or wrong. Does the student *do what the
#   teacher does*?
#
# A student that learns from labels can be as accurate and yet err elsewhere. Only agreement tells whether the teacher
# was imitated (Stanton et al. 2021).

# %% [markdown]
# ### Exercise 5: retention and agreement
#
# Write `kept(student, teacher, y)` for the two networks' probabilities, $(N,C)$ each, and the labels $(N,)$. Return
# retention and agreement, as a pair.
#
# <details><summary>Hint</summary>
#
# `argmax(axis=1)` gives the answers. Three comparisons: student with labels, teacher with labels, student with teacher.
# The mean of each is a share.
#
# </details>

# %% tags=["exercise"]
def kept(student, teacher, y):   # student, teacher (N,C)  y (N,)
    ...                          # your code: return retention and agreement


# %% tags=["check"]
mine, theirs = students["alone"][0].predict_proba(validation.x), teacher.predict_proba(validation.x)  # (N,C)  (N,C)
ratio = accuracy(mine, validation.y) / accuracy(theirs, validation.y)
both_right = (mine.argmax(axis=1) == validation.y) & (theirs.argmax(axis=1) == validation.y)        # (N,)
check("kept", lambda: kept(mine, theirs, validation.y), (ratio, agreement(mine, theirs)), mistakes={
    "that is the accuracy of the student; retention divides it by the teacher's": accuracy(mine, validation.y),
    "that is upside down: the student's accuracy is divided by the teacher's": 1 / ratio,
    "that is the difference of the accuracies; retention is their ratio":
        accuracy(mine, validation.y) - accuracy(theirs, validation.y),
    "that counts where both are right; to err alike is agreement too": both_right.mean(),
    "that compares the probabilities; compare the answers, argmax(axis=1)": (mine == theirs).mean(),
})

# %% [markdown]
# `compare` measures these and more, each a mean over the five students:

# %%
print(compare(teacher, {method: students[method] for method in shown}, test))

# %% [markdown]
# Three things to compare. *Agreement* should rise together with accuracy where the teacher was the cause. *Calibration
# error* says how far a student's confidence is from how often it is right; lower is better. It was neither trained nor
# chosen for, so see for yourself which student is best at it. And the costs in the lower half are the same for all
# students, but for the noise of the timings: what differs is only how they were taught.
#
# ## What the temperature did
#
# The choice above looked at two temperatures. Here are more, on the validation images, with the rate that was chosen:

# %%
temperatures = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
scores = np.array([
    [right_on(trained("distilled", seed, settings["distilled"]["rate"], T), validation) for seed in (100, 101, 102)]
    for T in temperatures
])                                                                              # (temperatures,seeds)
labels_alone = np.mean([right_on(trained("alone", seed, **settings["alone"]), validation) for seed in (100, 101, 102)])
figure, ax = plt.subplots(figsize=(5.2, 3.1), layout="constrained")
ax.plot(temperatures, 100 * scores, ".", color="#00798c", alpha=0.6)
ax.plot(temperatures, 100 * scores.mean(axis=1), color="#00798c", label="distilled, mean and seeds")
ax.axhline(100 * labels_alone, color="#d1495b", linestyle="--", label="alone, mean")
ax.set(xscale="log", xlabel="T", ylabel="validation accuracy, %", title="Distilled at several temperatures")
ax.set_xticks(temperatures, [f"{T:g}" for T in temperatures])
ax.minorticks_off()
ax.legend(frameon=False, fontsize=8)
plt.show()

# %% [markdown]
# At $T = 1$ the teacher's answers are labels in all but name (notebook 6), and the student is hardly better than
# alone. What the student gains it gains where the wrong classes become visible.
#
# **What this does not show.** One data set, one size of student, 150 images. With all images the student would need
# its teacher less; with fewer units it might not be able to follow. Notebook 10 looks for the cases in which
# distilling does nothing, or harm.
#
# ## What to remember
#
# Distilling is a training loop with one more argument: the teacher's logits, row for row. A gain counts only against
# controls with the same images, steps and number of trials. Choose on validation images, test once, pair the seeds, and
# give the spread. Retention says what was kept, agreement whether the teacher was the cause.
#
# ## Read next in the source
#
# - `minidistill/distillation/student.py`: `distill`; `minidistill/distillation/soft_targets.py`: `SoftTargets` with
#   its fingerprints.
# - `minidistill/training/run.py`: `train_step`, your exercise 1.
# - `minidistill/training/evaluation.py`: `compare`, `agreement` and `expected_calibration_error`.
# - `minidistill/experiments/demo.py`: `run_demo`, this notebook as one command.
#
# Next: notebook 9, a digit that the student never sees.
