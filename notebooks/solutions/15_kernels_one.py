# %% [markdown]
# # 15 · Kernels I: the answers

# %%
TILE = 64

# %% [markdown]
# ## Exercise 1: reorder the loops
# `A[i, k]` does not change while $j$ runs; the compiler keeps it in a register.

# %% tags=["solution"]
def by_rows(A, B, C):                # A (M,K)  B (K,N)  C (M,N)
    C[:] = 0
    for i in range(A.shape[0]):
        for k in range(A.shape[1]):
            for j in range(B.shape[1]):
                C[i, j] += A[i, k] * B[k, j]
    return C


# %% [markdown]
# ## Exercise 2: the intensity of a product
# For a square product of size $n$ it is $2n^3 / 12n^2 = n/6$: it grows with the size.

# %% tags=["solution"]
def intensity(M, K, N):
    return 2 * M * N * K / (4 * (M * K + K * N + M * N))


# %% [markdown]
# ## Exercise 3: tile the loops
# The same additions to each entry of $C$, in the same order over $k$: tiling does not even change the rounding.

# %% tags=["solution"]
def by_tiles(A, B, C):               # A (M,K)  B (K,N)  C (M,N)
    M, K = A.shape
    N = B.shape[1]
    C[:] = 0
    for kt in range((K + TILE - 1) // TILE):
        for jt in range((N + TILE - 1) // TILE):
            height, width = min(TILE, K - kt * TILE), min(TILE, N - jt * TILE)
            for i in range(M):
                for k in range(height):
                    for j in range(width):
                        C[i, jt * TILE + j] += A[i, kt * TILE + k] * B[kt * TILE + k, jt * TILE + j]
    return C


# %% [markdown]
# ## Exercise 4: what a block saves
# 22 numbers are loaded, and each of the 6 meets each of the 16.

# %% tags=["solution"]
uses = 6 * 16 / (6 + 16)
