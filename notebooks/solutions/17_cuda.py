# %% [markdown]
# # 17 · Kernels III: the answers

# %%
from numba import cuda, float32

# %% [markdown]
# ## Exercise 1: a step of gradient descent
# Ten elements take three blocks of four. The guard sends the last two threads home.

# %% tags=["solution"]
@cuda.jit
def step(w, dw, rate):               # w, dw (P,)
    i = cuda.grid(1)
    if i < w.size:
        w[i] -= rate * dw[i]


# %% [markdown]
# ## Exercise 2: count the pieces
# Eight numbers of 4 bytes are a piece. Neighbours that are one off touch a fifth piece; down a column each number lies
# in a piece of its own.

# %% tags=["solution"]
def pieces(places):                  # places (32,)
    return len({place // 8 for place in places})


# %% [markdown]
# ## Exercise 3: a tiled product
# The two conditions at fetching are about the edges of A and of B, the one at the end about those of C. All threads
# come to both waits, also those that have no element.

# %% tags=["solution"]
@cuda.jit
def tiled(A, B, C):                  # A (M,K)  B (K,N)  C (M,N)
    j, i = cuda.grid(2)              # the thread's column and row of C
    x, y = cuda.threadIdx.x, cuda.threadIdx.y
    a = cuda.shared.array((TILE, TILE), float32)
    b = cuda.shared.array((TILE, TILE), float32)
    total = float32(0)
    for k0 in range(0, A.shape[1], TILE):
        a[y, x] = A[i, k0 + x] if i < A.shape[0] and k0 + x < A.shape[1] else float32(0)
        b[y, x] = B[k0 + y, j] if k0 + y < B.shape[0] and j < B.shape[1] else float32(0)
        cuda.syncthreads()           # both tiles are there
        for k in range(TILE):
            total += a[y, k] * b[k, x]
        cuda.syncthreads()           # nobody reads them any more
    if i < C.shape[0] and j < C.shape[1]:
        C[i, j] = total


# %% [markdown]
# ## Exercise 4: count the turns
# `np.unique` comes first: a number that several threads want is handed out once.

# %% tags=["solution"]
def turns(places):                   # places (32,)
    return np.bincount(np.unique(places) % 32).max()


# %% [markdown]
# ## Exercise 5: a sum in pairs
# In each stretch the writers touch the lower half of what is left, and read the upper half, which nobody writes.

# %% tags=["solution"]
def add_up(me, parts, value):        # parts (8,)
    parts[me] = value
    yield
    half = 4
    while half > 0:
        if me < half:
            parts[me] += parts[me + half]
        yield
        half //= 2


# %% [markdown]
# ## Exercise 6: the least time
# The first case of the check is bound by arithmetic, the second one by memory.

# %% tags=["solution"]
def least_us(operations, nbytes):
    return max(operations / PEAK, nbytes / BANDWIDTH) / 1e3
