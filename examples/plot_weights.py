"""
What the first layer looks for
==============================

The weights into a unit of the first layer have one number for each pixel, so they are an image: blue pixels
raise the unit's output, red ones lower it. Below them are their gradients, before and after the training.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

from densegrad import Adam, Dense, Network, Trainer
from densegrad.display import ActivationDisplay, WeightsDisplay

X, y = load_digits(return_X_y=True)
X = X / 16
net = Network(
    64, [Dense(16, "tanh"), Dense(10, "softmax")], loss="log_loss", random_state=0
)

# %%
# Before the training the weights are noise, and the gradients already know where the ink is.
WeightsDisplay.from_network(net, X, y, layer=1, shape=(8, 8), max_units=8)

# %%
# Afterwards they are strokes and edges. Weight decay has taken off the noise.
Trainer(net, Adam(3e-3), batch_size=64, weight_decay=2.0, random_state=0).fit(
    X, y, epochs=100
)
WeightsDisplay.from_network(net, X, y, layer=1, shape=(8, 8), max_units=8)

# %%
# The units' outputs: how many of them have run into the flat ends of tanh?
ActivationDisplay.from_network(net, X)
plt.show()
