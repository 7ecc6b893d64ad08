# %% [markdown]
# # Answers to notebook 13

# %% [markdown]
# **Exercise 1.** The softmax before the mean, or after it.

# %% tags=["solution"]
def mean_of_probabilities(t):    # t (K,N,C)
    return softmax(t).mean(axis=0)


def mean_of_logits(t):           # t (K,N,C)
    return softmax(t.mean(axis=0))


# %% [markdown]
# **Exercise 2.** Each takes the other's logits as a teacher's, and a teacher is not taught.

# %% tags=["solution"]
def peers(s1, s2, y, T, alpha):  # s1, s2 (B,C)  y (B,)
    ds1 = (1 - alpha) * hard(s1, y) + alpha * soft(s1, s2, T)
    ds2 = (1 - alpha) * hard(s2, y) + alpha * soft(s2, s1, T)
    return ds1, ds2


# %% [markdown]
# **Exercise 3.** Who has just learnt teaches next.

# %% tags=["solution"]
def chain(teacher, students, teach):
    for student in students:
        teach(teacher, student)
        teacher = student
    return teacher


# %% [markdown]
# **Exercise 4.** Each further row pins the student down at one more place.

# %% tags=["solution"]
expected = "more rows"


# %% [markdown]
# **Exercise 5.** Half a point is less than the spread. Without several seeds, paired, it may be chance.

# %% tags=["solution"]
missing = "seeds"
