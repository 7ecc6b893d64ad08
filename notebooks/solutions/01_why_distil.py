# %% [markdown]
# # Answers to 1 · Why distil

# %% [markdown]
# ## Exercise 1: count the parameters
# A layer from `I` to `O` units has `I * O` weights and `O` biases. Nearly all parameters are weights; a multiply-add
# belongs to each weight and none to a bias, which is why the two counts nearly agree.

# %% tags=["solution"]
answer = (64 * 16 + 16) + (16 * 10 + 10)

# %% [markdown]
# ## Exercise 2: read a belief off
# `argsort` puts the likeliest digit last, so the second likeliest stands before it.

# %% tags=["solution"]
second = teacher.predict_proba(image)[0].argsort()[-2]

# %% [markdown]
# ## Exercise 3: predict
# With so few images the labels leave much open, and the teacher's ten numbers an image fill some of it in. There is no
# law that it must be so: exercise 4 shows how the gain depends on what the student can see for itself.

# %% tags=["solution"]
prediction = "better"

# %% [markdown]
# ## Exercise 4: change a setting
# Both students of a seed see the same images and take the same number of steps, so their difference is due to what
# they are told. Three seeds are few: look at the spread of the points before you believe a small gain.

# %% tags=["solution"]
few = np.mean([gain(150, seed) for seed in range(3)])
many = np.mean([gain(1200, seed) for seed in range(3)])
