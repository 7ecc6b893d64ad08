# %% [markdown]
# # 17 · Kernels III: CUDA
#
# A graphics card does thousands of things at the same time. This notebook writes kernels for one, and counts what
# decides their speed. You need no card: they run in numba's **simulator**, in Python.
#
# **You will know at the end**
#
# - what a thread, a warp, a block and a grid are, and how a thread finds its element;
# - why neighbours should read neighbours (*coalescing*), and how to count when they do not;
# - how the threads of a block share memory, wait for each other, and get in each other's way in its banks;
# - how to find a race that the simulator hides;
# - why a fused kernel wins, by arithmetic alone.
#
# It takes about 25 minutes to read; the exercises come on top. You need notebook 15 (tiles, the roofline) and notebook
# 16 (fusing, races).
#
# **No figure from a card stands here, for there is none yet**: this library's CUDA kernels were built without one. You
# will see results, which the simulator gives, and counts, which you make.
#
# The simulator has to be switched on before numba is imported; it is so for this notebook alone.

# %%
import os

os.environ["NUMBA_ENABLE_CUDASIM"] = "1"

import dis
import json
import math
from collections import defaultdict
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from numba import cuda, float32

import minidistill
from minidistill import ops
from minidistill.diagnosis.exercises import check

# %% [markdown]
# ## Thread, block, grid
#
# A **kernel** is the work of one **thread**, often a single element. It is started for many threads at once. They come
# in **blocks** of the same size, and all blocks together are the **grid**:
#
#     kernel[blocks, threads_a_block](arguments)
#
# Every thread runs the same lines. Three numbers tell it who it is: `cuda.blockIdx.x`, its block; `cuda.blockDim.x`,
# the threads a block; `cuda.threadIdx.x`, its place in the block. So its number in the grid is
#
# $$ i = \text{blockIdx} \cdot \text{blockDim} + \text{threadIdx} , $$
#
# and `cuda.grid(1)` is short for that. A kernel returns nothing: it writes into an array that it was given.

# %%
@cuda.jit
def who_am_i(block, thread):         # block, thread (N,)
    i = cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x
    block[i], thread[i] = cuda.blockIdx.x, cuda.threadIdx.x


block, thread = np.zeros(12, np.int64), np.zeros(12, np.int64)                  # (N,)
who_am_i[3, 4](block, thread)
print("element", *range(12), sep="\t")
print("block", *block, sep="\t")
print("thread", *thread, sep="\t")

# %% [markdown]
# Blocks are always whole: ten elements take three of four, `-(-N // threads)` in Python, and two threads have nothing
# to do. So nearly every kernel has a **guard**: a thread beyond the end does nothing. Without it the simulator says
# `IndexError`. A card says nothing, and writes into whatever lies behind the array.
#
# ### Exercise 1: a step of gradient descent
# Write the kernel `step(w, dw, rate)`: one thread an element, $w_i \leftarrow w_i - \text{rate} \cdot dw_i$, with a
# guard. `w` and `dw` are $(P,)$.
#
# <details><summary>Hint</summary>
#
# `i = cuda.grid(1)`, then `if i < w.size:` and one line under it.
#
# </details>

# %% tags=["exercise"]
@cuda.jit
def step(w, dw, rate):               # w, dw (P,)
    ...                              # your code: change w in place, nothing is returned


# %% tags=["check"]
before, slope = np.arange(1.0, 11.0), np.linspace(0.5, 3.0, 10)                 # (P,)


def after_step():
    w = before.copy()                # (P,)
    step[3, 4](w, slope, 0.1)
    return None if np.array_equal(w, before) else w


first_four = np.arange(10) < 4
check("step", after_step, before - 0.1 * slope, mistakes={
    "the sign: a step goes down the slope": before + 0.1 * slope,
    "threadIdx alone is the place in a block: the first 4 elements have got a step from each of 3 blocks, the others "
    "none": before - 0.3 * slope * first_four,
    "blockIdx alone is the same for all threads of a block: use cuda.grid(1)":
        before - 0.4 * slope * (np.arange(10) < 3),
    "rate is missing": before - slope,
    "dw is to be taken off w, not to stand in its place": -0.1 * slope,
})

# %% [markdown]
# ## Warps, and what they read
#
# 32 neighbours of a block are a **warp**. They do the same instruction at the same time; where they disagree about an
# `if`, both ways are walked, one after the other. They also read together, and the card fetches what they want in
# **pieces of 32 bytes**, each of them whole. 32 float32 numbers side by side are 4 pieces, and nothing is wasted: the
# access is **coalesced**.
#
# ### Exercise 2: count the pieces
# Write `pieces(places)`: `places` $(32,)$ are the indices of the float32 numbers that the threads of a warp read at the
# same time, in an array that begins where a piece begins. Return how many different pieces they lie in.
#
# <details><summary>Hint</summary>
#
# How many numbers of 4 bytes are in a piece? Number `p` lies in piece `p // that`. Count the different ones:
# `len(set(...))` or `np.unique(...).size`.
#
# </details>

# %% tags=["exercise"]
def pieces(places):                  # places (32,)
    ...                              # your code: return a whole number


# %% tags=["check"]
lanes = np.arange(32)                                                           # (32,)
for name, places in {
    "every second": 2 * lanes, "side by side": lanes, "all the same": np.full(32, 70), "one off": lanes + 1,
    "down a column": 784 * lanes, "backwards": 100 - lanes, "in any order": lanes * 5 % 32,
}.items():
    check(f"pieces, {name}", lambda: pieces(places), np.count_nonzero(np.bincount(4 * places // 32)),  # noqa: B023
          mistakes={
        "a piece is 32 bytes, and a number has 4 of them": len(set(places // 32)),
        "numbers that lie in the same piece come together: count pieces, not numbers": len(set(places)),
        "each thread is counted, and not each piece": 32,
        "an end of the range is missing, or places in between are counted: look at the pieces one by one":
            (places.max() - places.min()) // 8 + 1,
        "the numbers need not begin with a piece: count the pieces that they lie in": len(set(places)) // 8,
    })

# %% [markdown]
# Now two kernels that differ in one line, the first rungs of the ladder in `minidistill/kernels/cuda/matmul.py`.
# `cuda.grid(2)` gives two numbers, and *the first one counts the neighbours of a warp*.

# %%
@cuda.jit
def naive(A, B, C):                  # A (M,K)  B (K,N)  C (M,N)
    i, j = cuda.grid(2)              # neighbours have different rows i
    if i < C.shape[0] and j < C.shape[1]:
        total = C.dtype.type(0)
        for k in range(A.shape[1]):
            total += A[i, k] * B[k, j]
        C[i, j] = total


@cuda.jit
def coalesced(A, B, C):              # A (M,K)  B (K,N)  C (M,N)
    j, i = cuda.grid(2)              # neighbours have different columns j
    if i < C.shape[0] and j < C.shape[1]:
        total = C.dtype.type(0)
        for k in range(A.shape[1]):
            total += A[i, k] * B[k, j]
        C[i, j] = total


# %% [markdown]
# `Noted` is an array that notes who reads what. The simulator runs the 32 threads of one warp; the first numbers that
# they read are what a card would fetch together.

# %%
class Noted:
    """An array that notes, for each thread of a block, the places that it reads."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, defaultdict(list)

    def __getitem__(self, place):
        value = self.values[place]
        self.read[cuda.threadIdx.x, cuda.threadIdx.y].append(np.ravel_multi_index(place, self.shape))
        return value


def pieces_of(places):
    return np.unique(4 * np.asarray(places) // 32).size


rng = np.random.default_rng(0)
A, B = (rng.standard_normal((32, 32)).astype(np.float32) for _ in range(2))     # (M,K), (K,N)
for kernel in (naive, coalesced):
    noted_A, noted_B, C = Noted(A), Noted(B), np.zeros((32, 32), np.float32)    # C (M,N)
    kernel[1, 32](noted_A, noted_B, C)
    counts = [pieces_of([places[0] for places in noted.read.values()]) for noted in (noted_A, noted_B)]
    print(f"{kernel.py_func.__name__:10} fetches {counts[0]:2d} piece(s) of A and {counts[1]:2d} of B for each k")

# %% [markdown]
# The naive warp fetches a whole piece for each number of $A$. The other one reads one number of $A$ for all its threads
# (a *broadcast*) and a stretch of $B$. All that changed is who is whose neighbour. So ask of every array: how far is it
# from a thread's number to its neighbour's?

# %%
strides = np.arange(1, 17)
fetched = [pieces_of(stride * np.arange(32)) for stride in strides]
_, ax = plt.subplots(figsize=(6.4, 2.8), layout="constrained")
bars = ax.bar(strides, fetched, color=["#00798c"] + ["#d1495b"] * 15)
ax.bar_label(bars)
ax.set(title="What a warp fetches to read 32 numbers", xlabel="places from one thread's number to its neighbour's",
       ylabel="pieces of 32 bytes", xticks=strides, ylim=(0, 37))
plt.show()

# %% [markdown]
# ## Shared memory
#
# Still each thread fetches $2K$ numbers from far away for one element of $C$. In notebook 15 tiles helped the cache.
# Here you fill the cache yourself: **shared memory**, some dozens of KB that the threads of a block have in common. The
# plan, for tiles and blocks of 4 x 4:
#
# 1. each thread fetches *one* number of $A$'s tile and *one* of $B$'s into shared memory;
# 2. `cuda.syncthreads()`: all wait for all, for otherwise one reads what another has not yet fetched;
# 3. each thread adds up four products, from shared memory;
# 4. they wait again, for otherwise a fast one overwrites what a slow one still needs. Then the next tiles come.
#
# Every number that came from far away is used four times. Beyond the edges of $A$ and $B$ the tiles are zero. A thread
# without an element still helps to fetch, and *all* threads must come to each wait: if one has left by `return`, the
# others may wait for ever.

# %%
TILE = 4

# %% [markdown]
# ### Exercise 3: a tiled product
# Write the kernel `tiled(A, B, C)`, with the waits. Sizes need not be multiples of `TILE`. It begins like this; `x` and
# `y` say where in the tile the thread is, and `a` and `b` are the same for all threads of the block:
#
#     j, i = cuda.grid(2)
#     x, y = cuda.threadIdx.x, cuda.threadIdx.y
#     a = cuda.shared.array((TILE, TILE), float32)
#     b = cuda.shared.array((TILE, TILE), float32)
#     total = float32(0)
#
# <details><summary>Hint</summary>
#
# Loop `for k0 in range(0, A.shape[1], TILE)`. The thread fetches `A[i, k0 + x]` into `a[y, x]`, and `B[k0 + y, j]`
# into `b[y, x]`; zero where the row or column does not exist. Then `total += a[y, k] * b[k, x]` for `k` in
# `range(TILE)`. The guard comes last of all, when `total` is written to `C`.
#
# </details>

# %% tags=["exercise"]
@cuda.jit
def tiled(A, B, C):                  # A (M,K)  B (K,N)  C (M,N)
    ...                              # your code: fetch, wait, add up, wait; then write to C


# %% tags=["check"]
def waits(kernel):
    """How often the code of a kernel says syncthreads."""
    names = [line.argval for line in dis.get_instructions(kernel.py_func)]
    return names.count("syncthreads") if "shared" in names else None


def product_by(kernel):
    C = np.full((5, 7), np.nan, np.float32)                  # (M,N)
    kernel[(2, 2), (TILE, TILE)](noted_A, noted_B, C)
    return None if np.isnan(C).all() else C


check("waits in tiled", lambda: waits(tiled), 2, mistakes={
    "there is no cuda.syncthreads() in it": 0,
    "there is one wait: it takes one when both tiles are there, and one when nobody reads them any more": 1,
})
A, B = (np.float32(rng.integers(1, 9, shape)) for shape in ((5, 6), (6, 7)))    # (M,K), (K,N)
noted_A, noted_B = Noted(A), Noted(B)
check("tiled", lambda: product_by(tiled), A @ B, mistakes={
    "total begins anew with each tile: set it to zero once, before the loop": A[:, 4:] @ B[4:],
    "only the first tiles are used: loop over k0": A[:, :4] @ B[:4],
})
reads = sum(map(len, noted_A.read.values()))
check("reads of A", reads, 2 * A.size, mistakes={
    "A is read once for each element of C and each k: in the inner loop read from a, not from A": 5 * 7 * 6,
})
print(f"the naive kernel reads A {5 * 7 * 6} times for this product, yours {reads} times")

# %% [markdown]
# The library's rungs 3 to 5 are this kernel with larger tiles and, in the last two, several elements a thread, kept in
# **registers**. These are limited: a multiprocessor (a card has some dozens, and each runs several blocks) has 65,536
# registers and room for some 2,000 threads. What a kernel takes the compiler says, without a card. Here is what it said
# of the ladder, in float32 for compute capability 9.0, with blocks of 256 threads.

# %%
found = json.loads((Path(minidistill.__file__).parents[1] / "docs/evidence/results/cuda.json").read_text())
compiled = {row["kernel"]: row for row in found["kernels"] if row["capability"] == "9.0"}
print("rung                registers   shared bytes   spilled bytes   blocks at a time, by registers and threads")
for rung in ("naive", "coalesced", "shared, A @ B", "registers, A @ B", "vectors, A @ B"):
    row = compiled[f"matmul, {rung}"]
    blocks = min(65_536 // (256 * row["registers"]), 2_048 // 256)
    print(f"{rung:18} {row['registers']:10d} {row['shared_bytes']:14,d} {row['spill_bytes']:15d} {blocks:8d}")

# %% [markdown]
# Few blocks mean few warps that can work while others wait for memory; many registers, that they wait less often. Which
# is better one has to measure. What does not fit is *spilled* into slow memory; tests hold that at zero.

# %% [markdown]
# ## Banks
#
# Shared memory has 32 **banks**. Number `p` (of 4 bytes) lies in bank `p % 32`, and a bank hands out one number a turn.
# Threads of a warp that want different numbers of one bank take turns: a **bank conflict**. For those that want the
# *same* number, one turn is enough.
#
# ### Exercise 4: count the turns
# Write `turns(places)`: `places` $(32,)$ are what the threads of a warp want of shared memory at the same time. Return
# how many turns it takes: the most *different* places in one bank.
#
# <details><summary>Hint</summary>
#
# Take the different places first, `np.unique(places)`; then `np.bincount(... % 32)` counts how many lie in each bank.
#
# </details>

# %% tags=["exercise"]
def turns(places):                   # places (32,)
    ...                              # your code: return a whole number


# %% tags=["check"]
lanes = np.arange(32)                                                           # (32,)
for name, places in {
    "every second": 2 * lanes, "side by side": lanes, "a column of 32": 32 * lanes, "a column of 33": 33 * lanes,
    "all the same": np.full(32, 70), "two numbers of a bank": lanes % 2 * 64, "some the same": lanes // 4 * 8,
}.items():
    banks = [set() for _ in range(32)]
    for place in places:
        banks[place % 32].add(place)
    check(f"turns, {name}", lambda: turns(places), max(map(len, banks)), mistakes={  # noqa: B023
        "threads that want the same number need one turn together: take the different places first":
            np.bincount(places % 32).max(),
        "that is how many banks are in use; wanted is the most places in one of them": len(set(places % 32)),
        "that is how many different places there are; wanted is the most in one bank": len(set(places)),
        "that counts the turns beyond the first": max(map(len, banks)) - 1,
    })

# %% [markdown]
# A tile of 32 x 32 has all of a column in one bank. The cure is a column of **padding** that nobody uses: with rows of
# 33, each row begins one bank further on.

# %%
def turns_of(places):
    return np.bincount(np.unique(places) % 32, minlength=32).max()


_, axes = plt.subplots(1, 2, figsize=(7.6, 3.6), layout="constrained")
for ax, width in zip(axes, (32, 33), strict=True):
    places = np.arange(32)[:, None] * width + np.arange(width)                  # (32, width)
    picture = ax.imshow(places % 32, cmap="viridis", aspect="equal")
    ax.axvline(4.5, color="#d1495b")
    ax.axvline(5.5, color="#d1495b")
    ax.set(title=f"rows of {width}, a column: {turns_of(places[:, 5])} turn(s)", xlabel="column", ylabel="row")
plt.colorbar(picture, ax=axes, label="bank", shrink=0.8)
plt.show()

# %% [markdown]
# The library reads $A$ along $k$ and writes its tile turned: a warp writes down several columns at once. The largest
# tile is 128 wide and 8 deep, padded by 4. You see below why not by 1. Also, each row still begins at a multiple of
# four numbers, as instructions that read four at a time need.

# %%
thread = np.arange(32)                                                          # (32,) of a warp
places = {"one number a thread": (thread % 8, thread // 8), "four numbers a thread": (4 * (thread % 2), thread // 2)}
for padding in (0, 1, 4):
    found = [f"{name}: {turns_of(k * (128 + padding) + i)} turn(s)" for name, (k, i) in places.items()]
    print(f"padding {padding}, fetched", ";  ".join(found))

# %% [markdown]
# ## Races
#
# Many races do not show in the simulator. This kernel is wrong: reading, adding and writing are three actions (notebook
# 16), and on a card the threads of a warp do the first one at the same time.

# %%
@cuda.jit
def careless_sum(x, total):          # x (N,)  total (1,)
    i = cuda.grid(1)
    if i < x.size:
        total[0] += x[i]


x, total = np.ones(30), np.zeros(1)                                             # (N,), (1,)
careless_sum[4, 8](x, total)
print("30 ones, added up by a race, in the simulator:", total[0])

# %% [markdown]
# Right, and worth nothing. So look not at results but at *who touches what*. **Between two waits, a place that one
# thread writes may not be touched by any other.**
#
# `run_block` below checks that, in plain Python. A thread is a function with **`yield` where `cuda.syncthreads()` would
# stand**: at a `yield`, Python leaves a function and can come back later. `run_block` takes each thread to its next
# `yield`, looks at what was noted, and goes on. You need not read how.

# %%
class Race(Exception):
    pass


class Watched:
    """Shared memory that notes, until all have waited, which threads read and write each place."""

    def __init__(self, size):
        self.values, self.me = [0.0] * size, None
        self.forget()

    def forget(self):
        self.readers, self.writers = defaultdict(set), defaultdict(set)

    def __getitem__(self, place):
        self.readers[place].add(self.me)
        return self.values[place]

    def __setitem__(self, place, value):
        self.writers[place].add(self.me)
        self.values[place] = value

    def judge(self, stretch):
        for place, writers in self.writers.items():
            touching = sorted(writers | self.readers[place])
            if len(touching) > 1:
                raise Race(f"after {stretch} wait(s) thread {min(writers)} writes parts[{place}], and before the next "
                           f"wait thread {next(me for me in touching if me != min(writers))} touches it, too")


def run_block(program, values):
    """What is in shared memory after program(me, parts, values[me]), one thread a value; or Race says what is wrong."""
    parts, threads, stretch = Watched(len(values)), {}, 0
    for parts.me, value in enumerate(values):
        threads[parts.me] = program(parts.me, parts, value)
    if not all(hasattr(thread, "send") for thread in threads.values()):  # no yield in it: it has run through
        if not parts.writers:
            return None
        parts.judge(0)
        threads = {}
    while threads:
        waiting = {}
        for parts.me, thread in threads.items():
            if next(thread, "ended") != "ended":
                waiting[parts.me] = thread
        parts.judge(stretch)
        if 0 < len(waiting) < len(values):
            raise Race(f"thread {min(set(threads) - set(waiting))} has ended, and thread {min(waiting)} waits for it")
        parts.forget()
        threads, stretch = waiting, stretch + 1
    return np.array(parts.values)


# %% [markdown]
# ### Exercise 5: a sum in pairs
# Eight threads have a number each, `value`. Write `add_up(me, parts, value)` for thread `me`: at the end `parts[0]` is
# the sum. First each thread writes its number to `parts[me]`. Then threads 0 to 3 add `parts[me + 4]` to theirs, then 0
# and 1 add `parts[me + 2]`, then 0 adds `parts[1]`. Say `yield` wherever all must wait.
#
# <details><summary>Hint</summary>
#
# `half = 4`, and `while half > 0:` with `half //= 2` at its end. *All* threads go round the loop and wait; only those
# with `me < half` add. So `yield` stands in the loop, outside of the `if`.
#
# </details>

# %% tags=["exercise"]
def add_up(me, parts, value):        # parts (8,)
    ...                              # your code, with yield where all wait


# %% tags=["check"]
values = np.array([3.0, 1.0, 4.0, 1.5, 9.0, 2.0, 6.0, 5.0])                     # (8,)


def first_part():
    parts = run_block(add_up, values)
    return None if parts is None else parts[0]


check("add_up", first_part, values.sum(), mistakes={
    "nothing was added: parts[0] is the number of thread 0": values[0],
    "the loop has stopped before half is 1": values[::2].sum(),
    "half begins at 4, not at 2": values[:4].sum(),
})

# %% [markdown]
# One more wait is easily forgotten. Below, two sums follow each other in the same memory, each right by itself. Who
# reads the first result, and who writes its next number there?

# %%
def sum_in_pairs(me, parts, value):
    parts[me] = value
    yield
    half = 4
    while half > 0:
        if me < half:
            parts[me] += parts[me + half]
        yield
        half //= 2


def two_sums(me, parts, value, patient):
    yield from sum_in_pairs(me, parts, value)
    total = parts[0]
    if patient:
        yield                        # until all have read it
    yield from sum_in_pairs(me, parts, value / total)


for patient in (False, True):
    try:
        parts = run_block(lambda *thread: two_sums(*thread, patient), [1.0] * 8)  # noqa: B023
        print(f"with a wait in between: no race, and the shares add up to {parts[0]}")
    except Race as race:
        print("without:", race)

# %% [markdown]
# ## A softmax, one block a row
#
# All of that together. The threads walk along a row side by side: coalesced. Each finds its own largest logit, then its
# own sum, and they are put together in shared memory. Find the wait of just now.

# %%
THREADS = 8                          # 256 on a card


@cuda.jit(device=True)
def together(parts, largest):        # parts (THREADS,): at the end parts[0] is their sum, or the largest
    me = cuda.threadIdx.x
    cuda.syncthreads()
    half = THREADS // 2
    while half > 0:
        if me < half:
            parts[me] = max(parts[me], parts[me + half]) if largest else parts[me] + parts[me + half]
        cuda.syncthreads()
        half //= 2


@cuda.jit
def softmax_rows(s, q):              # s, q (B,C)
    parts = cuda.shared.array(THREADS, float32)
    me, b = cuda.threadIdx.x, cuda.blockIdx.x
    top = s[b, 0]
    for c in range(me, s.shape[1], THREADS):
        top = max(top, s[b, c])
    parts[me] = top
    together(parts, True)
    top = parts[0]
    cuda.syncthreads()               # until all have read it
    total = float32(0)
    for c in range(me, s.shape[1], THREADS):
        q[b, c] = math.exp(s[b, c] - top)
        total += q[b, c]
    parts[me] = total
    together(parts, False)
    total = parts[0]
    for c in range(me, s.shape[1], THREADS):
        q[b, c] /= total


s = np.array([3, 30, 300], np.float32)[:, None] * rng.standard_normal((3, 21)).astype(np.float32)  # (B,C)
q = np.zeros_like(s)                                                            # (B,C)
softmax_rows[3, THREADS](s, q)
print(f"largest difference from the library's softmax: {np.abs(q - ops.softmax_forward(s)[0]).max():.1e}")

# %% [markdown]
# The sum is added up in pairs, in the same order in every run: the same bits each time. `cuda.atomic.add`, a shorter
# way, adds in the order in which threads happen to come. So the library sums nothing with it.

# %% [markdown]
# ## Why fusing wins
#
# How fast can a kernel be at best? As on the processor (notebook 15), it takes at least the time of its arithmetic, and
# at least the time of its bytes. Both go on at the same time, so the longer one counts. Here is an *imagined* card,
# with round numbers:

# %%
PEAK = 20_000                        # GFLOP/s
BANDWIDTH = 1_000                    # GB/s

# %% [markdown]
# ### Exercise 6: the least time
# Write `least_us(operations, nbytes)`: the least time, in microseconds, in which this card can do so many operations
# and move so many bytes.
#
# <details><summary>Hint</summary>
#
# 1 GFLOP/s is $10^9$ operations a second, that is 1,000 a microsecond. 1 GB/s is 1,000 bytes a microsecond. Then take
# the larger of two times.
#
# </details>

# %% tags=["exercise"]
def least_us(operations, nbytes):
    ...                              # your code: return microseconds


# %% tags=["check"]
for operations, nbytes in ((4e9, 1e6), (5e6, 8e7)):
    parts = np.array([operations, nbytes]) / (1e3 * np.array([PEAK, BANDWIDTH]))
    check(f"least_us({operations:.0e}, {nbytes:.0e})", lambda: least_us(operations, nbytes), parts.max(),  # noqa: B023
          factors={"1,000": 1e3, "1,000,000": 1e6}, mistakes={
        "both go on at the same time: take the longer one, not the sum": parts.sum(),
        "that is the shorter of the two times": parts.min(),
        "that divides operations by the bandwidth, or bytes by the peak":
            max(operations / BANDWIDTH, nbytes / PEAK) / 1e3,
    })

# %% [markdown]
# Now the gradient of the cross-entropy, $(q - y)/B$, for 1,024 rows of 1,000 classes in float32. How often does an
# array of this size cross memory, in four kernels and in one? The fused one reads a row twice, for its sums and for the
# gradient. The second time it may still be in a cache; we count it in full.

# %%
ARRAY = 4 * 1024 * 1000                                                         # bytes of one (B,C)
crossings = {
    "four kernels": {"the largest": (1, 0), "exponentials and sums": (1, 1), "divide": (1, 1), "q - y, over B": (1, 1)},
    "one, fused": {"sums (read), gradient (read and write)": (2, 1)},
}
operations = 10 * 1024 * 1000                                                   # some ten a number; it hardly matters
for name, kernels in crossings.items():
    times = sum(map(sum, kernels.values()))
    arithmetic, memory = operations / PEAK / 1e3, times * ARRAY / BANDWIDTH / 1e3
    print(f"{name:13} {times} arrays: {memory:5.1f} us of memory, {arithmetic:.1f} us of arithmetic,",
          f"{len(kernels)} launch(es)")

# %% [markdown]
# Memory is all of it. Besides, each launch costs the host some microseconds. The library's `loss_share` has the
# teacher's softmax, the KL and the mix with $\alpha$ in the same two walks (the online softmax of notebook 16).
#
# Products are the other kind. A block that makes $R \times S$ elements of $C$ reads $R + S$ numbers for each $k$ and
# does $2RS$ operations with them. So a larger tile has a higher arithmetic intensity:

# %%
tiles = {"no tile": (1, 1), "tile 16 x 16": (16, 16), "tile 64 x 64": (64, 64), "tile 128 x 128": (128, 128)}
x = np.geomspace(0.1, 200, 200)
_, ax = plt.subplots(figsize=(6.8, 3.6), layout="constrained")
ax.loglog(x, np.minimum(PEAK, BANDWIDTH * x), color="black", linewidth=1)
for name, (R, S) in tiles.items():
    at = 2 * R * S / (4 * (R + S))                                              # FLOP per byte
    bound = min(PEAK, BANDWIDTH * at)
    ax.plot(at, bound, "o", color="#00798c")
    ax.annotate(name, (at, bound), (6, -13) if bound < PEAK else (0, 8), textcoords="offset points", fontsize=9)
ax.set(title="An imagined card, if each read of a block went to memory", xlabel="arithmetic intensity, FLOP per byte",
       ylabel="GFLOP/s at most", ylim=(80, 60_000), xlim=(0.1, 400))
plt.show()

# %% [markdown]
# Nothing of this is measured. A card has caches too, and a warp shares what it fetches, so a kernel at the left may do
# better; none can get above the flat part. The picture says why tiles are tried, not how fast they are.
#
# ## What changes on a card
#
# - The kernels stay as they are, with larger tiles. `NUMBA_ENABLE_CUDASIM` goes, and with `minidistill[cuda]` installed
#   numba compiles them at the first call.
# - Blocks have a multiple of 32 threads, such as 256. Many blocks run at the same time, in any order.
# - `cuda.to_device(x)` takes an array over, `.copy_to_host()` brings it back. The way is long, and an array of the host
#   that you pass goes both ways at each call: keep everything there for a whole epoch.
# - A call returns before the kernel is done: `cuda.synchronize()` before you read a clock.
# - A literal such as `0.5` is a double (notebook 16), and on most cards doubles are many times slower.
# - Nobody tells you of places beyond the end, of races, of waits that not all threads reach. NVIDIA's
#   `compute-sanitizer` looks for such mistakes.
#
# ## What to remember
#
# A kernel is the work of one thread; the guard is for threads beyond the end. Make neighbours in a warp neighbours in
# memory. What several threads need, fetch once into shared memory, wait, use it, wait; pad against bank conflicts. A
# right result says nothing about races: between two waits, what one thread writes no other may touch. Count bytes
# before you write a kernel, and measure on a card after.
#
# ## Read next in the source
#
# - `minidistill/kernels/cuda/matmul.py`: `naive`, `coalesced`, `tile_loader`, `product_function`, `tile_for`.
# - `minidistill/kernels/cuda/losses.py`: `softmax_kernels`, and `loss_function` with `loss_share`.
# - `minidistill/kernels/cuda/rows.py`: `in_pairs`, the sum in pairs.
# - `minidistill/kernels/cuda/epochs.py`: a whole epoch in one launch, where even blocks wait for each other.
#
# `docs/guides/cuda.md` has the compiler's whole table. Next is notebook 18: numbers of fewer digits, and weights left
# out.
