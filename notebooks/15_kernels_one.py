# %% [markdown]
# # 15 · Kernels I: from three loops to BLAS speed in Python
#
# Nearly all the time of a training run goes into products of matrices. This notebook climbs from the definition, three
# loops in Python, to a product that is in the class of NumPy's BLAS, and says at each step what the processor was
# waiting for.
#
# **You will know at the end**
#
# - how to time a short piece of code so that the figure means something;
# - why the order of three loops changes their speed, and the result hardly;
# - what a tile, a register block and a vector instruction are for;
# - what arithmetic intensity is, and how to read a roofline.
#
# It takes about 25 minutes to read, and runs for about a minute: kernels are compiled. You need notebook 2 (a layer is
# a product of matrices). The speeds here are those of the machine that ran it. Yours will print others.

# %%
import time
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
from numba import njit

from minidistill.diagnosis.exercises import check
from minidistill.kernels import describe
from minidistill.kernels.cpu import matmul

# %% [markdown]
# ## How to time
#
# Four habits make a figure worth something.
#
# - **Warm up.** numba compiles a function when it is first called with arrays of a kind. That call is not the one to
#   time.
# - **Repeat, and take the median.** Other programs interrupt. The mean follows such an accident; the median does not.
# - **Take turns.** If all runs of one kernel come first and all of the other's later, and the machine is busy in
#   between, one looks slow. So each round runs every kernel once.
# - **Compare results first.** A kernel that computes something else may be as fast as it likes.
#
# `timed` does that. The speed of a product is given in **GFLOP/s**, thousand million floating-point operations a
# second. $A\,(M,K)$ times $B\,(K,N)$ takes $MNK$ multiplications and as many additions: $2MNK$.

# %%
def timed(kernels, rounds=7):
    """The median seconds of each kernel, a function without arguments, by name."""
    for kernel in kernels.values():
        kernel()                     # compiles, and warms the caches
    times = {name: [] for name in kernels}
    for _ in range(rounds):
        for name, kernel in kernels.items():
            start = time.perf_counter()
            kernel()
            times[name].append(time.perf_counter() - start)
    return {name: median(each) for name, each in times.items()}


def matrices(M, K, N):
    """A (M,K), B (K,N) and a place for the product, C (M,N), in float32."""
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal(shape).astype(np.float32) for shape in ((M, K), (K, N)))
    return A, B, np.zeros((M, N), np.float32)


def gflops(M, K, N, seconds):
    return 2e-9 * M * K * N / seconds


about = describe()
print({name: about[name] for name in ("machine", "cores", "numba", "simd_width_bytes", "threads")})

# %% [markdown]
# ## Rung 0 and 1: the definition
#
# $C_{ij} = \sum_k A_{ik} B_{kj}$. In Python each multiply-add is a chain of look-ups and new objects. numba's `njit`
# reads the same lines, finds out that all is float32, and compiles them to machine code. The code does not change.

# %%
def three_loops(A, B, C):            # A (M,K)  B (K,N)  C (M,N)
    for i in range(A.shape[0]):
        for j in range(B.shape[1]):
            total = A.dtype.type(0)
            for k in range(A.shape[1]):
                total += A[i, k] * B[k, j]
            C[i, j] = total
    return C


compiled = njit(three_loops)
A, B, C = matrices(48, 48, 48)
assert np.allclose(compiled(A, B, C.copy()), A @ B, atol=1e-4)
kernels = {"in Python": lambda: three_loops(A, B, C), "compiled": lambda: compiled(A, B, C)}
for name, seconds in timed(kernels, 5).items():
    print(f"{name:10} {1e6 * seconds:10.0f} us {gflops(48, 48, 48, seconds):10.4f} GFLOP/s")

# %% [markdown]
# ## Rung 2: the order of the loops
#
# Memory is a long street. $B$ $(K,N)$ lies there row by row: $B_{k,j+1}$ is next door to $B_{k,j}$, and $B_{k+1,j}$ is
# $N$ houses further on. The processor fetches 64 bytes at a time, 16 numbers of a row. The three loops above walk
# *down* a column of $B$: of each 16 numbers fetched they use one.
#
# There is a second reason. A sum that runs through `total` has to be done in the order in which it is written, since
# rounding makes $(a+b)+c$ differ from $a+(b+c)$. The compiler may not change that, so it adds one number at a time.
#
# Put $j$ innermost. Then neighbours in memory come one after the other, and each step adds to *another* entry of $C$:
# nothing has to wait, and the compiler does 4, 8 or 16 of them in one **vector instruction** (SIMD: single instruction,
# multiple data).
#
# ### Exercise 1: reorder the loops
# Write `by_rows(A, B, C)`: set `C` to zero, then add $A_{ik} B_{kj}$ to $C_{ij}$ with loops in the order $i, k, j$,
# one entry at a time. Return `C`. Write plain Python; the check looks at the order in which you read $B$, then
# compiles and times it.
#
# <details><summary>Hint</summary>
#
# `C[:] = 0` first, for `C` may hold anything. Inside the three loops there is one line, with `+=`.
#
# </details>

# %% tags=["exercise"]
def by_rows(A, B, C):                # A (M,K)  B (K,N)  C (M,N)
    ...                              # your code: loops over i, k, j; return C


# %% tags=["check"]
class Watched:
    """A matrix that remembers in which order its entries were read."""

    def __init__(self, values):
        self.values, self.shape, self.dtype, self.read = values, values.shape, values.dtype, []

    def __getitem__(self, place):
        self.read.extend(np.arange(self.values.size).reshape(self.shape)[place].ravel())
        return self.values[place]


def reads_of(f):
    watched = Watched(B)
    return None if f(A, watched, np.zeros((3, 4))) is None else np.array(watched.read)


A, B, filled = np.arange(6.0).reshape(3, 2), np.arange(1.0, 9).reshape(2, 4), np.full((3, 4), 7.0)
check("by_rows", lambda: by_rows(A, B, filled), A @ B, mistakes={
    "C is not set to zero first: what was in it is still there": A @ B + 7,
    "only the last k counts: add to C, do not overwrite": np.outer(A[:, 1], B[1]),
})
check("the order in which B is read", lambda: reads_of(by_rows), np.tile(np.arange(8), 3), mistakes={
    "j is not the innermost loop: B is read down its columns": np.tile(np.arange(8).reshape(2, 4).T.ravel(), 3),
    "k is the outermost loop: B is read by rows, but all of C is walked through for each k": np.concatenate(
        [np.tile(np.arange(4), 3), np.tile(np.arange(4, 8), 3)]),
})
mine_by_rows, (A, B, C) = njit(by_rows), matrices(384, 384, 384)
kernels = {"three loops": lambda: compiled(A, B, C), "yours": lambda: mine_by_rows(A, B, C)}
for name, seconds in timed(kernels, 3).items():
    print(f"{name:12} {gflops(384, 384, 384, seconds):8.2f} GFLOP/s")

# %% [markdown]
# One can see the vector instructions. numba shows the machine code; on processors by Intel and AMD the registers called
# `xmm` hold 16 bytes, `ymm` 32 and `zmm` 64, and names ending in `ps` mean "packed single": all lanes of a register at
# once. `ss` is one single number; a loop of vectors keeps a few of these for what is left over at the end of a row.

# %%
def multiplications(f, *arrays):
    """Multiplying instructions of f's machine code: of one number, and of several at a time."""
    f(*arrays)
    lines = "\n".join(f.inspect_asm().values()).splitlines()
    found = [words[0] for line in lines if (words := line.split()) and ("mul" in words[0] or "fma" in words[0])]
    return sum(name.endswith("ss") for name in found), sum(name.endswith("ps") for name in found)


A, B, C = matrices(8, 8, 8)
for name, f in (("three loops", njit(matmul.three_loops.py_func)), ("reordered", njit(matmul.reordered.py_func))):
    one, several = multiplications(f, A, B, C)
    print(f"{name:12} multiplications of one number: {one:3d}   of a register full: {several:3d}")

# %% [markdown]
# ## Arithmetic intensity
#
# A processor core can do far more arithmetic in a second than it can fetch numbers from memory. So the first question
# about any kernel is: how many operations does it do *for each byte that it moves*? That ratio is the **arithmetic
# intensity**, in FLOP per byte.
#
# Suppose the best case: $A$ and $B$ are read from memory once, and $C$ is written once.
#
# ### Exercise 2: the intensity of a product
# Write `intensity(M, K, N)` for float32, 4 bytes a number.
#
# <details><summary>Hint</summary>
#
# Above the line: $2MNK$. Below: 4 times the sum of the sizes of the three matrices.
#
# </details>

# %% tags=["exercise"]
def intensity(M, K, N):
    ...                              # your code: FLOP per byte


# %% tags=["check"]
def operations_and_numbers(M, K, N):
    return 2 * M * K * N, sum(matrix.size for matrix in matrices(M, K, N))


for shape in ((1, 784, 800), (32, 784, 800), (512, 512, 512)):
    operations, numbers = operations_and_numbers(*shape)
    check(f"intensity of {shape}", lambda: intensity(*shape), operations / numbers / 4,  # noqa: B023
          factors={"2": 2, "4 (the bytes of a float32)": 4}, mistakes={
        "M N is missing below the line: C is written, too": operations / (numbers - shape[0] * shape[2]) / 4,
    })

# %% [markdown]
# With one row ($M=1$: a batch of one image), every weight is read for a single multiply-add: half an operation a byte.
# A batch uses each weight $B$ times. That is the deeper reason why training in batches is fast, and why asking a
# network about one image at a time is not.

# %% [markdown]
# ## Rung 3: tiles
#
# Between the core and memory stand **caches**, small memories near the core: the first one, L1, holds some 32 to 48
# KB, L2 a few hundred KB to a few MB. They keep what was used last. The loops of rung 2 walk through all of $B$ for
# each row of $A$. If $B$ is larger than the cache, its beginning is gone by the time it is wanted again.
#
# So cut $B$ into **tiles** that fit, and let *all rows of $A$* use a tile before the next one is fetched.
#
# A tile of 64 x 64 float32 takes 16 KB. The size stands in a constant, for a compiler makes better loops when it knows
# it.

# %%
TILE = 64

# %% [markdown]
# ### Exercise 3: tile the loops
# Write `by_tiles(A, B, C)`. Two outer loops count the tiles, along $k$ and along $j$. Inside are the three loops of
# exercise 1, with `k` and `j` counted from 0 *within the tile*. Sizes need not be multiples of `TILE`. Set `C` to zero
# first, and return it.
#
# <details><summary>Hint</summary>
#
# Along $k$ there are `(K + TILE - 1) // TILE` tiles. Tile number `kt` has `min(TILE, K - kt * TILE)` rows of $B$, and
# the first is `kt * TILE`. Likewise along $j$. The loop over `i` stands *inside* the two loops over tiles and outside
# the other two.
#
# </details>

# %% tags=["exercise"]
def by_tiles(A, B, C):               # A (M,K)  B (K,N)  C (M,N)
    ...                              # your code: five loops; return C


# %% tags=["check"]
def stretches(f):
    """How often the reading of B begins a tile."""
    watched = Watched(B)
    if f(A, watched, np.zeros((3, 90))) is None:
        return None
    rows, columns = np.divmod(watched.read, B.shape[1])
    return 1 + np.count_nonzero(np.diff(10 * (rows // TILE) + columns // TILE))


rng = np.random.default_rng(1)
A, B = rng.standard_normal((3, 100)), rng.standard_normal((100, 90))            # four tiles, three of them not whole
check("by_tiles", lambda: by_tiles(A, B, np.full((3, 90), 7.0)), A @ B, mistakes={
    "C is not set to zero first: what was in it is still there": A @ B + 7,
    "each tile overwrites what those before it found: set C to zero once, before the loops": A[:, TILE:] @ B[TILE:],
    "the rest of K that is no whole tile is left out": A[:, :TILE] @ B[:TILE],
    "the rest of K and N that is no whole tile is left out":
        np.hstack([A[:, :TILE] @ B[:TILE, :TILE], np.zeros((3, 90 - TILE))]),
})
check("how often a tile is begun", lambda: stretches(by_tiles), 4, mistakes={
    "for each row of A all tiles are walked through: i must be inside of the loops over tiles": 12,
    "B is not read tile by tile: k and j must stay within their tile": 600,
})
mine_by_tiles, (A, B, C) = njit(by_tiles), matrices(768, 768, 768)
kernels = {"reordered": lambda: matmul.reordered(A, B, C), "yours": lambda: mine_by_tiles(A, B, C)}
kernels["library"] = lambda: matmul.tiled(A, B, C)
for name, seconds in timed(kernels, 3).items():
    print(f"{name:16} {gflops(768, 768, 768, seconds):8.2f} GFLOP/s")

# %% [markdown]
# Whether a tile pays depends on the caches and on how well the processor guesses what is read next. Reading by rows is
# easy to guess, so do not be surprised if it gains nothing at this size: what limits these loops is not only where $B$
# lies.
#
# *A trap of numba.* Python lets a negative index count from the end, so compiled code must test each index, unless
# numba can tell that it is never negative. It can for a loop that counts from 0. The more natural `for j in range(j0,
# ...)` keeps the test in the innermost loop, and the vector instructions are gone:

# %%
@njit
def counted_from_the_tile(A, B, C):
    C[:] = 0
    for k0 in range(0, B.shape[0], TILE):
        for j0 in range(0, B.shape[1], TILE):
            for i in range(len(A)):
                for k in range(k0, min(k0 + TILE, B.shape[0])):
                    for j in range(j0, min(j0 + TILE, B.shape[1])):
                        C[i, j] += A[i, k] * B[k, j]


A, B, C = matrices(768, 768, 768)
kernels = {
    "counted from k0, j0": lambda: counted_from_the_tile(A, B, C),
    "counted from 0": lambda: matmul.tiled(A, B, C),
}
for name, seconds in timed(kernels, 3).items():
    print(f"{name:20} {gflops(768, 768, 768, seconds):8.2f} GFLOP/s")

# %% [markdown]
# Such things are found by measuring, not by thinking.

# %% [markdown]
# ## Rung 4: blocks in registers
#
# Look at the innermost line once more: `C[i, j] += A[i, k] * B[k, j]`. For each multiply-add it loads a number of $B$
# and one of $C$, and stores one to $C$. Even from the nearest cache that is three movements for one useful operation,
# and the core can do about two movements and two vector operations at a time.
#
# **Registers** are the few places in which a core can compute directly: 16 or 32 of them, each a vector of 4, 8 or 16
# numbers. The next rung keeps a *block* of $C$ in registers while $k$ runs: say $R$ rows and $V$ vectors of $n$
# numbers. Each step of $k$ loads $V$ vectors of $B$ and $R$ single numbers of $A$, and does $R \cdot V$ vector
# multiply-adds. $C$ is stored once, at the end.
#
# ### Exercise 4: what a block saves
# How many multiply-adds of single numbers are done for each *number* loaded, for a block of 6 rows and 2 vectors of 8
# numbers? Write an expression or the number.
#
# <details><summary>Hint</summary>
#
# A step of $k$ loads $2 \cdot 8$ numbers of $B$ and 6 of $A$. Every loaded number of $A$ meets every one of $B$.
#
# </details>

# %% tags=["exercise"]
uses = ...                           # your answer: multiply-adds for each number that is loaded

# %% tags=["check"]
loaded_of_a, loaded_of_b = np.ones(6), np.ones(2 * 8)
products = np.outer(loaded_of_a, loaded_of_b)
right = products.size / (loaded_of_a.size + loaded_of_b.size)
check("uses", uses, right, factors={"8 (numbers in a vector)": 8}, mistakes={
    "that counts vectors and numbers alike: a vector holds 8 numbers": 6 * 2 / (6 + 2),
    "that is the number of multiply-adds; divide by what is loaded": 96,
    "that counts a multiply-add as two operations": 2 * 96 / 22,
})

# %% [markdown]
# A block of one row and one vector would load 9 numbers for 8 multiply-adds. More rows would be better still, but the
# registers are few: 6 rows of 2 vectors are 12 of 16, and the row of $B$ takes two more.
#
# No compiler finds this by itself in the loops above. In `minidistill/kernels/cpu/matmul.py`, `make_block` is a few
# lines on top of vector instructions from `simd.py`. Their loops over rows and vectors are Python's and run *while the
# kernel is compiled*: what they leave behind is straight-line code.
#
# ## Rungs 5 and 6
# **Packing.** In a wide $B$ the rows lie far apart, each on another page of memory, and finding a page takes time. So
# the columns that a block needs are first copied side by side. The copy is used by all rows of $A$. **Threads.** Each
# core makes a share of $C$. The sum over $k$ is never split, so the result does not depend on how many there are
# (notebook 16).
#
# ## The whole ladder
# Results first, then the times. NumPy calls OpenBLAS or another BLAS, which was written by hand for each processor. It
# uses as many threads as `OPENBLAS_NUM_THREADS` said when NumPy was imported, all cores where it said nothing: compare
# it with `packed` if that is one, and with `threaded` otherwise.

# %%
SIZE = 512
A, B, C = matrices(SIZE, SIZE, SIZE)
for rung in matmul.LADDER:
    C[:] = np.nan
    rung(A, B, C)
    assert np.allclose(C, A @ B, atol=1e-3), rung
kernels = {rung.__name__: lambda rung=rung: rung(A, B, C) for rung in matmul.LADDER}
kernels["NumPy"] = lambda: np.matmul(A, B, out=C)
speeds = {name: gflops(SIZE, SIZE, SIZE, seconds) for name, seconds in timed(kernels, 5).items()}
for name, speed in speeds.items():
    print(f"{name:18} {speed:8.2f} GFLOP/s {speed / speeds['NumPy']:8.1%} of NumPy's BLAS")

# %%
figure, ax = plt.subplots(figsize=(7.4, 3.2), layout="constrained")
bars = ax.barh([name.replace("_", " ") for name in speeds], list(speeds.values()),
               color=["#00798c"] * (len(speeds) - 1) + ["#7a7f8c"])
ax.bar_label(bars, fmt="%.3g", padding=3)
ax.invert_yaxis()
ax.grid(axis="x", linewidth=0.4)
ax.set_axisbelow(True)
ax.set(title=f"{SIZE} x {SIZE} times {SIZE} x {SIZE}, float32", xscale="log",
       xlabel="GFLOP/s (each line is ten times the one before)",
       xlim=(min(speeds.values()) / 3, 4 * max(speeds.values())))
plt.show()

# %% [markdown]
# ## The roofline
#
# A kernel can be no faster than the core's arithmetic, and no faster than memory brings the bytes:
#
# $$ \text{GFLOP/s} \le \min(\text{peak},\; \text{intensity} \times \text{bandwidth}) . $$
#
# Drawn over the intensity that is a slanted line and a flat one: a roof. Left of the corner a kernel is *memory
# bound*, and better arithmetic is of no use; right of it, *compute bound*. Below, the roof is measured here: the peak
# is the fastest product of the ladder, the bandwidth that of copying 64 MB. The points are layers with 2,048 inputs
# and outputs, for batches of 1 to 256 rows.

# %%
source = np.ones(1 << 24, np.float32)                                           # 64 MB
target = np.zeros_like(source)
copying = timed({"copy": lambda: np.copyto(target, source)}, 5)["copy"]
bandwidth = 2e-9 * source.nbytes / copying                                      # GB/s, read and written
peak = max(speeds.values())

BATCHES = (1, 4, 16, 64, 256)
places, ours, blas = [], [], []
for batch in BATCHES:
    A, B, C = matrices(batch, 2048, 2048)
    kernels = {"packed": lambda: matmul.packed(A, B, C), "blas": lambda: np.matmul(A, B, out=C)}  # noqa: B023
    found = timed(kernels, 5)
    operations, numbers = 2 * batch * 2048 * 2048, A.size + B.size + C.size
    places.append(operations / (4 * numbers))
    ours.append(1e-9 * operations / found["packed"])
    blas.append(1e-9 * operations / found["blas"])

peak = max(peak, *ours, *blas)
x = np.geomspace(0.2, 300, 200)
figure, ax = plt.subplots(figsize=(6.6, 3.8), layout="constrained")
ax.loglog(x, np.minimum(peak, bandwidth * x), color="black", linewidth=1, label="roof")
ax.plot(places, ours, "o-", color="#00798c", label="packed, one thread")
ax.plot(places, blas, "s--", color="#7a7f8c", label="NumPy's BLAS")
for batch, place, speed in zip(BATCHES, places, ours, strict=True):
    ax.annotate(f"batch {batch}", (place, speed), (4, -12), textcoords="offset points", fontsize=8)
ax.set(title="The roofline of this machine", xlabel="arithmetic intensity, FLOP per byte", ylabel="GFLOP/s")
ax.legend(frameon=False)
plt.show()
print(f"peak {peak:.0f} GFLOP/s, bandwidth {bandwidth:.1f} GB/s: the corner is at {peak / bandwidth:.1f} FLOP per byte")

# %% [markdown]
# Read it from left to right. With one row each weight is used once, and the pace is that of memory; with 256 rows the
# arithmetic has enough to do to come near the flat part. In between a small batch does not fill a block of registers,
# or does not repay the packing. A point *above* the slanted line is no mistake: its 16 MB of weights were still in a
# cache from the run before, and a cache is faster than memory. On a machine that is busy with other things the points
# jump: run the cell again.

# %% [markdown]
# ## What to remember
#
# Warm up, repeat, take turns, take the median, compare results first. The processor waits for numbers more than for
# arithmetic: read memory in its order, use what is near as often as possible, in the cache by tiles and in registers
# by blocks. Independent sums are what vector instructions need. The arithmetic intensity tells whether memory or
# arithmetic sets the pace, and a larger batch raises it.
#
# ## Read next in the source
#
# - `minidistill/kernels/cpu/matmul.py`: `three_loops`, `reordered`, `tiled`, `make_block`, `pack`, `make_product`.
# - `minidistill/kernels/cpu/simd.py`: `multiply_add`, the vector instructions for numba.
# - `minidistill/experiments/bench/timing.py`: `interleaved`, timing with care.
#
# Next is notebook 16: fusing, memory, threads and races.
