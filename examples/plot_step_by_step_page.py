"""
The step-by-step page
=====================

One call runs both passes and keeps every number; another writes a page on which one walks through them,
forward to the loss and back to the weights. The page is one file: it can be sent to a class, and it works on
a phone.
"""

import tempfile
from pathlib import Path

from densegrad import Dense, Network

layers = [Dense(3, "tanh"), Dense(2, "softmax")]
net = Network(2, layers, loss="log_loss", dtype="float64", random_state=3)
p = net.backpropagate([[0.5, -1.0], [1.5, 0.3], [-0.7, 0.8]], [1, 0, 1])

path = Path(tempfile.gettempdir()) / "walk.html"
p.to_html(path, feature_names=["height", "weight"], class_names=["cat", "dog"])
print(f"{path}: {path.stat().st_size / 1000:.0f} kB")

# %%
# In a notebook the pass itself is that page.
p
