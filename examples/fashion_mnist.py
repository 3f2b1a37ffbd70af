"""Train a classifier on Fashion-MNIST and draw what it learned: `make demo`.

The images are Debian's package dataset-fashion-mnist, which is installed first where apt can do so. Elsewhere
the small digits that come with scikit-learn take their place.
"""

import gzip
import os
import platform
import shutil
import subprocess
import time
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

import densegrad
from densegrad import MLPClassifier

plt.switch_backend("agg")

DATASET = Path("/usr/share/datasets/fashion-mnist")
OUTPUT = Path("demo-output")
CLOTHES = (
    "T-shirt",
    "trousers",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)


def install_dataset() -> None:
    """Ask apt for the images, where there is an apt and it may be asked. Failing is fine."""
    if DATASET.exists() or shutil.which("apt-get") is None or os.geteuid() != 0:
        return
    print("Installing dataset-fashion-mnist …", flush=True)
    for command in (
        ["update"],
        ["install", "--yes", "--no-install-recommends", "dataset-fashion-mnist"],
    ):
        try:
            done = subprocess.run(
                ["apt-get", "--quiet", *command],
                capture_output=True,
                timeout=180,
                text=True,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            print(f"apt-get {command[0]} failed: {error}")
            return
        if done.returncode != 0:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            print(f"apt-get {command[0]} failed: {' '.join(last)}")


def idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of bytes: a big-endian header with the sizes, then the numbers."""
    with gzip.open(path, "rb") as file:
        n_dimensions = file.read(4)[3]
        shape = np.frombuffer(file.read(4 * n_dimensions), ">i4")
        return np.frombuffer(file.read(), np.uint8).reshape(shape)


def fashion_mnist() -> tuple[np.ndarray, ...]:
    """Return images as rows of 784 numbers in [0, 1], float32, and their labels: to train on, to test on."""
    parts = []
    for part in ("train", "t10k"):
        images = idx(DATASET / f"{part}-images-idx3-ubyte.gz")
        parts += [
            images.reshape(len(images), -1).astype(np.float32) / 255,
            idx(DATASET / f"{part}-labels-idx1-ubyte.gz"),
        ]
    return tuple(parts)


def digits() -> tuple[np.ndarray, ...]:
    """Return scikit-learn's digits, 8 × 8, in the same form."""
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        (X / 16).astype(np.float32), y, test_size=0.25, random_state=0, stratify=y
    )
    return X_train, y_train, X_test, y_test


def draw_losses(clf: MLPClassifier, accuracy: float, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    epochs = np.arange(1, clf.n_iter_ + 1)
    axes.plot(epochs, clf.loss_curve_, label="training")
    axes.plot(epochs, clf.validation_loss_curve_, label="validation")
    axes.set(
        xlabel="epoch",
        ylabel="log loss, labels smoothed",
        title=f"test accuracy {accuracy:.4f}",
        ylim=(0, None),
    )
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=150)


def draw_first_layer(clf: MLPClassifier, path: Path) -> None:
    """Draw what the strongest units of the first layer look for: blue adds to them, red takes away."""
    weights = clf.coefs_[0]
    side = round(weights.shape[0] ** 0.5)
    strongest = np.argsort(-np.abs(clf.coefs_[1]).sum(axis=1))[:40]
    figure, grid = plt.subplots(5, 8, figsize=(8, 5.3), layout="constrained")
    figure.suptitle("Weights into 40 units of the first layer")
    for axes, unit in zip(grid.ravel(), strongest, strict=True):
        image = weights[:, unit].reshape(side, side)
        bound = np.quantile(np.abs(image), 0.995)
        axes.imshow(image, cmap="RdBu", vmin=-bound, vmax=bound)
        axes.axis("off")
    figure.savefig(path, dpi=150)


def main() -> None:
    install_dataset()
    if DATASET.exists():
        X_train, y_train, X_test, y_test = fashion_mnist()
        print(
            f"Fashion-MNIST: {len(X_train):,} images to train on, {len(X_test):,} to test on, 28 × 28"
        )
        parameters = {
            "hidden_layer_sizes": (256, 128),
            "batch_size": 128,
            "max_iter": 12,
            "dropout": [0.2, 0.1],
        }
    else:
        X_train, y_train, X_test, y_test = digits()
        print("Fashion-MNIST is not here (Debian: apt install dataset-fashion-mnist).")
        print(
            "In its place scikit-learn's digits, 8 × 8:",
            f"{len(X_train):,} and {len(X_test):,} images",
        )
        parameters = {
            "hidden_layer_sizes": (128, 64),
            "batch_size": 32,
            "max_iter": 60,
            "dropout": 0.1,
        }

    seconds: list[float] = []
    clf = MLPClassifier(
        **parameters,
        learning_rate_init=2e-3,
        schedule="one_cycle",
        label_smoothing=0.05,
        n_iter_no_change=np.inf,
        random_state=0,
        progress=True,
        callbacks=[lambda epoch, logs: seconds.append(logs["seconds"])],
    )
    X_fit, X_val, y_fit, y_val = train_test_split(
        X_train, y_train, test_size=0.05, random_state=0, stratify=y_train
    )
    print(f"densegrad {densegrad.__version__} on {platform.machine()}, {os.cpu_count()} CPUs: layers "
          f"{X_fit.shape[1]}-{'-'.join(map(str, clf.hidden_layer_sizes))}-10", flush=True)  # fmt: skip
    began = time.perf_counter()
    with warnings.catch_warnings():
        # The learning rate ends at zero after max_iter epochs: that is the plan, not a failure to converge.
        warnings.simplefilter("ignore", ConvergenceWarning)
        clf.fit(X_fit, y_fit, X_val=X_val, y_val=y_val)
    total = time.perf_counter() - began

    began = time.perf_counter()
    predicted = clf.predict(X_test)
    prediction_time = time.perf_counter() - began
    accuracy = float(np.mean(predicted == y_test))
    print(
        f"{clf.n_iter_} epochs in {total:.1f} s, {np.median(seconds):.2f} s the training of one"
    )
    print(f"{len(X_test):,} predictions in {1e3 * prediction_time:.0f} ms")
    if DATASET.exists():
        found = [
            f"{name} {np.mean(predicted[y_test == k] == k):.2f}"
            for k, name in enumerate(CLOTHES)
        ]
        print("of each kind found:", ", ".join(found))
    print(f"test accuracy: {accuracy:.4f}")

    OUTPUT.mkdir(exist_ok=True)
    draw_losses(clf, accuracy, OUTPUT / "loss.png")
    draw_first_layer(clf, OUTPUT / "first_layer.png")
    print(f"pictures: {OUTPUT / 'loss.png'}, {OUTPUT / 'first_layer.png'}")


if __name__ == "__main__":
    main()
