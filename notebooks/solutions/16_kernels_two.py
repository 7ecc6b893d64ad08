# %% [markdown]
# # 16 · Kernels II: the answers

# %%
import math

# %% [markdown]
# ## Exercise 1: count the arrays
# `z`, `e`, `q`, `rows`, `q - rows`, and that divided. Not all live at the same time: NumPy gives the memory of `q -
# rows` back, or uses it again, as soon as the quotient is there.

# %% tags=["solution"]
arrays = 6

# %% [markdown]
# ## Exercise 2: a fused row
# Three walks over the row, and `ds` is the only memory that is written to.

# %% tags=["solution"]
def cross_entropy_row(s, label, weight, ds):         # s (C,)  ds (C,)
    top = s[0]
    for c in range(len(s)):
        top = max(top, s[c])
    total = s[0] - s[0]                              # zero, of the dtype of s
    for c in range(len(s)):
        ds[c] = math.exp(s[c] - top)
        total += ds[c]
    for c in range(len(s)):
        ds[c] = ds[c] / total * weight
    ds[label] -= weight
    return math.log(total) - (s[label] - top)


# %% [markdown]
# ## Exercise 3: top and total in one walk
# At the first entry `total` is 0 and `math.exp(-inf)` is 0 as well: no special case is needed.

# %% tags=["solution"]
def online(s):                       # s (C,)
    top, total = -math.inf, 0.0
    for value in s:
        if value > top:
            total = total * math.exp(top - value) + 1
            top = value
        else:
            total += math.exp(value - top)
    return top, total


# %% [markdown]
# ## Exercise 4: play it through
# What a thread has read stays in its register, whatever the others write meanwhile.

# %% tags=["solution"]
def final_total(order, values):
    total, register = 0, {}
    for letter in order:
        if letter in register:
            total = register[letter] + values[letter]
        else:
            register[letter] = total
    return total


# %% [markdown]
# ## Exercise 5: which loop may be split?
# Each column has one sum and one place. Threads with different columns never meet.

# %% tags=["solution"]
shared_loop = "columns"
