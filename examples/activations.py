"""
Activations and their local gradients
=====================================

An activation turns the preactivation z into the output y. Back propagation multiplies by its local gradient
dy/dz. Where that is close to zero, a unit learns slowly.
"""

import matplotlib.pyplot as plt
import numpy as np

from densegrad import Dense, Network

z = np.linspace(-4, 4, 401)
names = [
    "relu",
    "leaky_relu",
    "tanh",
    "logistic",
    "softplus",
    "elu",
    "selu",
    "silu",
    "gelu",
    "mish",
]
figure, axes = plt.subplots(
    2, 5, figsize=(10, 4.4), sharex=True, sharey=True, layout="constrained"
)
for panel, name in zip(axes.flat, names, strict=True):
    # One unit of weight 1 and bias 0: its preactivation is its input.
    net = Network(1, [Dense(1, name), Dense(1, "identity")], dtype="float64")
    net.weights[1] = [[1.0], [0.0]]
    p = net.backpropagate(z[:, np.newaxis], np.zeros(len(z)))
    panel.plot(z, p.outputs[1], color="C0", label="y")
    panel.plot(
        z,
        p.local_gradients[1].wrt_preactivation,
        color="C1",
        linestyle="--",
        label="dy/dz",
    )
    panel.set(title=name, ylim=(-1.6, 2.6))
    panel.axhline(0, color="0.7", linewidth=0.8, zorder=0)
axes[0, 0].legend(frameon=False, loc="upper left")
figure.supxlabel("z")
plt.show()
