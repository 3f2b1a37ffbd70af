"""Small tables of every kind of column, made up."""

import numpy as np
import pandas as pd


def messy_frame(n_rows: int = 200, seed: int = 0) -> pd.DataFrame:
    """A frame with numbers, nullable types, text, categories, dates, and missing values in all of them."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.normal(40, 12, n_rows),
            "children": pd.array(rng.integers(0, 4, n_rows), dtype="Int64"),
            "member": pd.array(rng.random(n_rows) < 0.5, dtype="boolean"),
            "city": rng.choice(["Bonn", "Graz", "Genf"], n_rows),
            "street": [f"street {i}" for i in rng.integers(0, 100, n_rows)],
            "size": pd.Categorical(rng.choice(["S", "M", "L"], n_rows), categories=["S", "M", "L", "XL"]),
            "since": pd.Timestamp("2024-01-01") + pd.to_timedelta(rng.integers(0, 400, n_rows), unit="D"),
            "constant": 1,
            "empty": [None] * n_rows,
        }
    )
    for name in frame.columns[:7]:
        frame.loc[rng.choice(n_rows, max(1, n_rows // 20), replace=False), name] = None
    return frame


def classes_of(frame: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """Labels that depend on a number and on a category."""
    rng = np.random.default_rng(seed)
    signal = (frame["age"].fillna(40) - 40) / 12 + 1.5 * (frame["city"] == "Bonn")
    return np.where(signal + 0.3 * rng.normal(size=len(frame)) > 0.5, "yes", "no")


def values_of(frame: pd.DataFrame, seed: int = 0) -> np.ndarray:
    """Values in the thousands that depend on a number and on a category."""
    rng = np.random.default_rng(seed)
    signal = (frame["age"].fillna(40) - 40) / 12 + 1.5 * (frame["city"] == "Bonn")
    return 50_000 + 10_000 * (signal + 0.1 * rng.normal(size=len(frame)).astype(float)).to_numpy()
