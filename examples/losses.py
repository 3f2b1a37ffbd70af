"""
Losses and what they pass back
==============================

The loss gradient of the head, dLoss/dy, is where the backward pass begins. The squared error passes the whole
residual back, so one outlier can outweigh all other rows. Other losses bound it.
"""

import matplotlib.pyplot as plt
import numpy as np

from densegrad import Dense, Network

residual = np.linspace(-4, 4, 401)
losses = {
    "squared_error": {},
    "absolute_error": {},
    "huber": {"delta": 1.0},
    "log_cosh": {},
    "quantile": {"quantile": 0.8},
}
figure, (above, below) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
for style, (name, parameters) in zip(
    ["-", "--", "-.", ":", (0, (4, 1, 1, 1))], losses.items(), strict=True
):
    net = Network(1, [Dense(1, "identity")], loss=name, dtype="float64", **parameters)
    net.weights[1] = [[1.0], [0.0]]  # the prediction is the input
    values = [net.evaluate([[r]], [0.0]) for r in residual]
    # One row at a time: in a batch, each row has its share of the mean.
    gradients = [
        net.backpropagate([[r]], [0.0]).loss_gradients[1][0, 0] for r in residual
    ]
    label = name + "".join(f", {key}={value}" for key, value in parameters.items())
    above.plot(residual, values, linestyle=style, label=label)
    below.plot(residual, gradients, linestyle=style)
above.set(title="loss of a row", xlabel="y - target", ylim=(0, 4))
below.set(
    title="loss gradient of the head, dLoss/dy", xlabel="y - target", ylim=(-2.5, 2.5)
)
above.legend(frameon=False, fontsize="small")
plt.show()
