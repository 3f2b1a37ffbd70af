"""Quality of the defaults on tables: `make bench-quality DATA=folder`.

Trains each library's default on each data set, and prints errors, log losses, ranks and seconds. Libraries
that are not installed are left out. Results are kept in a file of JSON lines, so that a run can be continued.
Other such files in the folder, anchors*.jsonl, are shown beside them as measured elsewhere.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from tables import MOST_TRAINING_ROWS, Table, tables

CUT = 3.0  # ratios to the best are cut here, so that one data set cannot decide alone
#: Critical values of the Nemenyi test at 0.05, by the number of models from 2 on, over the square root of 2.
NEMENYI = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]


def is_category(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def categories(X: pd.DataFrame) -> list[str]:
    return [name for name in X.columns if is_category(X[name])]


def numbers(X: pd.DataFrame) -> list[str]:
    return [name for name in X.columns if not is_category(X[name])]


def densegrad(table: Table, n_threads: int) -> Any:
    from densegrad import TabularClassifier, TabularRegressor

    return (TabularClassifier if table.is_classification else TabularRegressor)(
        random_state=0, n_threads=n_threads
    )


def scikit_learn_mlp(table: Table, n_threads: int, early_stopping: bool = False) -> Any:
    """With the preparation that its users write: imputed, scaled, one-hot."""
    columns = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers(table.X)),
            (
                "categories",
                OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=64, sparse_output=False),
                categories(table.X),
            ),
        ]
    )
    kind = MLPClassifier if table.is_classification else MLPRegressor
    network = kind(random_state=0, early_stopping=early_stopping)
    if not table.is_classification:
        network = TransformedTargetRegressor(network, transformer=StandardScaler())
    return make_pipeline(columns, network)


def hist_gradient_boosting(table: Table, n_threads: int) -> Any:
    chosen = categories(table.X)
    columns = ColumnTransformer(
        [
            (
                "categories",
                OrdinalEncoder(
                    handle_unknown="use_encoded_value",
                    unknown_value=np.nan,
                    encoded_missing_value=np.nan,
                    max_categories=254,
                ),
                chosen,
            )
        ],
        remainder="passthrough",
        verbose_feature_names_out=False,
    )
    kind = HistGradientBoostingClassifier if table.is_classification else HistGradientBoostingRegressor
    return make_pipeline(columns, kind(random_state=0, categorical_features=list(range(len(chosen)))))


class _AsCategories:
    """Gives text as pandas' categories to LightGBM, or as text without gaps to CatBoost."""

    def __init__(self, model: Any, columns: list[str], as_text: bool) -> None:
        self.model, self.columns, self.as_text = model, columns, as_text

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> _AsCategories:
        self.levels = {name: pd.Index(X[name].dropna().astype(str).unique()) for name in self.columns}
        arguments = {"cat_features": self.columns} if self.as_text else {}
        self.model.fit(self._prepared(X), y, **arguments)
        return self

    def _prepared(self, X: pd.DataFrame) -> pd.DataFrame:
        X = X.copy()
        for name in self.columns:
            text = X[name].astype(object).where(X[name].notna(), None)
            if self.as_text:
                X[name] = ["missing" if value is None else str(value) for value in text]
            else:
                X[name] = pd.Categorical(
                    [None if value is None else str(value) for value in text], self.levels[name]
                )
        return X

    def predict(self, X: pd.DataFrame) -> Any:
        return np.ravel(self.model.predict(self._prepared(X)))

    def predict_proba(self, X: pd.DataFrame) -> Any:
        return self.model.predict_proba(self._prepared(X))


def lightgbm(table: Table, n_threads: int) -> Any:
    import lightgbm

    kind = lightgbm.LGBMClassifier if table.is_classification else lightgbm.LGBMRegressor
    return _AsCategories(kind(n_jobs=n_threads, verbose=-1, random_state=0), categories(table.X), False)


def catboost(table: Table, n_threads: int) -> Any:
    import catboost

    kind = catboost.CatBoostClassifier if table.is_classification else catboost.CatBoostRegressor
    model = kind(thread_count=n_threads, verbose=0, random_seed=0, allow_writing_files=False)
    return _AsCategories(model, categories(table.X), True)


MODELS: dict[str, Callable[[Table, int], Any]] = {
    "densegrad": densegrad,
    "sk_mlp": scikit_learn_mlp,
    "sk_mlp_es": lambda table, n_threads: scikit_learn_mlp(table, n_threads, early_stopping=True),
    "hgb": hist_gradient_boosting,
    "lgbm": lightgbm,
    "catboost": catboost,
}
NEEDS = {"lgbm": "lightgbm", "catboost": "catboost"}


def calibration_error(probabilities: np.ndarray, y: np.ndarray, n_bins: int = 15) -> float:
    """Mean distance of confidence and accuracy, in bins of equally many rows."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == y
    parts = np.array_split(np.argsort(confidence), n_bins)
    gaps = [len(part) * abs(confidence[part].mean() - right[part].mean()) for part in parts if len(part)]
    return float(sum(gaps) / len(y))


def measured(table: Table, name: str, repeat: int, most_rows: int, n_threads: int) -> dict[str, Any]:
    """One fit and its prediction."""
    train, test = table.split(repeat, most_rows)
    X, y = table.X.iloc[train].reset_index(drop=True), table.y[train]
    X_test, y_test = table.X.iloc[test].reset_index(drop=True), table.y[test]
    model = MODELS[name](table, n_threads)
    wall, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X, y)
        row: dict[str, Any] = {
            "data": table.name,
            "model": name,
            "repeat": repeat,
            "n_train": len(train),
            "status": "ok",
            "fit_s": round(time.perf_counter() - wall, 2),
            "fit_cpu_s": round(time.process_time() - cpu, 2),
        }
        wall = time.perf_counter()
        if table.is_classification:
            probabilities = np.asarray(model.predict_proba(X_test), np.float64)
            own = np.clip(probabilities[np.arange(len(y_test)), y_test], 1e-15, 1)
            row["main"] = float((probabilities.argmax(axis=1) != y_test).mean())
            row["logloss"] = float(-np.log(own).mean())
            row["calibration"] = calibration_error(probabilities, y_test)
        else:
            residual = y_test - np.ravel(model.predict(X_test))
            row["main"] = float((residual**2).mean() / y_test.var())
        row["predict_s"] = round(time.perf_counter() - wall, 3)
    return row


# Tables.

Results = dict[str, dict[str, dict[str, float]]]


def read(paths: list[Path]) -> Results:
    """Means over the splits, by data set, model and measure."""
    found: dict[tuple[str, str], dict[int, dict[str, Any]]] = defaultdict(dict)
    for path in paths:
        for line in path.read_text().splitlines():
            row = json.loads(line)
            if row.get("status") == "ok":
                found[row["data"], row["model"]][row["repeat"]] = row
    results: Results = defaultdict(dict)
    for (data, model), rows in found.items():
        names = ("main", "logloss", "calibration", "fit_s", "fit_cpu_s")
        results[data][model] = {
            name: float(np.mean([row[name] for row in rows.values()]))
            for name in names
            if all(row.get(name) is not None for row in rows.values())
        }
    return results


def matrix(results: Results, models: list[str], measure: str) -> tuple[list[str], np.ndarray]:
    """Data sets that all models have, and the measure of each, (data sets, models)."""
    data = [d for d in results if all(measure in results[d].get(model, {}) for model in models)]
    return data, np.array([[results[d][model][measure] for model in models] for d in data])


def mean_ranks(values: np.ndarray) -> np.ndarray:
    """Mean ranks over the data sets; equal values share theirs."""
    below = (values[:, np.newaxis] < values[:, :, np.newaxis]).sum(axis=2)
    equal = (values[:, np.newaxis] == values[:, :, np.newaxis]).sum(axis=2)
    ranks: np.ndarray = (below + (equal + 1) / 2).mean(axis=0)
    return ranks


def to_best(values: np.ndarray) -> np.ndarray:
    """Geometric means of the ratios to the best of each data set."""
    ratios = np.minimum(CUT, np.maximum(values, 1e-6) / np.maximum(values.min(axis=1, keepdims=True), 1e-6))
    means: np.ndarray = np.exp(np.log(ratios).mean(axis=0))
    return means


def report(results: Results, models: list[str]) -> str:
    """The page: each measure, then ranks."""
    lines = []
    for measure, title in [
        ("main", "Error, or 1 - R²"),
        ("logloss", "Log loss"),
        ("calibration", "Calibration error"),
        ("fit_s", "Seconds of the fit"),
    ]:
        if not any(measure in row for by_model in results.values() for row in by_model.values()):
            continue
        lines += [
            "",
            f"## {title}",
            "",
            "| data | " + " | ".join(models) + " |",
            "|---|" + "--:|" * len(models),
        ]
        for data, by_model in results.items():
            shown = [by_model.get(model, {}).get(measure, math.nan) for model in models]
            if all(map(math.isnan, shown)):
                continue
            best = np.nanmin(shown)
            cells = ["–" if math.isnan(x) else f"**{x:.4g}**" if x == best else f"{x:.4g}" for x in shown]
            lines.append(f"| {data} | " + " | ".join(cells) + " |")
    for measure, title in [("main", "error"), ("logloss", "log loss")]:
        data, values = matrix(results, models, measure)
        if not data:
            continue
        ranks, ratios = mean_ranks(values), to_best(values)
        wins = (values == values.min(axis=1, keepdims=True)).sum(axis=0)
        lines += [
            "",
            f"## Over {len(data)} data sets, by {title}",
            "",
            "| model | mean rank | wins | ÷ best |",
            "|---|--:|--:|--:|",
        ]
        lines += [
            f"| {models[m]} | {ranks[m]:.2f} | {wins[m]} | {ratios[m]:.3f} |" for m in np.argsort(ranks)
        ]
        k = len(models)
        if 2 <= k < len(NEMENYI) + 2:
            distance = NEMENYI[k - 2] * math.sqrt(k * (k + 1) / (6 * len(data)))
            lines += [
                "",
                f"Ranks that differ by less than {distance:.2f} are not told apart (Nemenyi test at 5 %).",
            ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--sets", help="names, separated by commas; all without it")
    parser.add_argument("--models", help="names, separated by commas; all that are installed without it")
    parser.add_argument("--rows", type=int, default=MOST_TRAINING_ROWS, help="train on at most so many rows")
    parser.add_argument("--repeats", type=int, default=3, help="at most so many splits of a small data set")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("build/quality.jsonl"))
    arguments = parser.parse_args()
    models = arguments.models.split(",") if arguments.models else list(MODELS)
    absent = [name for name in models if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None]
    if absent:
        print(f"not installed: {', '.join(absent)}")
    models = [name for name in models if name not in absent]
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    arguments.results.touch()
    known = {
        (row["data"], row["model"], row["repeat"], row["n_train"])
        for row in map(json.loads, arguments.results.read_text().splitlines())
    }
    for table in tables(arguments.data, arguments.sets.split(",") if arguments.sets else None):
        for repeat in range(min(table.n_repeats, arguments.repeats)):
            n_train = len(table.split(repeat, arguments.rows)[0])
            for name in models:
                if (table.name, name, repeat, n_train) in known:
                    continue
                row = measured(table, name, repeat, arguments.rows, arguments.threads)
                with arguments.results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(
                    f"{table.name:14} {name:10} {repeat} {row['main']:.4f} {row['fit_s']:8.2f} s", flush=True
                )
    print(report(read([arguments.results]), models))
    anchors = sorted(arguments.data.glob("anchors*.jsonl"))
    if anchors:
        both = read([*anchors, arguments.results])
        everyone = list(dict.fromkeys(model for by_model in both.values() for model in by_model))
        shared = [
            model
            for model in everyone
            if sum(model in by_model for by_model in both.values()) > len(both) / 2
        ]
        print("\n# Beside anchors that were measured elsewhere\n" + report(both, shared))


if __name__ == "__main__":
    main()
