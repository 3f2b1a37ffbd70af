# %% [markdown]
# # Derivatives, exactly
#
# Jacobians, gradients of single samples, curvature of the loss, losses and optimizers of your own, and a training that
# continues to the bit.

# %%
import copy
import pickle

import matplotlib.pyplot as plt
import numpy as np
from scipy.optimize import minimize

from densegrad import Adam, Dense, Network, Trainer, check_gradients
from densegrad.display import Diagnostics, GradientFlowDisplay

rng = np.random.default_rng(0)
X = rng.uniform(-2, 2, (400, 2))
target = np.sin(3 * X[:, :1]) * X[:, 1:]
net = Network(
    2,
    [Dense(24, "gelu"), Dense(24, "tanh"), Dense(1, "identity")],
    dtype="float64",
    random_state=0,
)
history = Trainer(net, Adam(0.01), batch_size=50, random_state=0).fit(
    X, target, epochs=60
)
print(f"loss {history.loss[0]:.3f} -> {history.loss[-1]:.5f}")

# %% [markdown]
# ## The Jacobian dy/dx
#
# `jacobian` is exact; central differences agree up to their own error.

# %%
J = net.jacobian(X)
h = 1e-5
differences = np.stack(
    [(net.predict(X + h * e) - net.predict(X - h * e)) / (2 * h) for e in np.eye(2)],
    axis=2,
)
print(J.shape, f"{np.abs(J - differences).max():.1e}")
assert np.abs(J - differences).max() < 1e-7

# %% [markdown]
# ## Gradients of single samples
#
# The norms need no gradient in memory. With them, each sample's gradient can be clipped before the mean, as private
# training does.

# %%
gradients = net.per_sample_gradients(X, target)
norms = gradients.norms
limit = np.median(norms)
factors = np.minimum(1, limit / norms)
clipped = [np.einsum("b,bij->ij", factors, gradients[l]) / len(X) for l in (1, 2, 3)]
print(
    f"norms {norms.min():.3f} ... {norms.max():.3f}; clipped gradient of W_(1): {np.linalg.norm(clipped[0]):.4f}"
)

# %% [markdown]
# ## The largest eigenvalue of the Hessian
#
# Power iteration with exact Hessian-vector products. Gradient descent is stable for learning rates below 2 / λ.

# %%
v = rng.normal(size=net.n_parameters)
for _ in range(100):
    v /= np.linalg.norm(v)
    Hv = net.hessian_vector_product(X, target, v)
    eigenvalue, v = v @ Hv, Hv
print(f"λ = {eigenvalue:.3f}, the largest stable learning rate is {2 / eigenvalue:.3f}")

# %% [markdown]
# ## An activation and a loss of your own
#
# Values and derivatives are NumPy functions. The check compares both with differences.


# %%
def asymmetric(y_true, y_pred):
    r = y_pred - y_true
    weight = np.where(r > 0, 1.0, 3.0)  # too low is worse than too high
    return (weight * r**2).sum(axis=1), 2 * weight * r


own = Network(
    2,
    [Dense(16, (np.sin, np.cos, lambda z: -np.sin(z))), Dense(1, "identity")],
    loss=asymmetric,
    dtype="float64",
    random_state=0,
)
print(check_gradients(own, X[:40], target[:40]))

# %% [markdown]
# ## Another optimizer
#
# `loss_and_gradient` returns what SciPy needs; `samples` checks the data once.

# %%
samples = own.samples(X, target)


def loss_and_gradient(parameters):
    own.parameters = parameters
    return own.loss_and_gradient(samples)


result = minimize(
    loss_and_gradient,
    own.parameters,
    jac=True,
    method="L-BFGS-B",
    options={"maxiter": 300},
)
own.parameters = result.x
print(f"{result.nfev} evaluations, loss {result.fun:.2e}")

# %% [markdown]
# ## What happens in the layers, every few steps
#
# With `every_steps`, `Diagnostics` records in the middle of the epochs, too.

# %%
watched = Network(2, [*[Dense(16, "tanh")] * 4, Dense(1, "identity")], random_state=0)
diagnostics = Diagnostics(watched, X, target, every_steps=4)
Trainer(watched, Adam(0.01), batch_size=50, random_state=0).fit(
    X, target, epochs=20, callbacks=[diagnostics]
)
GradientFlowDisplay.from_diagnostics(diagnostics)
plt.show()

# %% [markdown]
# ## To the bit
#
# A pickled trainer continues as if nothing had happened, on any CPU and number of threads.

# %%
trainer = Trainer(copy.copy(net), Adam(0.01), batch_size=50, random_state=1)
trainer.fit(X, target, epochs=5)
resumed = pickle.loads(pickle.dumps(trainer))
first = trainer.fit(X, target, epochs=5).loss
resumed.n_threads = 1
assert first == resumed.fit(X, target, epochs=5).loss
assert np.array_equal(trainer.network.parameters, resumed.network.parameters)
print("equal to the last bit")
