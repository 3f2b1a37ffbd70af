"""The examples run, and their claims are true."""

import importlib.util
from pathlib import Path

import pytest
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from densegrad import MLPClassifier

EXAMPLES = Path(__file__).parents[2] / "examples"


def loaded(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def output(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "demo-output"


def test_quantile_bands(output, capsys):
    loaded("quantile_bands")
    assert "crossings: 0" in capsys.readouterr().out
    assert (output / "quantile_bands.png").stat().st_size > 10_000


def test_class_weights(output, capsys):
    module = loaded("class_weights")
    recall = {name: clf.score(module.X_test, module.y_test) for name, clf in module.fitted.items()}
    assert len(recall) == 3
    assert "'balanced'" in capsys.readouterr().out
    assert (output / "class_weights.png").stat().st_size > 10_000


@pytest.mark.parametrize(("name", "n_lines"), [("activations", 20), ("losses", 10), ("schedules", 12)])
def test_curves(name, n_lines, output, monkeypatch):
    plt = pytest.importorskip("matplotlib.pyplot")
    monkeypatch.setattr(plt, "show", lambda: None)
    figure = loaded(name).figure
    # Lines across a whole panel have two points, at its edges.
    lines = [line for axes in figure.axes for line in axes.lines if len(line.get_xdata()) > 2]
    plt.close(figure)
    assert len(lines) == n_lines


def test_import_swap(capsys):
    loaded("import_swap")
    printed = capsys.readouterr().out
    assert "accuracy 0.9" in printed
    assert float(printed.split("differ by at most")[1]) < 1e-7


def test_demo_without_its_dataset(output, capsys, monkeypatch):
    demo = loaded("fashion_mnist")
    monkeypatch.setattr(demo, "DATASET", output / "nowhere")
    monkeypatch.setattr(demo, "install_dataset", lambda: None)
    demo.main()
    printed = capsys.readouterr().out
    assert "scikit-learn's digits" in printed
    assert float(printed.split("test accuracy:")[1].split()[0]) > 0.96
    assert {path.name for path in output.iterdir()} == {"loss.png", "first_layer.png"}


def test_installing_the_dataset_never_fails(monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    demo = loaded("fashion_mnist")
    monkeypatch.setattr(demo, "DATASET", Path("/nowhere"))
    monkeypatch.setattr(demo.shutil, "which", lambda name: "/usr/bin/apt-get")
    monkeypatch.setattr(demo.os, "geteuid", lambda: 0)

    def refuse(command, **_):
        raise OSError("no such program")

    monkeypatch.setattr(demo.subprocess, "run", refuse)
    demo.install_dataset()
    failed = demo.subprocess.CompletedProcess([], 100, "", "E: Unable to locate package")
    monkeypatch.setattr(demo.subprocess, "run", lambda command, **_: failed)
    demo.install_dataset()
    assert "Unable to locate package" in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_digits_with_defaults():
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(X / 16, y, random_state=0, stratify=y)
    assert MLPClassifier(random_state=0).fit(X_train, y_train).score(X_test, y_test) >= 0.97
