"""The step-by-step page in a real browser: every step is clicked through, and its numbers are read."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import escape, unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from densegrad import Dense, Network
from densegrad.display import walk_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="needs chromium (Debian: apt-get install chromium)")

# Runs before the page's own script, and after it. What it finds is left in the document, which is dumped.
WATCH = """<script>
var problems = [];
window.addEventListener("error", function (event) { problems.push(String(event.message)); });
["error", "warn"].forEach(function (kind) {
  console[kind] = function () { problems.push(kind + ": " + Array.prototype.join.call(arguments, " ")); };
});
</script>"""
WALK = """<script>
function seen() {
  var found = {};
  document.querySelectorAll(".step.current .table").forEach(function (table) {
    if (table.offsetParent === null) { return; }
    found[table.dataset.quantity] = Array.prototype.map.call(
      table.querySelectorAll("td[title]"), function (td) { return td.title; });
  });
  var visible = Array.prototype.filter.call(
    document.querySelectorAll(".step"), function (step) { return step.offsetParent !== null; });
  return {
    headings: visible.map(function (step) { return step.querySelector("h2").textContent; }),
    on: Array.prototype.map.call(
      document.querySelectorAll("[data-part].on"), function (part) { return part.dataset.part; }),
    chosen: document.getElementById("chooser").selectedIndex,
    status: document.getElementById("status").textContent,
    hash: location.hash,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    tables: found
  };
}
function press(key) {
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: key, bubbles: true, cancelable: true }));
}
window.addEventListener("load", function () {
  var log = { clicked: {}, keys: [] }, next = document.getElementById("next");
  document.querySelectorAll("input[name=view]").forEach(function (input) {
    input.click();
    document.getElementById("chooser").selectedIndex = 0;
    document.getElementById("chooser").dispatchEvent(new Event("change"));
    var steps = [seen()];
    while (!next.disabled) { next.click(); steps.push(seen()); }
    log.clicked[input.value] = steps;
  });
  ["Home", "ArrowRight", "ArrowRight", "ArrowLeft", "End", "ArrowRight"].forEach(function (key) {
    press(key);
    log.keys.push(seen().chosen);
  });
  document.querySelector(".step a[data-step]").click();
  log.link = seen().headings;
  log.dark = getComputedStyle(document.body).backgroundColor;
  log.problems = problems;
  window.top.postMessage(JSON.stringify(log), "*");
});
</script>"""
REPORT = """<script>
window.addEventListener("message", function (event) {
  var out = document.createElement("pre");
  out.id = "log";
  out.textContent = event.data;
  document.body.appendChild(out);
});
</script>"""
FRAME = f"<!DOCTYPE html><html><head><title>A frame</title></head><body>{REPORT}"


def browse(page: str, directory: Path, *options: str, width: int | None = None) -> dict[str, Any]:
    """Return what the page's visitor found, once the browser has run it.

    With `width` the page is in a frame so wide: a browser's own window may not be as narrow as a phone's.
    """
    page = page.replace("<head>", "<head>" + WATCH + ("" if width else REPORT)).replace(
        "</body>", WALK + "</body>"
    )
    if width is not None:
        attribute = escape(page, quote=True)
        frame = f'<iframe style="width:{width}px;height:900px" srcdoc="{attribute}"></iframe>'
        page = f"{FRAME}{frame}</body></html>"
    file = directory / "walk.html"
    file.write_text(page)
    done = subprocess.run(
        [
            str(BROWSER),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            f"--user-data-dir={directory / 'profile'}",
            "--enable-logging=stderr",
            "--window-size=1600,1000",
            "--virtual-time-budget=20000",
            *options,
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert not re.findall(r".*:CONSOLE.*", done.stderr)
    found = re.search(r'<pre id="log">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    log: dict[str, Any] = json.loads(unescape(found[1]))
    assert log["problems"] == []
    return log


def make() -> tuple[Network, Any, Any]:
    network = Network(
        3,
        [Dense(4, "tanh"), Dense(3, "gelu"), Dense(3, "softmax")],
        loss="log_loss",
        dtype="float64",
        random_state=0,
    )
    t = np.array([0, 2, 1])
    return network, t, network.backpropagate(np.random.default_rng(0).normal(size=(3, 3)), t)


def test_every_step_is_clicked_through(tmp_path: Path) -> None:
    network, t, p = make()
    log = browse(walk_html(network, p, t, class_names=["<i>a</i>", "b", "c"]), tmp_path)
    L = network.depth
    headings = [
        "The network",
        "Forward pass: the input",
        *(f"Forward pass: layer {l}" for l in range(1, L + 1)),
        "Forward pass: the loss layer",
        "Backward pass: the loss layer",
        *(f"Backward pass: layer {l}" for l in range(L, 0, -1)),
        "What the gradients are for",
    ]
    assert list(log["clicked"]) == ["0", "1", "2", "batch"]
    for view, steps in log["clicked"].items():
        assert [step["headings"] for step in steps] == [[heading] for heading in headings]
        assert [step["chosen"] for step in steps] == list(range(len(headings)))
        assert steps[3]["status"] == f"Step 4 of {len(headings)}: Forward pass: layer 2"
        assert steps[3]["hash"] == "#walk-4"
        assert set(steps[3]["on"]) == {"layer-2", "layer-1", "forward-1", "weights-2", "forward-2"}
        for l in range(1, L + 1):
            forward, backward = steps[1 + l]["tables"], steps[4 + 2 * L - l]["tables"]
            row = slice(None) if view == "batch" else int(view)

            def equal(tables: dict[str, list[str]], name: str, values: Any) -> None:
                np.testing.assert_array_equal(np.array(tables[name], float), np.ravel(values))

            equal(forward, f"y {l - 1} {view}", p.outputs[l - 1][row])
            equal(forward, f"y {l} {view}", p.outputs[l][row])
            equal(forward, f"W {l}", network.weights[l])
            equal(backward, f"L' {l} {view}", p.loss_gradients[l][row])
            equal(backward, f"L' {l - 1} {view}", p.loss_gradients[l - 1][row])
            equal(backward, f"dW {l}", p.weight_gradients[l])
            # Of the other samples nothing is seen.
            others = {name.split()[-1] for name in (*forward, *backward) if len(name.split()) == 3}
            assert others == {view}


def test_keys_and_links_walk_too(tmp_path: Path) -> None:
    network, t, p = make()
    log = browse(walk_html(network, p, t), tmp_path)
    last = 2 * network.depth + 4
    assert log["keys"] == [0, 1, 2, 1, last, last]
    assert log["link"] == ["Forward pass: the loss layer"]


@pytest.mark.parametrize("dark", [False, True])
def test_light_and_dark(tmp_path: Path, dark: bool) -> None:
    network, t, p = make()
    log = browse(
        walk_html(network, p, t), tmp_path, f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    )
    red = int(re.findall(r"\d+", log["dark"])[0])
    assert (red < 60) == dark


@pytest.mark.parametrize("width", [390, 1400])
def test_no_step_is_wider_than_the_window(tmp_path: Path, width: int) -> None:
    network = Network(784, [Dense(600, "relu"), Dense(10, "softmax")], loss="log_loss", random_state=0)
    t = np.arange(30) % 10
    p = network.backpropagate(np.random.default_rng(0).normal(size=(30, 784)), t)
    log = browse(walk_html(network, p, t), tmp_path, width=width)
    for steps in log["clicked"].values():
        assert {step["wide"] for step in steps} == {0}


def test_on_paper_all_steps_have_the_chosen_view_alone(tmp_path: Path) -> None:
    network, t, p = make()
    log = browse(walk_html(network, p, t).replace("@media print", "@media all"), tmp_path)
    for view, steps in log["clicked"].items():
        for step in steps:
            assert len(step["headings"]) == 2 * network.depth + 5
            assert {name.split()[-1] for name in step["tables"] if len(name.split()) == 3} <= {view}
