"""Quality of the defaults on tables: `make bench-quality DATA=folder`.

Trains each library's default on each data set, and prints errors, log losses, ranks and seconds. Libraries
that are not installed are left out. Results are kept in a file of JSON lines, so that a run that was cut
short can be continued; --fresh forgets them. Other such files in the folder, anchors*.jsonl, are shown beside
them as measured elsewhere. --ablation leaves out each part of the recipe in turn, after all libraries but
RealMLP, which takes longest. --minutes starts nothing new after so many. --page writes the page of the
documentation, with a plot.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import platform
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from machine import cpu_family, cpu_name
from ranks import CUT, PAGE, ablation, complete, draw_ranks, read, report
from tables import MOST_TRAINING_ROWS, Table, tables


def is_category(column: pd.Series) -> bool:
    return not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column)


def categories(X: pd.DataFrame) -> list[str]:
    return [name for name in X.columns if is_category(X[name])]


def numbers(X: pd.DataFrame) -> list[str]:
    return [name for name in X.columns if not is_category(X[name])]


def densegrad(table: Table, n_threads: int, **parameters: Any) -> Any:
    from densegrad import TabularClassifier, TabularRegressor

    kind = TabularClassifier if table.is_classification else TabularRegressor
    known = {name: value for name, value in parameters.items() if name in kind().get_params()}
    return kind(random_state=0, n_threads=n_threads, **known)


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


class _ForRealMLP:
    """Fills gaps by medians, which RealMLP does not take, and tells it which columns are categories."""

    def __init__(self, model: Any, categories: list[str], numbers: list[str]) -> None:
        self.model, self.categories, self.numbers = model, categories, numbers

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> _ForRealMLP:
        self.medians = X[self.numbers].astype(float).median().fillna(0.0)
        self.levels = {name: pd.Index(X[name].dropna().astype(str).unique()) for name in self.categories}
        self.model.fit(self._prepared(X), y, cat_col_names=self.categories)
        return self

    def _prepared(self, X: pd.DataFrame) -> pd.DataFrame:
        filled = X[self.numbers].astype(np.float32).fillna(self.medians)
        codes = {
            name: pd.Categorical(levels.get_indexer(X[name].astype(str)), range(-1, len(levels)))
            for name, levels in self.levels.items()
        }
        return filled.assign(**codes)

    def predict(self, X: pd.DataFrame) -> Any:
        return np.ravel(self.model.predict(self._prepared(X)))

    def predict_proba(self, X: pd.DataFrame) -> Any:
        return self.model.predict_proba(self._prepared(X))


def realmlp(table: Table, n_threads: int) -> Any:
    import pytabkit

    kind = pytabkit.RealMLP_TD_Classifier if table.is_classification else pytabkit.RealMLP_TD_Regressor
    model = kind(device="cpu", random_state=0, n_threads=n_threads, verbosity=0)
    return _ForRealMLP(model, categories(table.X), numbers(table.X))


MODELS: dict[str, Callable[[Table, int], Any]] = {
    "densegrad": densegrad,
    "sk_mlp": scikit_learn_mlp,
    "sk_mlp_es": lambda table, n_threads: scikit_learn_mlp(table, n_threads, early_stopping=True),
    "hgb": hist_gradient_boosting,
    "lgbm": lightgbm,
    "catboost": catboost,
    "realmlp": realmlp,
}


def no_means(problem: Any) -> list[Any]:
    """Try no label smoothing alone."""
    from densegrad.tabular.race import Try

    return [Try({"smoothing": 0.0})] if problem.smooths else []


#: Parts of the recipe that parameters leave out.
BY_PARAMETER: dict[str, dict[str, Any]] = {
    "race": {"encodings": "plain"},
    "members": {"n_members": 1},
    "temperature": {"calibrate": False},
    "clamp": {"clamp": False},
    "long training": {"max_epochs": 8},
    "race of depths (always three layers)": {"hidden_layer_sizes": (256, 256, 256)},
}
#: Parts that have no parameter: what stands in their place.
BY_PATCH: dict[str, dict[str, Any]] = {
    "second tries": {"densegrad.tabular.race.tries_of": lambda problem: []},
    "means of the target": {
        "densegrad.tabular.race.tries_of": no_means,
        "densegrad.tabular.ensemble._target_means": lambda problem, rows: ([], []),
    },
    # The race has as many epochs as the members.
    "short race": {"densegrad.tabular.race.SHORT": 10**9},
    "fading of dropout, smoothing and decay": {
        "densegrad.tabular.recipe.Recipe.factor": lambda recipe, epoch: 1.0
    },
}
ABLATION = [*BY_PARAMETER, *BY_PATCH]


@contextmanager
def left_out(name: str) -> Iterator[None]:
    """Stand in for a part of the recipe."""
    patches = [mock.patch(target, new) for target, new in BY_PATCH.get(name, {}).items()]
    for patch in patches:
        patch.start()
    try:
        yield
    finally:
        for patch in patches:
            patch.stop()


def applies(name: str, table: Table, n_train: int) -> bool:
    """Whether a part of the recipe does anything for this data set."""
    if name == "temperature":
        return table.is_classification
    if name == "clamp":
        return not table.is_classification
    return name not in ("long training", "short race") or n_train > 5000


NEEDS = {"lgbm": "lightgbm", "catboost": "catboost", "realmlp": "pytabkit"}


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
    if name in MODELS:
        model = MODELS[name](table, n_threads)
    else:
        model = densegrad(table, n_threads, **BY_PARAMETER.get(name, {}))
    wall, cpu = time.perf_counter(), time.process_time()
    with warnings.catch_warnings(), left_out(name):
        warnings.simplefilter("ignore")
        model.fit(X, y)
        row: dict[str, Any] = {
            "data": table.name,
            "model": name,
            "repeat": repeat,
            "n_train": len(train),
            "threads": n_threads,
            "load": round(load_average(), 1),
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


def load_average() -> float:
    """Processes that want a CPU; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def other_threads(path: Path, models: list[str], n_threads: int) -> str:
    """The models that were measured with another number of threads, as the end of a sentence."""
    rows = map(json.loads, path.read_text().splitlines())
    others = {row["model"]: row.get("threads", n_threads) for row in rows if row["model"] in models}
    return "".join(f"; {name} with {n}" for name, n in others.items() if n != n_threads)


def busiest(path: Path) -> float:
    """The highest load average at the end of a fit; infinite if a measurement does not tell."""
    rows = map(json.loads, path.read_text().splitlines())
    return max((row.get("load", math.inf) for row in rows), default=0.0)


def machine(n_threads: int, others: str, load: float) -> str:
    """The line of the page about machine and versions."""
    names = ["densegrad", "numpy", "scikit-learn", *NEEDS.values()]
    versions = []
    for name in names:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            versions.append(f"{name} not installed")
    load_text = f"load average up to {load:.1f}" if math.isfinite(load) else "while other work ran"
    return (
        f"Measured with {', '.join(versions)}.\nPython {platform.python_version()}, {cpu_family()}, named"
        f" {cpu_name()}, {os.cpu_count()} CPUs, {n_threads} threads{others}, {load_text}."
    )


def write_page(path: Path, results: Any, models: list[str], arguments: argparse.Namespace) -> None:
    """Write the page of the documentation, and its plot beside it in images/."""
    image = path.parent / "images" / "bench-tabular-ranks.png"
    ranked = complete(results, models)
    drawn = draw_ranks(results, ranked, image)
    parts = ""
    if arguments.ablation:
        tried = [data for data, by_model in results.items() if any(part in by_model for part in ABLATION)]
        parts = (
            "\n## What each part is worth\n\n"
            "Each line leaves out one part of densegrad's recipe. Numbers are ratios to the whole recipe:\n"
            "geometric means over the data sets where the part does anything, each cut at 3. Above 1 the\n"
            f"part pays. Measured on {', '.join(tried)}.\n"
            "Differences below 0.01 are noise, and one row of a small data set makes more.\n\n"
            f"{ablation(results, ABLATION)}\n"
        )
    rows = f"No data set has more than {arguments.rows:,} rows to train on; larger ones are cut."
    n = arguments.repeats
    splits = "Each has one split."
    if n > 1:
        splits = f"Data sets below 5,000 rows have {n} splits, and the tables give means."
    preparation = ""
    if any(name.startswith("sk_") for name in models):
        preparation = (
            "scikit-learn's networks get imputed, scaled and one-hot columns, which their users write\n"
            "themselves. The others get the frame as it is.\n"
        )
    if "realmlp" in models:
        preparation += "RealMLP-TD, of pytabkit, gets medians in place of missing numbers.\n"
    if unranked := [name for name in models if name not in ranked]:
        preparation += f"Without all data sets a model has no rank: {', '.join(unranked)}.\n"
    page = PAGE.format(
        rows=rows,
        splits=splits,
        preparation=preparation,
        cut=CUT,
        machine=machine(
            arguments.threads,
            other_threads(arguments.results, models, arguments.threads),
            busiest(arguments.results),
        ),
        plot=f"![Mean ranks by error](images/{image.name})" if drawn else "",
        report=report(results, models, busiest(arguments.results) <= arguments.threads + 1, ranked),
        parts=parts,
        tried=Path(__file__).with_name("tried.md").read_text(),
    )
    path.write_text(page.rstrip() + "\n")


def in_order(models: list[str], with_ablation: bool) -> list[str]:
    """Models and parts to leave out, in the order of their worth for the time they take."""
    fast = [name for name in models if name != "realmlp"]
    return [*fast, *(ABLATION if with_ablation else []), *(name for name in models if name == "realmlp")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of the data sets")
    parser.add_argument("--sets", help="names, separated by commas; all without it")
    parser.add_argument("--models", help="names, separated by commas; all that are installed without it")
    parser.add_argument("--rows", type=int, default=MOST_TRAINING_ROWS, help="train on at most so many rows")
    parser.add_argument("--repeats", type=int, default=3, help="at most so many splits of a small data set")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path("build/quality.jsonl"))
    parser.add_argument("--fresh", action="store_true", help="forget the results of earlier runs")
    parser.add_argument("--minutes", type=float, default=math.inf, help="start nothing new after so many")
    parser.add_argument("--ablation", action="store_true", help="also leave out each part of the recipe")
    parser.add_argument("--page", type=Path, help="write the page of the documentation to this file")
    arguments = parser.parse_args()
    models = arguments.models.split(",") if arguments.models else list(MODELS)
    absent = [name for name in models if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None]
    if absent:
        print(f"not installed: {', '.join(absent)}")
    models = [name for name in models if name not in absent]
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    if arguments.fresh:
        arguments.results.unlink(missing_ok=True)
    arguments.results.touch()
    known = {
        (row["data"], row["model"], row["repeat"], row["n_train"])
        for row in map(json.loads, arguments.results.read_text().splitlines())
    }
    chosen = list(tables(arguments.data, arguments.sets.split(",") if arguments.sets else None))
    end = time.monotonic() + 60 * arguments.minutes
    left_over = 0
    for name in in_order(models, arguments.ablation):
        for table in chosen:
            for repeat in range(min(table.n_repeats, arguments.repeats)):
                n_train = len(table.split(repeat, arguments.rows)[0])
                if (table.name, name, repeat, n_train) in known:
                    continue
                if name in ABLATION and not applies(name, table, n_train):
                    continue
                if time.monotonic() > end:
                    left_over += 1
                    continue
                row = measured(table, name, repeat, arguments.rows, arguments.threads)
                with arguments.results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                print(
                    f"{table.name:14} {name:10} {repeat} {row['main']:.4f} {row['fit_s']:8.2f} s", flush=True
                )
    if left_over:
        print(f"{left_over} fits are left over: call it again to continue")
    results = read([arguments.results])
    models = [name for name in models if any(name in by_model for by_model in results.values())]
    print(report(results, models, ranked=complete(results, models)))
    if arguments.ablation:
        print("\n# What each part is worth\n\n" + ablation(results, ABLATION))
    if arguments.page:
        write_page(arguments.page, results, models, arguments)
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
