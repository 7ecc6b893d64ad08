# %% [markdown]
# # Answers to 2 · One neuron, one layer

# %% [markdown]
# ## Exercise 1: with a pencil
# $z = 3 \cdot 1 + 1 \cdot (-2) + 0.5 = 1.5$, so $dz = 1.5 - 2 = -0.5$. Then $dw_1 = -0.5 \cdot 1$,
# $dw_2 = -0.5 \cdot (-2)$ and $db = -0.5$. The second weight must become smaller, although $z$ is too small: its input
# is negative.

# %% tags=["solution"]
answer = (-0.5, 1.0, -0.5)

# %% [markdown]
# ## Exercise 2: back through a ReLU
# The slope is 1 or 0. What was cut off changed nothing in the loss, so its slope is 0.

# %% tags=["solution"]
def relu_backward(da, a):  # da, a (B,O)
    return da * (a > 0)    # (B,O)

# %% [markdown]
# ## Exercise 3: a layer, forward
# One matrix product for all rows and all neurons; the bias is added to each row.

# %% tags=["solution"]
def layer(x, W, b):   # x (B,I)  W (I,O)  b (O,)
    return x @ W + b  # (B,O)

# %% [markdown]
# ## Exercise 4: a layer, backward
# In $\sum_n x_{ni}\, dz_{no}$ the summed index $n$ stands first in both, so `x` is transposed. In
# $\sum_o dz_{no} W_{io}$ it stands last in both, so `W` is. The shapes leave no other choice.

# %% tags=["solution"]
def layer_backward(dz, x, W):  # dz (B,O)  x (B,I)  W (I,O)
    dx = dz @ W.T              # (B,I)
    dW = x.T @ dz              # (I,O)
    db = dz.sum(axis=0)        # (O,)
    return dx, dW, db

# %% [markdown]
# ## Exercise 5: two layers, backward
# The forward steps in reverse. `dh` is the second layer's `dx`: this is what it is for. The last line needs no
# weights of the first layer, for nobody asks for the derivative with respect to the data.

# %% tags=["solution"]
def network_backward(ds, x, h, W2):  # ds (B,C)  x (B,I)  h (B,H)  W2 (H,C)
    dh, dW2, db2 = ds @ W2.T, h.T @ ds, ds.sum(axis=0)  # (B,H)  (H,C)  (C,)
    dz = dh * (h > 0)                # (B,H)
    dW1, db1 = x.T @ dz, dz.sum(axis=0)                 # (I,H)  (H,)
    return dW1, db1, dW2, db2

# %% [markdown]
# ## Exercise 6: predict
# $(x W_1 + b_1) W_2 + b_2 = x\,(W_1 W_2) + (b_1 W_2 + b_2)$: one layer with the weights $W_1 W_2$. Its borders between
# classes are straight lines, however many hidden units there are.

# %% tags=["solution"]
prediction = "far worse"
