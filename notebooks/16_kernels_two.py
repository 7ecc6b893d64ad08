# %% [markdown]
# # 16 · Kernels II: fusing, memory, threads, races
#
# Notebook 15 made products fast. What is left of a training step are many small things: a softmax, a loss, a gradient,
# an update. Each is cheap, and all together they can cost more than the products. This notebook makes them cheap for
# good.
#
# **You will know at the end**
#
# - why a line of NumPy can be slow although it is compiled: passes over memory, and fresh arrays;
# - how softmax, loss and gradient become one kernel without a temporary array;
# - how a largest logit and a sum can be had in one walk (the online softmax);
# - why a literal such as `1.0` makes a float32 kernel compute in double;
# - what a race is, why it is silent, and how to split work so that the number of threads does not change a bit;
# - what is gained when a whole epoch is one call.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebook 3 (softmax and cross-entropy) and
# notebook 15. The times are those of the machine that ran it.

# %%
import itertools
import math
import time
import tracemalloc
from statistics import median

import matplotlib.pyplot as plt
import numba
import numpy as np
from numba import njit, prange

from minidistill import MLP, SGD, CrossEntropy, digits, fit, ops
from minidistill.diagnosis.exercises import check
from minidistill.kernels import cpu
from minidistill.kernels.cpu import matmul

# %% [markdown]
# Two helpers, for what notebook 15 says about timing.

# %%
def timed(kernels, rounds=7):
    """The median seconds of each kernel by name: warmed up, and taking turns."""
    for kernel in kernels.values():
        kernel()
    times = {name: [] for name in kernels}
    for _ in range(rounds):
        for name, kernel in kernels.items():
            start = time.perf_counter()
            kernel()
            times[name].append(time.perf_counter() - start)
    return {name: median(each) for name, each in times.items()}


def draw_times(times, title):
    _, ax = plt.subplots(figsize=(7, 0.5 * len(times) + 1.2), layout="constrained")
    bars = ax.barh(list(times), [1e6 * each for each in times.values()], color="#00798c")
    ax.bar_label(bars, fmt="{:,.1f}", padding=3)
    ax.invert_yaxis()
    ax.set(title=title, xlabel="microseconds", xlim=(0, 1.25e6 * max(times.values())))
    plt.show()


# %% [markdown]
# ## Passes over memory
#
# Here is the cross-entropy's gradient for a batch of 1,024 rows and 1,000 classes, a small step a line. Every line
# reads whole arrays of 4 MB from memory, does one operation a number, and writes an array of 4 MB. Such work has next
# to no arithmetic intensity (notebook 15): memory sets the pace. And each fresh array has to be asked for; the system
# hands out its pages one by one, filled with zeros that nobody needs.

# %%
rng = np.random.default_rng(0)
s = rng.standard_normal((1024, 1000)).astype(np.float32)                        # (B,C)
y = rng.integers(0, 1000, 1024)                                                 # (B,)


def in_steps(s, y):                                  # s (B,C)  y (B,)
    z = s - s.max(axis=1, keepdims=True)             # (B,C)
    e = np.exp(z)                                    # (B,C)
    q = e / e.sum(axis=1, keepdims=True)             # (B,C)
    rows = ops.one_hot(y, s.shape[1], s.dtype)       # (B,C)
    return (q - rows) / len(s)                       # (B,C)


# %% [markdown]
# ### Exercise 1: count the arrays
# How many arrays of the size $(B,C)$ does one call of `in_steps` make, its result included? Columns $(B,1)$ do not
# count.
#
# <details><summary>Hint</summary>
#
# Every arithmetic operation between arrays makes one. The last line has two operations.
#
# </details>

# %% tags=["exercise"]
arrays = ...                         # your answer: a whole number

# %% tags=["check"]
check("arrays", arrays, len(("z", "e", "q", "rows", "q - rows", "ds")), mistakes={
    "the last line makes two: q - rows has to be somewhere before it is divided": 5,
    "rows, the labels as an array of zeros and ones, has the size (B,C) too": 4,
})

# %%
tracemalloc.start()
in_steps(s, y)
print(f"most memory in use at a time: {tracemalloc.get_traced_memory()[1] / s.nbytes:.1f} arrays of the size (B,C)")
tracemalloc.stop()

# %% [markdown]
# ## One kernel, no temporary array
#
# A row of 1,000 numbers fits the nearest cache. So do *everything* to one row before the next one is touched: then
# memory is read once, and the gradient is written once. That is **fusing**. A row is walked three times, all in the
# cache:
#
# 1. find its largest logit, `top`;
# 2. write $e^{s_c - \text{top}}$ into the place of the gradient, and sum to `total`;
# 3. turn each of them into $(q_c - y_c)/B$.
#
# An exponential is dear, and so it is computed once and kept, in the place where the gradient will stand.
#
# ### Exercise 2: a fused row
# Write `cross_entropy_row(s, label, weight, ds)` for one row: `s` $(C,)$, `label` a whole number, `weight` $1/B$.
# Write the gradient $(q_c - [c = \text{label}])\,\cdot$ `weight` into `ds` $(C,)$, and return the row's loss $-\log
# q_\text{label}$ (without the weight). Use loops and `math.exp`, `math.log`; make no array.
#
# <details><summary>Hint</summary>
#
# $-\log q_\text{label} = \log(\text{total}) - (s_\text{label} - \text{top})$. In the third loop: `ds[c] = ds[c] /
# total * weight`. After it, take `weight` off at the label.
#
# </details>

# %% tags=["exercise"]
def cross_entropy_row(s, label, weight, ds):         # s (C,)  ds (C,)
    ...                                              # your code: fill ds, return the loss


# %% tags=["check"]
def row_and_loss(f, s, label):
    ds = np.full(len(s), 9.0)                        # (C,)
    loss = f(s, label, 0.25, ds)
    return None if loss is None else (loss, ds)


row = np.array([1000.0, 1002.0, 999.0, 1001.5, 998.0])                          # (C,)  large: exp would overflow
value, cache = ops.cross_entropy_forward(row[None], np.array([3]))
q, wanted = ops.softmax_forward(row[None])[0][0], ops.cross_entropy_backward(cache)[0]
check("cross_entropy_row", lambda: row_and_loss(cross_entropy_row, row, 3), (value, 0.25 * wanted), mistakes={
    "weight is missing, or stands at the softmax alone": wanted,
    "the label has lost 1 and not 1 times the weight": 0.25 * q - np.eye(5)[3],
    "1 is not taken off at the label: that is the softmax, weighed": 0.25 * q,
    "that is the softmax: take 1 off at the label, and multiply by the weight": q,
    "weight belongs to the gradient; the loss of the row is returned without it": 0.25 * value,
    "that is log q; the loss is minus that": -value,
    "top was taken off in total and not at the label": value - row.max(),
})
compiled_row = njit(cross_entropy_row)


@njit
def all_rows(s, y, ds):
    total = 0.0
    for n in range(len(s)):
        total += compiled_row(s[n], y[n], s.dtype.type(1 / len(s)), ds[n])
    return total / len(s)


place = np.empty_like(s)                                                        # (B,C)
kernels = {"in steps": lambda: in_steps(s, y), "yours": lambda: all_rows(s, y, place)}
for name, seconds in timed(kernels, 5).items():
    print(f"{name:10} {1e6 * seconds:8.0f} us")

# %% [markdown]
# The library's kernel fuses the teacher's softmax, the KL and the mix with $\alpha$ into the same walk
# (`distillation_loss` in `minidistill/kernels/cpu/losses.py`), and its exponential is a polynomial that works on a
# whole vector at a time. `reusing` is a middle way: NumPy, but every result goes into the same memory, by `out=`.

# %%
numba.set_num_threads(1)
memory = np.empty_like(s)                                                       # (B,C)


def reusing(s, y):
    np.subtract(s, s.max(axis=1, keepdims=True), out=memory)                    # (B,C)
    np.exp(memory, out=memory)                                                  # (B,C)
    memory[:] /= memory.sum(axis=1, keepdims=True)                              # (B,C)
    memory[np.arange(len(y)), y] -= 1
    memory[:] /= len(y)                                                         # (B,C)
    return memory


assert np.allclose(reusing(s, y), in_steps(s, y), atol=1e-7)
assert np.allclose(cpu.distillation_loss(s, y=y)[1], in_steps(s, y), atol=1e-7)
times = timed({
    "NumPy, in steps": lambda: in_steps(s, y),
    "NumPy, reusing memory": lambda: reusing(s, y),
    "fused, one thread": lambda: cpu.distillation_loss(s, y=y),
    "copying the array": lambda: np.copyto(memory, s),
})
draw_times(times, "Cross-entropy and its gradient, 1,024 x 1,000")

# %% [markdown]
# Copying the array is the yardstick: it reads and writes each number once and computes nothing. No kernel that fills
# an array of this size from another one can do much better. See how far above it each bar is.

# %% [markdown]
# ## The online softmax
#
# Two of the three walks can be one. Keep the largest logit *so far* and the sum *relative to it*. When a larger one
# comes, everything that was summed is too large by a known factor, and is corrected at once:
#
# $$ \text{total} \leftarrow \text{total} \cdot e^{\text{top} - \text{new}} + 1 , \qquad
#    \text{top} \leftarrow \text{new} . $$
#
# ### Exercise 3: top and total in one walk
# Write `online(s)`: for a row `s` $(C,)$ return the largest entry and $\sum_c e^{s_c - \text{top}}$. Read each entry
# once (`for value in s`), and let no exponential overflow.
#
# <details><summary>Hint</summary>
#
# Begin with `top = -math.inf` and `total = 0.0`. If `value > top`, correct `total`, add 1 and move `top`; otherwise add
# `math.exp(value - top)`. `math.exp(-math.inf)` is 0.
#
# </details>

# %% tags=["exercise"]
def online(s):                       # s (C,)
    ...                              # your code: return top and total


# %% tags=["check"]
row = np.array([-2.0, 1.0, 800.0, 799.0, 801.0, -5.0])                          # (C,)
largest = row.max()
check("online", lambda: online(iter(row)), (largest, np.exp(row - largest).sum()), mistakes={
    "top comes first, then total": np.exp(row - largest).sum(),
    "total is not corrected when a larger entry comes": sum(np.exp(row - np.maximum.accumulate(row))),
    "a new largest entry counts 1 in the sum: it is missing": np.exp(row - largest).sum() - 1,
})

# %% [markdown]
# Two pairs (top, total) of two halves of a row can be put together by the same formula, in any grouping. So a row can
# be split among threads, or come in pieces. Attention in language models is computed like that (FlashAttention).
#
# The library's kernel on the CPU saves the first walk in a way that needs no `if` in the loop, so that vectors stay
# simple. `top` cancels in the end, and any number will do that is not so far below the largest logit that a sum
# overflows. It takes the largest of a row's first 512 logits; where the sum shows that a much larger one came later,
# the row is done once more.

# %% [markdown]
# ## Single numbers, double numbers
#
# float32 takes half the memory of float64, and a register holds twice as many. But `0.5` in Python is a double. In
# NumPy a Python number takes on the dtype of the array that it meets. In numba it does not: float32 times float64 is
# float64, and the kernel computes in double from there on. Nothing tells you; the result is even a little more exact.
#
# One can count: in LLVM's language, which numba translates to, `fpext` extends a single number to a double.

# %%
@njit
def with_literals(x, out):           # x, out (N,)
    for i in range(len(x)):
        out[i] = 0.5 * x[i] * (1.0 + x[i])


@njit
def with_own_constants(x, out):      # x, out (N,)
    half, one = x.dtype.type(0.5), x.dtype.type(1)
    for i in range(len(x)):
        out[i] = half * x[i] * (one + x[i])


def extensions(f):
    return sum(text.count(" fpext ") for text in f.inspect_llvm().values())


x = rng.standard_normal(4096).astype(np.float32)                                # (N,)
out = np.empty_like(x)                                                          # (N,)
kernels = {"with literals": with_literals, "with own constants": with_own_constants}
times = timed({name: lambda f=f: [f(x, out) for _ in range(100)] for name, f in kernels.items()})
for name, f in kernels.items():
    print(f"{name:20} extensions to double: {extensions(f):3d}   {1e4 * times[name]:6.2f} us for 4,096 numbers")

# %% [markdown]
# ## Threads, and what goes wrong
#
# The bias gradient is a sum over the rows of a batch, $db_o = \sum_n dz_{no}$. Two threads could each take half of the
# rows. But `db[o] += dz[n, o]` is not one action. It is three: *read* `db[o]`, *add*, *write* it back. If both threads
# read before either has written, one of the two additions is lost. That is a **race**.
#
# Races are silent: no error, and most runs are right. Whether it goes wrong depends on the timing, so we do not wait
# for it here, but play it through. Each thread has two steps: the first reads the total into its own register, the
# second writes register + value. An *order* says whose step is next: `"ABAB"`.
#
# ### Exercise 4: play it through
# Write `final_total(order, values)`: the shared total starts at 0, `values` is a dictionary such as `{"A": 1, "B":
# 2}`. The first time that a letter comes, its thread reads; the second time it writes. Return the total at the end.
#
# <details><summary>Hint</summary>
#
# A dictionary `register = {}`. For each letter of the order: if it is not in `register`, put the present total there;
# otherwise the total becomes `register[letter] + values[letter]`.
#
# </details>

# %% tags=["exercise"]
def final_total(order, values):
    ...                              # your code: return the total at the end


# %% tags=["check"]
values = {"A": 1, "B": 2}
latest = "each addition went to the latest total: a thread adds to what it has *read before*, in its first step"
beginning = "a thread reads at its first step, not at the beginning: here the other one has written by then"
for order, right in (("AABB", 3), ("ABAB", 2), ("ABBA", 1), ("BBAA", 3)):
    mistakes = {latest: 3} if right < 3 else {beginning: values[order[-1]]}
    check(f"final_total of {order}", lambda: final_total(order, values), right, mistakes=mistakes)  # noqa: B023

# %% [markdown]
# Below, three threads add 1, 2 and 4, in all 90 orders that there are; the right total is 7.

# %%
def outcomes(values):
    """How many orders end at each total."""
    counts = dict.fromkeys(range(1, sum(values.values()) + 1), 0)
    for order in set(itertools.permutations(2 * "".join(values))):
        total, read = 0, {}
        for thread in order:
            total = read[thread] + values[thread] if thread in read else total
            read.setdefault(thread, total)
        counts[total] += 1
    return counts


counts = outcomes({"A": 1, "B": 2, "C": 4})
figure, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
bars = ax.bar(list(counts), list(counts.values()), color=["#d1495b"] * 6 + ["#00798c"])
ax.bar_label(bars)
ax.set(title="1 + 2 + 4 by three careless threads, all 90 orders", xlabel="total at the end", ylabel="orders",
       ylim=(0, 1.2 * max(counts.values())))
plt.show()

# %% [markdown]
# In practice steps take nanoseconds, and threads seldom meet at the same number at the same time. That makes it worse:
# with small arrays a test may pass a thousand times.
#
# ### Exercise 5: which loop may be split?
# `db[o] += dz[n, o]` stands in a loop over rows `n` and a loop over columns `o`. One of the two may be shared among
# threads as it stands, so that no two threads ever write to the same place. Write `"rows"` or `"columns"`.
#
# <details><summary>Hint</summary>
#
# Thread A has its own set of `n`, or its own set of `o`. To which places of `db` does it write?
#
# </details>

# %% tags=["exercise"]
shared_loop = ...                    # your answer: "rows" or "columns"

# %% tags=["check"]
check("shared_loop", shared_loop, "columns", mistakes={
    "threads with different rows n both write to every db[o]: that is the race": "rows",
})

# %%
@njit(parallel=True)
def column_sums(dz, db):             # dz (B,O)  db (O,)
    for o in prange(dz.shape[1]):    # prange: its turns are shared out among threads
        total = dz.dtype.type(0)
        for n in range(dz.shape[0]):
            total += dz[n, o]
        db[o] = total                # one thread alone writes here


dz = rng.standard_normal((2000, 64)).astype(np.float32)                         # (B,O)
results = []
for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
    numba.set_num_threads(threads)
    for _ in range(50):
        db = np.empty(64, np.float32)                                           # (O,)
        column_sums(dz, db)
        results.append(db.tobytes())
print(f"{len(results)} runs on 1 to {numba.config.NUMBA_NUM_THREADS} threads, {len(set(results))} different result(s)")

# %% [markdown]
# ### The same bits on any number of threads
# There is another way: each thread sums its share of the rows for itself, and the partial sums are added at the end.
# No race; but where the shares depend on the number of threads, so does the *rounding*. A run on two cores could then
# not be repeated on four.

# %%
numbers = rng.standard_normal(100_000).astype(np.float32)                       # (N,)


def one_after_the_other(part):
    return np.cumsum(part, dtype=np.float32)[-1]


for parts in (1, 2, 3, 4):
    partial = [one_after_the_other(part) for part in np.array_split(numbers, parts)]
    print(f"sum in {parts} part(s): {one_after_the_other(np.array(partial)):.8f}")
print(f"in float64:       {numbers.sum(dtype=np.float64):.8f}")

# %% [markdown]
# So the rule of this library: **a sum belongs to one thread**. What is shared out are rows or columns of the *result*.
# In a product every entry of $C$ is a sum over $k$, and $k$ is never split. Where a sum must be split, it is split
# into parts whose number does not depend on the threads. Then the same seed gives the same bits.

# %%
A, B = (rng.standard_normal((500, 500)).astype(np.float32) for _ in range(2))   # (M,K), (K,N)
products = []
for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):
    numba.set_num_threads(threads)
    C = np.empty((500, 500), np.float32)                                        # (M,N)
    matmul.threaded(A, B, C)
    products.append(C.tobytes())
print("products on 1 to", len(products), "threads are the same, bit by bit:", len(set(products)) == 1)

# %% [markdown]
# ## What a call costs
#
# A small network's training step takes a few microseconds of arithmetic. Then the calls themselves count: Python has
# to look at each argument, unpack each array and pack the result. Here are compiled functions that do nothing.

# %%
@njit
def with_no_array():
    pass


@njit
def with_three_arrays(a, b, c):
    pass


small = [np.zeros((4, 4), np.float32) for _ in range(3)]
times = timed({
    "no array": lambda: [with_no_array() for _ in range(10_000)],
    "three arrays": lambda: [with_three_arrays(*small) for _ in range(10_000)],
    "np.add of three": lambda: [np.add(*small[:2], out=small[2]) for _ in range(10_000)],
})
for name, seconds in times.items():
    print(f"{name:16} {1e5 * seconds:8.0f} ns a call")

# %% [markdown]
# ## A whole epoch in one call
#
# `fit` asks its backend whether it can do whole epochs. The compiled one can, for the cross-entropy and for soft
# targets: the loop over batches, both passes, the loss and the update are one call, on one flat vector of parameters.
# A loss that it does not know takes the loop that one reads in `minidistill/training/run.py`. We make use of that:
# `1.0 * CrossEntropy()` is a sum of losses with one member, the same mathematics, and it takes the loop.

# %%
numba.set_num_threads(1)
train, _ = digits()
EPOCHS = 3
STEPS = EPOCHS * math.ceil(len(train) / 32)
trained = {}


def training(name, loss, backend):
    def run():
        trained[name] = MLP((64, 32, 10), seed=0, backend=backend)
        fit(trained[name], train, loss, optimizer=SGD(0.05), epochs=EPOCHS, batch_size=32, seed=0)

    return run


times = timed({
    "NumPy, step by step": training("NumPy", CrossEntropy(), "numpy"),
    "compiled, step by step": training("steps", 1.0 * CrossEntropy(), "cpu"),
    "compiled, an epoch a call": training("epochs", CrossEntropy(), "cpu"),
}, rounds=5)
a_step = {name: seconds / STEPS for name, seconds in times.items()}
draw_times(a_step, "One training step of a 64-32-10 network, batch 32")
for name in ("steps", "epochs"):
    apart = np.abs(trained[name].parameters - trained["NumPy"].parameters).max()
    print(f"{name:8} largest difference of a parameter from NumPy's: {apart:.1e}")

# %% [markdown]
# Same seed, same batches, same mathematics: the parameters agree but for rounding. For a small network nearly all of
# the difference between the second and the third bar is calls, not arithmetic. For a large one it shrinks: there the
# products take their time, whoever calls them.

# %% [markdown]
# ## What to remember
#
# A line of NumPy reads and writes whole arrays; where there is little arithmetic, memory sets the pace. Do all there
# is to do to a row while it is in the cache. Give constants the dtype of the data. Two threads must never write to the
# same place, and no test will tell you reliably when they do: split the result, not the sum, and the number of threads
# changes nothing. Calls cost, too: make few, for much work.
#
# ## Read next in the source
#
# - `minidistill/kernels/rows.py`: `softmax`, `soft_target`, `exp2`, one formula a function, constants with names.
# - `minidistill/kernels/cpu/row_loss.py`: `make_loss`; `minidistill/kernels/cpu/losses.py`: `distillation_loss`.
# - `minidistill/kernels/cpu/epochs.py`: `train_steps`, which is an epoch.
# - `minidistill/kernels/cpu/passes.py`: `Epochs`, how `fit` comes to a whole epoch in one call.
# - `minidistill/experiments/bench/__init__.py`, the laptop benchmark.
#
# You have derived, coded and checked every piece of a distillation run. Next is notebook 17: the same ideas on a
# graphics card, in a simulator.
