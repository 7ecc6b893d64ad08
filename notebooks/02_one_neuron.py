# %% [markdown]
# # 2 · One neuron, one layer
#
# A network is made of one small part, repeated. Here you take that part, work out by hand what it gives and how to
# improve it, and then do the same for many at once. At the end a network of two layers learns, by code of which
# you know every line.
#
# **You will know at the end**
#
# - what a neuron computes, and what its *gradient* says;
# - how the chain rule walks back through a computation, one step at a time;
# - how a whole layer does this for all rows at once, with three matrix products;
# - why there is a ReLU between layers;
# - what a training loop does.
#
# It takes about 25 minutes to read; the exercises come on top. You need Python, NumPy's arrays and `@`, and school
# calculus: slopes and the chain rule.

# %%
import matplotlib.pyplot as plt
import numpy as np

from minidistill import ops, spirals
from minidistill.diagnosis.exercises import check

# %% [markdown]
# ## One neuron, forward
#
# A *neuron* takes some numbers $x_1, x_2, \dots$, multiplies each by a *weight*, adds the products up, and adds a
# *bias*:
#
# $$z = w_1 x_1 + w_2 x_2 + b .$$
#
# We would like it to give the number $y$. How far it is off is measured by a *loss*: 0 when it is right, larger the
# worse it is. Take half of the squared difference, $L = \frac12 (z - y)^2$.
#
# The numbers are small enough to follow with a pencil.

# %%
x = np.array([2.0, 3.0])      # (2,)  the inputs
w = np.array([0.5, -0.2])     # (2,)  the weights
b = 0.1                       # the bias
y = 2.0                       # what we want

z = w[0] * x[0] + w[1] * x[1] + b
L = (z - y) ** 2 / 2
print(f"z = 0.5 * 2 - 0.2 * 3 + 0.1 = {z:.4g}      L = (z - 2)^2 / 2 = {L:.4g}")

# %% [markdown]
# ## One neuron, backward
#
# Should $w_1$ be larger or smaller? Ask for the slope: how much does $L$ change for a small change of $w_1$? There are
# two steps from $w_1$ to $L$, and the chain rule multiplies their slopes:
#
# - from $z$ to $L$: $\dfrac{\partial L}{\partial z} = z - y$. (That is why the half is there. The round $\partial$
#   says: only what stands below is moved, all else is held.)
# - from $w_1$ to $z$: $\dfrac{\partial z}{\partial w_1} = x_1$, because $w_1$ stands before $x_1$.
#
# $$\frac{\partial L}{\partial w_1} = \frac{\partial L}{\partial z} \cdot \frac{\partial z}{\partial w_1}
#   = (z-y)\, x_1$$
#
# These slopes are written often, so they get a short name: **$dz$ is the derivative of the loss with respect to $z$**,
# $dw_1$ that with respect to $w_1$, and so on. (It is not a small change of $z$.) Then, in words: *first find $dz$;
# each weight's slope is $dz$ times what the weight was multiplied by.* The bias was added as it is, so its slope is
# $dz$ itself. All slopes together are the *gradient*.

# %%
dz = z - y        # dL/dz
dw = dz * x       # (2,)  dL/dw
db = dz           # dL/db
dx = dz * w       # (2,)  dL/dx: each input was multiplied by its weight
print(f"dz = {dz:.4g}   dw = {dw}   db = {db:.4g}   dx = {dx}")

# %% [markdown]
# What would one want $dx$ for? The inputs of this neuron may be the outputs of another one. That one needs to know
# what *its* output does to the loss, and $dx$ is the answer. Keep it in mind until the last part.
#
# Is the gradient right? Nudge $w_1$ by a thousandth and look. In the picture, $dw_1$ is the slope of the red line,
# which touches the curve at our weight.

# %%
def loss(w1):
    return (w1 * x[0] + w[1] * x[1] + b - y) ** 2 / 2


print(f"nudged by 0.001, L changes by {loss(w[0] + 0.001) - L:.6f}; the gradient says {dw[0] * 0.001:.6f}")

many = np.linspace(-0.5, 2.5, 100)        # (100,)
fig, ax = plt.subplots(figsize=(4.6, 3.0), layout="constrained")
ax.plot(many, loss(many), color="#00798c", label="loss")
near = w[0] + np.array([-0.35, 0.45])     # (2,)
ax.plot(near, L + dw[0] * (near - w[0]), color="#d1495b", label="line with the slope $dw_1$")
ax.plot(w[0], L, "o", color="#d1495b")
ax.set(title="The loss for each first weight", xlabel="$w_1$", ylabel="$L$")
ax.legend(frameon=False)
plt.show()

# %% [markdown]
# The slope is negative: a larger $w_1$ makes the loss smaller. So one steps *against* the gradient,
# $w \leftarrow w - \text{rate} \cdot dw$. The *learning rate* says how far: the line is a good guide near the point
# where it touches, and a bad one far off.

# %%
for rate in (0.01, 0.05, 0.2):
    z_after = (w - rate * dw) @ x + (b - rate * db)
    print(f"rate {rate:4}: z goes from {z:.3f} to {z_after:.3f}, the loss from {L:.4f} to {(z_after - y) ** 2 / 2:.4f}")

# %% [markdown]
# Compare the three: a small step helps a little, a better one more, and one that is too long jumps over the goal and
# makes things worse.
#
# ### Exercise 1: with a pencil
# Another neuron: $x = (1, -2)$, $w = (3, 1)$, $b = 0.5$, and $y = 2$, with the same loss. Work out $dw_1$, $dw_2$ and
# $db$ on paper, and write the three numbers down, in this order.
#
# <details><summary>Hint</summary>
#
# First $z$, then $dz = z - y$. Each $dw$ is $dz$ times the input of that weight.
#
# </details>

# %% tags=["exercise"]
answer = ...  # your code: (dw1, dw2, db)

# %% tags=["check"]
row, column = np.array([[1.0, -2.0]]), np.array([[3.0], [1.0]])     # (1,2)  (2,1)
off = ops.linear_forward(row, column, 0.5)[0] - 2                    # (1,1)
_, column_gradient, bias_gradient = ops.linear_backward(off, (row, column))
check(
    "gradient with a pencil",
    answer,
    np.array([*column_gradient[:, 0], *bias_gradient]),
    factors={"2": 2.0},
    mistakes={
        "these are the slopes of z; by the chain rule each is multiplied by dz": np.array([1, -2, 1]),
        "each slope is dz times the input, and not times the weight": np.array([-1.5, -0.5, -0.5]),
        "the bias was forgotten in z": np.array([-1, 2, -1]),
        "z itself stands where z - y should": np.array([1.5, -3, 1.5]),
        "the slope of the bias is dz itself: it was added as it is, so b is no factor": np.array([-0.5, 1, -0.25]),
    },
)

# %% [markdown]
# ## A neuron with a bend
#
# Sums of sums are sums: without anything else, a whole pile of neurons could do no more than one layer of them. So
# what a neuron gives is bent. The simplest bend is the *rectified linear unit*, ReLU: negative numbers become 0, the
# others stay,
#
# $$a = \max(z, 0) \qquad \text{[ACT-1]}.$$
#
# (ACT-1 is the name of this formula: the library's code and `docs/maths/ops.md` call it so too, and you can search for
# it.) Its slope is 1 where $z > 0$, and 0 where $z < 0$. (At 0 it has a kink; there the library takes 0.) The chain
# rule again:
#
# $$dz = da \cdot [z > 0] \qquad \text{[ACT-2]},$$
#
# where $[z > 0]$ is 1 where that is true and 0 elsewhere. In words: *what was let through hands its slope back, what
# was cut off hands back nothing.* And since $a > 0$ exactly where $z > 0$, it is enough to have kept $a$.
#
# ### Exercise 2: back through a ReLU
# Write `relu_backward(da, a)`. `da` is the derivative of the loss with respect to `a`, an array of any shape; `a` is
# what the ReLU gave, of the same shape. Return `dz`, of that shape too.
#
# <details><summary>Hint</summary>
#
# In NumPy `a > 0` is an array of True and False. Multiplied by a number, they count as 1 and 0.
#
# </details>

# %% tags=["exercise"]
def relu_backward(da, a):  # da, a (B,O)
    ...                    # your code: return dz (B,O)

# %% tags=["check"]
random = np.random.default_rng(0)
some_a, kept = ops.relu_forward(random.standard_normal((4, 5)))
some_da = random.standard_normal((4, 5))
check(
    "relu_backward",
    lambda: relu_backward(some_da, some_a),
    ops.relu_backward(some_da, kept),
    mistakes={
        "every slope came back: where a is 0, nothing was let through, so use > and not >=": some_da,
        "this is the slope of the ReLU alone; the chain rule multiplies it by da": (some_a > 0).astype(float),
        "the slope of the ReLU is 1 where a > 0, and not a itself": some_da * some_a,
        "this asks whether da is above 0; the ReLU was open where a is": some_da * (some_da > 0),
        "this lets through where the ReLU was shut": some_da * (some_a <= 0),
    },
)

# %% [markdown]
# ## A layer: many neurons, many rows
#
# A *layer* is $O$ neurons with the same $I$ inputs. And instead of one sample we take a *batch* of $B$ samples, a row
# each. Then everything is an array:
#
# | array | shape | what is in it |
# | --- | --- | --- |
# | `x` | $(B, I)$ | a sample a row |
# | `W` | $(I, O)$ | the weights of one neuron a column |
# | `b` | $(O,)$ | a bias a neuron |
# | `z` | $(B, O)$ | what neuron $o$ gives for sample $n$ stands in row $n$, column $o$ |
#
# In row $n$ and column $o$ stands what you computed before, $z_{no} = \sum_i x_{ni} W_{io} + b_o$. A sum of products
# over an index that stands last on the left and first on the right is exactly a matrix product:
#
# $$z = x W + b \qquad \text{[LIN-1]}$$
#
# ### Exercise 3: a layer, forward
# Write `layer(x, W, b)`, which returns `z` for all rows and all neurons. No loop is needed.
#
# <details><summary>Hint</summary>
#
# `@` is the matrix product. When `(B,O)` and `(O,)` are added, NumPy adds the `(O,)` to every row.
#
# </details>

# %% tags=["exercise"]
def layer(x, W, b):  # x (B,I)  W (I,O)  b (O,)
    ...              # your code: return z (B,O)

# %% tags=["check"]
B, I, O = 4, 3, 2
random = np.random.default_rng(1)
X, W, bias = random.standard_normal((B, I)), random.standard_normal((I, O)), random.standard_normal(O)
check(
    "layer",
    lambda: layer(X, W, bias),
    ops.linear_forward(X, W, bias)[0],
    mistakes={
        "the bias is missing": X @ W,
        "the bias was taken away where it should be added": X @ W - bias,
        "a ReLU is in it already; that is a step of its own": np.maximum(X @ W + bias, 0),
    },
)

# %% [markdown]
# ## The layer, backward
#
# The step after the layer hands us `dz` $(B, O)$: how the loss changes with each entry of `z`. Wanted are `dW`, `db`
# and `dx`, **each of the shape of what it belongs to**.
#
# One new thought is needed. A weight now acts in several places, and its effects on the loss *add up*. So for each kind
# of number ask: which entries of $z$ does it touch, and with which factor?
#
# - $W_{io}$ touches column $o$ of $z$, once in each row $n$, with the factor $x_{ni}$.
# - $b_o$ touches column $o$, once in each row, with the factor 1.
# - $x_{ni}$ touches row $n$, once in each column $o$, with the factor $W_{io}$.
#
# $$dW_{io} = \sum_n x_{ni}\, dz_{no} \quad \text{[LIN-3]} \qquad
#   db_o = \sum_n dz_{no} \quad \text{[LIN-4]} \qquad
#   dx_{ni} = \sum_o dz_{no}\, W_{io} \quad \text{[LIN-2]}$$
#
# For one row and one neuron these are the `dw`, `db` and `dx` from the beginning. They are sums over the rows, not
# means: where a loss is a mean over the batch, its $1/B$ is in `dz` already.
#
# ### Exercise 4: a layer, backward
# Turn the three sums into array operations. Write `layer_backward(dz, x, W)`, which returns `dx`, `dW`, `db` in this
# order. Again no loop is needed.
#
# <details><summary>Hint 1</summary>
#
# In a matrix product the summed index stands last on the left and first on the right. Where it stands elsewhere, a
# transpose, `.T`, brings it there.
#
# </details>
#
# <details><summary>Hint 2</summary>
#
# Go by the shapes. From `dz` $(B,O)$ and `x` $(B,I)$ only one product has the shape $(I,O)$.
#
# </details>

# %% tags=["exercise"]
def layer_backward(dz, x, W):  # dz (B,O)  x (B,I)  W (I,O)
    ...                        # your code: return dx (B,I), dW (I,O), db (O,)

# %% tags=["check"]
some_dz = random.standard_normal((B, O))
check(
    "layer_backward",
    lambda: layer_backward(some_dz, X, W),
    ops.linear_backward(some_dz, (X, W)),
    factors={"B": B},
    mistakes={
        "the sum for db went along each row; the bias of a neuron touches one column": some_dz.sum(axis=1),
        "the sum for db went over everything; each neuron has a bias of its own": some_dz.sum(),
    },
)

# %% [markdown]
# ## Two layers
#
# Put a layer, a ReLU and another layer in a row, and you have a network with one *hidden layer* of $H$ units:
#
# $$x \;(B,I) \;\to\; z \;(B,H) \;\to\; h = \max(z, 0) \;(B,H) \;\to\; s \;(B,C)$$
#
# It gives $C$ numbers for each sample, one a class. (They are called *logits*, and the letter $s$ is for student.) The
# answer is the class with the largest. For now we ask for 1 in the column of the right class and 0 in the others; rows
# of this kind are called *one-hot*. With the squared loss from above, summed over the columns and averaged over the
# rows,
#
# $$L = \frac{1}{2B} \sum_{n,c} (s_{nc} - \text{onehot}_{nc})^2 , \qquad ds = \frac{s - \text{onehot}}{B} .$$
#
# (Notebook 3 has a loss that suits classes better.)
#
# **Backward is forward in reverse.** Begin with `ds`. Each step takes the derivative of what it gave, and hands back
# the derivative of what it took: the second layer turns `ds` into `dh`, the ReLU `dh` into `dz`, the first layer `dz`
# into nothing anyone needs, for nobody can change the data. On the way each layer leaves its `dW` and `db`. Whatever a
# step needs from the forward pass must have been kept: that is the *cache*.
#
# ### Exercise 5: two layers, backward
# Write `network_backward(ds, x, h, W2)`, where `h` is what the ReLU gave. Return `dW1`, `db1`, `dW2`, `db2`. You may
# use your own functions, or `ops.linear_backward(dz, (x, W))`, which returns `dx, dW, db`, and
# `ops.relu_backward(da, a)`. Note what is not among the arguments: the first layer's weights.
#
# <details><summary>Hint</summary>
#
# Three steps: through the second layer, whose inputs are `h`; through the ReLU; through the first layer, whose inputs
# are `x`. Its weights `W1` would be needed only for its `dx`, which nobody asks for: what is left there is one product
# and one sum, as in exercise 4. Where you use the library, `skip_dx=True` leaves `dx` out and `None` may stand for `W`.
#
# </details>

# %% tags=["exercise"]
def network_backward(ds, x, h, W2):  # ds (B,C)  x (B,I)  h (B,H)  W2 (H,C)
    ...                              # your code: return dW1 (I,H), db1 (H,), dW2 (H,C), db2 (C,)

# %% tags=["check"]
random = np.random.default_rng(2)
X, W1, W2 = random.standard_normal((6, 3)), random.standard_normal((3, 5)), random.standard_normal((5, 4))
hidden, some_ds = np.maximum(X @ W1, 0), random.standard_normal((6, 4))
dh, dW2, db2 = ops.linear_backward(some_ds, (hidden, W2))
dz = ops.relu_backward(dh, hidden)
_, dW1, db1 = ops.linear_backward(dz, (X, W1))
check(
    "network_backward",
    lambda: network_backward(some_ds, X, hidden, W2),
    (dW1, db1, dW2, db2),
    factors={"B": 6},
    mistakes={
        "the ReLU was skipped on the way back": X.T @ dh,
        "the ReLU was skipped on the way back (the bias is behind it too)": dh.sum(axis=0),
        "h itself was multiplied in; the slope of the ReLU is 1 or 0": X.T @ (dh * hidden),
        "there is no ReLU behind the second layer: take ds as it comes": hidden.T @ (some_ds * (some_ds > 0)),
    },
)

# %% [markdown]
# ## Let it learn
#
# Three spirals, one a class: no straight line parts them. A point has two coordinates, so one can see what the network
# makes of the plane.
#
# This is the whole of training: forward, loss, backward, step, and again. All points are one batch. The library's
# functions stand for yours, so that this cell runs even if you have skipped an exercise. Of the cell read `train`; the
# rest makes the first weights and the pictures.

# %%
data = spirals(300, seed=0)
x, y = data.x.astype(np.float64), data.y      # (300,2)  (300,)
onehot = np.eye(3)[y]                         # (300,3)


def fresh_network(hidden, seed):
    """Small random weights, biases of zero. Equal weights would all get equal gradients and stay equal."""
    random = np.random.default_rng(seed)
    W1 = random.standard_normal((2, hidden))                             # (I,H)
    W2 = random.standard_normal((hidden, 3)) * np.sqrt(2 / hidden)       # (H,C)
    return [W1, np.zeros(hidden), W2, np.zeros(3)]


def answer_of(network, x, bend=True):
    W1, b1, W2, b2 = network
    h = x @ W1 + b1                           # (B,H)
    return (np.maximum(h, 0) if bend else h) @ W2 + b2                   # (B,C)


def train(network, rate=0.1, steps=1500, bend=True):
    """Changes the network's arrays in place; returns the loss of each step. Where `bend` is false there is no ReLU."""
    W1, b1, W2, b2 = network
    losses = []
    for _ in range(steps):
        z, cache1 = ops.linear_forward(x, W1, b1)                        # (B,H)  forward
        h, kept = ops.relu_forward(z) if bend else (z, None)             # (B,H)
        s, cache2 = ops.linear_forward(h, W2, b2)                        # (B,C)

        losses.append(((s - onehot) ** 2).sum() / (2 * len(x)))          # loss
        ds = (s - onehot) / len(x)                                       # (B,C)

        dh, dW2, db2 = ops.linear_backward(ds, cache2)                   # backward
        dz = ops.relu_backward(dh, kept) if bend else dh                 # (B,H)
        _, dW1, db1 = ops.linear_backward(dz, cache1, skip_dx=True)

        for parameter, gradient in ((W1, dW1), (b1, db1), (W2, dW2), (b2, db2)):
            parameter -= rate * gradient                                 # step
    return losses


def draw_plane(ax, network, title, bend=True):
    """Each place of the plane in the colour of the class that the network gives it."""
    side = np.linspace(-1.1, 1.1, 120)
    places = np.stack(np.meshgrid(side, side), axis=-1).reshape(-1, 2)   # (14400,2)
    classes = answer_of(network, places, bend).argmax(axis=1).reshape(120, 120)
    colours = plt.matplotlib.colors.ListedColormap(["#d1495b", "#00798c", "#edae49"])
    ax.imshow(classes, extent=(-1.1, 1.1, -1.1, 1.1), origin="lower", cmap=colours, alpha=0.3, vmin=0, vmax=2)
    ax.scatter(*x.T, c=y, cmap=colours, s=6)
    ax.set(title=title, xlabel="$x_1$", ylabel="$x_2$", xticks=[-1, 0, 1], yticks=[-1, 0, 1])


fig, axes = plt.subplots(1, 3, figsize=(9.5, 3.0), layout="constrained")
network = fresh_network(hidden=64, seed=0)
draw_plane(axes[0], network, "before training")
losses = train(network)
draw_plane(axes[1], network, "after training")
axes[2].plot(losses, color="#00798c")
axes[2].set(title="the loss", xlabel="step", ylabel="$L$", yscale="log")
plt.show()

new = spirals(300, seed=1)                    # other points of the same spirals
for name, points in (("the points it saw", data), ("new points", new)):
    print(f"right on {name}: {(answer_of(network, points.x).argmax(axis=1) == points.y).mean():.1%}")

# %% [markdown]
# Nobody told the network what a spiral is. It got 300 points, a loss, and a gradient that you can now compute by hand.
#
# ### Exercise 6: predict
# What if the ReLU is left out, and all else stays: 64 hidden units, the same data, the same number of steps? Choose
# `"as good"`, `"a little worse"` or `"far worse"`, and say to yourself why. Then run the cells below.
#
# <details><summary>Hint</summary>
#
# Write down $s = (x W_1 + b_1) W_2 + b_2$ and multiply out. What shape does it have as a function of $x$?
#
# </details>

# %% tags=["exercise"]
prediction = ...  # your code: "as good", "a little worse" or "far worse"

# %%
straight = fresh_network(hidden=64, seed=0)
straight_losses = train(straight, bend=False)

# %% tags=["check"]
bent_right, straight_right = (
    (answer_of(each, new.x, bend).argmax(axis=1) == new.y).mean() for each, bend in ((network, True), (straight, False))
)
lost = bent_right - straight_right
check(
    "prediction",
    prediction,
    "as good" if lost < 0.02 else "a little worse" if lost < 0.15 else "far worse",
    mistakes={
        "multiply s = (x W1 + b1) W2 + b2 out: two layers without a bend are one layer": "as good",
        "it is more than a little: 64 straight units can do no more than one straight layer": "a little worse",
    },
)

# %%
fig, axes = plt.subplots(1, 2, figsize=(6.2, 3.0), layout="constrained")
draw_plane(axes[0], network, "with ReLU")
draw_plane(axes[1], straight, "without: straight borders", bend=False)
plt.show()
for name, each, bend in (("with ReLU", network, True), ("without", straight, False)):
    print(f"{name:10} right on new points: {(answer_of(each, new.x, bend).argmax(axis=1) == new.y).mean():.1%}")

# %% [markdown]
# ## What to remember
#
# A neuron is a weighted sum, a bias and a bend. To go back, take the derivative $dz$ of what it gave: each weight's
# slope is $dz$ times what the weight was multiplied by, and effects by several ways add up. For a layer these are three
# sums, [LIN-2] to [LIN-4], two matrix products and a sum over rows, each of the shape of what it belongs to. A
# network's backward pass is its forward pass in reverse, step by step. Training is forward, loss, backward, step.
#
# ## Read next in the source
#
# - `minidistill/ops.py`: `linear_forward`, `linear_backward`, `relu_forward`, `relu_backward`. These are the lines that
#   you have written.
# - `minidistill/network.py`: `MLP.forward` and `MLP.backward`, the same for any number of layers.
# - `docs/maths/ops.md` derives [LIN-1] to [ACT-2] index by index.
#
# Next: **3 · Softmax and cross-entropy**, the loss for classes.
