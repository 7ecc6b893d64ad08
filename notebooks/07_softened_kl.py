# %% [markdown]
# # 7 · The softened KL and its gradient
#
# A student is to believe what its teacher believes. For that we need a number that says how far two beliefs are apart,
# and its derivative by the student's logits. Both are derived here, line by line, and checked.
#
# **You will know at the end**
#
# - what the Kullback-Leibler divergence measures, and why its order matters;
# - the gradient of distillation, $T\,(q-p)/B$, and each step that leads to it;
# - why the loss is multiplied by $T^2$;
# - what distillation becomes at high temperature;
# - the whole loss of labels and teacher, and the mistakes that published code has made in it.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebooks 3 and 4 (cross-entropy, checking a
# gradient) and 6 (temperature).

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import MLP, SGD, CosineSchedule, SoftTarget, check_loss, digits, fit, ops
from minidistill.diagnosis.exercises import check
from minidistill.diagnosis.gradcheck import check_gradient, numerical_gradient

# %% [markdown]
# ## Two networks that disagree
#
# The teacher is that of notebook 5. The student is small and has seen 150 images for a few epochs. We look at a batch
# of 32 images, in float64, so that finite differences have enough digits.
#
# In what follows $s$ and $t$ are the logits of student and teacher, each $(B,C)$, and
#
# $$ q = \mathrm{softmax}(s/T) , \qquad p = \mathrm{softmax}(t/T) . $$

# %%
everything, test = digits()
learning, validation = everything.split(len(everything) - 300, seed=0)
teacher = MLP((64, 256, 256, 10), dropout=0.3, seed=0)
fit(teacher, learning, epochs=40, batch_size=64, optimizer=SGD(CosineSchedule(0.1)), seed=0)
student = MLP((64, 32, 10), seed=0)
fit(student, learning.take(150, seed=0), epochs=10, batch_size=30, optimizer=SGD(0.05), seed=0)

B, C = 32, 10
x, y = validation.x[:B], validation.y[:B]                                       # (B,I)  (B,)
s = student.logits(x).astype(np.float64)                                        # (B,C)
t = teacher.logits(x).astype(np.float64)                                        # (B,C)
print(f"the same first choice on {np.mean(s.argmax(axis=1) == t.argmax(axis=1)):.0%} of these images")
print(f"size of the logits: student {np.abs(s).mean():.1f}, teacher {np.abs(t).mean():.1f}")

# %% [markdown]
# ## How far apart? The Kullback-Leibler divergence
#
# $$ \mathrm{KL}(p \,\Vert\, q) = \frac{1}{B} \sum_n \sum_c p_{nc}\, (\log p_{nc} - \log q_{nc}) \quad \text{[KD-2]} $$
#
# In words: for each class, how much less likely the student finds it than the teacher, on the scale of logarithms;
# averaged as the *teacher* weighs the classes; and then over the rows. Three properties make it fit:
#
# - It is 0 where $q = p$, and above 0 everywhere else.
# - The classes that the teacher finds likely count most.
# - It is the cross-entropy of notebook 3 with $p$ in place of the label, less a number that does not depend on the
#   student.

# %% [markdown]
# ### Exercise 1: the divergence
#
# Write `kl(log_p, log_q)`: the number above, for logarithms of probabilities, each $(B,C)$. `ops.log_softmax_forward`
# gives them directly, and they stay finite where a probability is too small to be written down.
#
# <details><summary>Hint</summary>
#
# $p$ itself is `np.exp(log_p)`. Sum over the classes, `axis=1`, then take the mean over the rows. A mean over all
# entries would divide by $C$ as well.
#
# </details>

# %% tags=["exercise"]
def kl(log_p, log_q):    # log_p, log_q (B,C)
    ...                  # your code: return one number


# %% tags=["check"]
T = 4.0
log_p, _ = ops.log_softmax_forward(t, T)                                        # (B,C)
log_q, _ = ops.log_softmax_forward(s, T)                                        # (B,C)
p, q = np.exp(log_p), np.exp(log_q)                                             # (B,C)  (B,C)
check("kl", lambda: kl(log_p, log_q), ops.soft_target_forward(s, t, T)[0] / T**2, factors={"C": C, "B": B}, mistakes={
    "teacher and student have changed places: it is the teacher's p that weighs":
        ops.soft_target_forward(t, s, T)[0] / T**2,
    "that is the cross-entropy; subtract the entropy of p, or a perfect match is not worth 0":
        -(p * log_q).sum(axis=1).mean(),
    "a probability stands where its logarithm should": (p * (log_p - q)).sum(axis=1).mean(),
    "the logarithms are not weighed by p": (log_p - log_q).sum(axis=1).mean(),
    "the student's q weighs here; it has to be the teacher's p": (q * (log_p - log_q)).sum(axis=1).mean(),
    "log_p was taken for p: np.exp(log_p) weighs": (log_p * (log_p - log_q)).sum(axis=1).mean(),
})

# %% [markdown]
# The order matters. $\mathrm{KL}(p \,\Vert\, q)$ punishes a student that finds unlikely what the teacher finds likely;
# $\mathrm{KL}(q \,\Vert\, p)$ punishes one that finds likely what the teacher does not. They are two numbers:

# %%
for T in (1.0, 4.0, 20.0):
    there, _ = ops.soft_target_forward(s, t, T)
    back, _ = ops.soft_target_forward(t, s, T)
    print(f"T = {T:4}: KL(p || q) {there / T**2:.5f}   KL(q || p) {back / T**2:.5f}   KL(p || p) "
          f"{ops.soft_target_forward(t, t, T)[0]:.5f}")

# %% [markdown]
# ## The gradient, step by step
#
# We want $ds_{nj} = \partial\, \mathrm{KL} / \partial s_{nj}$. Rows do not mix, so take one row and divide by $B$ at
# the end.
#
# **Step 1.** The teacher is not taught: $p$ and $\log p$ are constants. Only $\log q$ moves:
#
# $$ \frac{\partial\, \mathrm{KL}}{\partial \log q_c} = -p_c $$
#
# **Step 2.** How does $\log q$ move with the logits? From $\log q_c = s_c/T - \log \sum_i e^{s_i/T}$,
#
# $$ \frac{\partial \log q_c}{\partial s_j} = \frac{\delta_{cj} - q_j}{T} \quad \text{[SM-2]} $$
#
# where $\delta_{cj}$ is 1 for $c = j$ and 0 otherwise. Note the $1/T$: it comes from $s_c/T$, by the chain rule.
#
# **Step 3.** The chain rule adds up all ways from $s_j$ to the loss:
#
# $$ ds_j = \sum_c (-p_c)\, \frac{\delta_{cj} - q_j}{T}
#         = \frac{1}{T} \Big( -p_j + q_j \sum_c p_c \Big) = \frac{q_j - p_j}{T} , $$
#
# since the probabilities $p$ sum to 1. With the mean over the rows,
#
# $$ ds = \frac{q - p}{T\,B} \qquad \text{(the divergence as it stands, no factor in front).} $$
#
# It is the gradient of the cross-entropy once more, *what is said minus what is wanted*, with $p$ for the label and a
# $1/T$. Step 2 is the one that is easily got wrong, so look at it in numbers:

# %%
row = s[:1]                                                                     # (1,C)
T = 4.0
log_q = lambda z: ops.log_softmax_forward(z, T)[0][0]                           # (C,)
measured = np.stack([numerical_gradient(lambda z, c=c: log_q(z)[c], row)[0] for c in range(C)])     # (C,C)
formula = (np.eye(C) - np.exp(log_q(row))) / T                                  # (C,C)
print(f"[SM-2], largest difference from finite differences: {np.abs(measured - formula).max():.1e}")

# %% [markdown]
# ### Exercise 2: the gradient of the divergence
#
# Write `kl_gradient(s, t, T)`: the gradient $(B,C)$ of the plain divergence by the student's logits, without any
# factor in front of the loss.
#
# <details><summary>Hint</summary>
#
# Soften both sides with `ops.softmax_forward(s, T)` and `ops.softmax_forward(t, T)`; each returns a pair of which
# you need the first. The rest is one line.
#
# </details>

# %% tags=["exercise"]
def kl_gradient(s, t, T):    # s, t (B,C)
    ...                      # your code: return ds (B,C)


# %% tags=["check"]
T = 4.0
q, cache = ops.softmax_forward(s, T)                                            # (B,C)
p, _ = ops.softmax_forward(t, T)                                                # (B,C)
right = numerical_gradient(lambda z: ops.soft_target_forward(z, t, T)[0] / T**2, s)                 # (B,C)
check("kl_gradient", lambda: kl_gradient(s, t, T), right, factors={"T": T, "B": B, "C": C}, tolerance=1e-7, mistakes={
    "the student is not softened: q is softmax(s / T)": (ops.softmax_forward(s)[0] - p) / (T * B),
    "the teacher is not softened: p is softmax(t / T)": (q - ops.softmax_forward(t)[0]) / (T * B),
    "neither side is softened": (ops.softmax_forward(s)[0] - ops.softmax_forward(t)[0]) / (T * B),
    "q - p went through the softmax once more; it is the gradient by the logits already":
        ops.softmax_backward((q - p) / B, cache),
    "that is the gradient by log q; step 2 is missing": -p / B,
    "these are the logits' differences; the probabilities' are wanted": (s - t) / (T * B),
})

# %% [markdown]
# ## Why $T^2$
#
# The gradient has a $1/T$ from the chain rule. And there is a second, hidden one: as $T$ grows both $q$ and $p$ become
# flat, so $q - p$ itself shrinks. See how much of the gradient is left:

# %%
def size(ds):            # (B,C)
    return np.sqrt((ds**2).sum(axis=1)).mean()                                  # the mean length of a row


print("   T   largest |q - p|   without T^2   with T^2")
for T in (1, 2, 4, 8, 20, 100):
    q, p = ops.softmax_forward(s, T)[0], ops.softmax_forward(t, T)[0]           # (B,C)  (B,C)
    plain = (q - p) / (T * B)                                                   # (B,C)
    print(f"{T:4}   {np.abs(q - p).max():15.4f}   {size(plain):11.7f}   {size(T**2 * plain):8.5f}")

# %% [markdown]
# Read the last two columns from top to bottom. Without a factor the teacher's voice fades by orders of magnitude, and
# the labels, whose gradient does not depend on $T$, drown it. With $T^2$ it grows at first, since softening brings in
# classes about which the two disagree, and then it settles. So the loss is multiplied by $T^2$:
#
# $$ L = T^2\, \mathrm{KL}(p \,\Vert\, q) , \qquad
#    ds = T^2 \cdot \frac{q - p}{T\,B} = \frac{T\,(q-p)}{B} \quad \text{[KD-3]} $$
#
# One $T$ goes against the $1/T$ of the chain rule, the other one against the shrinking of $q - p$.

# %% [markdown]
# ### Exercise 3: the teacher's term
#
# Write `soft_target(s, t, T)`: the value of $T^2\, \mathrm{KL}(p \,\Vert\, q)$ and its gradient $(B,C)$, as a pair.
#
# <details><summary>Hint</summary>
#
# Exercises 1 and 2, each times $T^2$. Use `ops.log_softmax_forward` for both sides and `np.exp` where you need $q$ and
# $p$.
#
# </details>

# %% tags=["exercise"]
def soft_target(s, t, T):    # s, t (B,C)
    ...                      # your code: return the value and ds (B,C)


# %% tags=["check"]
T = 4.0
value, cache = ops.soft_target_forward(s, t, T)
ds = ops.soft_target_backward(cache)                                            # (B,C)
q, q_cache = ops.softmax_forward(s, T)                                          # (B,C)
p, _ = ops.softmax_forward(t, T)                                                # (B,C)
twice, _ = ops.soft_target_forward(ops.softmax_forward(s)[0], ops.softmax_forward(t)[0], T)
a, b = s.clip(1e-7, 1), t.clip(1e-7, 1)                                         # (B,C)  as Keras treats what it gets
check("soft_target", lambda: soft_target(s, t, T), (value, ds), factors={"T": T, "B": B, "C": C}, mistakes={
    "both sides are raw logits (Keras 3 once shipped that): soften them first": (b * np.log(b / a)).sum(axis=1).mean(),
    "that is the squared error of the softened probabilities (KD_Lib has it): its gradient is far too small":
        ((q - p) ** 2).mean(),
    "the softmax was taken twice: logits are wanted, not probabilities": twice,
    "probabilities stand where logarithms should": T**2 * (p * (np.log(p) - q)).sum(axis=1).mean(),
    "teacher and student have changed places": ops.soft_target_forward(t, s, T)[0],
    "the temperature does not act on the logits": ops.soft_target_forward(s, t, 1.0)[0] * T**2,
    "that is the cross-entropy; it is not 0 at the match": -(T**2) * (p * np.log(q)).sum(axis=1).mean(),
    "in the gradient, q is not softened": T * (ops.softmax_forward(s)[0] - p) / B,
    "in the gradient, p is not softened": T * (q - ops.softmax_forward(t)[0]) / B,
})

# %% [markdown]
# The library's, against finite differences, at four temperatures. The figure is the largest error, relative to the
# largest entry:

# %%
for T in (0.5, 1.0, 4.0, 20.0):
    _, cache = ops.soft_target_forward(s, t, T)
    error = check_gradient(lambda z, T=T: ops.soft_target_forward(z, t, T)[0], s, ops.soft_target_backward(cache))
    print(f"T = {T:4}: {error:.0e}")

# %% [markdown]
# ## What remains at high temperature
#
# With $T^2$ the gradient does not only keep its size, it tends to something simple. For large $T$ all $s_c/T$ are
# small, and $e^x \approx 1 + x$. Write $\bar s$ for the mean of a row of logits and $\tilde s = s - \bar s$ for the
# centred ones:
#
# $$ q_c \approx \frac{1 + s_c/T}{C + \sum_j s_j/T} \approx \frac{1}{C} \Big( 1 + \frac{\tilde s_c}{T} \Big) . $$
#
# The same holds for $p$ and $t$. The parts $1/C$ cancel in $q - p$, and with $ds = T\,(q-p)/B$
#
# $$ ds \;\longrightarrow\; \frac{\tilde s - \tilde t}{B\,C} \qquad (T \to \infty) . $$
#
# That is the gradient of a squared error of centred logits: at high temperature, distilling means *matching logits*
# (Hinton, Vinyals and Dean 2015, section 2.1).

# %% [markdown]
# ### Exercise 4: the limit
#
# Write `limit(s, t)`: the gradient $(B,C)$ that is left at infinite temperature.
#
# <details><summary>Hint</summary>
#
# Each row loses its own mean: `s - s.mean(axis=1, keepdims=True)`. Then the difference, divided by $B$ and by $C$.
#
# </details>

# %% tags=["exercise"]
def limit(s, t):     # s, t (B,C)
    ...              # your code: return ds (B,C)


# %% tags=["check"]
onto_centred = np.eye(C) - 1 / C                                                # (C,C)  takes a row's mean from it
check("limit", lambda: limit(s, t), (s - t) @ onto_centred / (B * C), factors={"B": B, "C": C, "2": 2.0}, mistakes={
    "the logits are not centred": (s - t) / (B * C),
    "the mean was taken over the rows of a column; each row has its own": (s - t - (s - t).mean(axis=0)) / (B * C),
    "one mean was taken over all entries; each row has its own": (s - t - (s - t).mean()) / (B * C),
    "the means of s and of t both have to go": (s @ onto_centred - t) / (B * C),
})

# %%
goal = (s - t) @ onto_centred / (B * C)                                         # (B,C)
temperatures = np.geomspace(0.5, 1000, 40)
distances, with_factor, without_factor = [], [], []
for T in temperatures:
    _, cache = ops.soft_target_forward(s, t, T)
    ds = ops.soft_target_backward(cache)                                        # (B,C)
    distances.append(np.linalg.norm(ds - goal) / np.linalg.norm(goal))
    with_factor.append(size(ds))
    without_factor.append(size(ds) / T**2)
_, cache = ops.cross_entropy_forward(s, y)
of_labels = size(ops.cross_entropy_backward(cache))

figure, axes = plt.subplots(1, 2, figsize=(9, 3.3), layout="constrained")
axes[0].plot(temperatures, with_factor, color="#00798c", label="teacher, with $T^2$")
axes[0].plot(temperatures, without_factor, color="#d1495b", label="teacher, without")
axes[0].axhline(of_labels, color="black", linestyle=":", label="labels")
axes[0].axhline(size(goal), color="#00798c", linestyle=":", linewidth=1, label="the limit")
axes[0].set(xscale="log", yscale="log", xlabel="T", ylabel="mean length of a row of ds", title="Size of the gradient")
axes[0].legend(frameon=False, fontsize=8)
axes[1].plot(temperatures, distances, color="#00798c", label="measured")
axes[1].plot(temperatures[20:], distances[-1] * temperatures[-1] / temperatures[20:], "k:", label="falls as 1/T")
axes[1].set(xscale="log", yscale="log", xlabel="T", ylabel="share of its length", title="Distance from the limit")
axes[1].legend(frameon=False, fontsize=8)
plt.show()
for T in (1, 4, 20, 100):
    ds = ops.soft_target_backward(ops.soft_target_forward(s, t, T)[1])
    print(f"T = {T:3}: {np.linalg.norm(ds - goal) / np.linalg.norm(goal):.1%} from the limit")

# %% [markdown]
# On the left the curve without the factor falls with slope $-2$, two powers of ten for each power of ten in $T$; the
# one with it becomes flat. On the right the distance falls as $1/T$ once $T$ is larger than the logits are. At low
# temperatures the gradient is far from the limit: there it looks at the likely classes alone and lets the others be,
# since $q$ and $p$ are both nearly 0 for them.
#
# Which is better? The limit cares about *all* logits, also about those of classes that nobody would ever name. That is
# much to learn for a small student, and some of it is noise. In between lies a $T$ that listens to the classes that
# matter. It is chosen on validation images.
#
# One row by hand, $s = (2, 1, 0)$ and $t = (5, 3, 1)$. The centred difference is $(-1, 0, 1)$, so the limit is
# $(-\tfrac13, 0, \tfrac13)$:

# %%
one, other = np.array([[2.0, 1, 0]]), np.array([[5.0, 3, 1]])                   # (1,3)  (1,3)
for T in (1, 4, 20, 100):
    value, cache = ops.soft_target_forward(one, other, T)
    print(f"T = {T:3}: T^2 KL = {value:.4f}, ds = {np.round(ops.soft_target_backward(cache)[0], 4)}")

# %% [markdown]
# ## Labels and teacher together
#
# As a rule there are labels too, and both speak, with a weight $\alpha$ from 0 to 1 for the teacher:
#
# $$ L = (1-\alpha)\, \mathrm{CE}(s, y) + \alpha\, T^2\, \mathrm{KL}(p \,\Vert\, q) \quad \text{[KD-4]} $$
#
# $$ ds = (1-\alpha)\, \frac{\mathrm{softmax}(s) - y}{B} + \alpha\, \frac{T\,(q - p)}{B} \quad \text{[KD-5]} $$
#
# with $y$ as one-hot rows. Look closely: the first term has $\mathrm{softmax}(s)$ at $T = 1$, since the labels judge
# the student as it will be used. The second has $q = \mathrm{softmax}(s/T)$. Thanks to $T^2$ the two are of comparable
# size at every temperature (compare the lines in the left picture), so an $\alpha$ that was found at one $T$ still
# makes sense at another.

# %% [markdown]
# ### Exercise 5: the whole loss
#
# Write `distillation_loss(s, t, y, T, alpha)`: the value of [KD-4] and the gradient $(B,C)$ of [KD-5], as a pair. `y`
# holds labels $(B,)$.
#
# <details><summary>Hint</summary>
#
# `ops.cross_entropy_forward(s, y)` returns the value and a cache, and `ops.cross_entropy_backward(cache)` the
# gradient, with its $1/B$. `ops.soft_target_forward(s, t, T)` and `ops.soft_target_backward(cache)` do the same for
# the teacher's term, with $T^2$ in it. What is left is two weighted sums.
#
# </details>

# %% tags=["exercise"]
def distillation_loss(s, t, y, T, alpha):    # s, t (B,C)  y (B,)
    ...                                      # your code: return the value and ds (B,C)


# %% tags=["check"]
T, alpha = 4.0, 0.7
ce, ce_cache = ops.cross_entropy_forward(s, y)
soft, soft_cache = ops.soft_target_forward(s, t, T)
dce, dsoft = ops.cross_entropy_backward(ce_cache), ops.soft_target_backward(soft_cache)             # (B,C) each
ce_softened, softened_cache = ops.cross_entropy_forward(s / T, y)
dce_softened = ops.cross_entropy_backward(softened_cache)                               # (B,C)  by s / T
swapped, _ = ops.soft_target_forward(t, s, T)
known = {
    "the weights are exchanged: alpha belongs to the teacher": (alpha * ce + 0.3 * soft, alpha * dce + 0.3 * dsoft),
    "the weights are missing": (ce + soft, dce + dsoft),
    "only the teacher's part is there": (alpha * soft, alpha * dsoft),
    "only the labels' part is there": (0.3 * ce, 0.3 * dce),
    "the labels have the full weight; theirs is 1 - alpha": (ce + alpha * soft, dce + alpha * dsoft),
    "T^2 is missing": (0.3 * ce + alpha * soft / T**2, 0.3 * dce + alpha * dsoft / T**2),
    "T^2 is there twice; soft_target_forward has it already":
        (0.3 * ce + alpha * T**2 * soft, 0.3 * dce + alpha * T**2 * dsoft),
    "the labels were compared with the softened student; for them T is 1":
        (0.3 * ce_softened + alpha * soft, 0.3 * dce_softened + alpha * dsoft),
    "T^2 multiplies the labels' part too": (T**2 * 0.3 * ce + alpha * soft, T**2 * 0.3 * dce + alpha * dsoft),
    "teacher and student have changed places": (0.3 * ce + alpha * swapped, 0.3 * dce - alpha * dsoft),
    "it was divided by B once more: both gradients have their 1/B":
        ((0.3 * ce + alpha * soft) / B, (0.3 * dce + alpha * dsoft) / B),
}
check("distillation_loss", lambda: distillation_loss(s, t, y, T, alpha), SoftTarget(T, alpha)(s, t, y), mistakes={
    **{words: value for words, (value, _) in known.items()},
    **{f"in the gradient, {words}": ds for words, (_, ds) in known.items()},
}, factors={"B": B, "C": C})

# %% [markdown]
# One image in detail: what the labels ask of each logit, and what the teacher asks. A bar below 0 says "raise this
# logit", since the step goes against the gradient.

# %%
hesitant = int(ops.softmax_forward(t, 4.0)[0].max(axis=1).argmin())             # the image with the softest answer
figure, axes = plt.subplots(1, 2, figsize=(8.4, 2.9), layout="constrained", sharey=True)
for ax, ds, name in ((axes[0], B * dce, "labels: softmax(s) - y"), (axes[1], B * dsoft, "teacher: T (q - p), T = 4")):
    ax.bar(range(C), ds[hesitant], color="#00798c")
    ax.axhline(0, color="black", linewidth=0.6)
    ax.set(title=name, xlabel="class", xticks=range(C))
axes[0].set_ylabel("gradient of this row")
plt.show()
print(f"the image is a {y[hesitant]}; the teacher's likeliest classes are {t[hesitant].argsort()[::-1][:3]}")

# %% [markdown]
# The labels push one logit up, and the others down by what the student happens to give them. The teacher has something
# to say on each class, and may raise a wrong one where the student underrates it.
#
# Two special cases are worth knowing:
#
# - **$\alpha = 0$** is training without a teacher, the baseline. **$\alpha = 1$** needs no labels at all.
# - **At $T = 1$** both terms have the same $q$, and $ds = \big(q - ((1-\alpha)\, y + \alpha\, p)\big)/B$: one
#   cross-entropy with a mixed target. At other temperatures there is no such target.

# %%
mixed = 0.3 * np.eye(C)[y] + 0.7 * ops.softmax_forward(t)[0]                    # (B,C)
_, cache = ops.cross_entropy_forward(s, mixed)
_, ds = SoftTarget(1.0, 0.7)(s, t, y)
print(f"T = 1, largest difference of the two gradients: {np.abs(ops.cross_entropy_backward(cache) - ds).max():.0e}")

# %% [markdown]
# ## A loss that checks itself
#
# You need no right answer to hold a distillation loss to account. It must be 0 at the match; its gradient must be that
# of its value; a constant added to a row of logits must change nothing; twice the batch must give the same value.
# `check_loss` tries these, and names the mistake where it knows one. Four losses, one of them right:

# %%
def without_t_squared(s, t, y):
    value, ds = SoftTarget(4.0, 1.0)(s, t, y)
    return value / 16, ds / 16


def mean_over_elements(s, t, y):
    value, ds = SoftTarget(4.0, 1.0)(s, t, y)
    return value / s.shape[1], ds / s.shape[1]


def raw_logits(s, t, y):
    a, b = s.clip(1e-7, 1), t.clip(1e-7, 1)                                     # (B,C)
    inside = (s > 1e-7) & (s < 1)                                               # (B,C)
    return (b * np.log(b / a)).sum(axis=1).mean(), -(inside * b / a) / len(s)


for loss in (SoftTarget(4.0, 1.0), without_t_squared, mean_over_elements, raw_logits):
    found = check_loss(loss, temperature=4.0, alpha=1.0)
    name = getattr(loss, "__name__", "SoftTarget")
    print(f"{name:18}", "all invariants hold" if found else f"breaks {', '.join(found.broken)}")
    for mistake in found.mistakes:
        print(f"{'':18} looks like {mistake}")

# %% [markdown]
# ## What to remember
#
# The softened KL measures how far the student's belief is from the teacher's, as the teacher weighs the classes. Its
# gradient is $T\,(q-p)/B$ when the loss has the factor $T^2$: one $T$ for the chain rule, one for probabilities that
# grow alike. At high temperature it becomes a squared error of centred logits, at low temperature it looks at the
# likely classes. Labels are compared at $T = 1$. Mean over rows, not over entries.
#
# ## Read next in the source
#
# - `minidistill/ops.py`: `soft_target_forward` and `soft_target_backward`; the derivation in full is in
#   `docs/maths/ops.md`.
# - `minidistill/losses/soft_target.py`: `SoftTarget`.
# - `minidistill/diagnosis/check_loss.py`: `check_loss`, and what it tries.
#
# Next: notebook 8, your first student.
