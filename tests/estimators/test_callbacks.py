"""Callbacks, the progress bar and the output of verbose."""

import numpy as np
import pytest

from densegrad import MLPClassifier, MLPRegressor
from problems import COMMON, Y_REG, X, Y

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def test_callbacks_see_every_epoch_and_may_stop():
    seen = []

    def watch(epoch, logs):
        seen.append((epoch, dict(logs)))
        return epoch == 6

    clf = MLPClassifier(**COMMON, early_stopping=True, callbacks=[watch]).fit(X, Y)
    assert clf.n_iter_ == 7
    assert [epoch for epoch, _ in seen] == list(range(7))
    assert [logs["loss"] for _, logs in seen] == clf.loss_curve_
    assert [logs["score"] for _, logs in seen] == clf.validation_scores_
    assert [logs["validation_loss"] for _, logs in seen] == clf.validation_loss_curve_
    iterations = []
    lbfgs = MLPClassifier(
        **COMMON, solver="lbfgs", callbacks=[lambda i, logs: iterations.append(logs["loss"]) or i == 3]
    )
    assert lbfgs.fit(X, Y).n_iter_ == len(iterations) == 4
    assert lbfgs.loss_ == pytest.approx(iterations[-1])


def test_progress_bar(capsys):
    MLPClassifier(**{**COMMON, "max_iter": 5}, progress=True).fit(X, Y)
    shown = capsys.readouterr().err
    assert "5/5" in shown
    assert "loss=" in shown


def test_verbose_prints_what_scikit_learn_prints(capsys):
    from sklearn.neural_network import MLPClassifier as Original

    outputs = []
    for Estimator in (MLPClassifier, Original):
        Estimator(8, max_iter=4, random_state=0, verbose=True, early_stopping=True).fit(X, Y)
        Estimator(8, solver="sgd", learning_rate="adaptive", tol=1.0, n_iter_no_change=1, max_iter=50,
                  learning_rate_init=1e-4, random_state=0, verbose=True).fit(X, Y)  # fmt: skip
        outputs.append(capsys.readouterr().out)
    assert "Learning rate too small. Stopping." in outputs[0]
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("answer", [True, np.True_])
def test_true_of_a_callback_stops_also_as_numpys(answer):
    assert MLPClassifier(**COMMON, callbacks=[lambda epoch, logs: answer]).fit(X, Y).n_iter_ == 1


def test_scikit_learns_callbacks():
    callback = pytest.importorskip("sklearn.callback")

    class Recorder:
        def __init__(self):
            self.scores, self.names = [], []

        def setup(self, estimator, context):
            self.names.append("setup")

        def teardown(self, estimator, context):
            self.names.append("teardown")

        def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
            self.names.append("begin")

        def on_fit_task_end(self, estimator, context, *, X=None, y=None, fitted_estimator=None):
            self.scores.append(fitted_estimator.score(X, y))
            return context.task_name == "epoch" and context.task_id == 4

    for Estimator, y, solver in (
        (MLPClassifier, Y, "adam"),
        (MLPRegressor, Y_REG, "adam"),
        (MLPClassifier, Y, "lbfgs"),
    ):
        recorder = Recorder()
        estimator = Estimator(**COMMON, solver=solver).set_callbacks(recorder)
        estimator.fit(X, y)
        assert estimator.n_iter_ == 5
        assert recorder.names == ["setup"] + ["begin"] * 6 + ["teardown"]
        assert recorder.scores[-1] == recorder.scores[-2] == estimator.score(X, y)
        assert recorder.scores[0] != recorder.scores[-1]
    monitor = callback.ScoringMonitor(scoring="accuracy")
    clf = MLPClassifier(**COMMON).set_callbacks(monitor).fit(X, Y)
    assert len(monitor.get_logs().data) >= clf.n_iter_


@pytest.mark.parametrize(
    "arguments", [{"tol": 10.0, "n_iter_no_change": 2}, {"schedule": "adaptive", "tol": 10.0}]
)
def test_callbacks_see_every_epoch(arguments):
    seen = []
    clf = MLPClassifier(
        max_iter=60, random_state=0, callbacks=[lambda epoch, logs: seen.append(epoch)], **arguments
    )
    clf.fit(X, Y)
    assert clf.n_iter_ < 60
    assert seen == list(range(clf.n_iter_))
