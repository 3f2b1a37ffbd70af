"""
A decision boundary takes shape
===============================

A callback keeps what the network says over the plane after some epochs. The boundary is a line at first, then
it bends.
"""

import matplotlib.pyplot as plt
import numpy as np

from densegrad import Adam, Dense, Network, Trainer
from densegrad.display import DecisionBoundaryDisplay, DecisionBoundaryRecorder

rng = np.random.default_rng(0)
angle = rng.uniform(0.5, 3 * np.pi, size=300)
turn = np.arange(300) % 2
X = (
    np.stack([np.cos(angle + np.pi * turn), np.sin(angle + np.pi * turn)], axis=1)
    * angle[:, np.newaxis]
    / 3
)
X += rng.normal(scale=0.1, size=X.shape)

net = Network(
    2,
    [Dense(32, "tanh"), Dense(32, "tanh"), Dense(1, "logistic")],
    loss="log_loss",
    random_state=0,
)
recorder = DecisionBoundaryRecorder(
    net, X, turn, epochs=[0, 10, 30, 60, 100, 150, 250, 399]
)
history = Trainer(net, Adam(0.005), batch_size=30, random_state=0).fit(
    X, turn, epochs=400, callbacks=[recorder]
)
print(f"loss {history.loss[0]:.3f} at first, {history.loss[-1]:.4f} at last")

# %%
DecisionBoundaryDisplay.from_recorder(recorder)
plt.show()
