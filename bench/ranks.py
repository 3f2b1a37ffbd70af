"""What the measurements of `quality.py` say: tables, ranks, the plot of ranks, the page of the docs."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

CUT = 3.0  # ratios to the best are cut here, so that one data set cannot decide alone
#: Critical values of the Nemenyi test at 0.05, by the number of models from 2 on, over the square root of 2.
NEMENYI = [1.960, 2.343, 2.569, 2.728, 2.850, 2.949, 3.031, 3.102, 3.164]
WHOLE = "densegrad"

Results = dict[str, dict[str, dict[str, float]]]
#: Keys of a measurement, and their titles.
MEASURES = [
    ("main", "error, or 1 - R²"),
    ("logloss", "log loss"),
    ("calibration", "calibration error"),
    ("fit_s", "seconds of the fit"),
    ("fit_cpu_s", "seconds of all CPUs in the fit"),
]


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


def complete(results: Results, models: list[str]) -> list[str]:
    """Models that were measured on all data sets: only they have ranks."""
    return [name for name in models if all(name in by_model for by_model in results.values())]


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


def critical_distance(n_models: int, n_data: int) -> float | None:
    """The least difference of mean ranks that tells two models apart, or None for more than the table has."""
    if not 2 <= n_models < len(NEMENYI) + 2:
        return None
    return NEMENYI[n_models - 2] * math.sqrt(n_models * (n_models + 1) / (6 * n_data))


def report(results: Results, models: list[str], idle: bool = True, ranked: list[str] | None = None) -> str:
    """Each measure, then ranks, of `ranked` alone; no seconds of the wall clock if the machine was busy."""
    lines: list[str] = []
    for measure, title in MEASURES:
        if measure == "fit_s" and not idle:
            continue
        if not any(measure in row for by_model in results.values() for row in by_model.values()):
            continue
        lines += [
            "",
            f"### {title[0].upper()}{title[1:]}",
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
    models = models if ranked is None else ranked
    for measure, title in MEASURES[:3]:
        data, values = matrix(results, models, measure)
        if not values.size:
            continue
        ranks, ratios = mean_ranks(values), to_best(values)
        wins = (values == values.min(axis=1, keepdims=True)).sum(axis=0)
        lines += [
            "",
            f"### Ranks over {len(data)} data sets, by {title}",
            "",
            "| model | mean rank | wins | ÷ best |",
            "|---|--:|--:|--:|",
        ]
        lines += [
            f"| {models[m]} | {ranks[m]:.2f} | {wins[m]} | {ratios[m]:.3f} |" for m in np.argsort(ranks)
        ]
        distance = critical_distance(len(models), len(data))
        if distance is not None:
            lines += [
                "",
                f"Ranks that differ by less than {distance:.2f} are not told apart (Nemenyi test at 5 %).",
            ]
    return "\n".join(lines)


def ablation(results: Results, models: list[str]) -> str:
    """The table of what each part is worth: geometric means of the ratios to the whole."""
    lines = ["| left out | error | log loss | CPU seconds | data sets |", "|---|--:|--:|--:|--:|"]
    for model in models:
        cells = []
        for measure in ("main", "logloss", "fit_cpu_s"):
            data, values = matrix(results, [WHOLE, model], measure)
            if not data:
                cells.append("–")
                continue
            ratios = np.maximum(values[:, 1], 1e-6) / np.maximum(values[:, 0], 1e-6)
            cells.append(f"{np.exp(np.log(np.clip(ratios, 1 / CUT, CUT)).mean()):.3f}")
        n_data = len(matrix(results, [WHOLE, model], "main")[0])
        if n_data:
            lines.append(f"| {model} | {' | '.join(cells)} | {n_data} |")
    return "\n".join(lines)


def draw_ranks(results: Results, models: list[str], path: Path) -> bool:
    """Draw the critical-difference plot: mean ranks, and bars over models that are not told apart."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    data, values = matrix(results, models, "main")
    if len(data) < 2 or (distance := critical_distance(len(models), len(data))) is None:
        return False
    ranks = mean_ranks(values)
    order = np.argsort(ranks)
    groups = [
        (ranks[first], max(rank for rank in ranks if rank < ranks[first] + distance)) for first in order
    ]
    bars = [group for i, group in enumerate(groups) if i == 0 or group[1] > groups[i - 1][1]]
    bars = [(low, high) for low, high in bars if high > low]
    figure, axis = plt.subplots(figsize=(7, 0.9 + 0.28 * len(models) + 0.15 * len(bars)))
    axis.set_xlim(1, len(models))
    for i, (low, high) in enumerate(bars):
        axis.plot([low - 0.03, high + 0.03], [0.35 + 0.3 * i] * 2, color="black", linewidth=3)
    for i, m in enumerate(order):
        height = -0.7 - 0.8 * i
        axis.plot([ranks[m], ranks[m]], [0, height], color="#777777", linewidth=0.8, zorder=0)
        axis.plot(ranks[m], height, "o", color="black" if models[m] == WHOLE else "#1f77b4")
        axis.annotate(
            f"{models[m]}  {ranks[m]:.2f}",
            (ranks[m], height),
            textcoords="offset points",
            xytext=(-8, -3),  # on the left no line of a model with a higher rank crosses it
            ha="right",
            fontweight="bold" if models[m] == WHOLE else "normal",
        )
    axis.axhline(0, color="black", linewidth=0.8)
    axis.set_yticks([])
    axis.xaxis.tick_top()
    axis.spines[:].set_visible(False)
    axis.set_title(
        f"Mean rank by error over {len(data)} data sets; a bar joins what is not told apart", fontsize=9
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=90, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)
    return True


PAGE = """# Results on tables

`make bench-quality` writes this page. Run it again instead of editing the page.

Each library trains with its defaults on the same rows, and predicts the same others.
{rows}
{splits}
{preparation}Prices, incomes and the like are predicted as logarithms.

- The error is the share of wrong classes, or 1 - R².
- The calibration error is the mean distance of confidence and accuracy, in 15 bins of equally many rows.
- `÷ best` is the geometric mean of the ratios to the best model of each data set, cut at {cut:g}.

{machine}

## What these figures cannot say

- **Which model is best on your data.** Ranks are means over few data sets, and bars join what they do not
  tell apart. On one split with n test rows, errors e that differ by less than 2 sqrt(e (1 - e) / n) mean
  nothing.
- **What tuning would give.** All are defaults.
- **What more rows would give.** {rows}
- **How the defaults do on data that nobody has looked at.** The recipe was chosen with a look at adult,
  diamonds, nyc_flights, loans and gss_wages. Only the others were not looked at.
- **How long you wait.** Seconds of the wall clock are left out if other work ran on the machine. Seconds of
  all CPUs suffer less from it, and are not the same: libraries use two threads to different degrees.
- **How long it takes on another CPU.** Nine tenths of a long fit of densegrad are products of matrices, at
  about four fifths of the peak of a core with AVX-512. Narrower vector units take longer in proportion. No
  other CPU was measured.
- **Where pre-trained networks stand.** Transformers that were trained on many tables rank higher in
  published comparisons. They need PyTorch, downloaded weights, and a GPU beyond a few thousand rows. They
  were not measured.

## Libraries

{plot}
{report}
{parts}
{tried}"""
