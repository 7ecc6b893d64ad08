# %% [markdown]
# # 16 · Kernels II: fusing, memory, threads, races
#
# The matrix product of notebook 15 is fast because it does much arithmetic with each number that it fetches. Most else
# in a training step does little: it reads an array, does one thing to each number, and writes it back. There the memory
# is what one waits for, and the cure is another: do all that is to be done while a number is at hand.
#
# **You will know at the end**
#
# - how to count what a line of NumPy reads and writes, and what that costs;
# - what fusing is, and how a loss becomes one pass over its rows;
# - how a literal such as `1.0` makes a float32 kernel compute in float64;
# - what a race is, why it is silent, and how sums are made that are the same with any number of threads;
# - why a small network is trained in one call an epoch.
#
# It takes about 25 minutes. You need notebooks 7 and 15. Timings differ from machine to machine, and from minute to
# minute: read the ratios.

# %%
import math
import time

import matplotlib.pyplot as plt
import numba
import numpy as np

from minidistill import MLP, SGD, CrossEntropy, digits, fit, ops
from minidistill.course import check
from minidistill.kernels import cpu


def seconds(*calls, rounds=15):
    """The median time of each call; they take turns, so that a slow moment of the machine falls on all."""
    for call in calls:
        call()                                                                  # warm: compiled, and in the cache
    times = [[] for _ in calls]
    for _ in range(rounds):
        for call, found in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            found.append(time.perf_counter() - start)
    return [float(np.median(found)) for found in times]

# %% [markdown]
# ## What a line costs
#
# Here is the softened loss for 1,024 rows of 1,000 classes, as `ops.py` has it, and beside it a plain copy of one array
# of that size.

# %%
B, C, T = 1024, 1000, np.float32(4)
rng = np.random.default_rng(0)
s, t = rng.standard_normal((2, B, C)).astype(np.float32)                        # (B,C) each
out = np.empty_like(s)                                                          # (B,C)


def in_numpy():
    _, cache = ops.soft_target_forward(s, t, T)
    return ops.soft_target_backward(cache)                                      # (B,C)


whole, copy = seconds(in_numpy, lambda: np.copyto(out, s))
print(f"loss and gradient {1e3 * whole:.1f} ms, a copy of {s.nbytes / 1e6:.0f} MB {1e3 * copy:.2f} ms: "
      f"{whole / copy:.0f} times as long")

# %% [markdown]
# At best the loss would read $s$ and $t$ and write $ds$: about as much traffic as one copy and a half. NumPy does far
# more. Each operation on $(B,C)$ arrays makes a new array: it is written to memory, and the next operation reads it
# back. The arrays are larger than the fast caches of a core, so both go a long way.

# %% [markdown]
# ### Exercise 1: count the arrays
#
# These are the lines of `ops.py` that run. How many new $(B,C)$ arrays do they make, forward and backward together?
# Count each operator and each function that gives a $(B,C)$ array once; a name for an array that is there already
# counts nothing.
#
# ```
# z = (s - s.max(axis=1, keepdims=True)) / T                            # log_softmax_forward:
# log_q = z - np.log(np.exp(z).sum(axis=1, keepdims=True))              # called for s, and for t
#
# p = np.exp(log_p)
# kl = (p * (log_p - log_q)).sum(axis=1).mean()
#
# return T * (np.exp(log_q) - p) / len(p)                               # backward
# ```
#
# <details><summary>Hint</summary>
#
# `s - ...` is one, `/ T` the second, `np.exp(z)` the third, `z - ...` the fourth; sums and maxima over a row are of
# shape $(B,1)$. That function runs twice. In the backward line there are four.
#
# </details>

# %% tags=["exercise"]
arrays = ...                 # your code: a whole number


# %% tags=["check"]
check("arrays", arrays, 15, mistakes={
    "log_softmax_forward runs twice, for s and for t": 11,
    "the backward line makes four: exp, minus, times, divided by": 11.5,
    "np.exp(z) is an array of that size too, although it is summed at once": 13,
    "p = np.exp(log_p) is one as well": 14,
})

# %% [markdown]
# ## Fusing
#
# A *fused* kernel goes through the rows, and does with each all that there is to do while it is in the nearest
# cache. A row of 1,000 float32 is 4 kB. No array of $(B,C)$ is made but the result.
#
# For one row, with $\max$ taken off so that nothing overflows, and with $Z_s = \sum_j e^{(s_j - \max s)/T}$:
#
# $$ q_j = \frac{e^{(s_j - \max s)/T}}{Z_s} , \qquad ds_j = \frac{T\,(q_j - p_j)}{B} \quad \text{[KD-3]} $$

# %% [markdown]
# ### Exercise 2: a fused gradient
#
# Write `fused(s, t, T, ds)`: loops in plain Python over rows and classes, which numba compiles. Fill `ds` $(B,C)$ and
# return nothing. Use `math.exp`. Row by row: the largest logit of each side; the sum of exponentials of each side; then
# `ds`. Keep what you need of a row in single numbers, and write nothing but `ds`.
#
# Take care that a number stays float32: write `top = s[b, 0]` and `total = s[b, 0] * 0`, not `total = 0.0`. Why is said
# below.
#
# <details><summary>Hint</summary>
#
# Three loops over `j` in one loop over `b`: first the maxima, then the sums, then
# `ds[b, j] = T * (exp((s[b, j] - top_s) / T) / sum_s - exp((t[b, j] - top_t) / T) / sum_t) / B` with `B = s.shape[0]`.
#
# </details>

# %% tags=["exercise"]
@numba.njit
def fused(s, t, T, ds):      # s, t, ds (B,C)
    ...                      # your code


# %% tags=["check"]
def filled(kernel, s, t, T):
    ds = np.full_like(s, np.nan)                                                # (B,C)
    kernel(s, t, T, ds)
    return None if np.isnan(ds).all() else ds


small = rng.standard_normal((2, 6, 5)) * 3                                      # (2,B,C), float64
right = ops.soft_target_backward(ops.soft_target_forward(*small, 4.0)[1])       # (B,C)
check("fused", lambda: filled(fused, *small, 4.0), right, factors={"T": 4.0, "B": 6, "C": 5}, mistakes={
    "p and q have changed places: it is q - p": -right,
})
large = small + 800.0
check("fused, with large logits", lambda: filled(fused, *large, 4.0), right, tolerance=1e-7)

# %% [markdown]
# The library's kernel does the same, and value and labels' part in the same pass, eight or sixteen numbers at a time,
# with a polynomial for the exponential, and each exponential once. Below, that one beside NumPy, and beside a fused
# loop as one would write it first.

# %%
@numba.njit
def loop(s, t, T, ds):       # s, t, ds (B,C)
    B, C = s.shape
    for b in range(B):
        top_s, top_t = s[b].max(), t[b].max()
        sum_s = sum_t = s[b, 0] * 0
        for j in range(C):
            sum_s += math.exp((s[b, j] - top_s) / T)
            sum_t += math.exp((t[b, j] - top_t) / T)
        for j in range(C):
            q, p = math.exp((s[b, j] - top_s) / T) / sum_s, math.exp((t[b, j] - top_t) / T) / sum_t
            ds[b, j] = T * (q - p) / B


def in_library():
    _, cache = cpu.soft_target_forward(s, t, T)
    return cpu.soft_target_backward(cache)                                      # (B,C)


np.testing.assert_allclose(in_library(), in_numpy(), rtol=1e-4, atol=1e-9)
found = seconds(in_numpy, lambda: loop(s, t, T, out), in_library, lambda: np.copyto(out, s))
fig, ax = plt.subplots(figsize=(6, 2.2), layout="constrained")
names = ["NumPy", "a fused loop", "the library", "copying one array"]
ax.barh(names[::-1], [1e3 * one for one in found[::-1]], color=["#c9cdd6", "#00798c", "#66a9b3", "#d1495b"])
ax.set(xlabel="milliseconds", title=f"Soft-target gradient, {B:,} rows of {C:,} classes")
plt.show()
for name, one in zip(names, found, strict=True):
    print(f"{name:18} {1e3 * one:6.2f} ms")

# %% [markdown]
# ## One pass less
#
# The maximum needs a pass of its own before the sum can begin. Or does it? Suppose that we have seen some numbers, with
# maximum $m$ and $Z = \sum e^{x_j - m}$. Now comes $x$, larger than $m$. The old sum was made with the wrong maximum,
# but only by a factor: $Z \leftarrow Z\, e^{m - x} + 1$. Where a row is too large for the cache, 100,000 words of a
# vocabulary, this saves one of the trips. It is called the *online softmax* (Milakov and Gimelshein 2018).

# %% [markdown]
# ### Exercise 3: maximum and sum in one pass
#
# Write `online(row)`: go through the numbers once, and return the maximum and the sum of $e^{x_j - \max}$.
#
# <details><summary>Hint</summary>
#
# Begin with `top = -math.inf` and `total = 0.0`; for each `x`, if it is above `top`, scale the total by
# `math.exp(top - x)` and make it the new `top`; then add `math.exp(x - top)`. `math.exp(-math.inf)` is 0.
#
# </details>

# %% tags=["exercise"]
def online(row):             # row (C,)
    ...                      # your code: return the maximum and the sum


# %% tags=["check"]
row = np.array([2.0, -1.0, 5.0, 5.0, 3.0])                                      # (C,)
terms = np.exp(row - row.max())                                                 # (C,)
check("online", lambda: online(row), (5.0, terms.sum()), mistakes={
    "what was summed before a new maximum has to be scaled by exp(old - new)":
        np.exp(row - np.maximum.accumulate(row)).sum(),
    "that is the sum with no maximum taken off, which overflows": np.exp(row).sum(),
})
check("online, where exp would overflow", lambda: online(row + 1000), (1005.0, terms.sum()))

# %% [markdown]
# ## Doubles that nobody asked for
#
# A float32 holds half as many bytes as a float64, so a register holds twice as many of them. One literal can lose that:
# in numba `0.0` is a float64, and float32 plus float64 is float64. The result is rounded back when it is stored, so
# nothing looks wrong. It is only slow. The compiled code tells: here we count the lines in which a `double` occurs.

# %%
@numba.njit
def careless(x):             # x (N,)
    total = 0.0
    for k in range(len(x)):
        total += 0.5 * x[k] * x[k]
    return total


@numba.njit
def careful(x):              # x (N,)
    half = x.dtype.type(0.5)
    total = x.dtype.type(0)
    for k in range(len(x)):
        total += half * x[k] * x[k]
    return total


x = rng.standard_normal(100_000).astype(np.float32)                             # (N,)
for kernel in (careless, careful):
    kernel(x)
    (code,) = kernel.inspect_llvm().values()
    doubles = sum("double" in line and not line.startswith("declare") for line in code.splitlines())
    (taken,) = seconds(lambda kernel=kernel: kernel(x))
    print(f"{kernel.__name__:9} {doubles:3} lines with doubles, {1e6 * taken:.0f} µs")

# %% [markdown]
# Each addition here waits for the one before it, in either type, so the times need not differ. In a kernel that works on
# whole registers, doubles halve what a register holds. A float32 sum of 100,000 terms also has its price: rounding
# errors that the double did not have. The library sums in vectors, so each lane adds up fewer terms, and a test holds
# every float32 kernel free of doubles.
#
# ## Races
#
# Two threads share the memory. `total += x` looks like one thing, and is three: read, add, write. Let both read before
# either writes, and one of the two additions is lost. No error, no warning; and mostly it goes well, since it takes a
# bad moment.
#
# We act it out, without real threads, so that one sees it. Each worker adds 1 a hundred times. A random choice says who
# does the next of its three small steps.

# %%
def act(seed, workers=2, additions=100):
    """What the shared total is at the end, when steps of the workers come in a random order."""
    memory, chance = [0], np.random.default_rng(seed)

    def worker():
        for _ in range(additions):
            seen = memory[0]     # read
            yield
            new = seen + 1       # add
            yield
            memory[0] = new      # write
            yield

    alive = [worker() for _ in range(workers)]
    while alive:
        one = alive[chance.integers(len(alive))]
        if next(one, "done") == "done":
            alive.remove(one)
    return memory[0]


print("200 were added; the total is", [act(seed) for seed in range(8)])

# %% [markdown]
# ### Exercise 4: who may write where
#
# The gradient of a bias is a sum over rows, $db_o = \sum_n dz_{no}$. Several threads are to share the work. Which of
# these is safe?
#
# - A: each thread takes some rows, and adds them to the one `db`
# - B: each thread takes some columns, and sums all rows of these
# - C: each thread takes some rows, and adds them to the one `db`, starting at another column
#
# <details><summary>Hint</summary>
#
# A race needs two threads that write to the same place. In which of the three does every entry of `db` have one writer?
#
# </details>

# %% tags=["exercise"]
safe = ...                   # your code: "A", "B" or "C"


# %% tags=["check"]
check("who may write where", safe, "B", mistakes={
    "two threads add to the same entry: one of the additions can be lost": "a",
    "they begin at other columns, but nothing keeps them from meeting": "c",
})

# %% [markdown]
# ## The same bits with any number of threads
#
# There is another trap. Floating-point addition is not associative: $(a + b) + c$ and $a + (b + c)$ differ in the last
# bit. If each thread sums a part, the result depends on where the parts begin, and so on the number of threads. Then a
# run on your machine and on mine end with other weights, and a bug that shows on one hides on the other.
#
# The cure: cut the work in pieces that do *not* depend on the number of threads, and add up their results in a fixed
# order. Threads only decide who does which piece.

# %% [markdown]
# ### Exercise 5: a sum that does not care
#
# Write `total(x, threads)` for a float32 array `x` $(N,)$: cut it into blocks of 64 numbers (the last may be shorter),
# sum each block with `np.sum`, into an array of block sums; then `np.sum` of these. Block `k` is the task of thread `k
# % threads`: go through the threads one after the other, each doing its blocks, as real threads would in any order.
#
# <details><summary>Hint</summary>
#
# `starts = range(0, len(x), 64)`; `sums = np.zeros(len(starts), x.dtype)`. Two loops: over `thread`, and over
# `k in range(thread, len(starts), threads)`. What a thread does depends on `threads`; what is in `sums[k]` does not.
#
# </details>

# %% tags=["exercise"]
def total(x, threads):       # x (N,)
    ...                      # your code


# %% tags=["check"]
numbers = rng.standard_normal(1000).astype(np.float32) * 1000                   # (N,)
blocks = np.array([numbers[k : k + 64].sum() for k in range(0, 1000, 64)], np.float32)
by_two = np.float32(numbers[:500].sum() + numbers[500:].sum())
slips = {"that is one sum over all, in no blocks": numbers.sum(), "the parts depend on the number of threads": by_two}
for threads in (1, 2, 3):
    found = lambda threads=threads: total(numbers, threads)
    check(f"total with {threads} threads", found, blocks.sum(), tolerance=0, mistakes=slips)

# %% [markdown]
# Real threads, in the library: a large gradient, on one and on all of them. Equal means equal to the last bit.

# %%
many = numba.config.NUMBA_NUM_THREADS
dz = rng.standard_normal((512, 256)).astype(np.float32)                         # (B,O)
a = rng.standard_normal((512, 300)).astype(np.float32)                          # (B,I)
W = rng.standard_normal((300, 256)).astype(np.float32)                          # (I,O)
results = []
for threads in (1, many):
    numba.set_num_threads(threads)
    _, dW, db = cpu.linear_backward(dz, (a, W))
    results.append((dW.copy(), db.copy()))
print(f"1 and {many} threads:", "the same bits" if all(map(np.array_equal, *results)) else "different")

# %% [markdown]
# ## One call an epoch
#
# For a small network the arithmetic of a step takes a few millionths of a second. A call from Python into compiled code
# takes some tenths of one, and NumPy needs a few dozen calls a step. So the calls are what one waits for. The library
# hands a compiled function the data, the order of the rows and the parameters, and gets an epoch back.

# %%
data, _ = digits()
batch = 32
steps = -(-len(data) // batch)


def python_loop(backend):
    network = MLP((64, 32, 10), backend=backend)
    optimizer = SGD(0.1)
    state = optimizer.initial_state(network.parameters)

    def epoch():
        for k in range(steps):
            rows = slice(k * batch, (k + 1) * batch)
            logits, cache = network.forward(data.x[rows])                       # (B,C)
            _, ds = CrossEntropy()(logits, None, data.y[rows], network.ops)     # (B,C)
            network.backward(ds, cache)
            optimizer.update(network, state, 0.1, k + 1)

    return epoch


def one_call():
    fit(network, data, epochs=1, batch_size=batch, optimizer=SGD(0.1))


network = MLP((64, 32, 10))
names = ["a loop, NumPy", "a loop, compiled functions", "fit: an epoch a call"]
found = [one / steps for one in seconds(python_loop("numpy"), python_loop(network.backend), one_call)]
fig, ax = plt.subplots(figsize=(6, 1.9), layout="constrained")
ax.barh(names[::-1], [1e6 * one for one in found[::-1]], color=["#00798c", "#66a9b3", "#d1495b"])
ax.set(xlabel="µs a step", title="64-32-10, batch 32")
plt.show()
for name, one in zip(names, found, strict=True):
    print(f"{name:28} {1e6 * one:6.1f} µs a step")

# %% [markdown]
# How it compares with other libraries is measured by `minidistill bench`; what came out is in the
# [README](../README.md).
#
# ## What to remember
#
# Where little is computed, count what is read and written. Do everything with a number while it is at hand: fuse. Take
# constants from the data's type, or the kernel computes in doubles. Let every place have one writer, and cut work so
# that its parts do not depend on who does them: then threads change the time and nothing else. And do not call across a
# border a thousand times when once will do.
#
# ## Read next in the source
#
# - `minidistill/kernels/rows.py`: `exp2` and `soft_target_backward`, one formula a function.
# - `minidistill/kernels/cpu.py`: `make_loss`, the fused loss, and `linear_backward`.
# - `minidistill/kernels/passes.py`: `Epochs`, the epoch in one call.
#
# Notebooks on CUDA, on quantisation and on going into production are to follow.
