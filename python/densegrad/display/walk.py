"""Back propagation step by step, as one page: forward to the loss, then back, with every number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from typing import Any

from densegrad import Backpropagation, Network
from densegrad.display._passes import Passes
from densegrad.display._svg import Outline, network_svg
from densegrad.display._walk_steps import Step, Walk

_OPTIONS = ("samples", "class_names", "feature_names", "title", "max_numbers")
_MOST_SAMPLES = 4
_DEEP = 6  # layers; pages of deeper networks hold half as many samples


def walk_html(
    network: Network,
    p: Backpropagation,
    target: Any = None,
    *,
    samples: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    title: str = "Back propagation, step by step",
    max_numbers: int = 8,
) -> str:
    """Return a page that walks through both passes; it needs no Internet and no other file.

    Parameters
    ----------
    network : Network
        With the weights of the pass.
    p : Backpropagation
    target : array-like or None
        Of the pass; None leaves it out.
    samples : sequence of int or None
        Rows that can be chosen. None takes the first four; two if the network has more than six layers.
    class_names : sequence of str or None
        Names of the units of the head, or of the two classes of a single unit.
    feature_names : sequence of str or None
        Names of the inputs.
    title : str
    max_numbers : int, default 8
        Of longer rows and columns this many numbers are shown, with a note.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If p is no pass of this network, or the names are not one for each.
    TypeError
        If samples is no sequence.

    Examples
    --------
    >>> from densegrad import Dense, Network
    >>> from densegrad.display import walk_html
    >>> net = Network(2, [Dense(3, "tanh"), Dense(1, "identity")], random_state=0)
    >>> page = walk_html(net, net.backpropagate([[0.5, -1.0]], [[1.0]]), [[1.0]])
    >>> page.count('class="step')
    9
    """
    return passes_html(
        Passes.of(network, p, target),
        samples=samples,
        class_names=class_names,
        feature_names=feature_names,
        title=title,
        max_numbers=max_numbers,
    )


def backpropagation_html(p: Backpropagation, **options: Any) -> str:
    """Return the page of a pass that knows its weights and names: `Backpropagation.to_html`.

    Parameters
    ----------
    p : Backpropagation
    **options
        Those of `walk_html`, but `network` and `target`.

    Returns
    -------
    str
    """
    unknown = sorted(options.keys() - set(_OPTIONS))
    if unknown:
        raise TypeError(f"to_html has no parameter {unknown[0]!r}; it has path, {', '.join(_OPTIONS)}")
    return passes_html(Passes.of_pass(p), **options)


def passes_html(
    passes: Passes,
    *,
    samples: Sequence[int] | None = None,
    class_names: Sequence[str] | None = None,
    feature_names: Sequence[str] | None = None,
    title: str = "Back propagation, step by step",
    max_numbers: int = 8,
) -> str:
    """Return the page of `walk_html` from values alone."""
    if passes.p is None:
        raise ValueError("there is nothing to walk through without a pass")
    if max_numbers < 3:
        raise ValueError(f"max_numbers must be at least 3; got {max_numbers!r}")
    chosen = _checked_samples(samples, passes)
    if feature_names is not None and len(feature_names) != passes.widths[0]:
        raise ValueError(
            f"feature_names must be {passes.widths[0]} names, one an input; got {len(feature_names)}"
        )
    n_classes = max(2, passes.widths[-1])
    if class_names is not None and len(class_names) != n_classes:
        raise ValueError(f"class_names must be {n_classes} names; got {len(class_names)}")
    steps = Walk(passes, passes.p, chosen, class_names, feature_names, max_numbers).steps()
    outline = Outline(passes.widths, passes.activations, passes.loss_name)
    return _page(title, network_svg(outline, backward=True), steps, chosen, passes.batch)


def framed(page: str, height: int = 760) -> str:
    """Return a page in a frame of its own, so that a notebook keeps its styles and the page its own."""
    return (
        f'<iframe srcdoc="{escape(page, quote=True)}" title="Back propagation, step by step" '
        f'style="width:100%;height:{height}px;border:0" loading="lazy"></iframe>'
    )


def _checked_samples(samples: Sequence[int] | None, passes: Passes) -> list[int]:
    batch = passes.batch
    if samples is None:
        return list(range(min(batch, _MOST_SAMPLES if passes.depth <= _DEEP else _MOST_SAMPLES // 2)))
    rows: Any = samples  # a number is a likely slip
    if not isinstance(rows, Iterable):
        raise TypeError(f"samples must be a list of rows of the pass, such as [0, 1]; got {samples!r}")
    chosen = list(dict.fromkeys(int(s) for s in samples))
    if not chosen or min(chosen) < 0 or max(chosen) >= batch:
        raise ValueError(f"samples must be rows of the pass, 0 ... {batch - 1}; got {list(samples)!r}")
    return chosen


def _page(title: str, picture: str, steps: list[Step], samples: list[int], batch: int) -> str:
    files = resources.files("densegrad.display")
    style = files.joinpath("walk.css").read_text(encoding="utf-8")
    script = files.joinpath("walk.js").read_text(encoding="utf-8")
    options = "".join(f"<option>{k}. {escape(step.heading)}</option>" for k, step in enumerate(steps, 1))
    views = [(str(s), f"sample {s}") for s in samples] + [("batch", f"whole batch ({batch})")]
    radios = "".join(
        f'<label><input type="radio" name="view" value="{value}"{" checked" * (k == 0)}>{name}</label>'
        for k, (value, name) in enumerate(views)
    )
    sections = "".join(
        f'<section class="step {step.kind}" id="step-{k}" data-on="{step.parts}" '
        f'aria-labelledby="heading-{k}">'
        f'<h2 id="heading-{k}">{escape(step.heading)}</h2>{step.body}</section>'
        for k, step in enumerate(steps, 1)
    )
    return (
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing is fetched from anywhere, whatever a name in here may hold.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{style}</style></head><body>"
        f'<header><h1>{escape(title)}</h1><div class="picture" role="group" '
        f'aria-label="The network">{picture}</div></header>'
        '<main><div class="controls"><button type="button" id="previous">‹ Previous</button>'
        '<button type="button" id="next">Next ›</button>'
        f'<select id="chooser" aria-label="Step">{options}</select>'
        f"<fieldset><legend>Numbers of</legend>{radios}</fieldset></div>"
        f'<p class="hidden" id="status" role="status"></p>{sections}'
        '<p class="note">Keys: ← and → walk, Home and End jump to the ends.</p></main>'
        f"<script>{script}</script></body></html>\n"
    )
