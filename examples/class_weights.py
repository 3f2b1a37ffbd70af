"""
Class weights
=============

A rare class that a plain classifier overlooks, and one with class weights finds.
"""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import balanced_accuracy_score, recall_score
from sklearn.model_selection import train_test_split

from densegrad import MLPClassifier

plt.switch_backend("agg")
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# Data: a ring of common points, and a few rare ones that overlap it.
rng = np.random.default_rng(0)
angle = rng.uniform(0, 2 * np.pi, 3000)
common = np.column_stack([np.cos(angle), np.sin(angle)]) + rng.normal(
    0, 0.35, (3000, 2)
)
rare = rng.normal([0.75, 0.0], 0.22, (90, 2))
X = np.vstack([common, rare])
y = np.repeat(["common", "rare"], [len(common), len(rare)])
X_train, X_test, y_train, y_test = train_test_split(
    X, y, test_size=0.4, stratify=y, random_state=0
)

# %%
# The same network three times.
weights = {"None": None, "'balanced'": "balanced", "{'rare': 10}": {"rare": 10.0}}
fitted = {}
for name, class_weight in weights.items():
    clf = MLPClassifier(
        (32, 32),
        max_iter=100,
        class_weight=class_weight,
        learning_rate_init=3e-3,
        random_state=0,
    )
    predicted = clf.fit(X_train, y_train).predict(X_test)
    fitted[name] = clf
    recall = recall_score(y_test, predicted, pos_label="rare")
    balanced = balanced_accuracy_score(y_test, predicted)
    print(
        f"{name:13} found {recall:4.0%} of the rare, balanced accuracy {balanced:.2f}"
    )

# %%
# The picture: where each says "rare".
figure, axes = plt.subplots(
    1, 3, figsize=(11, 3.9), sharex=True, sharey=True, layout="constrained"
)
a, b = np.meshgrid(np.linspace(-2.2, 2.2, 250), np.linspace(-2.2, 2.2, 250))
for panel, (name, clf) in zip(axes, fitted.items(), strict=True):
    probability = clf.predict_proba(np.column_stack([a.ravel(), b.ravel()]))
    probability = probability[:, 1].reshape(a.shape)
    shades = panel.contourf(
        a, b, probability, levels=np.linspace(0, 1, 11), cmap="Oranges"
    )
    panel.contour(a, b, probability, levels=[0.5], colors="black", linewidths=1)
    for label, color, size in (("common", "0.45", 2), ("rare", "C0", 10)):
        panel.scatter(
            *X_test[y_test == label].T, s=size, color=color, linewidths=0, label=label
        )
    found = np.mean(clf.predict(X_test[y_test == "rare"]) == "rare")
    panel.set(
        title=f"class_weight: {name}\n{found:.0%} of the rare ones found",
        aspect="equal",
    )
figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=2,
    frameon=False,
    markerscale=2,
)
figure.colorbar(shades, ax=axes, label="probability of “rare”", shrink=0.85)
path = Path("demo-output") / "class_weights.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=150)
print("picture:", path)
