"""The plots of the report: small PNG files."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from cases import TIMED
from results import OURS, PEERS, Results, Setting, median

COLOURS = {
    "densegrad": "#000000",
    "densegrad auto": "#777777",
    "numpy": "#1f77b4",
    "scikit-learn": "#ff7f0e",
    "torch": "#d62728",
    "torch compiled": "#e8a0a0",
    "jax": "#2ca02c",
    "onnxruntime": "#9467bd",
}


def write_plots(results: Results, folder: Path, stem: str) -> tuple[dict[str, str], str]:
    """Draw what there is data for, into files whose names begin with `stem`.

    Returns
    -------
    images : dict of str to str
        Name of the plot -> name of its file in `folder`.
    note : str
        Why there are no plots, or empty.
    """
    try:
        import matplotlib
    except ImportError as error:
        return {}, f"plots: left out ({error})"
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    folder.mkdir(parents=True, exist_ok=True)
    images: dict[str, str] = {}
    drawers = {"ratios": draw_ratios, "peak": draw_peak, "scaling": draw_scaling, "width": draw_width}
    for name, draw in drawers.items():
        figure = draw(results, plt)
        if figure is not None:
            images[name] = f"{stem}-{name}.png"
            figure.savefig(folder / images[name], dpi=90, bbox_inches="tight", metadata={"Software": None})
            plt.close(figure)
    return images, ""


def panels(plt: Any, titles: list[str], height: float) -> tuple[Any, list[Any]]:
    """A row of panels that share their vertical axis."""
    figure, axes = plt.subplots(
        1, len(titles), figsize=(1.2 + 2.6 * len(titles), height), sharey=True, squeeze=False
    )
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
        axis.grid(axis="both", linewidth=0.3)
        axis.tick_params(labelsize=8)
    return figure, list(axes[0])


def name_cases(axis: Any, names: list[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)


def draw_points(axis: Any, points: list[tuple[float, int]], library: str) -> None:
    style = "D" if library == OURS else "o"
    axis.plot(*zip(*points, strict=True), style, color=COLOURS[library], label=library, markersize=4)


def add_legend(axes: list[Any]) -> None:
    """Explain at the right what any of the panels has."""
    shown = {
        label: handle
        for axis in axes
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True)
    }
    axes[-1].legend(shown.values(), shown.keys(), fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))


def draw_ratios(results: Results, plt: Any) -> Any:
    """Time of each peer divided by ours, a line of dots a case."""
    cases = results.main_cases()
    settings = sorted({Setting(key.dtype, key.threads) for key in results.train if key.library == OURS})
    if not cases or not settings:
        return None
    figure, axes = panels(plt, [str(setting) for setting in settings], 0.8 + 0.27 * len(cases))
    for axis, (dtype, threads) in zip(axes, settings, strict=True):
        for peer in PEERS:
            points = [
                (theirs / ours, place)
                for place, case in enumerate(cases)
                if (theirs := results.epoch(case.name, dtype, threads, peer)) is not None
                and (ours := results.epoch(case.name, dtype, threads, OURS)) is not None
            ]
            if points:
                draw_points(axis, points, peer)
        axis.axvline(1.0, color="black", linewidth=1)
        axis.set_xscale("log")
        axis.set_xlabel("time / densegrad's", fontsize=8)
    name_cases(axes[0], [case.name for case in cases])
    add_legend(axes)
    return figure


def draw_peak(results: Results, plt: Any) -> Any:
    """Share of the cores' peak, one dot a library and case."""
    cases = results.main_cases()
    settings = [setting for setting in results.settings() if results.peak.get(setting)]
    if not cases or not settings:
        return None
    figure, axes = panels(plt, [str(setting) for setting in settings], 0.8 + 0.27 * len(cases))
    for axis, (dtype, threads) in zip(axes, settings, strict=True):
        for library in results.libraries(results.train):
            points = [
                (share, place)
                for place, case in enumerate(cases)
                if not case.is_sparse
                and (share := results.share_of_peak(case, dtype, threads, library)) is not None
            ]
            if points:
                draw_points(axis, points, library)
        axis.set_xlim(0, 1)
        axis.set_xlabel("share of FMA peak", fontsize=8)
    name_cases(axes[0], [case.name for case in cases])
    add_legend(axes)
    return figure


def draw_scaling(results: Results, plt: Any) -> Any:
    """Speed-up of two threads over one."""
    cases = results.main_cases()
    libraries = results.libraries(results.train)
    dtypes = sorted({dtype for dtype, threads in results.settings() if threads == 2})
    combinations = itertools.product(cases, dtypes, libraries)
    if not any(results.scaling(case.name, dtype, library) for case, dtype, library in combinations):
        return None
    figure, axes = panels(plt, dtypes, 0.8 + 0.27 * len(cases))
    for axis, dtype in zip(axes, dtypes, strict=True):
        for library in libraries:
            points = [
                (speedup, place)
                for place, case in enumerate(cases)
                if (speedup := results.scaling(case.name, dtype, library)) is not None
            ]
            if points:
                draw_points(axis, points, library)
        axis.axvline(1.0, color="black", linewidth=1)
        axis.set_xlabel("time of 1 thread / time of 2", fontsize=8)
    name_cases(axes[0], [case.name for case in cases])
    add_legend(axes)
    return figure


def draw_width(results: Results, plt: Any) -> Any:
    """Time of an epoch against the width of the hidden layers, one thread."""
    cases = [case for case in TIMED if case.group == "width"]
    dtypes = sorted({dtype for dtype, threads in results.settings() if threads == 1})
    keys = [key for key in results.train if key.case.startswith("width") and key.threads == 1]
    if not keys or not dtypes:
        return None
    figure, axes = panels(plt, [str(Setting(dtype, 1)) for dtype in dtypes], 3.2)
    for axis, dtype in zip(axes, dtypes, strict=True):
        for library in results.libraries(keys):
            points = [
                (case.sizes[1], seconds * 1e3)
                for case in cases
                if (seconds := results.epoch(case.name, dtype, 1, library)) is not None
            ]
            if points:
                axis.plot(
                    *zip(*points, strict=True), "o-", color=COLOURS[library], label=library, markersize=3
                )
        if (peak := median(results.peak.get(Setting(dtype, 1)))) is not None:
            bound = [case.flops_per_epoch / peak * 1e-6 for case in cases]
            axis.plot(
                [case.sizes[1] for case in cases], bound, "--", color="grey", label="FMA peak", linewidth=1
            )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("width of the hidden layers", fontsize=8)
    axes[0].set_ylabel("ms an epoch", fontsize=8)
    add_legend(axes)
    return figure
