"""
Learning curves
===============

A fit watches validation rows, stops when they no longer get better, and is drawn in one line: loss, score and
learning rate over the epochs, with the best epoch marked.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from densegrad import Adam, Dense, Network, Trainer
from densegrad.display import LearningCurveDisplay

X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(
    X / 16, y, test_size=0.3, random_state=0
)

net = Network(
    64, [Dense(64, "relu"), Dense(10, "softmax")], loss="log_loss", random_state=0
)
trainer = Trainer(net, Adam(5e-3), batch_size=64, schedule="cosine", random_state=0)
history = trainer.fit(
    X_train,
    y_train,
    epochs=40,
    validation=(X_val, y_val),
    scoring=lambda trainer: (
        trainer.network.predict(X_val).argmax(axis=1) == y_val
    ).mean(),
    patience=15,
)
print(f"ended by {history.stopped} after {len(history.loss)} epochs")
print(f"best epoch {history.best_epoch}")

# %%
# The training loss goes on falling where the validation loss has come to rest: from there on the network
# learns its own rows by heart.
LearningCurveDisplay.from_history(history, log=True)
plt.show()
