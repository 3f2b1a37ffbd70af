"""
The import swap
===============

The same lines with scikit-learn's and with densegrad's MLPClassifier, both timed.
"""

import time
import warnings

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier as Original

from densegrad import MLPClassifier

warnings.simplefilter("ignore", ConvergenceWarning)

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)


def run(Estimator: type) -> tuple[float, object]:
    began = time.perf_counter()
    clf = Estimator((64, 64), random_state=0, max_iter=100).fit(X_train, y_train)
    return time.perf_counter() - began, clf


run(MLPClassifier)  # the first call loads what both need
theirs_seconds, theirs = min(
    (run(Original) for _ in range(3)), key=lambda result: result[0]
)
ours_seconds, ours = min(
    (run(MLPClassifier) for _ in range(3)), key=lambda result: result[0]
)

for name, seconds, clf in (
    ("scikit-learn", theirs_seconds, theirs),
    ("densegrad", ours_seconds, ours),
):
    accuracy = clf.score(X_test, y_test)
    print(
        f"{name:12}  {seconds:6.2f} s   accuracy {accuracy:.4f}   loss {clf.loss_:.12f}"
    )
difference = max(
    np.abs(a - b).max() for a, b in zip(ours.coefs_, theirs.coefs_, strict=True)
)
ratio = theirs_seconds / ours_seconds
print(f"{ratio:.1f} times as fast; the weights differ by at most {difference:.0e}")

# %%
# The seconds of one fit, the shortest of three:
figure, ax = plt.subplots(figsize=(6.4, 1.8), layout="constrained")
ax.barh(
    ["densegrad", "scikit-learn"], [ours_seconds, theirs_seconds], color=["C0", "0.6"]
)
ax.set(xlabel="seconds", title="MLPClassifier((64, 64)) on the digits, 100 epochs")
ax.spines[["top", "right"]].set_visible(False)
plt.show()
