"""The five pictures: their contents, and that these can be read."""

from __future__ import annotations

import itertools
import subprocess
import sys
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.patches import FancyArrowPatch

from densegrad import Blend, Dense, MLPClassifier, Network, Scale
from densegrad.display import NetworkDisplay

KINDS = ("layers", "loss_layer", "forward", "backward", "detail")
SIZES = [(1, 1, 1), (2, 3, 1), (4, 4, 4, 3), (6, 6, 2), (64, 32, 10), (784, 1024, 1024, 10), (8,) * 16]


def network_and_rows(sizes: tuple[int, ...]) -> tuple[Network, Any, Any]:
    *hidden, last = sizes[1:]
    head = Dense(last, "softmax") if last > 1 else Dense(1, "logistic")
    network = Network(
        sizes[0],
        [*(Dense(n, "tanh") for n in hidden), head],
        loss="log_loss",
        dtype="float64",
        random_state=1,
    )
    rng = np.random.default_rng(0)
    return network, rng.normal(size=(4, sizes[0])), rng.integers(max(last, 2), size=4)


def texts(display: NetworkDisplay) -> dict[str, str]:
    return {text.get_gid(): text.get_text() for text in display.axes_.texts if text.get_gid()}


def norm(array: Any) -> float:
    return float(np.sqrt(np.sum(np.square(array))))


def shown(text: str) -> float:
    return float(text.replace("−", "-"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: "-".join(map(str, sizes)))
def test_words_lie_apart_and_inside(sizes: tuple[int, ...], kind: str) -> None:
    network, X, target = network_and_rows(sizes)
    for layer in (1, len(sizes) - 1, len(sizes)) if kind == "detail" else (None,):
        display = NetworkDisplay.from_network(network, X, target, kind=kind, layer=layer)
        figure = display.figure_
        figure.canvas.draw()
        frame = figure.bbox
        boxes = []
        for text in display.axes_.texts:
            assert text.get_fontsize() >= 7.5
            box = text.get_window_extent()
            assert frame.x0 <= box.x0 <= box.x1 <= frame.x1, text
            assert frame.y0 <= box.y0 <= box.y1 <= frame.y1, text
            boxes.append((text, box))
        for (one, a), (other, b) in itertools.combinations(boxes, 2):
            wide = min(a.x1, b.x1) - max(a.x0, b.x0)
            high = min(a.y1, b.y1) - max(a.y0, b.y0)
            # Two pixels: boxes are a little larger than their letters.
            assert wide < 2 or high < 2, (one, other)


@pytest.mark.parametrize("sizes", [(2, 3, 1), (784, 1024, 10)], ids=str)
def test_backward_has_the_numbers_of_the_pass(sizes: tuple[int, ...]) -> None:
    network, X, target = network_and_rows(sizes)
    p = network.backpropagate(X, target)
    display = NetworkDisplay.from_network(network, X, target, kind="backward")
    found = texts(display)
    for l in range(network.depth + 1):
        assert shown(found[f"|L'_({l})|"]) == pytest.approx(norm(p.loss_gradients[l]), rel=5e-3)
        assert found[f"L'_({l})"] == f"$L'_{{({l})}}$"
    for l in range(1, network.depth + 1):
        assert shown(found[f"|dLoss/dW_({l})|"]) == pytest.approx(norm(p.weight_gradients[l]), rel=5e-3)
    assert found[f"L'_({network.depth + 1})"].endswith("= 1$")


def test_units_show_the_sample() -> None:
    network, X, target = network_and_rows((2, 3, 1))
    p = network.backpropagate(X, target)
    forward = texts(NetworkDisplay.from_network(network, X, target, kind="forward", sample=2))
    backward = texts(NetworkDisplay.from_network(network, X, target, kind="backward", sample=2))
    for l, n in enumerate((2, 3, 1)):
        for unit in range(n):
            name = f"value {l} {unit}"
            assert shown(forward[name]) == pytest.approx(p.outputs[l][2, unit], rel=5e-2)
            assert shown(backward[name]) == pytest.approx(p.loss_gradients[l][2, unit], rel=5e-2)
    for i, j in np.ndindex(3, 3):
        assert shown(forward[f"weight 1 {i} {j}"]) == pytest.approx(network.weights[1][i, j], rel=5e-2)
        assert shown(backward[f"weight 1 {i} {j}"]) == pytest.approx(p.weight_gradients[1][i, j], rel=5e-2)
    assert shown(forward["loss value"]) == pytest.approx(p.loss, rel=5e-4)
    assert forward["target value"] == f"{target[2]} of sample 2"


def test_the_loss_of_the_batch_is_named_so() -> None:
    network, X, target = network_and_rows((2, 3, 1))
    p = network.backpropagate(X, target)
    for kind in ("forward", "loss_layer"):
        found = texts(NetworkDisplay.from_network(network, X, target, kind=kind, sample=1))
        assert found["loss unit rows"] == f"mean of {len(X)} rows"
        assert shown(found["value 1 0"]) == pytest.approx(p.outputs[1][1, 0], rel=5e-2)
    assert "loss unit rows" not in texts(
        NetworkDisplay.from_network(network, X[:1], target[:1], kind="forward")
    )


def arrow_widths(display: NetworkDisplay) -> dict[str, float]:
    return {
        arrow.get_gid(): arrow.get_linewidth()
        for arrow in display.axes_.patches
        if isinstance(arrow, FancyArrowPatch)
    }


def test_widths_follow_the_norms() -> None:
    network = Network(8, [Dense(8, "logistic")] * 6 + [Dense(3, "softmax")], loss="log_loss", random_state=0)
    X = np.random.default_rng(0).normal(size=(5, 8))
    target = np.arange(5) % 3
    p = network.backpropagate(X, target)
    widths = arrow_widths(NetworkDisplay.from_network(network, X, target, kind="backward"))
    by_norm = sorted(range(8), key=lambda l: norm(p.loss_gradients[l]))
    drawn = [widths[f"L'_({l}) arrow"] for l in by_norm]
    assert drawn == sorted(drawn)
    assert drawn[-1] > 2 * drawn[0]


def test_arrows_point_where_the_pass_goes() -> None:
    network, X, target = network_and_rows((2, 3, 1))
    for kind, name, sign in (("forward", "y_(1) arrow", 1), ("backward", "L'_(1) arrow", -1)):
        display = NetworkDisplay.from_network(network, X, target, kind=kind)
        (arrow,) = [patch for patch in display.axes_.patches if patch.get_gid() == name]
        path = arrow.get_path()
        x = path.vertices[path.codes != path.CLOSEPOLY, 0]  # the shaft begins it, the head ends it
        assert sign * (x[-1] - x[0]) > 0


@pytest.mark.parametrize("style", ["default", "dark_background", "Solarize_Light2"])
@pytest.mark.parametrize("kind", KINDS)
def test_words_stand_out_from_their_background(kind: str, style: str) -> None:
    network, X, target = network_and_rows((2, 3, 1))
    with plt.style.context(style):
        layer = 1 if kind == "detail" else None
        display = NetworkDisplay.from_network(network, X, target, kind=kind, layer=layer)
    blocks = [
        patch.get_facecolor() for patch in display.axes_.patches if patch.get_gid() in ("layer 1", "W_(1)")
    ]
    backgrounds = [display.figure_.get_facecolor(), *blocks]
    for text in display.axes_.texts:
        for background in backgrounds:
            assert contrast(text.get_color(), background) >= 4.5, (text, background)


def contrast(one: Any, other: Any) -> float:
    """The ratio of luminances by WCAG 2."""

    def luminance(color: Any) -> float:
        channels = np.array(to_rgb(color))
        linear = np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722]) + 0.05

    brighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return brighter / darker


def test_what_is_no_number_is_shown_as_such() -> None:
    network, X, target = network_and_rows((2, 3, 1))
    X[0, 0] = np.nan
    found = texts(NetworkDisplay.from_network(network, X, target, kind="backward"))
    assert found["|L'_(1)|"] == "NaN"
    assert found["weight 1 0 0"] == "NaN"


def test_each_picture_has_its_parts() -> None:
    network, X, target = network_and_rows((2, 3, 1))
    parts = {
        kind: set(texts(NetworkDisplay.from_network(network, X, target, kind=kind)))
        for kind in ("layers", "loss_layer", "forward", "backward")
    }
    assert "number 3" not in parts["layers"]
    assert {"number 3", "target", "y_(3)", "L'_(3)", "L'_(2)"} <= parts["loss_layer"]
    assert "L'_(1)" not in parts["loss_layer"]
    assert {"cached 1", "cached 2", "cached 3", "y_(0)", "y_(3)"} <= parts["forward"]
    assert not [name for name in parts["forward"] if name.startswith("L'")]
    assert {"dLoss/dW_(1)", "dLoss/dW_(2)", "L'_(0)"} <= parts["backward"]


def test_detail_of_a_layer_and_of_the_loss() -> None:
    network, X, target = network_and_rows((2, 3, 1))
    p = network.backpropagate(X, target)
    found = texts(NetworkDisplay.from_network(network, X, target, kind="detail", layer=1, sample=1))
    for name, values in (
        ("y in", p.outputs[0][1]),
        ("y out", p.outputs[1][1]),
        ("L' in", p.loss_gradients[1][1]),
        ("L' out", p.loss_gradients[0][1]),
        ("W", network.weights[1]),
        ("dW", p.weight_gradients[1]),
        ("dy/dz numbers", p.local_gradients[1].wrt_preactivation[1]),
        ("dy/dy numbers", p.local_gradients[1].wrt_input[1]),
    ):
        numbers = [shown(word) for word in found[name].split()]
        np.testing.assert_allclose(numbers, np.ravel(values), rtol=5e-3)
    np.testing.assert_allclose(
        np.tanh([shown(word) for word in found["z"].split()]), p.outputs[1][1], rtol=5e-3
    )
    loss = texts(NetworkDisplay.from_network(network, X, target, kind="detail", layer=3, sample=1))
    assert shown(loss["loss value"]) == pytest.approx(p.loss, rel=5e-4)
    assert loss["target value"] == str(target[1])


def test_deep_networks_leave_the_middle_out() -> None:
    network, _, _ = network_and_rows((4,) * 20)
    found = texts(NetworkDisplay.from_network(network))
    assert found["left out"] == "layers 5 – 14"
    assert "number 4" in found
    assert "number 5" not in found
    assert "number 15" in found


def test_given_axes_are_used_and_letters_shrink() -> None:
    network, X, target = network_and_rows((2, 3, 1))
    own = NetworkDisplay.from_network(network, X, target, kind="backward")
    figure, axes = plt.subplots(1, 2, figsize=(8, 3))
    display = NetworkDisplay.from_network(network, X, target, kind="backward", ax=axes[1])
    assert display.axes_ is axes[1]
    assert display.figure_ is figure
    sizes = [min(text.get_fontsize() for text in d.axes_.texts) for d in (own, display)]
    assert sizes[1] < sizes[0]


def test_drawn_again_elsewhere() -> None:
    network, X, target = network_and_rows((2, 3, 1))
    display = NetworkDisplay.from_network(network, X, target, kind="forward")
    before = texts(display)
    _, ax = plt.subplots()
    assert display.plot(ax) is display
    assert texts(display) == before


def test_of_an_estimator_with_text_labels() -> None:
    X = np.random.default_rng(0).normal(size=(40, 2))
    y = np.where(X[:, 0] > 0, "yes", "no")
    clf = MLPClassifier((3,), solver="lbfgs", random_state=0).fit(X, y)
    found = texts(NetworkDisplay.from_estimator(clf, X, y, kind="backward", sample=1))
    p = clf.network_.backpropagate(X, (y == "yes").astype(int))
    assert shown(found["value 2 0"]) == pytest.approx(p.loss_gradients[2][1, 0], rel=5e-2)


def test_without_matplotlib_the_extra_is_named() -> None:
    code = """
import sys
sys.modules["matplotlib"] = None
from densegrad import Dense, Network
from densegrad.display import NetworkDisplay, walk_html
net = Network(2, [Dense(1, "identity")])
assert walk_html(net, net.backpropagate([[1.0, 2.0]], [0.0]))
try:
    NetworkDisplay.from_network(net)
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "densegrad[plot]" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_elementwise_layers_are_shown(kind: str) -> None:
    layers = [Scale(), Dense(4, "identity"), Blend("mish"), Dense(3, "softmax")]
    network = Network(3, layers, loss="log_loss", dtype="float64", random_state=0)
    network.weights[3] = [[0.5, 1.0, 1.5, 2.0]]
    X, target = np.random.default_rng(0).normal(size=(4, 3)), np.array([0, 1, 2, 0])
    for layer in (1, 2, 3, 4, 5) if kind == "detail" else (None,):
        display = NetworkDisplay.from_network(network, X, target, kind=kind, layer=layer)
        display.figure_.canvas.draw()
        words = " ".join(text.get_text() for text in display.axes_.texts)
        assert kind in ("loss_layer", "detail") or "blend mish" in words
        plt.close(display.figure_)
    page = network.backpropagate(X, target).to_html()
    assert "mish(" in page
    assert "blend mish" in network._repr_html_()
