"""The small problems that several files train on."""

import numpy as np
from sklearn.datasets import make_classification, make_regression

X, Y = make_classification(300, 8, n_informative=5, n_classes=3, random_state=0)
X_REG, Y_REG = make_regression(300, 8, n_informative=4, random_state=0)
Y_REG = Y_REG / np.abs(Y_REG).max()
COMMON = {"hidden_layer_sizes": 20, "max_iter": 40, "random_state": 0, "learning_rate_init": 0.01}
