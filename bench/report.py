"""Write the page of tables and plots for the CPU's family, and the overview of all pages."""

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

OVERVIEW = """\
# Benchmarks

`make bench-peers` writes this page and those below it. Run it again instead of editing them.

Each library runs in its own process, with the same data, initial weights and number of updates. All of them
train relu layers with a softmax head and log-loss, by Adam(1e-3) on shuffled mini-batches. The processes
take turns. One repeat takes a tenth of a second or more, and the tables give medians.

- numpy is back propagation by hand, with buffers that are allocated once. SciPy multiplies by sparse rows.
- scikit-learn is `MLPClassifier` with `alpha=0`. It gives two classes one logistic output instead of two.
- torch gathers rows by `index_select` and uses the fused Adam. Sparse rows go through an embedding bag.
- torch compiled compiles the whole step as one graph.
- jax compiles the whole epoch as one scan. Both of them are left out for sparse rows.

Each process may use exactly as many CPUs as it has threads. Ratios carry over to other machines with a CPU
of the same family, but milliseconds do not. So each family has a section here and a page of its own. All
figures of a page are from one machine.

## How to read the tables

The tables of this page are for float32 and one thread. A case is (rows; sizes; batch), and *peer /
densegrad* is the time of the fastest other library divided by densegrad's. The *share of peak* counts the
arithmetic of the matrix products alone, against multiply-adds in registers, which the same run measures.

We want one of two things of a case: that it is so many times as fast as every peer, or that it comes so
close to the peak that nobody can be much faster. Beside each figure stands the least that we want. The last
column tells which of the two holds. A dash means that nothing is asked, or that sparse rows have no such
share.
"""


def write_report(results: Results, docs: Path) -> Path:
    """Write the page of the CPU's family with its plots, then the overview; returns the path of the page."""
    stem = results.family.lower().replace(" ", "-")
    page = docs / "benchmarks" / f"{stem}.md"
    page.parent.mkdir(parents=True, exist_ok=True)
    images, note = write_plots(results, docs / "images", f"bench-{stem}")
    if note:
        results.note(note)
    parts = [
        f"# {results.family}\n",
        "`make bench-peers` writes this page. [Benchmarks](../benchmarks.md) explains it.\n",
        target_section(results),
        machine_section(results),
        training_section(results, images),
        scaling_section(results, images),
        prediction_section(results),
        curve_section(results, images),
        denormal_section(results),
        tall_section(results),
        losses_section(results),
    ]
    page.write_text("\n".join(part for part in parts if part))
    write_overview(docs)
    return page


def write_overview(docs: Path) -> None:
    """Write benchmarks.md: the targets of every page in the folder benchmarks, a section for each."""
    parts = [OVERVIEW]
    names = []
    for page in sorted((docs / "benchmarks").glob("*.md")):
        text = page.read_text()
        title = text.removeprefix("# ").splitlines()[0]
        section = text.partition(f"{TARGETS}\n")[2].partition("\n## ")[0].strip()
        link = f"[All tables of {title}](benchmarks/{page.name}): every library, prediction, memory, losses."
        parts.append("\n\n".join(part for part in (f"## {title}", section, link) if part) + "\n")
        names.append(f"benchmarks/{page.stem}")
    parts.append("\n".join(["```{toctree}", ":hidden:", "", *names, "```\n"]))
    (docs / "benchmarks.md").write_text("\n".join(parts))


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
    return f"![{text}](../images/{images[name]})\n" if name in images else ""


TARGETS = "## Targets"


def target_section(results: Results) -> str:
    """What each case reaches, for float32 and one thread."""
    verdicts = [
        (case, verdict)
        for case in results.main_cases()
        if (verdict := results.verdict(case, "float32", 1)).ratio is not None
    ]
    if not verdicts:
        return ""
    rows = []
    for case, verdict in verdicts:
        ours = results.epoch(case.name, "float32", 1, OURS)
        best = results.best_peer(case.name, "float32", 1)
        rows.append(
            [
                case.title,
                duration(ours, 1e-3),
                best[1] if best else "–",
                f"{verdict.ratio:.2f}×",
                "–" if verdict.wanted_ratio is None else f"{verdict.wanted_ratio:.1f}×",
                "–" if verdict.share is None else f"{verdict.share:.0%}",
                "–" if verdict.wanted_share is None else f"{verdict.wanted_share:.0%}",
                verdict.reached,
            ]
        )
    slower = [case.name for case, verdict in verdicts if verdict.is_slower]
    missed = [case.name for case, verdict in verdicts if verdict.reached == "neither"]
    header = ["case", "ms an epoch", "fastest peer", "peer / densegrad", "wanted"]
    sentences = [
        f"{results.cpu}, {results.compiler}, {results.date}.",
        f"A peer is faster on: {', '.join(slower)}."
        if slower
        else "No peer is faster than densegrad on any case.",
        f"Neither of the two holds on: {', '.join(missed)}."
        if missed
        else "One of the two holds on every case that asks for any.",
    ]
    rows_of_table = table([*header, "share of peak", "wanted", "holds"], rows)
    return f"{TARGETS}\n\n{' '.join(sentences)}\n\n{rows_of_table}"


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
        f"- repeats: {repeats}; load average at the start: {results.load_at_start:.2f}; "
        f"the whole run took {results.seconds / 60:.0f} minutes",
        *(f"- {note}" for note in results.notes),
    ]
    if results.configuration:
        lines += ["", "```text", results.configuration, "```"]
    return "\n".join(lines) + "\n"


def cases_of(results: Results, group: str) -> list[Case]:
    """The cases of the group that were run."""
    names = {key.case for key in results.train}
    return [case for case in TIMED if case.name in names and case.group == group]


def training_section(results: Results, images: dict[str, str]) -> str:
    cases = results.main_cases()
    if not cases:
        return ""
    parts = ["## Training\n", image("ratios", images, "Time of each library divided by densegrad's")]
    parts.append(
        "Milliseconds an epoch, and in parentheses the ratio to densegrad's. A case is (rows; sizes; batch). "
        "The share of peak counts the arithmetic of the matrix products alone, against a loop in registers. "
        "The rows of text are sparse, those of onehot and digits are arrays with many zeros.\n"
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
            verdict = results.verdict(case, dtype, threads)
            row = [case.title]
            for library in libraries:
                seconds = results.epoch(case.name, dtype, threads, library)
                row.append(duration(seconds, 1e-3) + ("" if library == OURS else ratio(seconds, ours)))
            row.append(f"{verdict.ratio:.2f}×" if verdict.ratio is not None else "–")
            row.append(f"{verdict.share:.0%}" if verdict.share is not None else "–")
            rows.append(row)
        parts.append(f"### {setting}\n")
        parts.append(table(["case", *libraries, "best peer / densegrad", "share of peak"], rows))
    parts.append(image("peak", images, "Share of the cores' peak"))
    return "\n".join(parts)


def scaling_section(results: Results, images: dict[str, str]) -> str:
    libraries = [name for name in results.libraries() if any((2, name) == key[2:] for key in results.train)]
    cases = results.main_cases()
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
    cases = cases_of(results, "width")
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
    if len(cases_of(results, "denormal")) < 2:
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
    for case in [*results.main_cases(), *cases_of(results, "denormal"), *cases_of(results, "width")]:
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
