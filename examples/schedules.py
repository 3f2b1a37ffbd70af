"""
Learning rate schedules
=======================

A schedule multiplies the optimizer's learning rate by a factor. Each of them trains the same network from the
same weights; the history has the learning rate of each epoch.
"""

import matplotlib.pyplot as plt
import numpy as np

from densegrad import SGD, Dense, Network, Trainer, schedules

rng = np.random.default_rng(0)
X = rng.standard_normal((600, 6))
target = np.sin(X[:, :1]) * X[:, 1:2]
chosen = {
    "constant": schedules.Constant(),
    "step": schedules.StepDecay(every=15, factor=0.3),
    "cosine": schedules.Cosine(),
    "one_cycle": schedules.OneCycle(),
    "warm_up": schedules.WarmUp(steps=200, then=schedules.Cosine()),
    "plateau": schedules.Plateau(factor=0.3, patience=3, tol=1e-3),
}
figure, (rates, losses) = plt.subplots(1, 2, figsize=(9, 3.8), layout="constrained")
styles = ["-", "--", "-.", ":", (0, (4, 1, 1, 1)), (0, (1, 1))]
for style, (name, schedule) in zip(styles, chosen.items(), strict=True):
    net = Network(6, [Dense(32, "tanh"), Dense(1, "identity")], random_state=0)
    trainer = Trainer(
        net, SGD(0.1, momentum=0.9), batch_size=32, schedule=schedule, random_state=0
    )
    history = trainer.fit(X, target, epochs=60)
    rates.plot(history.learning_rate, linestyle=style, label=name)
    losses.semilogy(history.loss, linestyle=style)
rates.set(title="learning rate", xlabel="epoch")
losses.set(title="training loss", xlabel="epoch")
figure.legend(loc="outside lower center", ncols=6, frameon=False)
plt.show()
