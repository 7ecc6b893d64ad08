# %% [markdown]
# # Answers to notebook 14

# %% [markdown]
# **Exercise 1.** Each question is a comparison of two calls of the loss, or of one call with zero.

# %% tags=["solution"]
def questions(loss, T):
    value, ds = loss(t, t, T)
    match = abs(value) < 1e-9 and np.abs(ds).max() < 1e-9
    first, _ = loss(s, t, T)
    moved = s + 3 * (np.arange(len(s)) == 0)[:, None]                           # (B,C)
    shift = abs(loss(moved, t, T)[0] - first) < 1e-9
    batch = abs(loss(np.concatenate([s, s]), np.concatenate([t, t]), T)[0] - first) < 1e-9
    return match, shift, batch


# %% [markdown]
# **Exercise 2.** The cosine is the scalar product of the two, each divided by its length.

# %% tags=["solution"]
def fingerprint(g, r):       # g, r (B,C)
    lengths = np.linalg.norm(g), np.linalg.norm(r)
    return lengths[0] / lengths[1], (g * r).sum() / (lengths[0] * lengths[1])


# %% [markdown]
# **Exercise 3.** a has 1/C at every temperature. b has 1, 1/16, 1/400: without $T^2$ the gradient is $T^2$ times too
# small. c is $\mathrm{KL}(q \,\Vert\, p)$. e is flattened twice. f is not zero at the match.

# %% tags=["solution"]
right_one = "d"
element_mean = "a"
no_t_squared = "b"
swapped = "c"
softmax_twice = "e"
no_logarithm = "f"


# %% [markdown]
# **Exercise 4.** A sum over the classes, a mean over the rows; logarithms from `log_softmax`; and one factor $T$ less
# in the gradient than in the value, since $s$ stands under $T$ in the softmax.

# %% tags=["solution"]
def mended(s, p, T):         # s, p (B,C)
    q, log_p = softmax(s, T), np.log(np.where(p > 0, p, 1))                     # (B,C)
    value = T**2 * (p * (log_p - log_softmax(s, T))).sum() / len(s)
    return value, T * (q - p) / len(s)


# %% [markdown]
# **Exercise 5.** The teacher is asked about the rows of the batch, without dropout, and the student trains in every
# epoch.

# %% tags=["solution"]
def loop(student, teacher, data, loss, epochs=3):
    for epoch in range(epochs):
        for k, rows in enumerate(batches(data, epoch)):
            s, cache = student.forward(data.x[rows], training=True, step=100 * epoch + k)   # (B,C)
            t = teacher.logits(data.x[rows])                                    # (B,C)
            step(student, loss(s, t, data.y[rows])[1], cache)
