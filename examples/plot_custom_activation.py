"""
An activation of your own
=========================

Two functions of z are an activation: the value and the derivative. The snake z + sin² z rises and waves, as
the target does. So its network goes on outside of the training rows, where those of tanh and relu become flat
or straight.
"""

import matplotlib.pyplot as plt
import numpy as np

from densegrad import Adam, Dense, Network, Trainer


def snake(z):
    return z + np.sin(z) ** 2


def snake_slope(z):
    return 1 + np.sin(2 * z)


X = np.linspace(-6, 6, 400)[:, np.newaxis]
target = X + np.sin(X) ** 2

# %%
# The functions are called once a layer and batch. Everything else stays in the core.
wide = np.linspace(-9, 9, 601)[:, np.newaxis]
figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
ax.axvspan(-6, 6, color="0.93")
ax.plot(wide, wide + np.sin(wide) ** 2, color="0.6", linewidth=4, label="target")
for name, activation in (
    ("snake", (snake, snake_slope)),
    ("tanh", "tanh"),
    ("relu", "relu"),
):
    layers = [Dense(8, activation), Dense(1, "identity")]
    net = Network(1, layers, dtype="float64", random_state=1)
    Trainer(net, Adam(0.02), batch_size=100, random_state=0).fit(X, target, epochs=400)
    ax.plot(wide, net.predict(wide), label=name, linewidth=1.5)
ax.set(xlabel="x", ylabel="y", title="the training rows lie in the grey part")
ax.legend(frameon=False)
plt.show()
