# %% [markdown]
# # Answers to notebook 16

# %% [markdown]
# **Exercise 1.** Four in `log_softmax_forward`, which runs twice; `np.exp(log_p)`; the difference and the product of
# the KL; four in the backward line: 8 + 1 + 2 + 4.

# %% tags=["solution"]
arrays = 15


# %% [markdown]
# **Exercise 2.** The exponentials are computed twice here, for the sums and for the gradient. That is cheaper than an
# array to keep them in.

# %% tags=["solution"]
@numba.njit
def fused(s, t, T, ds):      # s, t, ds (B,C)
    B, C = s.shape
    for b in range(B):
        top_s, top_t = s[b, 0], t[b, 0]
        for j in range(C):
            top_s, top_t = max(top_s, s[b, j]), max(top_t, t[b, j])
        sum_s = sum_t = s[b, 0] * 0
        for j in range(C):
            sum_s += math.exp((s[b, j] - top_s) / T)
            sum_t += math.exp((t[b, j] - top_t) / T)
        for j in range(C):
            q, p = math.exp((s[b, j] - top_s) / T) / sum_s, math.exp((t[b, j] - top_t) / T) / sum_t
            ds[b, j] = T * (q - p) / B


# %% [markdown]
# **Exercise 3.** A new maximum rescales what has been summed. In the beginning that is nothing: $e^{-\infty} = 0$.

# %% tags=["solution"]
def online(row):             # row (C,)
    top, total = -math.inf, 0.0
    for x in row:
        if x > top:
            total *= math.exp(top - x)
            top = x
        total += math.exp(x - top)
    return top, total


# %% [markdown]
# **Exercise 4.** By columns, each entry of `db` belongs to one thread.

# %% tags=["solution"]
safe = "B"


# %% [markdown]
# **Exercise 5.** The blocks are the same for any number of threads, and so is the order in which their sums are added.

# %% tags=["solution"]
def total(x, threads):       # x (N,)
    starts = range(0, len(x), 64)
    sums = np.zeros(len(starts), x.dtype)
    for thread in range(threads):
        for k in range(thread, len(starts), threads):
            sums[k] = x[starts[k] : starts[k] + 64].sum()
    return sums.sum()
