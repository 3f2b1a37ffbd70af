"""Write the measurements as a page of tables, with plots beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cases import (
    PREDICTION_CASE,
    PREDICTION_ROWS,
    TALL_BATCH,
    TALL_ROWS,
    TALL_SIZES,
    TIMED,
    Case,
    format_sizes,
)
from plots import write_plots
from results import LOSS_TOLERANCE, OURS, Results, Tall, median

INTRODUCTION = """\
Each library runs in its own process, with the same data, initial weights and number of updates. All of them
train relu layers with a softmax head and log-loss, by Adam(1e-3) on shuffled mini-batches. The processes take
turns. One repeat takes a tenth of a second or more, and the tables give medians.

- numpy is back propagation by hand, with buffers that are allocated once.
- scikit-learn is `MLPClassifier` with `alpha=0`. It gives two classes one logistic output instead of two.
- torch gathers rows by `index_select` and uses the fused Adam.
- torch compiled compiles the whole step as one graph.
- jax compiles the whole epoch as one scan.

Each process may use exactly as many CPUs as it has threads. Compare times only within one run: ratios
carry over to other machines, milliseconds do not.
"""


def write_report(results: Results, path: Path) -> None:
    """Write the page to `path` and its plots to the folder `images` beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images, note = write_plots(results, path.parent / "images")
    if note:
        results.note(note)
    parts = [
        "# Benchmarks\n\n`make bench-peers` writes this page. Run it again instead of editing the page.\n",
        INTRODUCTION,
        machine_section(results),
        training_section(results, images),
        scaling_section(results, images),
        prediction_section(results),
        curve_section(results, images),
        denormal_section(results),
        tall_section(results),
        losses_section(results),
    ]
    path.write_text("\n".join(part for part in parts if part))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, its first column aligned left and the others right."""
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def duration(seconds: float | None, unit: float) -> str:
    """A time with three significant digits in the given unit."""
    if seconds is None:
        return "–"
    value = seconds / unit
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(seconds: float | None, ours: float | None) -> str:
    """How many times as long as ours."""
    return f" ({seconds / ours:.2f}×)" if seconds is not None and ours is not None else ""


def image(name: str, images: dict[str, str], text: str) -> str:
    """A picture, if there is one."""
    return f"![{text}](images/{images[name]})\n" if name in images else ""


def machine_section(results: Results) -> str:
    peaks = [
        f"{setting.dtype} x{setting.threads}: {middle:.0f}"
        for setting in results.settings()
        if (middle := median(results.peak.get(setting))) is not None
    ]
    counts = [len(series) for series in [*results.train.values(), *results.predict.values()]]
    repeats = " to ".join(str(count) for count in sorted({min(counts), max(counts)})) if counts else "none"
    lines = [
        "## Machine and versions\n",
        f"- CPU: {results.cpu}, {results.cpus} cores",
        f"- compiler: {results.compiler}",
        f"- peak of fused multiply-adds, GFLOP/s: {', '.join(peaks) or 'not measured'}",
        "- " + ", ".join(f"{name} {version}" for name, version in results.versions.items()),
        f"- repeats: {repeats}; load average at the start: {results.load_at_start:.2f}",
        *(f"- {note}" for note in results.notes),
    ]
    if results.configuration:
        lines += ["", "```text", results.configuration, "```"]
    return "\n".join(lines) + "\n"


def measured_cases(results: Results, *groups: str) -> list[Case]:
    """The cases of these groups that were run."""
    names = {key.case for key in results.train}
    return [case for case in TIMED if case.name in names and case.group in groups]


def training_section(results: Results, images: dict[str, str]) -> str:
    cases = measured_cases(results, "design", "shape")
    if not cases:
        return ""
    parts = ["## Training\n", image("ratios", images, "Time of each library divided by densegrad's")]
    parts.append(
        "Milliseconds an epoch, and in parentheses the ratio to densegrad's. A case is (rows; sizes; batch). "
        "The share of peak counts the arithmetic of the matrix products alone, against a loop in registers.\n"
    )
    for setting in results.settings():
        dtype, threads = setting
        keys = [key for key in results.train if (key.dtype, key.threads) == setting]
        libraries = results.libraries(keys)
        rows = []
        for case in cases:
            ours = results.epoch(case.name, dtype, threads, OURS)
            if ours is None:
                continue
            best = results.best_peer(case.name, dtype, threads)
            share = results.share_of_peak(case, dtype, threads, OURS)
            row = [case.title]
            for library in libraries:
                seconds = results.epoch(case.name, dtype, threads, library)
                row.append(duration(seconds, 1e-3) + ("" if library == OURS else ratio(seconds, ours)))
            row.append(f"{best[0] / ours:.2f}×" if best and ours else "–")
            row.append(f"{share:.0%}" if share is not None else "–")
            rows.append(row)
        parts.append(f"### {setting}\n")
        parts.append(table(["case", *libraries, "best peer / densegrad", "share of peak"], rows))
    parts.append(image("peak", images, "Share of the cores' peak"))
    return "\n".join(parts)


def scaling_section(results: Results, images: dict[str, str]) -> str:
    libraries = [name for name in results.libraries() if any((2, name) == key[2:] for key in results.train)]
    cases = measured_cases(results, "design", "shape")
    dtypes = sorted({setting.dtype for setting in results.settings() if setting.threads == 1})
    if not libraries or not cases or not dtypes:
        return ""
    parts = ["## Two threads\n", image("scaling", images, "Speed-up from one thread to two")]
    parts.append("Time with one thread divided by time with two. `densegrad auto` is `n_threads=None`.\n")
    for dtype in dtypes:
        rows = []
        for case in cases:
            speedups = [results.scaling(case.name, dtype, library) for library in libraries]
            if not any(speedups):
                continue
            rows.append([case.title, *("–" if speedup is None else f"{speedup:.2f}" for speedup in speedups)])
        parts += [f"### {dtype}\n", table(["case", *libraries], rows)]
    return "\n".join(parts)


def prediction_section(results: Results) -> str:
    if not results.predict:
        return ""
    libraries = results.libraries(results.predict)
    rows_of_table = []
    for setting in results.settings():
        dtype, threads = setting
        for rows in PREDICTION_ROWS:
            ours = results.call(rows, dtype, threads, OURS)
            row = [f"{setting}, {rows} rows"]
            for library in libraries:
                seconds = results.call(rows, dtype, threads, library)
                row.append(duration(seconds, 1e-6) + ("" if library == OURS else ratio(seconds, ours)))
            rows_of_table.append(row)
    sizes = format_sizes(PREDICTION_CASE.sizes)
    heading = f"## Prediction\n\nMicroseconds a call, {sizes}, from a NumPy array to a NumPy array.\n\n"
    return heading + table(["", *libraries], rows_of_table)


def curve_section(results: Results, images: dict[str, str]) -> str:
    cases = measured_cases(results, "width")
    if not cases:
        return ""
    parts = ["## Width\n", image("width", images, "Time of an epoch against the width of the layers")]
    parts.append(
        f"Milliseconds an epoch, one thread, 64-n-n-10, {cases[0].rows} rows, batch {cases[0].batch}.\n"
    )
    for dtype in sorted({setting.dtype for setting in results.settings() if setting.threads == 1}):
        keys = [
            key
            for key in results.train
            if key.case.startswith("width") and (key.dtype, key.threads) == (dtype, 1)
        ]
        libraries = results.libraries(keys)
        rows = []
        for case in cases:
            ours = results.epoch(case.name, dtype, 1, OURS)
            row = [str(case.sizes[1])]
            for library in libraries:
                seconds = results.epoch(case.name, dtype, 1, library)
                row.append(duration(seconds, 1e-3) + ("" if library == OURS else ratio(seconds, ours)))
            rows.append(row)
        parts += [f"### {dtype}\n", table(["n", *libraries], rows)]
    return "\n".join(parts)


def denormal_section(results: Results) -> str:
    if len(measured_cases(results, "denormal")) < 2:
        return ""
    libraries = results.libraries([key for key in results.train if key.case == "dead"])
    rows = []
    for setting in results.settings():
        dtype, threads = setting
        row = [str(setting)]
        for library in libraries:
            dead = results.epoch("dead", dtype, threads, library)
            alive = results.epoch("alive", dtype, threads, library)
            row.append(
                "–" if dead is None or alive is None else f"{duration(dead, 1e-3)} ({dead / alive:.2f})"
            )
        rows.append(row)
    case = next(case for case in TIMED if case.name == "dead")
    return (
        f"## Dead units and constant columns\n\n{format_sizes(case.sizes)}, {case.rows} rows, "
        f"batch {case.batch}. An eighth of the columns is constant, and half of them differ from zero in one "
        "row only. Half of the hidden units hardly ever fire. So the optimizer's state decays into "
        "denormals. The table gives milliseconds an epoch, and in parentheses the ratio to the same network "
        "on ordinary data.\n\n" + table(["", *libraries], rows)
    )


def tall_section(results: Results) -> str:
    if not results.tall:
        return ""
    measured = [rows for rows in TALL_ROWS if any(key.rows == rows for key in results.tall)]
    rows_of_table = []
    for dtype, library in dict.fromkeys((key.dtype, key.library) for key in results.tall):
        row = [f"{library}, {dtype} network"]
        for rows in measured:
            figures = results.tall.get(Tall(rows, dtype, library))
            row.append(f"{figures[0] / rows * 1e9:.0f} ns, {figures[1] / 1e6:.1f} MB" if figures else "–")
        rows_of_table.append(row)
    return (
        f"## Tall data\n\nOne epoch of {format_sizes(TALL_SIZES)}, batch {TALL_BATCH}, on float64 rows, "
        "with one thread. The table gives nanoseconds a row and the peak of memory beyond the data.\n\n"
        + table(["", *(f"{rows:,} rows" for rows in measured)], rows_of_table)
    )


def losses_section(results: Results) -> str:
    if not results.losses:
        return ""
    doubtful = results.doubtful_losses()
    libraries = results.libraries(results.losses)
    rows = []
    for case in measured_cases(results, "design", "shape", "denormal", "width"):
        for dtype in sorted({setting.dtype for setting in results.settings()}):
            row = [f"{case.name}, {dtype}, {case.epochs} epochs"]
            for library in libraries:
                loss = results.loss(case.name, dtype, library)
                row.append("–" if loss is None else f"{loss:.4f}")
            rows.append(row)
    verdict = (
        f"All losses lie within {LOSS_TOLERANCE:.0%} of their median.\n"
        if not doubtful
        else "These differ:\n\n" + "\n".join(f"- {sentence}" for sentence in doubtful) + "\n"
    )
    heading = (
        "## Did they learn the same?\n\nTraining loss after a repeat's epochs, median over the repeats. "
    )
    return heading + verdict + "\n" + table(["case", *libraries], rows)
