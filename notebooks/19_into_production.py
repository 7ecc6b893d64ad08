# %% [markdown]
# # 19 · Into production: export, cascade, quality gate
#
# The student is trained, and small. Now it is to serve: on a machine without Python, perhaps, on inputs that have no
# labels, and in a world that changes. The teacher is not done yet. It can help the student out where that is not sure,
# and it can keep watch.
#
# **You will know at the end**
#
# - what is in the C file that a network becomes, and how to see that it is the same network;
# - how one temperature makes a confidence mean what it says;
# - how to choose a threshold on data and still prove something about it;
# - why looking again and again at a 95% interval raises false alarms, and which test one may look at for ever;
# - what a watching teacher cannot see.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebook 6 (temperature) and notebook 8
# (distilling).

# %%
import ctypes
import math
import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from minidistill import MLP, SGD, Cascade, CosineSchedule, QualityGate, SoftTarget, digits, distill, fit, ops, quantize
from minidistill.deployment.bounds import add_evidence, alarm_level, evidence, lower_bound
from minidistill.deployment.cascade import calibration_backward, calibration_forward, fit_temperature
from minidistill.diagnosis.exercises import check
from minidistill.experiments.drift import noisy, rotated
from minidistill.export import c_source, to_c

# %% [markdown]
# ## The situation
#
# A large teacher and a student of 16 hidden units. 500 images are held out: nobody learns from them, they are there to
# choose and to prove. The test images play the part of the live inputs. We know their labels; the student does not.

# %%
everything, test = digits()
learning, validation = everything.split(len(everything) - 500, seed=0)
teacher = MLP((64, 256, 256, 10), dropout=0.3, seed=0)
fit(teacher, learning, epochs=40, batch_size=32, optimizer=SGD(CosineSchedule(0.1)), seed=0)
student = MLP((64, 16, 10), seed=0)
distill(teacher, student, learning, SoftTarget(4.0, 0.9), epochs=40, batch_size=32, optimizer=SGD(CosineSchedule(0.05)),
        seed=0)


def accuracy(model, data=test):                  # in percent
    return 100 * np.mean(model.predict(data.x) == data.y)


print(f"teacher {accuracy(teacher):.1f}%, {teacher.multiply_adds:,} multiply-adds an image")
print(f"student {accuracy(student):.1f}%, {student.multiply_adds:,}")

# %% [markdown]
# ## A network as a file of C
#
# A trained MLP is a list of numbers and two loops. `to_c` writes both into one file that every C compiler understands.
# The numbers stand there as *hexadecimal* floats, such as `0x1.8p+1`, which is exactly $1.5 \cdot 2^1$: no digit is
# lost in writing and reading.

# %%
source = c_source(student, name="student")
lines = source.splitlines()
print("\n".join([*lines[:14], "...", *lines[-22:]]))

# %% [markdown]
# Never believe that a copy is right: run it. If `gcc` is on this machine, the next cell compiles the file and calls it
# for each test image. The quantised student of notebook 18 becomes a file as well. Its sums are of whole numbers, so
# there is no order of additions in which it could differ.

# %%
def from_c(network, x):
    """Logits (N,C) of x (N,I) by the network's C file."""
    with tempfile.TemporaryDirectory() as folder:
        to_c(network, Path(folder) / "net.c", name="net")
        command = ["gcc", "-std=c99", "-O3", "-shared", "-fPIC", "net.c", "-o", "net.so", "-lm"]
        subprocess.run(command, cwd=folder, check=True)
        predict = ctypes.CDLL(str(Path(folder) / "net.so")).net_predict
    row, logits, found = ctypes.c_float * x.shape[1], (ctypes.c_float * network.sizes[-1])(), []
    for one in x:
        predict(row(*one), logits)
        found.append(list(logits))
    return np.array(found, np.float32)                                          # (N,C)


if shutil.which("gcc"):
    integers = quantize(student, learning.x)
    for name, network in (("floats", student), ("bytes", integers)):
        wanted = network.logits(test.x)
        print(f"{name}: largest difference {np.abs(from_c(network, test.x) - wanted).max():.1e}, "
              f"largest logit {np.abs(wanted).max():.1f}")
else:
    print("no gcc here: the C file is not tried")

# %% [markdown]
# ## How sure is it?
#
# A **cascade** lets the student answer where it is sure and sends the rest to the teacher. How sure it is, its largest
# probability says, its *confidence*. But is a confidence of 90% right in nine cases of ten? Not by itself. One number
# mends much of it: divide the logits by a temperature $T$, chosen so that the labels of held-out images become as
# likely as can be. With $b = 1/T$, and $q = \operatorname{softmax}(b\,s)$, the loss is
#
# $$L(b) = \frac1N \sum_n \Bigl( \log \sum_c e^{b s_{nc}} - b\, s_{n y_n} \Bigr) \qquad \text{[SERVE-6]}$$
#
# No label changes the order of the logits, so no answer changes. What changes is who is asked.

# %% [markdown]
# ### Exercise 1: the slope
# Write `slope(s, b, y)`: the derivative of $L$ by $b$, for logits `s (N,C)`, a number `b` and labels `y (N,)`.
#
# <details><summary>Hint</summary>
#
# The derivative of $\log \sum_c e^{b s_c}$ by $b$ is $\sum_c q_c s_c$: the logit that is expected under $q$. The second
# term is simpler. `ops.softmax_forward(b * s)[0]` is $q$.
#
# </details>

# %% tags=["exercise"]
def slope(s, b, y):          # s (N,C)  b a number  y (N,)
    ...                      # your code: return a number


# %% tags=["check"]
s = student.logits(validation.x).astype(np.float64)                             # (N,C)
y = np.asarray(validation.y)                                                    # (N,)
q = ops.softmax_forward(0.5 * s)[0]                                             # (N,C)
expected, came = (q * s).sum(axis=1), s[np.arange(len(y)), y]                   # (N,)
check("slope", lambda: slope(s, 0.5, y), calibration_backward(calibration_forward(s, 0.5, y)[1]), factors={
    "N": len(y), "b": 0.5,
}, mistakes={
    "q is softmax(b s), and here it is softmax(s)":
        ((ops.softmax_forward(s)[0] * s).sum(axis=1) - came).mean(),
    "the logit of the label is missing": expected.mean(),
    "this is the derivative by T, not by b = 1/T": -(expected - came).mean() * 0.25,
})

# %% [markdown]
# The slope grows with $b$ (its derivative is a variance), so there is one place where it is zero, and halving an
# interval finds it. `fit_temperature` does that. On the test images, which chose nothing, look at the loss, and at how
# sure the student is where it is wrong:

# %%
T = fit_temperature(s, y)
live = student.logits(test.x).astype(np.float64)                                # (N,C)
right = live.argmax(axis=1) == test.y                                           # (N,)
for name, temperature in (("as it is", 1.0), (f"T = {T:.2f}", T)):
    sure = ops.softmax_forward(live, temperature)[0].max(axis=1)                # (N,)
    loss, _ = calibration_forward(live, 1 / temperature, np.asarray(test.y))
    print(f"{name}: loss on the test images {loss:.3f}; mean confidence where it is wrong {sure[~right].mean():.0%}, "
          f"where right {sure[right].mean():.0%}")

# %% [markdown]
# ## What a count proves
#
# On validation images a cascade is right in $k$ of $n$. What may we promise? Not $k/n$: had we drawn other images, it
# would be another number. Clopper and Pearson (1934) ask: *how low could the true share be, before as many as $k$ would
# be a rare piece of luck?* "Rare" is $\delta$, say 5%. The chance of at least $k$ of $n$ is
#
# $$P(X \ge k \mid p) = \sum_{i=k}^{n} \binom{n}{i} p^i (1-p)^{n-i} \qquad \text{[SERVE-1]}$$
#
# It grows with $p$. The bound is the $p$ at which it is $\delta$ [SERVE-2]. The number of ways in which $i$ of $n$ can
# be right, $\binom{n}{i}$, is `math.comb(n, i)`:

# %%
print(f"19 of 20: {math.comb(20, 19)} ways, 10 of 20: {math.comb(20, 10):,}")

# %% [markdown]
# ### Exercise 2: a lower bound
# Write `lower(k, n, delta)` for $0 < k \le n$: the $p$ between 0 and 1 at which $P(X \ge k \mid p)$ is $\delta$, to
# eight digits.
#
# <details><summary>Hint</summary>
#
# Begin with `low, high = 0.0, 1.0` and halve forty times: where the middle gives more than
# $\delta$ the bound is below it, else above it.
#
# </details>

# %% tags=["exercise"]
def lower(k, n, delta):
    ...                      # your code: return p


# %% tags=["check"]
check("lower", lambda: lower(190, 200, 0.05), lower_bound(190, 200, 0.05), tolerance=1e-7, mistakes={
    "this is the share that was seen, and not what it proves": 0.95,
    "the tail must count k itself too: at least k, not more than k": lower_bound(191, 200, 0.05),
    "this is the upper bound: turn the halving round": 1 - lower_bound(10, 200, 0.05),
    "delta goes to one side only, do not halve it": lower_bound(190, 200, 0.025),
})
check("lower, all right", lambda: lower(20, 20, 0.05), 0.05 ** (1 / 20), tolerance=1e-7)

# %% [markdown]
# ## A threshold that was chosen
#
# A threshold $\lambda$ decides who answers. Higher means more questions to the teacher, and more right answers, more or
# less. On the held-out images we try some thresholds, from always asking the teacher to never.

# %%
order = np.random.default_rng(0).permutation(len(validation))
calibrating, deciding = validation.subset(order[:125]), validation.subset(order[125:])
s = student.logits(calibrating.x)                                               # (125,C)
T = fit_temperature(s, calibrating.y)
thresholds = np.unique([0, *np.quantile(ops.softmax_forward(s, T)[0].max(axis=1), np.linspace(0, 1, 20)), 1])[::-1]

confident = ops.softmax_forward(student.logits(deciding.x), T)[0].max(axis=1)   # (N,)
by_student, by_teacher = (model.predict(deciding.x) == deciding.y for model in (student, teacher))
sent = np.array([confident <= threshold for threshold in thresholds])           # (thresholds,N)
rights = np.where(sent, by_teacher, by_student).sum(axis=1)                     # (thresholds,)
N = len(deciding)

figure, ax = plt.subplots(figsize=(6, 3.4))
shares = 100 * sent.mean(axis=1)
ax.plot(shares, 100 * rights / N, ".-", label="right, of the images that decide")
ax.plot(shares, [100 * lower_bound(int(k), N, 0.05) for k in rights], ".-", label="proven by each alone")
ax.set(xlabel="sent to the teacher, %", ylabel="accuracy, %", title="What the cascade is right in")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# Each point of the lower line holds with 95%, *for a threshold that was fixed beforehand*. But we shall look at all of
# them and take the one that asks least among those above some wish. If twenty each have a chance of 5% to lie, the one
# that is chosen *because* its figure is high lies more often.
#
# The way out is an order. Test "at least as accurate as $a$" for the most careful threshold first, each with the whole
# $\delta$, and **stop at the first that fails**; take the last that passed. A threshold that is not good enough can
# only be chosen if the first such in the order passed, and that is one test [SERVE-8].

# %% [markdown]
# ### Exercise 3: stop at the first that fails
# Write `choose(rights, n, a, delta)`: the index of the threshold to take. `rights` counts the right answers for each
# threshold, the most careful first. A threshold passes if `lower_bound(k, n, delta)` is at least `a`. Return -1 where
# not even the first passes.
#
# <details><summary>Hint</summary>
#
# Walk through `rights` with `enumerate`, remember the index of the last that passed, and `break` at the first that does
# not.
#
# </details>

# %% tags=["exercise"]
def choose(rights, n, a, delta):
    ...                      # your code: return an index


# %% tags=["check"]
counts = [199, 198, 196, 192, 189, 197, 180]
check("choose", lambda: choose(counts, 200, 0.95, 0.05), 2, mistakes={
    "threshold 5 passes, but 3 failed before it: stop there": 5,
    "threshold 3 was right in 96%, which proves less than 95%: it fails, and the one before it is to be taken": 3,
    "this is the most careful one; go on as long as they pass": 0,
})
check("choose, where nothing passes", lambda: choose([180, 199], 200, 0.95, 0.05), -1)
check("choose, where all pass", lambda: choose([200, 200, 199], 200, 0.95, 0.05), 2)

# %% [markdown]
# `Cascade.for_accuracy` does all of this: calibrates on a quarter of the held-out images, tests on the others. Its plan
# says what is proven and what was measured. Beside it: what came on the test images.

# %%
for wanted in (0.90, 0.93, 0.95):
    try:
        cascade = Cascade.for_accuracy(student, teacher, validation, wanted)
    except ValueError as error:
        print(error)
        continue
    found, plan = accuracy(cascade), cascade.operating_point
    print(f"wanted {wanted:.0%}: on test images {found:.1f}%, sent to the teacher {cascade.deferral_rate:.1%}, "
          f"cost {plan.cost / teacher.multiply_adds:.1%} of the teacher's")

# %% [markdown]
# What is wanted has to be *proven*, so what comes is usually better. More held-out images would prove more, and let the
# student answer more. And a wish that the images cannot prove is refused, with what they can.
#
# ## The teacher keeps watch
#
# All this is about images like the validation images. Live ones change: a camera is mounted askew. There are no labels,
# but the teacher can be asked about one live image in twenty, and **agreement** can be counted. Say that 95% was
# promised. When is it an alarm?
#
# The obvious way: after each batch compute whether the agreement so far is below 95% by more than chance allows, with a
# test that errs in 5%. Each *single* look errs in 5%. But one looks again and again.

# %% [markdown]
# ### Exercise 4: is it ever an alarm?
# Write `ever_below(agreed, promised, every)`. `agreed (n,)` are the watched images of a stream, True where the two
# agreed. Look after each `every` images at all so far, and return whether any look finds
#
# $$\frac{k}{m} < p_0 - 1.645 \sqrt{\frac{p_0 (1 - p_0)}{m}} ,$$
#
# with $k$ of $m$ agreed so far and $p_0$ promised: what happens in one look of twenty by chance.
#
# <details><summary>Hint</summary>
#
# `np.cumsum(agreed)` counts the agreements up to each image. The looks are after images number `every`, `2 * every`,
# and so on, which stand at `every - 1`, `2 * every - 1` in an array.
#
# </details>

# %% tags=["exercise"]
def ever_below(agreed, promised, every):     # agreed (n,) bools
    ...                                      # your code: return True or False


# %% tags=["check"]
early = np.r_[np.zeros(10, bool), np.ones(990, bool)]        # ten disagreements first, and then none
late = early[::-1]
check("ever_below, one look", lambda: ever_below(early, 0.95, 1000), False)
check("ever_below, many looks", lambda: ever_below(early, 0.95, 10), True, mistakes={
    "a look counts all images so far; and one alarm is enough, whatever comes later": False,
})
check("ever_below, at the end", lambda: ever_below(late, 0.95, 100), False, mistakes={
    "a look counts all images so far, not those since the last look": True,
})

# %% [markdown]
# Now 1,000 streams in which *nothing is wrong*: the two agree in exactly 95%, as was promised. How many raise an alarm?

# %%
STREAMS, LENGTH, PROMISED = 1000, 2000, 0.95
agreed = np.random.default_rng(0).random((STREAMS, LENGTH)) < PROMISED          # (streams,n)
k, m = agreed.cumsum(axis=1), np.arange(1, LENGTH + 1)                          # (streams,n) (n,)
below = k / m < PROMISED - 1.645 * np.sqrt(PROMISED * (1 - PROMISED) / m)       # (streams,n)

log_R, strongest = np.full((STREAMS, 5), -np.inf), np.full(STREAMS, -np.inf)
for i in range(LENGTH):                                                         # the test that comes below
    log_R = add_evidence(log_R, agreed[:, i], PROMISED)
    strongest = np.maximum(strongest, evidence(log_R))

looks = [1, 2, 5, 10, 20, 50, 100, 200]
naive = [100 * below[:, LENGTH // count - 1 :: LENGTH // count].any(axis=1).mean() for count in looks]
gate_alarms = 100 * (strongest >= alarm_level(LENGTH, 0.05)).mean()

figure, ax = plt.subplots(figsize=(6, 3.4))
ax.plot(looks, naive, ".-", label="the interval, looked at so often")
ax.axhline(gate_alarms, color="C2", label="the gate's test, looked at after every image")
ax.axhline(5, color="grey", linestyle=":", label="5%")
ax.set(xscale="log", xlabel="looks at a stream of 2,000", ylabel="streams with an alarm, %", ylim=(0, None),
       title="False alarms: agreement is what was promised")
ax.set_xticks(looks, looks)
ax.minorticks_off()
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# The more often one looks, the more often one cries wolf; looked at for ever, the interval will *surely* be below at
# some time. What is needed is a test that holds at all times together.
#
# ## Evidence one may look at for ever
#
# Bet against the promise. Suppose that the odds of a disagreement have grown by a factor $r$; then each image is worth
#
# $$\ell = \frac{r^{[\text{disagreed}]}}{1 + (r - 1)(1 - p_0)} \qquad \text{[SERVE-4]}$$
#
# of evidence: more than 1 where they disagree, a little less where they agree. While the promise is kept, its mean is
# at most 1: the bet is fair, and nobody gets rich by a fair bet, however long he plays. A fall may begin at any image,
# so bets are begun at every image, and summed. One recursion does it:
#
# $$R_n = (R_{n-1} + 1)\, \ell_n , \qquad R_0 = 0 .$$

# %% [markdown]
# ### Exercise 5: gather evidence
# Write `gathered(agreed, promised, r)`: $R$ after all the images `agreed (n,)`.
#
# <details><summary>Hint</summary>
#
# A loop over `agreed`. The numerator of $\ell$ is $r$ where they disagreed, else 1.
#
# </details>

# %% tags=["exercise"]
def gathered(agreed, promised, r):           # agreed (n,) bools
    ...                                      # your code: return R, a number


# %% tags=["check"]
stream = np.random.default_rng(1).random(300) < 0.9
bets = np.full((1, 5), -np.inf)
for one in stream:
    bets = add_evidence(bets, np.array([one]), 0.95)
steps = np.where(stream, 1.0, 3.0) / (1 + 2 * 0.05)
turned, slow, product, late_bet = 0.0, 0.0, 1.0, 0.0
for one, factor in zip(stream, steps, strict=True):
    turned = (turned + 1) * (3.0 if one else 1.0) / 1.1
    slow = (slow + 1) * (1.0 if one else 3.0) / (1 + 2 * 0.95)
    product, late_bet = product * factor, late_bet * factor + 1
check("gathered", lambda: gathered(stream, 0.95, 3.0), float(np.exp(bets[0, 2])), tolerance=1e-6, mistakes={
    "the factor r belongs to images on which they disagreed": turned,
    "1 - p0 is how often they may disagree; here p0 stands in its place": slow,
    "this is one bet that began at the first image; add 1 at each image for the bet that begins there": product,
    "the bet that begins at an image counts that image too: add 1 first, then multiply": late_bet,
})

# %% [markdown]
# After $n$ images the mean of $R_n$ is at most $n$ while the promise is kept. So the chance that it has ever reached
# $c$ within $N$ images is at most $N/c$ [SERVE-5]: with $c = N / 0.05$ at most one stream in twenty raises an alarm,
# *however often one looked*. That is the flat line above. By how much the odds have grown nobody knows, so
# `QualityGate` takes the mean over five values of $r$.
#
# Now the real thing: the student serves, its teacher answers one image in four (on so few images; one in twenty is
# usual), and after 2,000 images something happens.

# %%
def stream_of(x, after, gate, before=2000, length=6000, batch=100):
    """Evidence (batches,) of a gate over a stream that changes from x to `after`, and where the alarm was."""
    random, levels = np.random.default_rng(0), []
    for start in range(0, length, batch):
        gate.update((x if start < before else after)[random.integers(len(x), size=batch)])
        levels.append(float(evidence(gate.log_evidence)))
    return levels, gate.alarm_index


x = test.x
worlds = {"nothing": x, "turned by 15 degrees": rotated(x, 15), "noise of 0.3": noisy(x, 0.3)}
figure, ax = plt.subplots(figsize=(6.5, 3.4))
for name, after in worlds.items():
    gate = QualityGate.from_validation(student, teacher, validation, sample_rate=0.25)
    levels, alarm = stream_of(x, after, gate)
    ax.plot(100 * np.arange(1, len(levels) + 1), levels, label=name)
    said = "no alarm" if alarm is None else f"alarm {alarm - 1999:,} images after it"
    print(f"{name}: promised {gate.min_agreement:.1%} agreement, {said}")
ax.axhline(gate.level, color="grey", linestyle=":", label="alarm")
ax.axvline(2000, color="grey", linewidth=0.8)
ax.set(xlabel="images", ylabel="evidence, logarithm", title="What happens at image 2,000")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# ## What the teacher cannot see
#
# Agreement is not accuracy. In the table, look at both columns: how often the two agree after the drift, and how often
# each is right. The last line is a world with a new kind of digit: a teacher and a student that never saw a 9, and live
# images that are all 9s.

# %%
no_nines = learning.subset(np.asarray(learning.y) != 9)
blind_teacher, blind_student = MLP((64, 256, 10), dropout=0.3, seed=0), MLP((64, 16, 10), seed=0)
fit(blind_teacher, no_nines, epochs=30, batch_size=32, optimizer=SGD(CosineSchedule(0.1)), seed=0)
distill(blind_teacher, blind_student, no_nines, SoftTarget(4.0, 0.9), epochs=30, batch_size=32,
        optimizer=SGD(CosineSchedule(0.05)), seed=0)
nines = np.asarray(test.y) == 9
cases = {name: (student, teacher, after, test.y) for name, after in worlds.items()}
cases["nothing but 9s, never seen"] = (blind_student, blind_teacher, x[nines], np.asarray(test.y)[nines])
print(f"{'':27} agree  student right  teacher right")
for name, (small, large, images, labels) in cases.items():
    a, b = small.predict(images), large.predict(images)
    print(f"{name:27} {np.mean(a == b):5.1%} {np.mean(a == labels):13.1%} {np.mean(b == labels):14.1%}")

# %% [markdown]
# Where the teacher errs as well, and in the same way, nothing is seen. The 9s are the clearest case: neither can name
# them, whatever they agree on. A gate says whether the student still *does what its teacher would do*. Whether the
# teacher is still right, only labels can say: have some images labelled now and then.
#
# ## What to remember
#
# A network in C is the same network, and one checks that. A confidence means something once a temperature has
# calibrated it. What was chosen by its figures does not have those figures: fix an order, stop at the first failure. A
# test for one look is no test for many; evidence of fair bets may be looked at for ever. And a teacher that watches
# sees the student go astray, not itself.
#
# ## Read next in the source
#
# - `minidistill/export/c.py`: `c_source` and its parts.
# - `minidistill/deployment/bounds.py`: `lower_bound`, `confidence_sequence`, `add_evidence`.
# - `minidistill/deployment/cascade.py`: `Cascade`; `minidistill/deployment/gate.py`: `QualityGate`.
# - `minidistill/experiments/reproduce/deploy.py`: the whole way on photographs, with a teacher of 2x1200 units.
#
# This was the last notebook. You have derived and coded a distillation library, and know when not to use it.
