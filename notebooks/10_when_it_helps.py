# %% [markdown]
# # 10 · When it helps and when it hurts
#
# Distilling is often shown where it works. This notebook looks for the places where it does not: it measures the gain
# over a grid of students and data, finds cells where a teacher does harm, and asks what could have told you beforehand.
#
# **You will know at the end**
#
# - which two things decide most: how little the student sees, and how much room it has;
# - what a teacher does to a student that is too small for it, and how the temperature makes it worse or better;
# - what a teacher is worth where many labels are wrong;
# - why agreement with the teacher grows with the images that it answers, and needs no labels;
# - how to tell a gain from chance, and what to try first with your own data.
#
# It takes about 20 minutes to read; the exercises come on top. You need notebook 8: distilling, controls, several
# seeds.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import MLP, SGD, Adam, CosineSchedule, Dataset, SoftTarget, digits, distill, fit, with_label_noise
from minidistill.diagnosis.exercises import check

# %% [markdown]
# ## One experiment, many times
#
# The teacher has 256 hidden units and learns from all training images. A student learns from `n` of them, alone or from
# the teacher, for 1,500 steps either way, with the same first weights. What counts is the *difference* in test accuracy
# between the two students of a seed. Everything that makes one seed luckier than another is in both, and cancels.
#
# The settings are the same for all students. They were not tuned cell by cell, so a cell says "this happens with usual
# settings", and no more.

# %%
train, test = digits()
teacher = MLP((64, 256, 10), dropout=0.3)
fit(teacher, train, epochs=20, optimizer=SGD(CosineSchedule(0.1)))


def accuracy(network):
    return 100 * float((network.predict(test.x) == test.y).mean())


def student(data, width, seed, T=None, teacher=teacher, alpha=0.9, steps=1500):
    """A student of `width` hidden units: alone, or taught at temperature T."""
    network = MLP((64, width, 10), "tanh", seed=seed)  # of three ReLU units one would often be dead
    batch = min(32, len(data))
    epochs = max(1, steps * batch // len(data))
    options = {"epochs": epochs, "batch_size": batch, "optimizer": Adam(CosineSchedule(0.01)), "seed": seed}
    if T is None:
        fit(network, data, **options)
    else:
        distill(teacher, network, data, SoftTarget(T, alpha), **options)
    return network


print(f"the teacher: {accuracy(teacher):.1f}%")

# %% [markdown]
# ### Exercise 1: a paired difference
#
# Write `paired(a, b)`: `a` and `b` are accuracies, one a seed, in the same order. Return the mean of the differences
# `a - b`, their standard deviation (of a sample: divided by $n - 1$), and for how many seeds `a` is larger.
#
# <details><summary>Hint</summary>
#
# Take the differences first. `np.std(..., ddof=1)` divides by $n - 1$.
#
# </details>

# %% tags=["exercise"]
def paired(a, b):            # a, b: one accuracy a seed
    ...                      # your code: return mean, standard deviation, count


# %% tags=["check"]
a, b = np.array([93.0, 95.5, 91.0, 94.0]), np.array([92.0, 95.0, 91.5, 92.0])
check("paired", lambda: paired(a, b), (0.75, np.std(a - b, ddof=1), 3), mistakes={
    "that is the spread of a and b apart; take the differences first, what both share cancels":
        np.std(a, ddof=1) - np.std(b, ddof=1),
    "that is the spread of a alone; the differences have one of their own": np.std(a, ddof=1),
    "it is b - a; a gain of a should be above 0": -0.75,
    "the spreads of a and b were combined; take the differences first, what both share cancels":
        np.sqrt(a.var(ddof=1) + b.var(ddof=1)),
    "that is the standard error; the deviation itself is wanted": np.std(a - b, ddof=1) / 2,
    "the deviation is divided by n; a sample's has n - 1 (ddof=1)": np.std(a - b),
})

# %% [markdown]
# ## The grid
#
# Five widths, four numbers of images, four seeds. Before you run it: where will the gain be largest, where smallest?

# %% [markdown]
# ### Exercise 2: predict
#
# Give the corner of the grid in which you expect the *largest* gain: `"many units, few images"`, `"many units, many
# images"`, `"few units, few images"` or `"few units, many images"`.
#
# <details><summary>Hint</summary>
#
# A teacher has most to add where the labels say least. And the student needs room to use it.
#
# </details>

# %% tags=["exercise"]
largest_gain = ...           # your code: one of the four


# %% tags=["check"]
check("where the gain is largest", largest_gain, "many units, few images", mistakes={
    "with many images the labels alone tell nearly everything": "many units, many images",
    "few images is right; but a student of a few units has no room for what the teacher adds": "few units, few images",
    "there the labels tell nearly everything, and there is no room for more": "few units, many images",
})

# %%
WIDTHS, SIZES, SEEDS = (3, 6, 12, 32, 128), (50, 150, 400, 1297), range(4)
alone, taught = (np.zeros((len(WIDTHS), len(SIZES), len(SEEDS))) for _ in range(2))    # (widths,sizes,seeds) each
for i, width in enumerate(WIDTHS):
    for j, n in enumerate(SIZES):
        for seed in SEEDS:
            data = train.take(n, seed=seed)
            alone[i, j, seed] = accuracy(student(data, width, seed))
            taught[i, j, seed] = accuracy(student(data, width, seed, T=4.0))

gains = taught - alone                                                          # (widths,sizes,seeds)
print("points gained, mean ± standard deviation over seeds (student alone)")
print(f"{'units':>6}" + "".join(f"{f'{n:,} images':>24}" for n in SIZES))
for i, width in enumerate(WIDTHS):
    cells = [f"{gains[i, j].mean():+5.1f} ± {gains[i, j].std(ddof=1):3.1f} ({alone[i, j].mean():.1f}%)"
             for j in range(len(SIZES))]
    print(f"{width:6}" + "".join(f"{cell:>24}" for cell in cells))

# %%
fig, ax = plt.subplots(figsize=(5.6, 3.8), layout="constrained")
mean = gains.mean(axis=2)                                                       # (widths,sizes)
limit = np.abs(mean).max()
shown = ax.imshow(mean, cmap="RdBu", vmin=-limit, vmax=limit, aspect="auto")
for i in range(len(WIDTHS)):
    for j in range(len(SIZES)):
        sure = abs(mean[i, j]) > 2 * gains[i, j].std(ddof=1) / np.sqrt(len(SEEDS))
        ax.text(j, i, f"{mean[i, j]:+.1f}" + ("" if sure else "?"), ha="center", va="center")
ax.set(xticks=range(len(SIZES)), xticklabels=[f"{n:,}" for n in SIZES], yticks=range(len(WIDTHS)), yticklabels=WIDTHS,
       xlabel="images that the student sees", ylabel="hidden units", title="Points that the teacher adds (T = 4)")
fig.colorbar(shown, label="points")
plt.show()

# %% [markdown]
# Blue is a gain, red a loss. A question mark stands where the mean is less than two standard errors (the deviation
# over the root of the number of seeds) from 0: there the seeds do not say which it is. Four seeds are few, so take the
# marks as a hint and not as a proof.
#
# Two things to read off. From right to left the gain grows: the fewer images, the more does a teacher add to their
# labels. From top to bottom: with enough units the student can use it. And where there are few units and many images,
# look for red.
#
# ## Too small for its teacher
#
# Labels ask a student for one thing: the right class first. Soft targets at a high temperature ask for the whole shape
# of the teacher's answer, the likeness of a 4 to a 9 as well. A student of three units cannot have both, and spends
# room on likenesses that it needed for the classes. At a low temperature the soft targets are nearly the teacher's
# first choice alone.

# %%
TEMPERATURES = (1.0, 2.0, 4.0, 8.0)
fig, ax = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
for width, colour in ((3, "#d1495b"), (32, "#00798c")):
    base = np.array([accuracy(student(train, width, seed)) for seed in SEEDS])
    rows = np.array([[accuracy(student(train, width, seed, T)) for seed in SEEDS] for T in TEMPERATURES]) - base
    for T, row in zip(TEMPERATURES, rows, strict=True):
        print(f"{width:3} units, T = {T:g}: {row.mean():+.1f} ± {row.std(ddof=1):.1f} points")
    ax.errorbar(TEMPERATURES, rows.mean(axis=1), rows.std(axis=1, ddof=1), marker="o", capsize=3, color=colour,
                label=f"{width} units")
ax.axhline(0, color="gray", linewidth=0.8)
ax.set_xscale("log", base=2)
ax.set_xticks(TEMPERATURES, [f"{T:g}" for T in TEMPERATURES])
ax.set(xlabel="temperature", ylabel="points gained", title="All 1,297 images")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Compare the two lines, and the bars, which are the spread over seeds. With three units the temperature decides
# whether harm is done: next to none at 1, several points from 2 on, where more of it changes little. With 32 units and
# all images there is little to win at any temperature: the labels suffice.
#
# How would you have known beforehand that the small student has no room to spare? It tells you itself: alone, it cannot
# even get the *training* images right.

# %% [markdown]
# ### Exercise 3: room to spare
#
# Write `training_accuracy(network, data)`: the share of its own training images that it names rightly, in percent.
#
# <details><summary>Hint</summary>
#
# `network.predict(data.x)` gives the classes $(N,)$; `data.y` are the labels.
#
# </details>

# %% tags=["exercise"]
def training_accuracy(network, data):
    ...                      # your code: return a percentage


# %% tags=["check"]
trial = student(train, 3, 0)
right = 100 * float(np.mean(trial.predict(train.x) == train.y))
check("training_accuracy", lambda: training_accuracy(trial, train), right, factors={"100": 100.0}, mistakes={
    "that is on the test images: use the data that came in": accuracy(trial),
    "that is the share of wrong ones": 100 - right,
})

# %%
for width in WIDTHS:
    found = [100 * np.mean(student(train, width, seed).predict(train.x) == train.y) for seed in SEEDS]
    print(f"{width:3} units: {np.mean(found):5.1f}% of the training images right, alone")

# %% [markdown]
# Where this is 100%, there is room to spare, and a teacher can fill it. Where it is well below, each thing that the
# teacher adds takes the place of another.
#
# ## Cleaner than the labels
#
# Now let 40% of the labels be wrong, evenly. Teacher and student learn from the same wrong labels. One should think
# that the student inherits all the mistakes and adds some. Look.

# %%
noisy = with_label_noise(train, 0.4, seed=0)
rows = {"teacher": [], "student alone": [], "student taught": []}
for seed in SEEDS:
    mistaken = MLP((64, 256, 10), dropout=0.5, seed=100 + seed)
    fit(mistaken, noisy, epochs=15, optimizer=SGD(CosineSchedule(0.02)), seed=seed)
    rows["teacher"].append(accuracy(mistaken))
    rows["student alone"].append(accuracy(student(noisy, 128, seed)))
    rows["student taught"].append(accuracy(student(noisy, 128, seed, T=2.0, teacher=mistaken, alpha=1.0)))
for name, found in rows.items():
    print(f"{name:15} {np.mean(found):5.1f}% ± {np.std(found, ddof=1):.1f}")
last = mistaken                                                                 # the teacher of the last seed

# %% [markdown]
# The student alone has room enough to learn the wrong labels by heart, and does. The teacher, held back by dropout and
# few epochs, has averaged over them: a wrong label is one among many right ones of the same kind of image. Its answers
# are *cleaner than the labels that it learnt from*.

# %% [markdown]
# ### Exercise 4: how wrong are they?
#
# Write `wrong_share(answers, truth)`: which share of `answers` $(N,)$ differs from `truth` $(N,)$, in percent. It is
# then used for the noisy labels, and for the teacher's answers to the same training images.
#
# <details><summary>Hint</summary>
#
# The mean of `answers != truth` is a share of 1.
#
# </details>

# %% tags=["exercise"]
def wrong_share(answers, truth):     # answers, truth (N,)
    ...                              # your code: return a percentage


# %% tags=["check"]
of_labels = 100 - 100 * float(np.mean(noisy.y == train.y))
check("wrong_share of the labels", lambda: wrong_share(noisy.y, train.y), of_labels, factors={"100": 100.0}, mistakes={
    "that is the share of right ones": 100 - of_labels,
})
check("wrong_share of nothing wrong", lambda: wrong_share(train.y, train.y), 0.0)

# %%
print(f"of the labels {100 * np.mean(noisy.y != train.y):.1f}% are wrong, "
      f"of the teacher's answers to the same images {100 * np.mean(last.predict(train.x) != train.y):.1f}%")

# %% [markdown]
# ## As its teacher does
#
# Accuracy asks whether the student is right. **Agreement** asks whether it does what its teacher does, right or wrong.
# Where the teacher is to be replaced, that is what one wants to know. It is measured without a label, and raised
# without one: by more images that the teacher answers.

# %% [markdown]
# ### Exercise 5: agreement
#
# Write `agreement(student, teacher, x)`: on which share of the rows of `x` $(N,I)$ both name the same class, in
# percent.
#
# <details><summary>Hint</summary>
#
# No label occurs in it: compare the two predictions.
#
# </details>

# %% tags=["exercise"]
def agreement(student, teacher, x):  # x (N,I)
    ...                              # your code: return a percentage


# %% tags=["check"]
other = student(train, 3, 1)                 # errs often, so that to agree with it is not to be right
same = 100 * float(np.mean(trial.predict(test.x) == other.predict(test.x)))
check("agreement", lambda: agreement(trial, other, test.x), same, factors={"100": 100.0}, mistakes={
    "that is the student's accuracy: compare it with the teacher, not with the labels": accuracy(trial),
    "that is how often they differ": 100 - same,
})

# %%
fig, ax = plt.subplots(figsize=(5.4, 3.2), layout="constrained")
sizes = (50, 100, 200, 400, 800, 1297)
found = np.zeros((2, len(sizes), len(SEEDS)))                                   # agreement and accuracy
for j, n in enumerate(sizes):
    for seed in SEEDS:
        unlabelled = Dataset(train.take(n, seed=seed).x)
        one = student(unlabelled, 64, seed, T=4.0, alpha=1.0)
        found[:, j, seed] = 100 * np.mean(one.predict(test.x) == teacher.predict(test.x)), accuracy(one)
for name, values, colour in zip(("agreement with the teacher", "accuracy"), found, ("#00798c", "#d1495b"), strict=True):
    ax.errorbar(sizes, values.mean(axis=1), values.std(axis=1, ddof=1), marker="o", capsize=3, label=name, color=colour)
ax.set_xscale("log")
ax.set_xticks(sizes, [f"{n:,}" for n in sizes])
ax.minorticks_off()
ax.set(xlabel="images that the teacher answers, without labels", ylabel="% of test images", title="64 hidden units")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Both grow with the images, with the same number of steps. So if you have rows without labels, show them to the
# teacher: that is the cheapest gain in this notebook.
#
# ## Before you distil
#
# 1. **Train the student alone**, with its own best settings. If it is as good as the teacher, stop.
# 2. **Look at its training accuracy.** Below 100%, it has no room to spare: make it larger, or expect little, and try
#    low temperatures.
# 3. **Few or wrong labels?** Then a teacher helps most. **Rows without labels?** Use them.
# 4. **Compare over several seeds**, paired, with the same budget, and with a control such as smoothed labels. A gain
#    smaller than the spread is no gain yet.
#
# What came out on MNIST and Fashion-MNIST, with settings chosen by validation, is in
# [docs/evidence/results.md](../docs/evidence/results.md); some of the papers' claims do not hold there, and it says
# which.
#
# ## What to remember
#
# A teacher helps where labels say little and the student has room. It harms a student that has none, unless the
# temperature is low. Where labels are wrong, a teacher that has not learnt them by heart is cleaner than they
# are, and so is its student. Agreement needs no labels, and grows with the images that the teacher answers.
#
# ## Read next in the source
#
# - `minidistill/experiments/reproduce/capacity.py`: the same on Fashion-MNIST, with a rate chosen for each student;
#   `run` is its course.
# - `minidistill/experiments/reproduce/fidelity.py`: agreement by number and kind of images, `taught_on`.
# - `minidistill/experiments/sweep/__init__.py`: `sweep`, such a grid for your own data, on all cores.
#
# Next: notebook 11, beyond soft targets.
