"""
Gradients in a deep network: logistic, tanh and relu
====================================================

The slope of the logistic function is 1/4 at most, so :math:`L'_{(l)}` shrinks at every layer on its way
back: the first of ten layers hardly learns. Units of tanh and relu, with initial weights that suit them, pass
it on.
"""

import matplotlib.pyplot as plt
import numpy as np

from densegrad import SGD, Dense, Network, Trainer
from densegrad.display import Diagnostics, GradientFlowDisplay

rng = np.random.default_rng(0)
X = rng.normal(size=(600, 8))
y = (np.sin(2 * X[:, 0]) + X[:, 1] * X[:, 2] > 0).astype(int)


def watched(activation: str) -> Diagnostics:
    layers = [*[Dense(24, activation)] * 9, Dense(1, "logistic")]
    net = Network(8, layers, loss="log_loss", random_state=0)
    diagnostics = Diagnostics(net, X, y)
    history = Trainer(net, SGD(0.01, momentum=0.9), batch_size=32, random_state=0).fit(
        X, y, epochs=60, callbacks=[diagnostics]
    )
    print(f"{activation:>8}: loss {history.loss[-1]:.3f}")
    return diagnostics


# %%
# Above the norms of :math:`L'_{(l)}`; below, how large an epoch's change of the weights is beside them. With
# logistic units each layer on the way back has less, and nothing moves.
shown = ("loss_gradients", "update_ratio")
GradientFlowDisplay.from_diagnostics(watched("logistic"), quantities=shown)

# %%
# tanh:
GradientFlowDisplay.from_diagnostics(watched("tanh"), quantities=shown)

# %%
# relu:
GradientFlowDisplay.from_diagnostics(watched("relu"), quantities=shown)
plt.show()
