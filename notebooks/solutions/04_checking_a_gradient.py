# %% [markdown]
# # Answers to notebook 4

# %% [markdown]
# **Exercise 1.** One step to each side; the two places are $2h$ apart.

# %% tags=["solution"]
def slope(f, x, h):
    return (f(x + h) - f(x - h)) / (2 * h)


# %% [markdown]
# **Exercise 2.** $h^2 = \epsilon / h$ gives $h^3 = \epsilon$.

# %% tags=["solution"]
best_step = np.finfo(np.float64).eps ** (1 / 3)


# %% [markdown]
# **Exercise 3.** Each entry gets copies of its own, so that `x` stays as it is and no other entry has moved.

# %% tags=["solution"]
def numerical(f, x, h=6e-6):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[index] += h
        down[index] -= h
        gradient[index] = (f(up) - f(down)) / (2 * h)
    return gradient


# %% [markdown]
# **Exercise 4.** The ratio is taken where it is most exact, at the largest entry, and then tried on all.

# %% tags=["solution"]
def explain(given, expected):
    k = np.abs(expected).argmax()
    ratio = given.flat[k] / expected.flat[k]
    tolerance = 1e-6 * np.abs(expected).max()
    if (np.abs(given - expected) <= tolerance).all():
        return "right"
    if (np.abs(given + expected) <= tolerance).all():
        return "sign"
    if (np.abs(given - ratio * expected) <= tolerance).all():
        return "factor"
    return "pattern"


# %% [markdown]
# **Exercise 5.** Where all of $z$ is above 0 the mask is 1 everywhere, and to forget it changes nothing.

# %% tags=["solution"]
blind = "A"
