"""Checkpoints of estimators: a fit that was cut off ends like one that was not, bit for bit."""

import math
import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from sklearn.datasets import make_classification, make_multilabel_classification
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from densegrad import MLPClassifier, MLPRegressor, schedules

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = make_classification(230, 8, n_informative=5, n_classes=3, flip_y=0.3, random_state=0)
NAMES = np.array(["a", "b", "c"])[Y]
COMMON = {"hidden_layer_sizes": (9, 6), "random_state": 0, "batch_size": 50, "max_iter": 12}
VARIANTS = {
    "adam": {},
    "patience": {"n_iter_no_change": 2, "tol": 0.02, "learning_rate_init": 0.03},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "n_iter_no_change": 1, "tol": 0.1},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.1},
    "early stopping": {"early_stopping": True, "learning_rate_init": 0.03, "n_iter_no_change": 3},
    "last weights": {"early_stopping": True, "restore_best": False, "learning_rate_init": 0.03},
    "cosine": {"schedule": "cosine", "learning_rate_init": 0.01},
    "one-cycle": {"schedule": schedules.OneCycle(0.4), "early_stopping": True, "learning_rate_init": 0.05},
    "plateau": {"schedule": schedules.Plateau(0.5, 1), "early_stopping": True},
    "dropout": {"dropout": 0.3, "early_stopping": True},
    "not shuffled": {"shuffle": False},
    "RandomState": {"random_state": "instance", "early_stopping": True},
    "float": {"batch_size": "auto", "random_state": None},
}


class Cut(Exception):
    """Ends a fit as a crash would."""


def cut_after(last):
    def callback(epoch, logs):
        if epoch == last:
            raise Cut

    return callback


def estimator(variant, kind=MLPClassifier, **more):
    parameters = {**COMMON, **VARIANTS[variant], **more}
    if parameters["random_state"] == "instance":
        parameters["random_state"] = np.random.RandomState(4)
    np.random.seed(5)
    return kind(**parameters)


def assert_same(a, b):
    np.testing.assert_array_equal(a.network_.parameters, b.network_.parameters)
    assert vars(a).keys() == vars(b).keys()
    for name in vars(a):
        if name.endswith("_"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name), name)


@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_resumed_fit_equals_the_whole(variant, every, tmp_path):
    whole = estimator(variant).fit(X, NAMES)
    n_epochs = whole.n_iter_
    assert n_epochs > 3
    for cut in (0, n_epochs // 2, n_epochs - 1):
        path = tmp_path / str(cut)
        arguments = {"checkpoint": path, "checkpoint_every": every}
        with pytest.raises(Cut):
            estimator(variant, callbacks=[cut_after(cut)]).fit(X, NAMES, **arguments)
        seen = []
        note = [lambda epoch, logs, seen=seen: seen.append(epoch)]
        resumed = estimator(variant, callbacks=note)
        if path.exists():  # without, it is a new fit, which draws from NumPy's generator
            np.random.seed(77)
        resumed.fit(X, NAMES, **arguments)
        assert seen == list(range(cut - cut % every, n_epochs))
        assert_same(resumed.set_params(callbacks=None), whole)
        # The finished fit comes back at once, also as a file.
        again = estimator(variant).fit(X, NAMES, **arguments)
        assert_same(again, whole)
        assert_same(MLPClassifier.load(path, callbacks=None), whole)
        # And whatever is trained next goes on from there.
        for mlp in (again, resumed):
            mlp.set_params(warm_start=True, max_iter=2, schedule=None, random_state=0).fit(X, NAMES)
        assert_same(again, resumed)


@pytest.mark.parametrize("loss", ["squared_error", "quantile", "custom"])
def test_regressors_with_given_validation_rows(loss, tmp_path):
    y = np.sin(X[:, :2])
    validation = {"X_val": X[:50] + 0.1, "y_val": y[:50]}
    more = {"loss": half_square if loss == "custom" else loss, "max_iter": 9}
    if loss == "quantile":
        more["quantile"] = [0.1, 0.9]
    whole = estimator("early stopping", MLPRegressor, **more).fit(X, y, **validation)
    with pytest.raises(Cut):
        estimator("early stopping", MLPRegressor, **more, callbacks=[cut_after(4)]).fit(
            X, y, **validation, checkpoint=tmp_path / "fit"
        )
    resumed = estimator("early stopping", MLPRegressor, **more)
    assert_same(resumed.fit(X, y, **validation, checkpoint=tmp_path / "fit"), whole)


def half_square(y_true, y_pred):
    r = y_pred - y_true
    return 0.5 * (r**2).sum(axis=1), r


def test_warm_starts_sample_weights_and_indicators(tmp_path):
    rows, labels = make_multilabel_classification(100, 8, n_classes=4, random_state=0)
    weight = np.linspace(0.5, 2, 100)

    def fits(**arguments):
        clf = estimator("dropout", warm_start=True, early_stopping=False, schedule="cosine", max_iter=4)
        clf.fit(rows, labels, weight)
        return clf.fit(rows, labels, weight, **arguments)

    whole = fits()
    cut = estimator("dropout", warm_start=True, early_stopping=False, schedule="cosine", max_iter=4)
    cut.fit(rows, labels, weight)
    with pytest.raises(Cut):
        cut.set_params(callbacks=[cut_after(2)]).fit(rows, labels, weight, checkpoint=tmp_path / "fit")
    assert_same(fits(checkpoint=tmp_path / "fit"), whole)


def test_pipelines_pass_the_path_on(tmp_path):
    fit = {"mlpclassifier__checkpoint": tmp_path / "fit"}
    whole = make_pipeline(StandardScaler(), estimator("adam")).fit(X, NAMES, **fit)
    again = make_pipeline(StandardScaler(), estimator("adam")).fit(X, NAMES, **fit)
    np.testing.assert_array_equal(whole.predict_proba(X), again.predict_proba(X))


def test_folds_do_not_go_on_from_each_other(tmp_path):
    with pytest.raises(ValueError, match="its y has other values"):
        cross_val_score(
            estimator("adam"), X, NAMES, params={"checkpoint": tmp_path / "fit"}, error_score="raise"
        )


def test_checkpoints_of_other_trainings_are_refused(tmp_path):
    path = tmp_path / "fit"
    estimator("adam").fit(X, NAMES, checkpoint=path)
    before = path.read_bytes()
    for other, y, message in (
        (estimator("adam", hidden_layer_sizes=(9, 7)), NAMES, "its network is not that"),
        (estimator("adam", activation="tanh"), NAMES, "its network is not that"),
        (estimator("adam"), np.char.upper(NAMES), "y has other labels"),
        (estimator("adam", batch_size=10), NAMES, "its epochs have 5 updates, those of this fit 23"),
        (estimator("adam"), NAMES[::-1], "its y has other values"),
        (estimator("adam", max_iter=5), NAMES, "it has 12 epochs behind it, and max_iter is 5"),
        (estimator("adam", kind=MLPRegressor), Y, "is of class MLPClassifier, not MLPRegressor"),
    ):
        with pytest.raises(ValueError, match=f"{path}.*{message}"):
            other.fit(X, y, checkpoint=path)
        assert not hasattr(other, "n_iter_")
    assert path.read_bytes() == before
    assert estimator("adam", max_iter=5).fit(X, NAMES, checkpoint=path, resume=False).n_iter_ == 5
    estimator("adam").fit(X, NAMES).save(path)
    with pytest.raises(ValueError, match="`save` wrote it"):
        estimator("adam").fit(X, NAMES, checkpoint=path)
    with pytest.raises(ValueError, match="checkpoint needs a stochastic solver; got solver='lbfgs'"):
        estimator("adam", solver="lbfgs").fit(X, NAMES, checkpoint=path)
    with pytest.raises(TypeError, match="checkpoint must be a path"):
        estimator("adam").fit(X, NAMES, checkpoint=3)


def test_ctrl_c_and_a_failed_write_keep_model_and_file(tmp_path, monkeypatch):
    def interrupt(epoch, logs):
        if epoch == 4:
            raise KeyboardInterrupt

    path = tmp_path / "fit"
    clf = estimator("early stopping", callbacks=[interrupt])
    with pytest.warns(UserWarning, match="interrupted"):
        clf.fit(X, NAMES, checkpoint=path)
    assert clf.n_iter_ == 5
    assert MLPClassifier.load(path, callbacks=None).n_iter_ == 4
    fsync, calls = os.fsync, []

    def failing(descriptor):
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError("disk full")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    clf = estimator("early stopping")
    with pytest.raises(OSError, match="disk full"):
        clf.fit(X, NAMES, checkpoint=path)
    assert clf.n_iter_ == 6
    assert math.isfinite(clf.score(X, NAMES))
    assert MLPClassifier.load(path).n_iter_ == 5
    monkeypatch.undo()
    resumed = estimator("early stopping").fit(X, NAMES, checkpoint=path)
    assert_same(resumed, estimator("early stopping").fit(X, NAMES))


KILLED = """
import os, signal, sys, warnings
import numpy as np
from densegrad import MLPClassifier
warnings.simplefilter("ignore")
random = np.random.RandomState(0)
X = random.normal(size=(300, 20))
y = X[:, 0] * X[:, 1] > 0
epochs = int(sys.argv[2])

def die(epoch, logs):
    if epoch == epochs:
        os.kill(os.getpid(), signal.SIGKILL)

clf = MLPClassifier((60,), max_iter=30, early_stopping=True, n_iter_no_change=30, dropout=0.2, random_state=1,
                    schedule="one_cycle", learning_rate_init=0.01, callbacks=[die])
clf.fit(X, y, checkpoint=sys.argv[1])
np.save(sys.argv[1] + ".npy", clf.network_.parameters)
"""


def test_kill_minus_nine(tmp_path):
    def run(name, epoch):
        command = [sys.executable, "-c", KILLED, str(tmp_path / name), str(epoch)]
        return subprocess.run(command, check=False).returncode

    assert run("whole", -1) == 0
    for epoch in (4, 17):
        assert run("killed", epoch) == -signal.SIGKILL
        assert MLPClassifier.load(tmp_path / "killed", callbacks=None).n_iter_ == epoch
    assert run("killed", -1) == 0
    expected, found = (np.load(tmp_path / f"{name}.npy") for name in ("whole", "killed"))
    np.testing.assert_array_equal(expected, found)
