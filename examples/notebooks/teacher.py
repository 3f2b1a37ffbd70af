# %% [markdown]
# # A lesson on back propagation
#
# A network that you can compute on paper, its passes as pictures, gradient descent by hand, and a student's error.
# It takes about 45 minutes. Everything runs on a laptop without a GPU.

# %%
import matplotlib.pyplot as plt
import numpy as np

from densegrad import SGD, Adam, Dense, Network, Trainer, check_gradients
from densegrad.display import (
    DecisionBoundaryDisplay,
    DecisionBoundaryRecorder,
    NetworkDisplay,
)

np.set_printoptions(precision=4, suppress=True)

# %% [markdown]
# ## 1. A network on paper
#
# Two inputs, two units of relu, one output without an activation, and the loss $\tfrac12 (y - t)^2$. The bias is the
# last row of $W_{(l)}$, and a 1 is appended to each layer's input.

# %%
net = Network(
    2, [Dense(2, "relu"), Dense(1, "identity")], loss="squared_error", dtype="float64"
)
net.weights[1] = [[0.5, -1.0], [0.25, 0.5], [0.0, 1.0]]
net.weights[2] = [[2.0], [-1.0], [0.5]]
x, t = [[1.0, 2.0]], [[1.0]]
net

# %% [markdown]
# Compute $z_{(1)}$, $y_{(1)}$, $z_{(2)}$ and the loss on paper first. Then look:

# %%
p = net.backpropagate(x, t)
print("z_(1)", p.preactivations[1], " y_(1)", p.outputs[1])
print("y_(2)", p.outputs[2], "     loss", p.loss)

# %% [markdown]
# ## 2. The backward pass
#
# The loss is a layer too, layer 3, with $L'_{(3)} = 1$. Each layer multiplies by its local gradient:
# $L'_{(l-1)} = L'_{(l)} \cdot \partial y_{(l)} / \partial y_{(l-1)}$.

# %%
for l in (3, 2, 1):
    product = np.tensordot(
        np.atleast_2d(p.loss_gradients[l])[0], p.local_gradients[l].wrt_input[0], axes=1
    )
    print(
        f"L'_({l}) · dy_({l})/dy_({l - 1}) =",
        product,
        f"   L'_({l - 1}) =",
        p.loss_gradients[l - 1],
    )

# %% [markdown]
# The same as pictures. `kind` is "layers", "loss_layer", "forward", "backward" or "detail".

# %%
NetworkDisplay.from_network(net, X=x, target=t, kind="backward")
plt.show()

# %% [markdown]
# And as a page to walk through, with the cursor keys. `p.to_html("walk.html")` writes it for the class.

# %%
p

# %% [markdown]
# ## 3. Gradient descent by hand
#
# The line on the blackboard is $W_{(l)} \leftarrow W_{(l)} - \alpha \cdot \partial \mathrm{Loss} / \partial W_{(l)}$.
# `Trainer` with `SGD` does the same, equal to the last bit.

# %%
X = np.random.default_rng(0).uniform(-1, 1, (100, 2))
target = X[:, :1] * X[:, 1:]


def new_network():
    return Network(
        2, [Dense(6, "tanh"), Dense(1, "identity")], dtype="float64", random_state=0
    )


by_hand, alpha = new_network(), 0.5
for _ in range(50):
    q = by_hand.backpropagate(X, target)
    for l in (1, 2):
        by_hand.weights[l] -= alpha * q.weight_gradients[l]

trained = new_network()
Trainer(trained, SGD(alpha), batch_size=100, shuffle=False).fit(X, target, epochs=50)
assert np.array_equal(by_hand.parameters, trained.parameters)
print(f"loss {q.loss:.4f}, and every weight is equal")

# %% [markdown]
# ## 4. XOR
#
# One layer cannot learn XOR. Watch what the hidden layer does to the plane over the epochs.

# %%
corners = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
points = np.repeat(corners, 25, axis=0) + np.random.default_rng(1).normal(
    0, 0.12, (100, 2)
)
labels = np.repeat([0, 1, 1, 0], 25)
xor = Network(
    2, [Dense(8, "tanh"), Dense(1, "logistic")], loss="log_loss", random_state=0
)
recorder = DecisionBoundaryRecorder(xor, points, labels, epochs=[0, 10, 40, 150])
Trainer(xor, Adam(0.02), random_state=0).fit(
    points, labels, epochs=151, callbacks=[recorder]
)
DecisionBoundaryDisplay.from_recorder(recorder)
print("correct:", np.mean((xor.predict(points)[:, 0] > 0.5) == labels))
plt.show()

# %% [markdown]
# ## 5. An activation from the class
#
# Two functions are enough: the value, and the derivative that the students have derived. The gradient check tells
# whether they are right.


# %%
def bump(z):
    return np.exp(-(z**2))


def bump_slope(z):
    return -2 * z * np.exp(-(z**2))


def forgot_the_minus(z):
    return 2 * z * np.exp(-(z**2))


for slope in (bump_slope, forgot_the_minus):
    with_bump = Network(
        2,
        [Dense(5, (bump, slope)), Dense(1, "identity")],
        dtype="float64",
        random_state=0,
    )
    report = check_gradients(with_bump, X[:10], target[:10])
    print(f"{slope.__name__}:")
    print(report, "\n")

# %% [markdown]
# Only layer 1 is wrong in the second table: its gradient alone goes through the wrong derivative.
#
# ## To go on
#
# - The exercises of the documentation, with solutions that run.
# - Which initial weights let XOR fail with two hidden units?
# - Eight layers of "logistic" instead of "tanh": print the norm of $L'_{(l)}$ for every layer.
