# %% [markdown]
# # Answers to notebook 10

# %% [markdown]
# **Exercise 1.** Differences first: what makes a seed lucky is in both, and cancels.

# %% tags=["solution"]
def paired(a, b):            # a, b: one accuracy a seed
    differences = np.asarray(a) - np.asarray(b)
    return differences.mean(), differences.std(ddof=1), int((differences > 0).sum())


# %% [markdown]
# **Exercise 2.** Few images leave the labels little to say, and many units have room for what the teacher adds.

# %% tags=["solution"]
largest_gain = "many units, few images"


# %% [markdown]
# **Exercise 3.** The student's own training images, with the labels that it learnt from.

# %% tags=["solution"]
def training_accuracy(network, data):
    return 100 * (network.predict(data.x) == data.y).mean()


# %% [markdown]
# **Exercise 4.** The share of entries that differ.

# %% tags=["solution"]
def wrong_share(answers, truth):     # answers, truth (N,)
    return 100 * (answers != truth).mean()


# %% [markdown]
# **Exercise 5.** Two predictions, and no label.

# %% tags=["solution"]
def agreement(student, teacher, x):  # x (N,I)
    return 100 * (student.predict(x) == teacher.predict(x)).mean()
