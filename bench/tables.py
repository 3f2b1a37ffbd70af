"""Data sets for `quality.py`: scikit-learn's own, and files in a folder that the user names.

A file NAME.npz has X (n_rows, n_columns), y, cat (numbers of the columns that hold codes of categories),
names and meta (JSON: task, and n_train where the split is official). A frame NAME.parquet has NAME.json
beside it: task, target, log_target, train_cap.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

MOST_TRAINING_ROWS = 50_000
SMALL = 5_000  # below so many rows, three splits
LOG_TARGET = {"diamonds"}
TOYS = ("wine", "diabetes", "breast_cancer", "digits")


@dataclass(frozen=True)
class Table:
    """A data set; categories are text or pandas' categories."""

    name: str
    X: pd.DataFrame
    y: np.ndarray
    is_classification: bool
    n_train: int | None
    train_cap: int

    @property
    def n_repeats(self) -> int:
        return 3 if len(self.y) < SMALL else 1

    def split(self, repeat: int, most_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers to train on and to test on."""
        n_rows = len(self.y)
        cap = min(self.train_cap, most_rows)
        if self.n_train is not None:
            return np.arange(self.n_train)[:cap], np.arange(self.n_train, n_rows)
        shuffled = np.random.default_rng(repeat).permutation(n_rows)
        n_train = round(0.7 * n_rows)
        return shuffled[:n_train][:cap], shuffled[n_train:]


def tables(folder: Path, wanted: list[str] | None) -> Iterator[Table]:
    """The data sets that are there, in the order of their names; says which are not."""
    here = {path.stem: path for path in [*folder.glob("*.npz"), *folder.glob("frames/*.parquet")]}
    names = list(wanted or [*TOYS, *sorted(here)])
    for name in names:
        if name in TOYS:
            yield _toy(name)
        elif name not in here:
            print(f"{name}: not in {folder}")
        elif here[name].suffix == ".npz":
            yield _arrays(name, here[name])
        else:
            yield _frame(name, here[name])


def _toy(name: str) -> Table:
    data = getattr(datasets, f"load_{name}")(as_frame=True)
    return Table(name, data.data, data.target.to_numpy(), name != "diabetes", None, MOST_TRAINING_ROWS)


def _arrays(name: str, path: Path) -> Table:
    data = np.load(path, allow_pickle=True)
    meta = json.loads(str(data["meta"]))
    X = pd.DataFrame(data["X"], columns=[str(column) for column in data["names"]])
    for j in data["cat"]:
        X[X.columns[j]] = pd.Categorical(X.iloc[:, j].astype(int).astype(str))
    y = data["y"]
    y = np.log1p(y.astype(float)) if name in LOG_TARGET else y
    is_classification = meta["task"] == "classification"
    return Table(name, X, y, is_classification, meta.get("n_train"), MOST_TRAINING_ROWS)


def _frame(name: str, path: Path) -> Table:
    import polars as pl

    meta = json.loads(path.with_suffix(".json").read_text())
    frame = pl.read_parquet(path)
    X = pd.DataFrame(
        {column: frame[column].to_list() for column in frame.columns if column != meta["target"]}
    )
    y = frame[meta["target"]].to_numpy()
    is_classification = meta["task"] == "classification"
    if is_classification:
        y = np.unique(y, return_inverse=True)[1]
    elif meta["log_target"]:
        y = np.log1p(y.astype(float))
    return Table(name, X, y, is_classification, meta["n_train"], meta["train_cap"] or MOST_TRAINING_ROWS)
