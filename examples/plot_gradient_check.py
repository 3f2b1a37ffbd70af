"""
A wrong gradient is found
=========================

A loss of one's own returns the loss of each row and its derivative by the outputs. Here a factor 2 is missing
in the derivative, as happens in exercises. The check compares every weight's gradient with differences of
the loss.
"""

import matplotlib.pyplot as plt
import numpy as np

from densegrad import Dense, Network, check_gradients
from densegrad.display import GradientCheckDisplay

rng = np.random.default_rng(0)
X = rng.normal(size=(8, 4))
target = X[:, :1] * X[:, 1:2]


def wrong(y_true, y_pred):
    r = y_pred - y_true
    return (r**2).sum(axis=1), r


def right(y_true, y_pred):
    r = y_pred - y_true
    return (r**2).sum(axis=1), 2 * r


def network(loss):
    return Network(
        4,
        [Dense(6, "tanh"), Dense(5, "gelu"), Dense(1, "identity")],
        loss=loss,
        dtype="float64",
        random_state=0,
    )


# %%
# An error of 0.5 in all layers alike: the fault is a factor, and it lies where all gradients begin.
GradientCheckDisplay.from_network(network(wrong), X, target)

# %%
# With the factor the errors are those of rounding.
GradientCheckDisplay.from_network(network(right), X, target)
plt.show()


# %%
# A wrong derivative of an activation spoils its own layer and those below: look at the highest wrong layer.
def wrong_slope(z):
    return 1 - np.tanh(z)  # the square is missing


layers = [Dense(6, "tanh"), Dense(5, (np.tanh, wrong_slope)), Dense(1, "identity")]
net = Network(4, layers, dtype="float64", random_state=0)
print(check_gradients(net, X, target))
