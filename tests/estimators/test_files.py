"""Estimators in files: everything comes back, training goes on bit for bit, and nothing in a file is run."""

import contextlib
import io
import json
import math
import pickle
import struct

import numpy as np
import pandas as pd
import pytest
import sklearn
from scipy.sparse import csr_matrix
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.metrics import make_scorer, mean_absolute_error

import densegrad
from densegrad import MLPClassifier, MLPRegressor, Network, Trainer, schedules

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(230, 8, n_informative=5, n_classes=3, random_state=0)
X_REG, Y_REG = make_regression(230, 8, random_state=0)
Y_REG = Y_REG / np.abs(Y_REG).max()
COMMON = {"hidden_layer_sizes": (9, 6), "random_state": 0, "batch_size": 50, "n_iter_no_change": 1000}
VARIANTS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.1},
    "nadam": {"solver": "nadam"},
    "rmsprop": {"solver": "rmsprop"},
    "dropout": {"dropout": 0.3},
    "early stopping": {"early_stopping": True},
    "plateau": {"schedule": schedules.WarmUp(3, schedules.Plateau(0.5, 2)), "learning_rate_init": 0.1},
    "not shuffled": {"shuffle": False},
    "RandomState": {"random_state": "instance"},
    "no random_state": {"random_state": None},
}


def saved(estimator, tmp_path, **given):
    estimator.save(tmp_path / "file")
    return type(estimator).load(tmp_path / "file", **given)


def assert_same_bits(a, b):
    np.testing.assert_array_equal(a.network_.parameters, b.network_.parameters)
    assert a.network_.spec == b.network_.spec


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_ten_and_ten_are_twenty(variant, dtype, tmp_path):
    def fitted(max_iter):
        parameters = {**COMMON, **VARIANTS[variant], "max_iter": max_iter}
        if parameters["random_state"] == "instance":
            parameters["random_state"] = np.random.RandomState(4)
        np.random.seed(3)
        return MLPClassifier(**parameters, warm_start=True).fit(X.astype(dtype), Y)

    whole = fitted(20)
    halves = saved(fitted(10), tmp_path)
    np.random.seed(99)
    halves.fit(X.astype(dtype), Y)
    assert_same_bits(whole, halves)
    for name in ("loss_curve_", "validation_scores_", "validation_loss_curve_", "best_loss_", "t_"):
        assert getattr(whole, name) == getattr(halves, name), name
    np.testing.assert_array_equal(whole.predict_proba(X), halves.predict_proba(X))


def test_everything_comes_back(tmp_path):
    names = [f"column {i}" for i in range(8)]
    parameters = {
        **COMMON,
        "hidden_layer_sizes": [9, 6],
        "activation": ["gelu", "tanh"],
        "dropout": [0.1, np.float32(0.2)],
        "alpha": np.float64(0.1),
        "batch_size": np.int64(50),
        "quantile": (0.1, 0.5),
        "max_time": 1e3,
        "clip_norm": 2.0,
        "early_stopping": True,
        "max_iter": 4,
        "n_iter_no_change": math.inf,
    }
    a = MLPRegressor("quantile", **parameters).fit(pd.DataFrame(X_REG, columns=names), Y_REG)
    b = saved(a, tmp_path)
    for name, value in a.get_params().items():
        assert type(b.get_params()[name]) is type(value), name
        assert b.get_params()[name] == value, name
    assert vars(a).keys() == vars(b).keys()
    for name, value in vars(a).items():
        if name.endswith("_"):
            np.testing.assert_array_equal(vars(b)[name], value)
            assert type(vars(b)[name]) is type(value), name
    with pytest.warns(UserWarning, match="feature names"):
        b.predict(X_REG)
    with sklearn.config_context(assume_finite=True):
        np.testing.assert_array_equal(
            b.predict(pd.DataFrame(X_REG, columns=names)), a.predict(pd.DataFrame(X_REG, columns=names))
        )


LABELS = {
    "ints": np.arange(3) * 7 - 5,
    "int8": np.arange(3, dtype=np.int8),
    "floats": np.arange(3) * 2.0,
    "strings": np.array(["a", "è", "long name"]),
    "objects": np.array(["a", "è", "long name"], object),
    "bools": np.array([False, True]),
    "two strings": np.array(["no", "yes"]),
    "one": np.array(["only"]),
}


@pytest.mark.parametrize("labels", LABELS)
def test_labels_come_back(labels, tmp_path):
    classes = LABELS[labels]
    y = classes[Y % len(classes)]
    a = MLPClassifier(**COMMON, max_iter=3, class_weight={classes[0]: 2.0}).fit(X, y)
    b = saved(a, tmp_path)
    assert b.classes_.dtype == a.classes_.dtype
    np.testing.assert_array_equal(b.classes_, a.classes_)
    np.testing.assert_array_equal(b.predict(X), a.predict(X))
    assert b.class_weight == a.class_weight
    assert_same_bits(a.partial_fit(X, y), b.partial_fit(X, y))


@pytest.mark.parametrize("sparse", [False, True])
def test_label_indicators_come_back(sparse, tmp_path):
    rows, y = make_multilabel_classification(60, 8, n_classes=4, random_state=0)
    y = csr_matrix(y) if sparse else y
    a = MLPClassifier(**COMMON, max_iter=3).fit(rows, y)
    b = saved(a, tmp_path)
    first, second = a.predict(rows), b.predict(rows)
    assert type(first) is type(second)
    np.testing.assert_array_equal(csr_matrix(first).toarray(), csr_matrix(second).toarray())
    assert_same_bits(a.partial_fit(rows, y), b.partial_fit(rows, y))


@pytest.mark.parametrize("two", [False, True])
def test_several_targets_lbfgs_and_assigned_weights_come_back(two, tmp_path):
    y = np.c_[Y_REG, -Y_REG] if two else Y_REG
    a = MLPRegressor(**COMMON, solver="lbfgs", max_iter=5).fit(X_REG, y)
    a.coefs_ = [W * 0.5 for W in a.coefs_]
    b = saved(a, tmp_path)
    np.testing.assert_array_equal(b.predict(X_REG), a.predict(X_REG))
    other = MLPRegressor(**COMMON)
    other.coefs_, other.intercepts_ = list(a.coefs_), list(a.intercepts_)
    other.n_features_in_, other.out_activation_ = 8, "identity"
    np.testing.assert_array_equal(saved(other, tmp_path).predict(X_REG), a.predict(X_REG))


def test_before_a_fit(tmp_path):
    clf = saved(MLPClassifier(solver="sgd", max_iter=3, random_state=np.random.RandomState(3)), tmp_path)
    assert clf.solver == "sgd"
    assert not hasattr(clf, "classes_")
    expected = MLPClassifier(solver="sgd", max_iter=3, random_state=np.random.RandomState(3)).fit(X, Y)
    assert_same_bits(clf.fit(X, Y), expected)


def half_square(y_true, y_pred):
    r = y_pred - y_true
    return 0.5 * (r**2).sum(axis=1), r


def stop(epoch, logs):
    return epoch == 2


def test_code_is_given_again(tmp_path):
    code = {
        "loss": half_square,
        "callbacks": [stop],
        "scoring": make_scorer(mean_absolute_error, greater_is_better=False),
        "schedule": lambda step, last: 0.01,
    }
    a = MLPRegressor(**code, **COMMON, max_iter=5, early_stopping=True).fit(X_REG, Y_REG)
    b = saved(a, tmp_path, **code)
    assert b.callbacks == [stop]
    np.testing.assert_array_equal(a.predict(X_REG), b.predict(X_REG))
    path = tmp_path / "file"
    for name in code:
        if name != "loss":
            with pytest.raises(ValueError, match=f"{path}.*{name} is missing"):
                MLPRegressor.load(path, **{key: value for key, value in code.items() if key != name})
    with pytest.raises(ValueError, match="loss must be a callable"):
        MLPRegressor.load(path)
    with pytest.raises(ValueError, match="got alpha"):
        MLPRegressor.load(path, **code, alpha=1.0)
    assert MLPRegressor.load(path, **{**code, "callbacks": None}).callbacks is None
    with pytest.raises(ValueError, match="loss must be None"):
        saved(MLPRegressor(max_iter=2).fit(X_REG, Y_REG), tmp_path, loss=half_square)


def test_kinds_of_files_are_told_apart(tmp_path):
    path = tmp_path / "file"
    MLPClassifier(max_iter=2).fit(X, Y).save(path)
    for kind, message in (
        (Network, "is not a densegrad network: its format is 'densegrad estimator 1'"),
        (Trainer, "is not a densegrad trainer"),
        (MLPRegressor, "of class MLPClassifier, not MLPRegressor"),
    ):
        with pytest.raises(ValueError, match=f"{path}.*{message}"):
            kind.load(path)


def test_names_with_dots_do_not_collide(tmp_path):
    weight = {"a.b": np.array([1.0]), "a": {"b": np.array([2.0])}}
    clf = saved(MLPClassifier(class_weight=weight), tmp_path)
    assert clf.class_weight["a.b"] == 1
    assert clf.class_weight["a"]["b"] == 2


def test_a_subclass_loads_as_itself(tmp_path):
    class Mine(MLPClassifier):
        pass

    MLPClassifier(max_iter=2, random_state=0).fit(X, Y).save(tmp_path / "file")
    assert type(Mine.load(tmp_path / "file")) is Mine


class File:
    """A file of an estimator whose header can be changed."""

    def __init__(self, path):
        self.path = path
        estimator = MLPClassifier(
            (3,), max_iter=3, early_stopping=True, schedule="plateau", dropout=0.1, random_state=1
        )
        estimator.fit(X, np.array(["a", "b", "c"], object)[Y]).save(path)
        content = path.read_bytes()
        (length,) = struct.unpack("<Q", content[:8])
        self.header = json.loads(content[8 : 8 + length])
        self.state = json.loads(self.header["__metadata__"]["estimator"])
        self.content, self.data = content, content[8 + length :]

    def write(self, state, **metadata):
        metadata = self.header["__metadata__"] | {"estimator": json.dumps(state)} | metadata
        header = json.dumps(self.header | {"__metadata__": metadata}).encode()
        self.path.write_bytes(struct.pack("<Q", len(header)) + header + self.data)


@pytest.fixture
def file(tmp_path):
    return File(tmp_path / "file")


def test_the_header_names_format_and_version(file):
    metadata = file.header["__metadata__"]
    assert (metadata["format"], metadata["densegrad"]) == ("densegrad estimator 1", densegrad.__version__)
    file.write(file.state, format="densegrad estimator 2", densegrad="7.1")
    with pytest.raises(
        ValueError, match=r"file' has format 2, written by densegrad 7.1; densegrad .* up to 1"
    ):
        MLPClassifier.load(file.path)


def places(node, path=()):
    """Every place in a tree of JSON."""
    yield path
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield from places(child, (*path, key))


def loaded_or_refused(path):
    """The estimator in a file; None if it is refused by an error that names the file."""
    try:
        return MLPClassifier.load(path)
    except ValueError as error:
        if str(path) not in str(error):
            raise
    return None


STRANGE = [None, True, -1, 10**30, 1.5, "x", [], {}, [[]], {"$tensor": "x"}, {"$random": 3}, {"$x": 1}]


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_headers_with_a_part_that_is_another(file):
    random = np.random.default_rng(0)
    found = list(places(file.state))[1:]
    refused = 0
    for i in random.permutation(len(found))[:150]:
        for strange in random.permutation(len(STRANGE))[:2]:
            state = json.loads(json.dumps(file.state))
            node = state
            for key in found[i][:-1]:
                node = node[key]
            node[found[i][-1]] = STRANGE[strange]
            file.write(state)
            clf = loaded_or_refused(file.path)
            if clf is None:
                refused += 1
                continue
            # It may be a value like any other; then using the estimator must not end the process.
            with contextlib.suppress(ValueError, TypeError):
                clf.predict(X)
                clf.set_params(max_iter=1, warm_start=True).fit(X, np.array(["a", "b", "c"])[Y])
    assert refused > 100


def test_bytes_that_are_others(file):
    random = np.random.default_rng(0)
    for cut in (0, 7, 8, 100, len(file.content) - 1):
        file.path.write_bytes(file.content[:cut])
        with pytest.raises(ValueError, match=str(file.path)):
            MLPClassifier.load(file.path)
    for _ in range(300):
        content = bytearray(file.content)
        content[random.integers(len(content) - len(file.data))] = random.integers(256)
        file.path.write_bytes(content)
        loaded_or_refused(file.path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("training", "random", "$random", "state", "state", "pos"), 10**6),
        (("training", "random", "$random", "state", "state", "pos"), -1),
        (("training", "random", "$random", "state", "bit_generator"), "os"),
        (("training", "network", "$network", "spec", "n_inputs"), 10**9),
        (("training", "split", 0), -3),
        (("training", "order", "n_shuffles"), 2**40),
        (("training", "rule", 1), "nonsense"),
        (("training", "best", "loss"), "x"),
        (("targets", "classes", "$array", "shape"), [10**12]),
        (("targets", "classes", "$array", "dtype"), "<U999999999"),
        (("estimator",), "os.system"),
        (("parameters", "schedule"), {"$schedule": {"Schedule": {}}}),
        (("parameters", "schedule"), {"$optimizer": {"__import__": {"name": "os"}}}),
        (("parameters", "predict"), 1),
        (("parameters", "max_iter"), None),
        (("parameters", "tol"), "x"),
        (("targets", "multilabel"), None),
        (("record", "predict"), 1),
        (("record", "loss_curve_"), ["x"]),
    ],
    ids=str,
)
def test_values_that_would_do_harm(place, value, file):
    node = file.state
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    file.write(file.state)
    if place[-1] == "dtype":  # strings are as wide as they are
        assert MLPClassifier.load(file.path).classes_.dtype.kind == "U"
        return
    with pytest.raises(ValueError, match=str(file.path)):
        MLPClassifier.load(file.path)


def test_one_long_string_among_many_short_ones_takes_no_memory(file):
    """As an array of equally wide strings, these would take 80 GB."""
    values = ["x" * 10**6, *map(str, range(19_999))]
    file.state["targets"]["classes"]["$array"] = {"shape": [20_000], "values": values}
    for dtype in ("<U1", "|O"):
        file.state["targets"]["classes"]["$array"]["dtype"] = dtype
        file.write(file.state)
        with pytest.raises(ValueError, match="a very long one among many short ones"):
            MLPClassifier.load(file.path)


def test_uneven_labels_come_back(tmp_path):
    classes = np.array(["x" * 2000, *(f"{i:04d}" for i in range(600))])
    rows = np.arange(601.0)[:, np.newaxis]
    clf = MLPClassifier((1,), max_iter=1, random_state=0).fit(rows, classes)
    loaded = saved(clf, tmp_path)
    np.testing.assert_array_equal(loaded.classes_, clf.classes_)
    np.testing.assert_array_equal(loaded.predict(rows), clf.predict(rows))


def test_an_indicator_of_many_labels_takes_no_memory(file):
    """A square indicator matrix of these labels would take 80 GB."""
    file.state["targets"] = {"classes": list(range(100_000)), "multilabel": True, "sparse": False}
    file.write(file.state)
    with pytest.raises(ValueError, match="does not fit its targets"):
        MLPClassifier.load(file.path)


def test_a_parameter_that_fit_would_refuse_is_not_saved(tmp_path):
    clf = MLPClassifier(max_iter=-3)
    with pytest.raises(ValueError, match="'max_iter'"):
        clf.save(tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_a_tensor_cannot_be_read_twice(file):
    file.state["training"]["last_parameters"] = file.state["training"]["best_parameters"]
    file.write(file.state)
    with pytest.raises(ValueError, match=r"it has no training\.best_parameters"):
        MLPClassifier.load(file.path)


def names_in(pickled):
    """Names of the classes and functions of densegrad in a pickle."""
    names = set()

    class Noting(pickle.Unpickler):
        def find_class(self, module, name):
            names.add(f"{module}.{name}")
            return super().find_class(module, name)

    Noting(io.BytesIO(pickled)).load()
    return {name for name in names if name.startswith("densegrad")}


@pytest.mark.parametrize("protocol", [2, 5])
def test_pickles_name_public_classes_alone(protocol):
    a = MLPClassifier(**COMMON, max_iter=3, early_stopping=True, schedule="cosine").fit(X, Y)
    names = names_in(pickle.dumps(a, protocol))
    assert names == {f"densegrad.{name}" for name in ("MLPClassifier", "Network", "NetworkSpec", "Adam")}
    b = MLPRegressor(**COMMON, solver="sgd", max_iter=3, schedule=schedules.Cosine()).fit(X_REG, Y_REG)
    names = names_in(pickle.dumps(b, protocol))
    expected = {f"densegrad.{name}" for name in ("MLPRegressor", "Network", "NetworkSpec", "SGD")}
    assert names == expected | {"densegrad.schedules.Cosine"}


def test_pickles_of_newer_versions_say_so():
    state = MLPClassifier(max_iter=2).fit(X, Y).__getstate__()
    assert (state["format"], state["densegrad"]) == (1, densegrad.__version__)
    other = MLPClassifier()
    with pytest.raises(
        ValueError, match=r"pickle of a MLPClassifier has format 2, written by densegrad 9\.0"
    ):
        other.__setstate__({**state, "format": 2, "densegrad": "9.0"})
    with pytest.raises(ValueError, match="no pickle of a MLPClassifier"):
        other.__setstate__({"solver": "adam"})


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier(**COMMON, max_iter=4),
        MLPRegressor(**COMMON, max_iter=4, early_stopping=True, schedule=schedules.Plateau()),
        MLPClassifier(**{**COMMON, "random_state": np.random.RandomState(2)}, max_iter=4, dropout=0.2),
        MLPRegressor(**COMMON, max_iter=4, solver="lbfgs"),
    ],
    ids=lambda e: f"{type(e).__name__} {e.solver}",
)
def test_skops(estimator):
    sio = pytest.importorskip("skops.io")
    estimator = sklearn.clone(estimator).fit(X, Y)
    dumped = sio.dumps(estimator)
    types = sio.get_untrusted_types(data=dumped)
    assert all(name.startswith("densegrad.") for name in types)
    loaded = sio.loads(dumped, trusted=types)
    assert_same_bits(loaded, estimator)
    if estimator.solver != "lbfgs":
        estimator.set_params(warm_start=True)
        assert_same_bits(loaded.set_params(warm_start=True).fit(X, Y), estimator.fit(X, Y))
