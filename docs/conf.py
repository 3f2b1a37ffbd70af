"""Configuration of the documentation site: `make docs` builds it, without network access."""

from __future__ import annotations

import re
import shutil
from importlib.metadata import files
from importlib.metadata import version as version_of
from pathlib import Path

from sphinx.application import Sphinx

DOCS = Path(__file__).parent

project = "densegrad"
author = "densegrad developers"
copyright = author
release = version_of("densegrad")
html_title = f"densegrad {release}"

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
    "sphinx_copybutton",
]
templates_path = ["_templates"]
exclude_patterns = [
    "gallery/**/*.md",
    "sg_execution_times.rst",
    "gallery/sg_execution_times.rst",
]
nitpicky = False

# Pages are Markdown that GitHub renders, too: formulas as $`…`$ and ```math, links to files.
myst_enable_extensions = ["dollarmath", "colon_fence"]
myst_fence_as_directive = ["math"]
myst_heading_anchors = 3
myst_dmath_double_inline = False
suppress_warnings = ["config.cache"]

autosummary_generate = True
autodoc_member_order = "bysource"
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
numpydoc_show_class_members = False
numpydoc_xref_param_type = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "gallery",
    "filename_pattern": r"\.py",
    "ignore_pattern": r"(fashion_mnist|cluster)\.py",  # these have targets of their own in the Makefile
    "abort_on_example_error": True,
    "download_all_examples": False,
    "remove_config_comments": True,
    "min_reported_time": 1000,
    "show_memory": False,
    "image_srcset": ["2x"],
    "capture_repr": ("_repr_html_",),
    "default_thumb_file": str(DOCS / "images" / "network.png"),
}

# What is copied runs: without prompts, and not what a block prints.
copybutton_prompt_text = r">>> |\.\.\. "
copybutton_prompt_is_regexp = True
copybutton_selector = ", ".join(
    f"div.highlight-{language} pre"
    for language in ("python", "Python", "pycon", "sh")
)

html_theme = "pydata_sphinx_theme"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "navigation_with_keys": False,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# These have no pages below them.
html_sidebars = {
    page: []
    for page in (
        *(
            "index",
            "getting_started",
            "migration",
            "recipes",
            "engine",
            "numerics",
            "limits",
        ),
        *("contributing", "changelog", "tabular_results", "exactness", "versions"),
    )
}

# MathJax as one file of this package, and no other: the site loads nothing from elsewhere.
mathjax_path = "tex-svg.js"
MATHJAX_PACKAGE = "django-static-mathjax"


def copy_mathjax(app: Sphinx) -> None:
    """Put MathJax beside the site's static files."""
    (script,) = (
        f for f in files(MATHJAX_PACKAGE) or [] if f.match("es5/tex-svg.js")
    )
    target = Path(app.outdir) / "_static" / mathjax_path
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(script.locate(), target)


def without_backticks(app: Sphinx, docname: str, source: list[str]) -> None:
    """Turn GitHub's $`formula`$, whose underscores no Markdown parser touches, into $formula$."""
    source[0] = source[0].replace("$`", "$").replace("`$", "$")


def write_walk(app: Sphinx, exception: Exception | None) -> None:
    """Write the step-by-step page of the network of learn/gradients.md."""
    if exception or app.builder.format != "html":
        return
    from densegrad import Dense, Network
    from densegrad.display import walk_html

    net = Network(
        2,
        [Dense(2, "relu"), Dense(1, "identity")],
        loss="squared_error",
        dtype="float64",
    )
    net.weights[1] = [[0.5, -1.0], [0.25, 0.5], [0.0, 1.0]]
    net.weights[2] = [[2.0], [-1.0], [0.5]]
    X, target = [[1.0, 2.0]], [[1.0]]
    page = walk_html(net, net.backpropagate(X, target), target)
    (Path(app.outdir) / "learn" / "walk.html").write_text(page)


def plain_text(
    app: Sphinx,
    what: str,
    name: str,
    obj: object,
    options: object,
    lines: list[str],
) -> None:
    """Escape what is plain text in a docstring, and a reference in reStructuredText: name_ and |w|.

    References into scikit-learn's own documentation, in docstrings that it passes on, become their words.
    Examples and their output stay as they are: what is copied must run.
    """
    example = False
    for i, line in enumerate(lines):
        example = bool(line.strip()) and (
            example or line.lstrip().startswith(">>>")
        )
        if example:
            continue
        parts = re.split(r"(``.*?``|(?<!:)`[^`]*`_?|:\w+:`[^`]*`)", line)
        for k in range(0, len(parts), 2):
            parts[k] = re.sub(r"(?<![\w\\*])(\w+)_(?![\w*])", r"\1\\_", parts[k])
            parts[k] = re.sub(r"(?<!\\)\|(?!\s*$)", r"\\|", parts[k])
        lines[i] = re.sub(
            r":(?:ref|term):`([^`<]*?)\s*(?:<[^`]*>)?`", r"\1", "".join(parts)
        )


def setup(app: Sphinx) -> None:
    """Register the steps above."""
    app.connect("builder-inited", copy_mathjax)
    app.connect("source-read", without_backticks)
    app.connect("autodoc-process-docstring", plain_text, priority=900)
    app.connect("build-finished", write_walk)
