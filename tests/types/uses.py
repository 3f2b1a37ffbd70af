"""What type checkers must see in programs that use densegrad. Never run: `tests/test_types.py` checks it.

A line with `# error` must be an error to the checker, every other line none.
"""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

from densegrad import (
    Adam,
    Backpropagation,
    Dense,
    History,
    MLPClassifier,
    MLPRegressor,
    Network,
    NetworkSpec,
    TabularClassifier,
    TabularEncoder,
    TabularRegressor,
    Trainer,
    schedules,
)
from densegrad.typing import ActivationName, ScheduleName, SolverName

X: NDArray[np.float64] = np.zeros((4, 3))
y = np.array([0, 1, 0, 1])

# Names.
Dense(3, "gelu")
Dense(3, "sigmoid")  # error
activation: ActivationName = "softmax"
Dense(3, activation)
solver: SolverName = "lbfgs"
schedule: ScheduleName = "one_cycle"
MLPClassifier((4,), "relu", solver=solver, loss="focal", learning_rate="adaptive", schedule=schedule)
MLPClassifier((4,), ["relu", "tanh"], schedule=schedules.Cosine())
MLPClassifier(solver="lbgfs")  # error
MLPClassifier(activation="softmax")  # error
MLPClassifier(loss="squared_error")  # error
MLPClassifier(learning_rate="cosine")  # error
MLPClassifier(batch_size="all")  # error
MLPRegressor("huber")
MLPRegressor("log_loss")  # error
MLPRegressor(schedule="exponential")  # error
Network(3, [Dense(1, "identity")], loss="mse")  # error

# Fits.
assert_type(MLPClassifier().fit(X, y), MLPClassifier)
assert_type(MLPRegressor().fit(X, y).partial_fit(X, y), MLPRegressor)
assert_type(MLPClassifier.load("clf.safetensors"), MLPClassifier)
assert_type(TabularClassifier().fit(X, y), TabularClassifier)
assert_type(TabularRegressor().fit(X, y), TabularRegressor)
assert_type(TabularEncoder().fit(X, y).fit_transform(X, y), NDArray[np.float32])


class Mine(MLPClassifier):
    """A class of the user's."""


assert_type(Mine().fit(X, y), Mine)

# Networks and trainers.
net = Network(3, [Dense(4), Dense(2, "softmax")], loss="log_loss", random_state=0)
assert_type(net.spec, NetworkSpec)
assert_type(net.predict(X), NDArray[Any])
net.weights = [np.zeros((4, 4)), [[0.0, 0.0]] * 5]
net.weights = net.weights
net.weights = 3  # error
assert_type(net.weights[1], NDArray[Any])
assert_type(Network.load("net.safetensors"), Network)
trainer = Trainer(net, "adam", schedule="cosine", batch_size="auto")
Trainer(net, Adam(1e-3), schedule=lambda step, total: 0.1)
Trainer(net, "sdg")  # error
Trainer(net, schedule="linear")  # error
history = trainer.fit(X, y, epochs=3)
assert_type(history, History)
assert_type(history.loss, list[float])
passes = net.backpropagate(X, y)
assert_type(passes, Backpropagation)
assert_type(passes.loss, float)
assert_type(passes.weight_gradients[1], NDArray[Any])
