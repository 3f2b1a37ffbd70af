"""The step-by-step page and the network's picture, as HTML."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import densegrad
from densegrad import Dense, Network
from densegrad.display import network_html, walk_html

VOID = {"meta", "input", "line", "rect", "polygon", "br"}


class Page(HTMLParser):
    """Reads tables by their quantity, and checks that tags match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.tables: dict[str, list[str]] = {}
        self.words: dict[str, str] = {}
        self.ids: list[str] = []
        self.links: list[str] = []
        self.quantity = ""
        self.text: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if tag not in VOID:
            self.open.append((tag, self.quantity))
        if "id" in given:
            self.ids.append(str(given["id"]))
        if "href" in given or "src" in given:
            self.links.append(str(given.get("href", given.get("src"))))
        self.quantity = str(given.get("data-quantity", self.quantity))
        if tag == "td" and given.get("title") is not None:
            self.tables.setdefault(self.quantity, []).append(str(given["title"]))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            opened, self.quantity = self.open.pop()
            assert opened == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self.quantity:
            self.words[self.quantity] = self.words.get(self.quantity, "") + data


def make(dtype: str = "float64") -> tuple[Network, Any, Any, Any]:
    network = Network(
        3, [Dense(4, "gelu"), Dense(3, "softmax")], loss="log_loss", dtype=dtype, random_state=0
    )
    X = np.random.default_rng(0).normal(size=(5, 3))
    t = np.array([0, 2, 1, 0, 1])
    return network, X, t, network.backpropagate(X, t)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_is_that_of_the_pass(dtype: str) -> None:
    network, _, t, p = make(dtype)
    tables = Page(walk_html(network, p, t, samples=[0, 3])).tables

    def check(name: str, values: Any, count: int = 1, exact: bool = True) -> None:
        read = np.array(tables[name], float)
        expected = np.tile(np.ravel(values), count)
        if exact:  # the titles hold all digits
            np.testing.assert_array_equal(read.astype(dtype), expected)
        else:
            np.testing.assert_allclose(read, expected, rtol=1e-5 if dtype == "float32" else 1e-12, atol=1e-9)

    for s in (0, 3):
        for l in (1, 2):
            local = p.local_gradients[l]
            check(f"dy/dz {l} {s}", local.wrt_preactivation[s])
            check(f"dy/dy {l} {s}", local.wrt_input[s], 2, exact=False)
            check(f"delta {l} {s}", p.deltas[l][s])
        own = np.stack(
            [local_weights[:, k] for k, local_weights in enumerate(p.local_gradients[1].wrt_weights[s])]
        )
        check(f"dy/dW 1 {s}", own.T, exact=False)
        check(f"dy/dy 3 {s}", p.loss_gradients[2][s], 2)
        check(f"z 1 {s}", np.append(p.outputs[0][s], 1.0).astype(dtype) @ network.weights[1], exact=False)
    # Each output leaves one step and enters the next; so does each loss gradient.
    for l, out, back in ((0, 2, 1), (1, 2, 2), (2, 2, 2)):
        check(f"y {l} batch", p.outputs[l], out)
        check(f"y {l} 3", p.outputs[l][3], out)
        check(f"L' {l} batch", p.loss_gradients[l], back)
        check(f"L' {l} 3", p.loss_gradients[l][3], back)
    for l in (1, 2):
        check(f"W {l}", network.weights[l])
        check(f"dW {l}", p.weight_gradients[l])


def test_the_shares_of_the_samples_sum_to_the_weight_gradient() -> None:
    network, _, t, p = make()
    tables = Page(walk_html(network, p, t, samples=range(5))).tables
    for l in (1, 2):
        shares = sum(np.array(tables[f"dW {l} {s}"], float) for s in range(5))
        np.testing.assert_allclose(shares, p.weight_gradients[l].ravel(), rtol=1e-12, atol=1e-15)


def test_the_walk_goes_forward_and_back() -> None:
    network, _, t, p = make()
    page = walk_html(network, p, t)
    assert re.findall(r'<h2 id="heading-\d+">([^<]*)', page) == [
        "The network",
        "Forward pass: the input",
        "Forward pass: layer 1",
        "Forward pass: layer 2",
        "Forward pass: the loss layer",
        "Backward pass: the loss layer",
        "Backward pass: layer 2",
        "Backward pass: layer 1",
        "What the gradients are for",
    ]
    # The links go back to where the cache was filled.
    read = Page(page)
    assert read.links == ["#step-5", "#step-4", "#step-3"]
    assert len(set(read.ids)) == len(read.ids)


def test_nothing_is_fetched() -> None:
    network, _, t, p = make()
    page = walk_html(network, p, t)
    assert "default-src 'none'" in page
    assert not re.findall(r'(?:src|href|url\()\s*=?\s*["\']?(?:https?:)?//', page)
    assert not re.findall(r"\b(?:fetch|XMLHttpRequest|import)\b", page)


def test_names_are_escaped() -> None:
    network, _, t, p = make()
    evil = "<script>alert(1)</script>\"'&"
    page = walk_html(network, p, t, class_names=["a", evil, "c"], feature_names=[evil, "x", "y"], title=evil)
    assert "<script>alert" not in page
    assert page.count("<script>") == 1
    assert evil in "".join(Page(page).text)


def test_a_function_as_loss_or_activation_is_named_and_escaped() -> None:
    def loss(y_true: Any, y_pred: Any) -> Any:
        return ((y_pred - y_true) ** 2).sum(axis=1), 2 * (y_pred - y_true)

    network = Network(2, [Dense(1, "identity")], loss=loss, dtype="float64", random_state=0)
    p = network.backpropagate([[1.0, 2.0]], [[3.0]])
    page = Page(walk_html(network, p, [[3.0]]))
    assert "custom" in "".join(page.text)
    assert page.words["target 0"].startswith("target: 3")
    assert "custom" in network_html(network)


def test_the_class_is_named_beside_its_number() -> None:
    network, _, t, p = make()
    words = Page(walk_html(network, p, t, class_names=["ant", "bee", "cow"])).words
    assert words["target 1"].startswith("target: 2 (cow)")


def test_large_networks_are_cut_with_a_note() -> None:
    network = Network(784, [Dense(300, "relu"), Dense(10, "softmax")], loss="log_loss", random_state=0)
    X = np.random.default_rng(0).normal(size=(40, 784))
    p = network.backpropagate(X, np.arange(40) % 10)
    page = walk_html(network, p, np.arange(40) % 10)
    assert len(page) < 500_000
    read = Page(page)
    assert len(read.tables["W 1"]) == 64
    # The bias row is always there.
    assert read.tables["W 1"][-1] == str(network.weights[1][784, 299])
    assert "64 of 235,500 numbers" in read.words["W 1"]


def test_the_page_of_a_batch_does_not_build_its_jacobians() -> None:
    network = Network(500, [Dense(500, "tanh"), Dense(1, "identity")], random_state=0)
    p = network.backpropagate(np.ones((200, 500)), np.zeros(200))
    walk_html(network, p)
    # 200 · 500 · 500 numbers would stay cached with it.
    assert "wrt_input" not in vars(p.local_gradients[1])


def test_a_network_shows_its_layers_in_a_notebook() -> None:
    network = Network(
        784,
        [Dense(128, "relu", dropout=0.25), Dense(10, "softmax")],
        loss="log_loss",
        random_state=0,
    )
    html = network_html(network)
    read = Page(html)
    words = "".join(read.text)
    for part in ("784 units", "128 units", "relu", "785 × 128", "softmax", "log_loss", "101,770 parameters"):
        assert part in words
    assert "dropout 0.25 after layer 1" in words
    assert 'aria-label="Network of 784 inputs; layer 1 of 128 units, relu; layer 2' in html
    assert "<script" not in html
    assert "<style" not in html
    assert not read.ids  # two of them may stand in one notebook


def test_a_deep_network_leaves_layers_out_in_a_notebook() -> None:
    network = Network(2, [Dense(3, "tanh")] * 20 + [Dense(1, "identity")], random_state=0)
    words = "".join(Page(network_html(network)).text)
    assert "15 more layers" in words
    assert words.count("layer ") < 12


def test_a_pass_writes_its_own_page(tmp_path: Path) -> None:
    network, _, t, p = make()
    expected = walk_html(network, p, t, class_names=["ant", "bee", "cow"], samples=[1])
    before = network.weights[1]
    network.weights[1] = np.zeros_like(before)  # the page is that of the pass
    page = p.to_html(class_names=["ant", "bee", "cow"], samples=[1])
    assert page == expected
    written = p.to_html(tmp_path / "walk.html", class_names=["ant", "bee", "cow"], samples=[1])
    assert written is None, "a notebook's cell would show the whole page"
    assert (tmp_path / "walk.html").read_text(encoding="utf-8") == page
    copied = pickle.loads(pickle.dumps(p))
    assert copied.to_html(class_names=["ant", "bee", "cow"], samples=[1]) == page


def test_options_of_a_page_are_checked() -> None:
    p = make()[3]
    with pytest.raises(TypeError, match=r"to_html has no parameter 'sample'; it has path, samples"):
        p.to_html(sample=1)
    with pytest.raises(TypeError, match=r"samples must be a list of rows .*, such as \[0, 1\]; got 7"):
        p.to_html(samples=7)


def test_the_loss_layer_shows_the_loss_of_each_sample() -> None:
    network, X, t, p = make()
    read = Page(walk_html(network, p, t, samples=[1, 3]))
    for s in (1, 3):
        assert [float(n) for n in read.tables[f"loss 3 {s}"]] == [p.sample_losses[s]]
    np.testing.assert_array_equal(np.array(read.tables["loss 3 batch"], float), p.sample_losses)
    words = "".join(read.text)
    assert "1/5 · Σs losss" in words
    assert "− Σ target · log y(2)" in words
    weighted = network.backpropagate(X, t, sample_weight=[1, 2, 3, 4, 5])
    assert "Σs ws · losss / Σs ws" in "".join(Page(walk_html(network, weighted, t)).text)


def test_the_delta_has_its_name() -> None:
    network, _, t, p = make()
    assert "the delta δ(1)" in Page(walk_html(network, p, t)).words["delta 1 0"]


def test_a_pass_is_a_frame_in_a_notebook() -> None:
    _, _, _, p = make()
    frame = p._repr_html_()
    (attribute,) = re.findall(r'srcdoc="([^"]*)"', frame)
    assert unescape(attribute) == p.to_html()


def test_a_pass_of_samples_has_no_target() -> None:
    network, X, t, _ = make()
    p = network.backpropagate(network.samples(X, t))
    assert p.target is None
    assert "target 0" not in Page(p.to_html()).words


def test_a_network_is_its_picture_in_a_notebook() -> None:
    network = make()[0]
    assert network._repr_html_() == network_html(network)


def test_display_needs_no_import_of_its_own() -> None:
    code = "import densegrad, sys; densegrad.display.NetworkDisplay; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert "display" in dir(densegrad)
