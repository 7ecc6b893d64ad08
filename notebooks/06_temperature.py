# %% [markdown]
# # 6 · Temperature and dark knowledge
#
# A trained network answers "7". But it has ten numbers, not one, and the other nine are no rubbish: they say what else
# the image could have been. This notebook looks at what a teacher believes, and at how a temperature brings it to
# light.
#
# **You will know at the end**
#
# - what the logits of a trained teacher look like, and why its probabilities hide most of what they say;
# - what a temperature does to probabilities, to their ratios and to their entropy;
# - what "dark knowledge" is, and a test that tells it from noise;
# - how much is lost when only the first choice is kept.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebook 3 (softmax) and the teacher of
# notebook 5, which is trained anew here.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import MLP, SGD, CosineSchedule, digits, fit, ops
from minidistill.diagnosis.exercises import check
from minidistill.experiments.pictures import softened

# %% [markdown]
# ## The teacher speaks
#
# The same images and settings as at the end of notebook 5. We ask the teacher about the validation images: it has not
# been trained on them.

# %%
everything, test = digits()
learning, validation = everything.split(len(everything) - 300, seed=0)


def trained_teacher(seed):
    network = MLP((64, 256, 256, 10), dropout=0.3, seed=seed)
    fit(network, learning, epochs=40, batch_size=64, optimizer=SGD(CosineSchedule(0.1)), seed=seed)
    return network


teacher = trained_teacher(seed=0)
x, y = validation.x, validation.y                                               # (N,I)  (N,)
t = teacher.logits(x).astype(np.float64)                                        # (N,C)
p, _ = ops.softmax_forward(t)                                                   # (N,C)
print(f"{len(t)} images, {t.shape[1]} logits each; the teacher is right on {np.mean(t.argmax(axis=1) == y):.1%}")

# %% [markdown]
# Three images: the one of which the teacher is surest, the one that it reads rightly and is least sure of, and the
# one of its mistakes that it is surest of.

# %%
right = t.argmax(axis=1) == y                                                   # (N,)
confidence = p.max(axis=1)                                                      # (N,)
surest = int(confidence.argmax())
doubtful = int(np.where(right, confidence, 2.0).argmin())
mistaken = int(np.where(right, -1.0, confidence).argmax())
shown = {"surest": surest, "doubtful": doubtful, "mistaken": mistaken}

figure, axes = plt.subplots(2, 3, figsize=(8.4, 4.4), layout="constrained", height_ratios=(1, 1.1))
for column, (name, i) in enumerate(shown.items()):
    axes[0, column].imshow(x[i].reshape(8, 8), cmap="gray_r")
    axes[0, column].set(title=f"{name}: it is a {y[i]}", xticks=[], yticks=[])
    axes[1, column].bar(range(10), t[i], color="#7a7f8c")
    axes[1, column].axhline(0, color="black", linewidth=0.6)
    axes[1, column].set(xlabel="class", xticks=range(10))
    print(f"{name:9}", " ".join(f"{value:8.1e}" for value in p[i]))
axes[1, 0].set_ylabel("logit")
plt.show()

# %% [markdown]
# Below the images are their logits, and in the table their probabilities, class 0 on the left. For the surest image the
# probabilities are a 1 and nine numbers that are nearly 0. A student that compares probabilities sees hardly more than
# a label there. But look at the logits of the same image: the wrong classes differ from each other by several units.
# The knowledge is there. The softmax hides it.
#
# ## Temperature
#
# Divide all logits by a number $T > 0$ before the softmax, the **temperature** (Hinton, Vinyals and Dean 2015,
# equation 1):
#
# $$ p_c = \frac{e^{t_c/T}}{\sum_j e^{t_j/T}} \quad \text{[SM-3]} $$
#
# At $T = 1$ this is the softmax that you know. A larger $T$ brings the logits closer together, and the probabilities
# too: they become *softer*. At $T$ towards 0 the largest takes all.

# %% [markdown]
# ### Exercise 1: soften
#
# Write `soften(t, T)` for logits `t` $(B,C)$: the softened probabilities $(B,C)$. It has to work for logits of a size
# of 1000 as well.
#
# <details><summary>Hint</summary>
#
# As in notebook 3: subtract each row's largest logit first, with `keepdims=True`, so that no power overflows. Then
# divide by $T$, take the exponential, and divide each row by its sum.
#
# </details>

# %% tags=["exercise"]
def soften(t, T):        # t (B,C)
    ...                  # your code: return p (B,C)


# %% tags=["check"]
few = t[:6]                                                                     # (B,C)
rows = few - few.max(axis=1, keepdims=True)                                     # (B,C)
check("soften", lambda: soften(few, 4.0), ops.softmax_forward(few, 4.0)[0], mistakes={
    "the temperature has no effect: divide the logits by it": p[:6],
    "the logits were multiplied by T; divide": ops.softmax_forward(few, 0.25)[0],
    "the probabilities were divided by T; the logits have to be, before the softmax": p[:6] / 4,
    "the softmax was taken twice": ops.softmax_forward(p[:6], 4.0)[0],
    "the sum went over all entries; each row has its own": np.exp(rows / 4) / np.exp(rows / 4).sum(),
    "the sum went over the rows of a column; it goes over the classes of a row":
        np.exp(rows / 4) / np.exp(rows / 4).sum(axis=0),
    "the powers are not divided by their sum": np.exp(rows / 4),
})
check("soften, with large logits", lambda: soften(1000 * few, 4.0), ops.softmax_forward(1000 * few, 4.0)[0])

# %% [markdown]
# The doubtful image at five temperatures:

# %%
softened(t[doubtful], image=x[doubtful].reshape(8, 8))

# %% [markdown]
# From left to right the runners-up grow. At a high temperature all bars are nearly of one height, and the order of the
# classes is still the same: dividing by $T$ keeps it.
#
# ## What a temperature does to ratios
#
# Take two classes $i$ and $j$. The sum below the fraction is the same for both and cancels:
#
# $$ \frac{p_i}{p_j} = e^{(t_i - t_j)/T} , \qquad \log \frac{p_i}{p_j} = \frac{t_i - t_j}{T} $$
#
# So the *logarithm* of each ratio is divided by $T$. A ratio of 10,000 becomes $10{,}000^{1/4} = 10$ at $T = 4$.

# %% [markdown]
# ### Exercise 2: from probabilities alone
#
# Some teachers give away no logits: a random forest, say, or a service on the web. Write `soften_probabilities(p, T)`,
# which takes probabilities at $T = 1$ $(B,C)$ and returns the softened ones $(B,C)$. Use no logits.
#
# <details><summary>Hint</summary>
#
# $\log p_c$ is the logit $t_c$ up to a constant that is the same for the whole row, and such a constant cancels in the
# softmax. So $e^{(\log p_c)/T} = p_c^{1/T}$ will do, divided by the sum of its row.
#
# </details>

# %% tags=["exercise"]
def soften_probabilities(p, T):  # p (B,C)
    ...                          # your code: return the softened probabilities (B,C)


# %% tags=["check"]
powers = p[:6] ** 0.25                                                          # (B,C)
check("soften_probabilities", lambda: soften_probabilities(p[:6], 4.0), ops.softmax_forward(few, 4.0)[0], mistakes={
    "the rows do not sum to 1: divide each by its sum": powers,
    "that divides all of a row by one number, which cancels: nothing is softened": p[:6],
    "the power is T; it has to be 1/T": ops.softmax_forward(few, 0.25)[0],
    "the probabilities were divided by T; their logarithm has to be, and that is a power of 1/T": p[:6] / 4,
    "the softmax of probabilities is another thing: take their logarithm first": ops.softmax_forward(p[:6], 4.0)[0],
})

# %% [markdown]
# ### Exercise 3: which temperature?
#
# The teacher's first choice is `gap` logits above its second. At which temperature is the first choice only `ratio`
# times as likely as the second? Write `temperature_for(gap, ratio)`.
#
# <details><summary>Hint</summary>
#
# Solve $e^{\text{gap}/T} = \text{ratio}$ for $T$: take the logarithm on both sides.
#
# </details>

# %% tags=["exercise"]
def temperature_for(gap, ratio):
    ...                          # your code: return T


# %% tags=["check"]
check("temperature_for", lambda: temperature_for(12.0, 20.0), 12.0 / np.log(20.0), mistakes={
    "that is 1/T": np.log(20.0) / 12.0,
    "the ratio's logarithm is missing": 12.0 / 20.0,
    "that is the logarithm to the base 10; the softmax has e": 12.0 / np.log10(20.0),
    "that is the logarithm to the base 2; the softmax has e": 12.0 / np.log2(20.0),
    "the logarithm stands above and the gap below; solve for T once more": np.log(12.0) / 20.0,
})

# %%
ordered = np.sort(t, axis=1)[:, ::-1]                                           # (N,C)  largest first
gaps = ordered[:, 0] - ordered[:, 1]                                            # (N,)
middle = float(np.median(gaps))
print(f"gap between first and second choice, median over the images: {middle:.1f}")
print(f"at T = 1 that is a ratio of {np.exp(middle):,.0f} to 1")
print(f"for a ratio of 10 to 1 it takes T = {middle / np.log(10):.1f}")

# %% [markdown]
# ## How soft is soft? Entropy
#
# The **entropy** of a row says how undecided it is:
#
# $$ H = -\sum_c p_c \log p_c $$
#
# It is 0 where one class has everything. It is largest, $\log C$, where all classes have $1/C$. $e^H$ can be read as
# the number of classes that are seriously in the running. (With the natural logarithm, the unit of $H$ is called
# *nat*.)

# %% [markdown]
# ### Exercise 4: entropy
#
# Write `entropy(p)`: the entropy of each row, $(B,)$, for `p` $(B,C)$. Use the natural logarithm. A probability of
# exactly 0 counts as 0, since $p \log p$ tends to 0 there; your function may not give `nan`.
#
# <details><summary>Hint</summary>
#
# `np.log(0)` is minus infinity, and 0 times that is `nan`. Put a 1 in place of each 0 inside of the logarithm only:
# `np.log(np.where(p > 0, p, 1))`. Then 0 is multiplied by $\log 1 = 0$.
#
# </details>

# %% tags=["exercise"]
def entropy(p):          # p (B,C)
    ...                  # your code: return the entropy of each row (B,)


# %% tags=["check"]
soft = ops.softmax_forward(few, 4.0)[0]                                         # (B,C)
logs, _ = ops.log_softmax_forward(few, 4.0)                                     # (B,C)
parts = soft * logs                                                             # (B,C)
check("entropy", lambda: entropy(soft), -parts.sum(axis=1), factors={"C": 10.0, "log 2": np.log(2)}, mistakes={
    "the sum went over all entries; each row has its own entropy": -parts.sum(),
    "the sum went over the rows of a column; it goes over the classes of a row": -parts.sum(axis=0),
    "that is e^H": np.exp(-parts.sum(axis=1)),
    "the factor p is missing in front of the logarithm": -logs.sum(axis=1),
})
check("entropy, with zeros", lambda: entropy(np.array([[1.0, 0, 0], [0, 0.5, 0.5]])), np.array([0, np.log(2)]))

# %%
temperatures = np.geomspace(0.25, 200, 60)
curves = []
for T in temperatures:
    log_p, _ = ops.log_softmax_forward(t, T)                                    # (N,C)
    curves.append(-(np.exp(log_p) * log_p).sum(axis=1))                         # (N,)
curves = np.array(curves)                                                       # (temperatures,N)

figure, ax = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
ax.plot(temperatures, curves.mean(axis=1), color="black", label="mean over all images")
for (name, i), colour in zip(shown.items(), ("#7a7f8c", "#00798c", "#d1495b"), strict=True):
    ax.plot(temperatures, curves[:, i], color=colour, linewidth=1, label=name)
ax.axhline(np.log(10), color="black", linestyle=":", label="log 10, all classes alike")
ax.set(xscale="log", xlabel="T", ylabel="entropy, nats", title="Softening")
ax.legend(frameon=False, fontsize=8)
plt.show()
for T in (1, 2, 4, 8, 20):
    log_p, _ = ops.log_softmax_forward(t, T)
    H = -(np.exp(log_p) * log_p).sum(axis=1)                                    # (N,)
    print(f"T = {T:2}: mean entropy {H.mean():.3f} of at most {np.log(10):.3f}; "
          f"{np.exp(H).mean():4.1f} classes in the running")

# %% [markdown]
# Between "a label in all but name" on the left and "everything alike" on the right lies a range in which the answers
# differ from image to image. That is the range in which one looks for $T$. Which value is best cannot be read off
# here: a small student may be unable to follow much detail. It is chosen on validation images (notebook 8).
#
# ## Dark knowledge
#
# Now leave out the label and ask: *of what is given to the wrong classes*, which share has each?
#
# $$ r_c = \frac{p_c}{\sum_{j \ne y} p_j} \quad (c \ne y), \qquad r_y = 0 $$
#
# These relative probabilities of wrong answers are what Hinton called **dark knowledge**: it is there all the time,
# and one does not see it, because together they weigh next to nothing.

# %% [markdown]
# ### Exercise 5: the shares of the wrong classes
#
# Write `wrong_shares(t, y, T)` for logits `t` $(B,C)$ and labels `y` $(B,)$: the shares $r$ $(B,C)$ at temperature
# $T$, with a 0 at each row's label.
#
# <details><summary>Hint</summary>
#
# Soften with `ops.softmax_forward(t, T)`, which returns the probabilities and a cache. Set the label's entry of each
# row to 0: `p[np.arange(len(y)), y] = 0`. Then divide each row by its sum.
#
# </details>

# %% tags=["exercise"]
def wrong_shares(t, y, T):   # t (B,C)  y (B,)
    ...                      # your code: return r (B,C)


# %% tags=["check"]
chosen = np.array([surest, doubtful, mistaken, 0, 1])                           # (B,)
t_some, y_some = t[chosen], y[chosen]                                           # (B,C)  (B,)
at_label = np.eye(10)[y_some] == 1                                              # (B,C)
without, _ = ops.softmax_forward(np.where(at_label, -1e9, t_some), 4.0)         # (B,C)  the label can never be
top = np.eye(10)[t_some.argmax(axis=1)] == 1                                    # (B,C)
soft, _ = ops.softmax_forward(t_some, 4.0)                                      # (B,C)
hard, _ = ops.softmax_forward(np.where(at_label, -1e9, t_some), 1.0)            # (B,C)
cleared = np.where(at_label.any(axis=0), 0, soft)                               # (B,C)
check("wrong_shares", lambda: wrong_shares(t_some, y_some, 4.0), without, mistakes={
    "the rows do not sum to 1 any more once the label is 0: divide each by its sum": np.where(at_label, 0, soft),
    "the label is still in": soft,
    "the teacher's first choice was left out; where it errs that is not the label":
        ops.softmax_forward(np.where(top, -1e9, t_some), 4.0)[0],
    "the temperature has no effect": hard,
    "p[:, y] clears these columns in every row; one entry a row is meant": cleared / cleared.sum(axis=1, keepdims=True),
    "the label's entry is to be 0 at the end too":
        soft / (1 - soft[np.arange(5), y_some][:, None]),
})

# %% [markdown]
# The mean of these shares over all images of a digit, at $T = 4$, so that no single image rules it:

# %%
at_label = np.eye(10)[y] == 1                                                   # (N,C)
shares, _ = ops.softmax_forward(np.where(at_label, -1e9, t), 4.0)               # (N,C)
by_class = np.stack([shares[y == c].mean(axis=0) for c in range(10)])           # (C,C)

figure, ax = plt.subplots(figsize=(4.6, 3.9), layout="constrained")
picture = ax.imshow(by_class, cmap="viridis", vmin=0)
ax.set(xticks=range(10), yticks=range(10), xlabel="wrong class", ylabel="what it is",
       title="What a digit is nearly taken for")
figure.colorbar(picture, label="mean share, of all wrong classes")
plt.show()
for c in range(10):
    first, second = by_class[c].argsort()[::-1][:2]
    print(f"a {c} is nearly a {first} ({by_class[c, first]:.0%}) or a {second} ({by_class[c, second]:.0%})")

# %% [markdown]
# If all wrong classes were alike, every share would be a ninth, 11%. Compare, and ask whether the pairs look alike to
# you. No label ever said so. The teacher found it in the images, as a by-product of telling them apart.
#
# ## Knowledge or noise?
#
# One could object: a network has to put *something* there, perhaps by the chance of its first weights. That can be
# tested. Train a second teacher from other first weights, on the same images in another order. If the second choices
# are noise, the two will agree on about one in nine. If they are knowledge, they will agree far more often.

# %%
def same_favourite(network):
    logits = np.where(at_label, -1e9, network.logits(x))                        # (N,C)
    return np.mean(logits.argmax(axis=1) == shares.argmax(axis=1))


again = same_favourite(trained_teacher(seed=1))
print(f"another teacher names the same wrong class first on {again:.0%} of the images")
untrained = [same_favourite(MLP((64, 256, 256, 10), seed=seed)) for seed in range(100, 120)]
print(f"20 untrained networks do so on {np.mean(untrained):.0%} on the average; one in nine is {1 / 9:.0%}")

# %% [markdown]
# ## What is lost when only the first choice is kept
#
# Two images of the same digit have the same label. Do they have the same soft answer? These two have the same first
# choice, and their second choices differ most:

# %%
pairs = []
for c in range(10):
    rows = np.flatnonzero((y == c) & right)                                     # of one digit, read rightly
    distance = np.abs(shares[rows][:, None] - shares[rows][None]).sum(axis=2)   # (n,n)
    i, j = np.unravel_index(distance.argmax(), distance.shape)
    pairs.append((distance[i, j], rows[i], rows[j]))
_, one, two = max(pairs)

figure, axes = plt.subplots(1, 4, figsize=(9, 2.3), layout="constrained", width_ratios=(1, 1.6, 1, 1.6))
for column, i in ((0, one), (2, two)):
    axes[column].imshow(x[i].reshape(8, 8), cmap="gray_r")
    axes[column].set(title=f"a {y[i]}", xticks=[], yticks=[])
    axes[column + 1].bar(range(10), shares[i], color="#00798c")
    axes[column + 1].set(title="shares of wrong classes, T = 4", ylim=(0, 1), xticks=range(10), xlabel="class")
    axes[column + 1].title.set_fontsize(9)
plt.show()

# %% [markdown]
# So what a teacher says beyond the label has two parts. One belongs to the *class*: a 4 is more like a 9 than like a
# 0. The other belongs to the *image*: this 3 is more like a 5 than most. How large is each? Measure how far the shares
# $r$ of an image are from "all wrong classes alike", by the Kullback-Leibler divergence, which notebook 7 is about. It
# splits exactly: the distance of the class mean from "all alike", plus the distance of the image from its class mean.

# %%
def divergence(a, b):    # each (N,C), rows of probabilities; a 0 in a counts as 0
    inside = a > 0                                                              # (N,C)
    ratio = np.where(inside, a, 1) / np.where(inside, b, 1)                     # (N,C)
    return (a * np.log(ratio)).sum(axis=1).mean()


alike = np.where(at_label, 0, 1 / 9)                                            # (N,C)
whole = divergence(shares, alike)
of_class = divergence(by_class[y], alike)
of_image = divergence(shares, by_class[y])
print(f"whole {whole:.4f} nats = class {of_class:.4f} + image {of_image:.4f}")
print(f"{of_image / whole:.0%} of what is said about wrong answers is about the single image")

# %% [markdown]
# Label smoothing, which takes a little from the label and gives it to all classes alike, has none of the two. A fixed
# table, one row for each digit, would have the first. Only the teacher's answer to the very image has both. Notebook 8
# trains students on each of these, and shows which part helps.

# %% [markdown]
# ### Exercise 6: predict before you look
#
# Let $T$ become very large. What does the likeliest class's probability tend to, for ten classes? Write the number.
#
# <details><summary>Hint</summary>
#
# All $t_c/T$ tend to 0, so all powers tend to 1.
#
# </details>

# %% tags=["exercise"]
largest_at_last = ...    # your answer: a number


# %% tags=["check"]
check("largest_at_last", largest_at_last, 1 / 10, mistakes={
    "that is what the label has; at a high temperature it loses its lead": 1,
    "a ninth is the mean share among the wrong classes; here all ten count": 1 / 9,
    "the probabilities sum to 1 at every temperature, so not all can vanish": 0,
    "that is the largest entropy; the probability was asked for": np.log(10),
})

# %%
for T in (1, 10, 100, 1000):
    print(f"T = {T:4}: the likeliest class of the surest image has {ops.softmax_forward(t, T)[0][surest].max():.4f}")

# %% [markdown]
# ## What to remember
#
# A teacher's logits rank all wrong answers, and the softmax at $T = 1$ hides it. A temperature divides the logarithm of
# each ratio of probabilities by $T$ and keeps their order. The shares of the wrong classes are not noise: a second
# teacher largely agrees. Part of them is about the class, part about the single image, and a label has neither.
#
# ## Read next in the source
#
# - `minidistill/ops.py`: `softmax_forward` and `log_softmax_forward`, with their temperature.
# - `minidistill/network.py`: `predict_proba`, which softens on request.
# - `minidistill/distillation/soft_targets.py`: `SoftTargets`, which keeps each answer with the image that it belongs
#   to.
#
# Next: notebook 7, the softened KL and its gradient.
