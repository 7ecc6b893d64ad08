# %% [markdown]
# # 1 · Why distil
#
# A large network often knows more than a small one, and costs more to run. Distilling means: let the large network, the
# *teacher*, train the small one, the *student*. This notebook shows on real handwriting what that gains. It has no
# maths; the notebooks after it derive and build every part of what is used here.
#
# **You will know at the end**
#
# - what a network's size and cost are, and how to read them off;
# - what a teacher says about an image besides its answer;
# - how to tell whether a student learnt from its teacher: accuracy, agreement, several seeds, and a control;
# - when there is little to gain.
#
# It takes about 20 minutes to read; the exercises come on top. You need Python and a little NumPy, nothing else.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import MLP, SGD, CosineSchedule, SoftTarget, SoftTargets, compare, digits, distill, fit
from minidistill.diagnosis.exercises import check

# %% [markdown]
# ## The task
#
# Read a handwritten digit. An image has 8 by 8 pixels, so it is a row of 64 numbers: 0 is paper, 1 is ink. There are
# images to learn from, and 500 test images, which are used for nothing but measuring.

# %%
train, test = digits()
print("to learn from:", train.x.shape, "  to test with:", test.x.shape)

fig, axes = plt.subplots(1, 10, figsize=(8, 1.3))
for digit, ax in enumerate(axes):
    first = np.flatnonzero(train.y == digit)[0]
    ax.imshow(train.x[first].reshape(8, 8), cmap="gray_r")
    ax.set_title(f"{digit}")
    ax.axis("off")
fig.suptitle("One training image of each digit", y=1.12, fontsize=10)
plt.show()

# %% [markdown]
# ## Two networks
#
# A network takes the 64 numbers and gives 10: one for each digit, larger where it finds the digit likelier. In between
# are *hidden layers*. A hidden layer of 512 units makes 512 new numbers out of the ones before it; each of them is a
# weighted sum of all of those, plus a number of its own, the *bias*. The 10 answers are made in the same way out of the
# last hidden layer. The weights and the biases are the *parameters*.
# Training means: change the parameters, step by step, until the answers are good.
#
# `MLP` stands for multi-layer perceptron, the plainest kind of network. Its sizes are the numbers of units from the
# inputs to the answers. Our teacher has two hidden layers, our student a single small one. (The teacher's *dropout*
# is explained in notebook 5: it keeps a large network from learning by heart.)

# %%
teacher = MLP((64, 512, 512, 10), dropout=0.3, seed=0)
small = MLP((64, 32, 10), seed=0)

print(f"{'':24}{'teacher':>12}{'student':>12}")
for title, name in (("parameters", "num_parameters"), ("bytes", "nbytes"), ("multiply-adds an image", "multiply_adds")):
    print(f"{title:24}{getattr(teacher, name):12,}{getattr(small, name):12,}")

# %% [markdown]
# **Parameters** and **bytes** say how much memory a network takes. A **multiply-add** is one product, added to a sum:
# nearly all that a network does is multiply-adds, one for each weight, and so their number says how much work it is to
# read one image.
#
# ### Exercise 1: count the parameters
# Count by hand how many parameters a network of sizes (64, 16, 10) has: all weights and all biases. Write the number
# into `answer`.
#
# <details><summary>Hint</summary>
#
# Each of the 16 hidden units has a weight for each of the 64 inputs, and one bias. Each of the 10 answers has a weight
# for each of the 16 hidden units, and one bias.
#
# </details>

# %% tags=["exercise"]
answer = ...  # your code: a whole number

# %% tags=["check"]
counted = MLP((64, 16, 10))
check(
    "parameters",
    answer,
    counted.num_parameters,
    mistakes={
        "these are the weights alone: each hidden unit and each answer has a bias too": counted.multiply_adds,
        "the biases of the hidden units are missing": counted.num_parameters - 16,
        "the biases of the 10 answers are missing": counted.num_parameters - 10,
        "this is the network with 32 hidden units": small.num_parameters,
    },
)

# %% [markdown]
# ## Train the teacher
#
# `fit` shows the network all training images in small portions, again and again. One round through all images is an
# *epoch*. After each portion every parameter is changed a little, so that the answers to that portion get better. How
# far it is changed is set by the *learning rate*, here 0.1, which falls towards 0 during the training
# (`SGD(CosineSchedule(0.1))`; notebook 5 says why). The cell may take a minute.
#
# *Accuracy* is the share of images whose digit the network reads rightly. It is measured on the test images, which the
# network has never seen: anyone can learn answers by heart.

# %%
fit(teacher, train, epochs=40, batch_size=64, optimizer=SGD(CosineSchedule(0.1)), seed=0)
right = teacher.predict(test.x) == test.y     # (500,)
print(f"the teacher reads {right.mean():.1%} of the test images, {np.count_nonzero(~right)} of 500 it gets wrong")

# %% [markdown]
# ## Train a student alone
#
# Now the small network. To make its life as hard as life often is, it sees only 150 images: imagine that it is to run
# on a small device, trained on what was collected there.
#
# A network starts from random numbers, and chance also chooses which 150 images it sees. So one run says little. We
# train five students, each from its own *seed*. The seed fixes everything that is left to chance, so that you can
# repeat the run.

# %%
SEEDS = range(5)
SEEN = 150


def steps(seed, rate, images=SEEN):
    """The same number of training steps, whoever teaches and however many images there are."""
    return {"epochs": 200 * SEEN // images, "batch_size": 30, "optimizer": SGD(CosineSchedule(rate)), "seed": seed}


def learn_alone(seed, images=SEEN):
    student = MLP((64, 32, 10), seed=seed)
    fit(student, train.take(images, seed=seed), **steps(seed, rate=0.03, images=images))
    return student


def accuracy(network):
    return float((network.predict(test.x) == test.y).mean())


alone = [learn_alone(seed) for seed in SEEDS]
print("students that learn alone, a seed each:", *(f"{accuracy(student):.1%}" for student in alone))

# %% [markdown]
# ## What the teacher believes
#
# What could a teacher add? It saw all the training images, the student 150 of them, with their labels. A *label* is
# the right answer and nothing else: "this is a 9". The teacher's answer is richer: it gives each of the ten digits a
# *probability*, and the ten sum to 1.
#
# Here is the test image that the teacher reads rightly and yet is least sure of. The bars in the middle are its
# probabilities. For most images they look duller: one bar of nearly 1, nine of nearly 0. But the nine are not equal,
# and their differences are what we are after. On the right, a dial called *temperature* is turned up: it makes small
# probabilities larger and large ones smaller and keeps their order. (Notebook 6 is about it.)

# %%
T = 16.0
sure = teacher.predict_proba(test.x).max(axis=1)             # (500,)
doubtful = int(np.where(right, sure, np.inf).argmin())
image = test.x[doubtful : doubtful + 1]                      # (1,64)

fig, axes = plt.subplots(1, 3, figsize=(8.5, 2.6), layout="constrained")
axes[0].imshow(image.reshape(8, 8), cmap="gray_r")
axes[0].set(title=f"The image; its label is {test.y[doubtful]}", xticks=[], yticks=[])
for ax, temperature in ((axes[1], 1.0), (axes[2], T)):
    ax.bar(np.arange(10), teacher.predict_proba(image, temperature)[0], color="#7a7f8c")
    ax.set(title=f"The teacher's beliefs, temperature {temperature:g}", xticks=range(10), ylim=(0, 1), xlabel="digit")
axes[1].set_ylabel("probability")
for ax in axes:
    ax.title.set_fontsize(9)
plt.show()

# %% [markdown]
# ### Exercise 2: read a belief off
# `teacher.predict_proba(image)` is an array of shape `(1, 10)`: a row of ten probabilities. Which digit does the
# teacher find *second* likeliest for this image? You may read it off the picture, or compute it. Then look at the
# image: can you see why?
#
# <details><summary>Hint</summary>
#
# `np.argsort(row)` gives the digits from the least to the most likely one.
#
# </details>

# %% tags=["exercise"]
second = ...  # your code: a digit

# %% tags=["check"]
ranking = teacher.predict_proba(image)[0].argsort()  # (10,)
check(
    "second likeliest",
    second,
    ranking[-2],
    mistakes={
        "that is the likeliest digit, its answer; wanted is the one after it": ranking[-1],
        "that is its probability; wanted is the digit": np.sort(teacher.predict_proba(image)[0])[-2],
        "that is the second least likely one: look at the other end of the order": ranking[1],
        "that is the third likeliest": ranking[-3],
    },
)

# %% [markdown]
# "It is this digit, and it looks a bit like that one": a label cannot say so. What is in these small probabilities has
# been called *dark knowledge*. A student that is told ten numbers an image can learn more from it than one that is told
# a single digit. This is the whole idea of distilling (Hinton, Vinyals and Dean 2015).
#
# ## Distil
#
# `distill` asks the teacher about each of the student's images and trains the student to give the teacher's softened
# probabilities. `SoftTarget(T, 0.9)` says: at temperature `T`, and let the teacher count for nine parts of ten and the
# label for one.
#
# To be fair, all else stays as it was: the same five starting points, the same 150 images each, the same number of
# steps. The learning rates and the temperature are those that the library's demo found
# best for each kind of student, on images held back from the training set, with as many trials for one kind as for the
# other. Had we chosen them on the test images, the figures would flatter whoever was given more trials.
#
# ### Exercise 3: predict
# Before you go on: what will the teacher's help do to the accuracy of the students, on average? Write `"better"`,
# `"worse"` or `"no different"`. Only then run the cell that distils, and the check under it.
#
# <details><summary>Hint</summary>
#
# Think of somebody who learns from 150 answers, and of somebody who is told for each of them how likely all ten digits
# are. Does the second one know less, the same, or more?
#
# </details>

# %% tags=["exercise"]
prediction = ...  # your code: "better", "worse" or "no different"

# %%
def learn_from(teacher, seed, images=SEEN):
    student = MLP((64, 32, 10), seed=seed)
    distill(teacher, student, train.take(images, seed=seed), SoftTarget(T, 0.9), **steps(seed, 0.1, images))
    return student


distilled = [learn_from(teacher, seed) for seed in SEEDS]

# %% tags=["check"]
gains = np.array([accuracy(d) - accuracy(a) for d, a in zip(distilled, alone, strict=True)])  # (5,)
outcome = "no different" if abs(gains.mean()) < 0.01 else "better" if gains.mean() > 0 else "worse"
check(
    "prediction",
    prediction,
    outcome,
    mistakes={
        "many expect that, since a student cannot have more labels than it has. But it is told more of each image; "
        "look at the table below, change your answer and go on": "no different",
        "the teacher could mislead a student, and further down one does. This one did not; look at the table below, "
        "change your answer and go on": "worse",
    },
)

# %% [markdown]
# ## What was gained
#
# `compare` measures all networks on the test images. These of its figures matter here:
#
# - **accuracy**, the mean over the five seeds, and its **spread**: how much it differs between seeds (their standard
#   deviation). A gain that is smaller than the spread may be luck.
# - **retention**: the student's accuracy as a share of the teacher's.
# - **agreement**: the share of test images for which student and teacher give the same answer, right or wrong. A
#   student that learnt *from its teacher* agrees with it more. Accuracy alone cannot tell: two networks can be equally
#   good at different images.

# %%
report = compare(teacher, {"alone": alone, "distilled": distilled}, test)
print(f"{'':24}{'teacher':>10}{'alone':>10}{'distilled':>10}")
for title, name, form in (
    ("accuracy, %", "accuracy_mean", ".1f"),
    ("  spread over seeds", "accuracy_std", ".1f"),
    ("retention, %", "retention", ".1f"),
    ("agreement, %", "agreement", ".1f"),
):
    print(f"{title:24}" + "".join(f"{100 * getattr(row, name):10{form}}" for row in report.rows))
for title, name in (("bytes", "bytes"), ("multiply-adds", "multiply_adds")):
    print(f"{title:24}" + "".join(f"{getattr(row, name):10,}" for row in report.rows))

share = report["teacher"].multiply_adds / report["distilled"].multiply_adds
print(f"\nThe student does 1/{share:.0f} of the teacher's work an image.")

# %% [markdown]
# A mean may hide that two students won and three lost. So look at each seed: a line joins the two students that began
# alike and saw the same images. Do all lines go the same way?

# %%
fig, ax = plt.subplots(figsize=(4.6, 3.2), layout="constrained")
for a, d in zip(report["alone"].accuracies, report["distilled"].accuracies, strict=True):
    ax.plot((0, 1), (100 * a, 100 * d), "o-", color="#00798c", linewidth=0.9)
ax.axhline(100 * report["teacher"].accuracy_mean, color="#7a7f8c", linestyle="--", label="teacher")
ax.set(title="The same students, alone and distilled", ylabel="accuracy on test images, %", xlim=(-0.4, 1.4))
ax.set_xticks((0, 1), ("alone", "distilled"))
ax.legend(frameon=False, loc="lower right")
plt.show()

# %% [markdown]
# ## Was it the teacher?
#
# Perhaps softened targets of *any* kind would have helped, whatever is in them. The test for such a doubt is a
# *control*: repeat the experiment with the one thing taken out that you believe in. Here the teacher's answers are kept
# and dealt out to the wrong images: the numbers are the same, the knowledge about each image is gone.

# %%
shuffled = []
for seed in SEEDS:
    student, seen = MLP((64, 32, 10), seed=seed), train.take(SEEN, seed=seed)
    wrong_order = np.random.default_rng(seed).permutation(len(seen))         # (150,)
    answers = SoftTargets.of(teacher.logits(seen.x)[wrong_order], seen)      # logits: before they are probabilities
    distill(answers, student, seen, SoftTarget(T, 0.9), check_teacher=False, **steps(seed, 0.1))
    shuffled.append(student)

for name, students in (("alone", alone), ("distilled", distilled), ("shuffled answers", shuffled)):
    print(f"{name:18}", *(f"{accuracy(student):6.1%}" for student in students))

# %% [markdown]
# A network that guesses reads about one digit in ten. Compare the last row with that: a student believes what it is
# told. So the gain did come from what the teacher knows of each image. It also means that a bug which
# mixes up the rows ruins a student without any error message; notebook 14 hunts such bugs.
#
# ## How much is there to gain?
#
# With 150 images there was much that the student could not know. What if it sees more? The cell below has a function
# `gain`: how many percentage points a student with one seed gains by its teacher.

# %%
def gain(images, seed):
    """Accuracy with the teacher less accuracy without, in percentage points."""
    return 100 * (accuracy(learn_from(teacher, seed, images)) - accuracy(learn_alone(seed, images)))


print(f"150 images, seed 0: {gain(150, seed=0):+.1f} points")

# %% [markdown]
# ### Exercise 4: change a setting
# Compute the mean gain over the seeds 0, 1 and 2, once with 150 images and once with 1200. Put the two means into
# `few` and `many`. (The number of training steps stays the same: `steps` sees to that.)
#
# <details><summary>Hint</summary>
#
# `np.mean([... for seed in range(3)])`
#
# </details>

# %% tags=["exercise"]
few = ...   # your code: mean gain with 150 images
many = ...  # your code: mean gain with 1200 images

# %%
by_images = {n: [gain(n, seed) for seed in range(3)] for n in (150, 300, 600, 1200)}
fig, ax = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
for n, values in by_images.items():
    ax.plot([n] * 3, values, ".", color="#00798c")
ax.plot(list(by_images), [np.mean(values) for values in by_images.values()], color="#00798c")
ax.axhline(0, color="#7a7f8c", linewidth=0.8)
ax.set(title="What a teacher adds (points: a seed each)", xlabel="images that the student sees", xscale="log")
ax.set_ylabel("gain, percentage points")
ax.set_xticks(list(by_images), [str(n) for n in by_images])
ax.minorticks_off()
plt.show()

# %% tags=["check"]
means = {n: np.mean(values) for n, values in by_images.items()}
check(
    "mean gains",
    (few, many),
    (means[150], means[1200]),
    factors={"3 (the number of seeds)": 3, "100 (points, not fractions)": 100},
    mistakes={
        "this is seed 0 alone with 150 images: wanted is the mean over the seeds 0, 1 and 2": by_images[150][0],
        "this is seed 0 alone with 1200 images: wanted is the mean over the seeds 0, 1 and 2": by_images[1200][0],
        "this is the other one's gain: few and many have changed places": means[1200],
    },
)

# %% [markdown]
# The more the student can see for itself, the less there is to be told: look at both ends of the line. (The learning
# rates were chosen for 150 images, so the right end is the less certain one.) On an easy task with plenty of labelled
# images a teacher adds little. Notebook 10 maps where distilling helps and where it hurts.
#
# ## What to remember
#
# Distilling trains a small network on a large one's probabilities in place of bare labels: each image then says more.
# The student keeps its size and its cost; only its training changes. Whether it learnt from its teacher is shown by
# agreement beside accuracy, by several seeds with the same images and steps for each kind of student, and by a
# control. The gain is large where the student cannot find out for itself what the teacher knows, and fades where it
# can.
#
# ## Read next in the source
#
# - `minidistill/experiments/demo.py`: `run_demo`, this notebook's experiment with the choice of all settings;
#   `minidistill demo` on the command line runs it.
# - `minidistill/training/evaluation.py`: `compare` and `agreement`.
# - `minidistill/data/digits.py`: `digits`, where the images come from.
#
# Next: **2 · One neuron, one layer**, where a network stops being a black box.
