"""
Quantile bands
==============

Several quantiles from one network: bands that never cross, around data whose spread changes.

scikit-learn's MLPRegressor predicts means only; one quantile at a time would need one network each, and those
may cross.
"""

import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.exceptions import ConvergenceWarning

from densegrad import MLPRegressor

plt.switch_backend("agg")
warnings.simplefilter("ignore", ConvergenceWarning)

# %%
# Data: a wave with noise that grows to the right and is skewed.
rng = np.random.default_rng(0)
x = rng.uniform(0, 4, 3000)
y = np.sin(2 * x) + 0.05 + 0.25 * x * (rng.gamma(2.0, 0.5, x.size) - 1)
X = x[:, None]

# %%
# Five levels at once; the output is (n_samples, n_levels), and each column is at least the one before.
levels = [0.05, 0.25, 0.5, 0.75, 0.95]
reg = MLPRegressor(
    "quantile",
    (64, 64),
    "silu",
    quantile=levels,
    learning_rate_init=5e-3,
    schedule="cosine",
    max_iter=150,
    n_iter_no_change=np.inf,
    random_state=0,
)
reg.fit(X, y)
bands = reg.predict(X)
for level, below in zip(levels, (y[:, None] < bands).mean(axis=0), strict=True):
    print(f"level {level:.2f}: {below:.3f} of the rows lie below")
print("crossings:", int((np.diff(bands, axis=1) < 0).sum()))

# %%
# The picture.
grid = np.linspace(0, 4, 400)
q = reg.predict(grid[:, None])
figure, axes = plt.subplots(figsize=(7.5, 4.2), layout="constrained")
axes.scatter(x, y, s=3, color="0.6", linewidths=0)
axes.fill_between(
    grid, q[:, 0], q[:, 4], color="C0", alpha=0.18, linewidth=0, label="5 % … 95 %"
)
axes.fill_between(
    grid, q[:, 1], q[:, 3], color="C0", alpha=0.32, linewidth=0, label="25 % … 75 %"
)
axes.plot(grid, q[:, 2], color="C0", label="median")
axes.set(xlabel="x", ylabel="y", xlim=(0, 4), title="Five quantiles of one network")
axes.legend(frameon=False, loc="upper left")
axes.spines[["top", "right"]].set_visible(False)
path = Path("demo-output") / "quantile_bands.png"
path.parent.mkdir(exist_ok=True)
figure.savefig(path, dpi=150)
print("picture:", path)
