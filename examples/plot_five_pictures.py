"""
Back propagation in five pictures
=================================

A network of two inputs, three hidden units and one output, with its own numbers: the layers and their
notation, the loss as a layer of its own, the forward pass, the backward pass, and both in detail at a layer.
"""

import matplotlib.pyplot as plt

from densegrad import Dense, Network
from densegrad.display import NetworkDisplay

layers = [Dense(3, "tanh"), Dense(1, "logistic")]
net = Network(2, layers, loss="log_loss", dtype="float64", random_state=3)
X = [[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8]]
target = [1, 0, 1]

# %%
# Each layer turns the outputs of the one before into its own.
NetworkDisplay.from_network(net, X, target, kind="layers")

# %%
# The loss is one more layer, whose output is a single number.
NetworkDisplay.from_network(net, X, target, kind="loss_layer")

# %%
# Forward, from the input to the loss. On the way each layer keeps its local gradients.
NetworkDisplay.from_network(net, X, target, kind="forward")

# %%
# Backward, from the loss to the weights. The arrows are as wide as the norm of what they carry.
NetworkDisplay.from_network(net, X, target, kind="backward")

# %%
# Both passes at layer 1, number by number.
NetworkDisplay.from_network(net, X, target, kind="detail", layer=1)
plt.show()
