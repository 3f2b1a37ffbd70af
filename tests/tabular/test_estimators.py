"""TabularClassifier and TabularRegressor: their promises."""

import contextlib
import pickle
import signal
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification, make_multilabel_classification, make_regression
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_param_validation,
    check_sample_weights_not_overwritten,
    parametrize_with_checks,
)

from densegrad import TabularClassifier, TabularEncoder, TabularRegressor
from densegrad.tabular.columns import Columns
from densegrad.tabular.ensemble import Part, Problem, trained_member
from densegrad.tabular.frame import table_of
from densegrad.tabular.race import Watch, candidates, fit
from frames import classes_of, messy_frame, values_of

QUICK = {"max_epochs": 6, "random_state": 0}
BOTH = pytest.mark.parametrize(
    ("Estimator", "target"), [(TabularClassifier, classes_of), (TabularRegressor, values_of)]
)


def expected_failures(estimator):
    # Folds are drawn of rows, and two equal rows may be in two folds: not the same as one row of weight two.
    return {"check_sample_weight_equivalence_on_dense_data": "weights are no repetitions for folds"}


@parametrize_with_checks(
    [TabularClassifier(max_epochs=16), TabularRegressor(max_epochs=16)],
    expected_failed_checks=expected_failures,
)
def test_common_checks(estimator, check):
    check(estimator)


@BOTH
def test_more_checks(Estimator, target):
    check_param_validation(Estimator.__name__, Estimator(max_epochs=2))
    check_sample_weights_not_overwritten(Estimator.__name__, Estimator(max_epochs=2))


def outputs_of(model, X):
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


@BOTH
def test_a_frame_as_it_is(Estimator, target):
    frame, new = messy_frame(600), messy_frame(300, seed=1)
    model = Estimator(max_epochs=24, random_state=0).fit(frame, target(frame))
    assert model.score(new, target(new, 1)) > (0.9 if Estimator is TabularClassifier else 0.95)
    assert model.oof_score_ == pytest.approx(model.score(new, target(new, 1)), abs=0.06)
    assert len(model.members_) == 5
    assert model.kinds_[3] == "category"
    assert model.race_[model.encoding_] == min(model.race_.values())
    for curve, best in zip(model.history_, model.member_epochs_, strict=True):
        assert len(curve) == 24
        assert curve[best - 1] == min(curve)
        assert min(curve) < min(curve[best:], default=np.inf)  # the last of equal ones
    assert model.oof_prediction_.shape[0] == 600
    assert model.fit_seconds_ > 0
    reordered = new[new.columns[::-1]]
    np.testing.assert_array_equal(outputs_of(model, reordered), outputs_of(model, new))
    with contextlib.suppress(ImportError):
        import polars

        np.testing.assert_array_equal(outputs_of(model, polars.from_pandas(new)), outputs_of(model, new))


@BOTH
def test_same_bits_for_any_number_of_threads(Estimator, target):
    frame = messy_frame()
    y = target(frame)
    models = [Estimator(n_threads=n, **QUICK).fit(frame, y) for n in (1, 2, 3)]
    for model in models[1:]:
        np.testing.assert_array_equal(model.oof_prediction_, models[0].oof_prediction_)
        np.testing.assert_array_equal(outputs_of(model, frame), outputs_of(models[0], frame))
        assert model.race_ == models[0].race_
    other = Estimator(**{**QUICK, "random_state": 1}).fit(frame, y)
    assert not np.array_equal(outputs_of(other, frame), outputs_of(models[0], frame))


@BOTH
def test_same_bits_on_every_instruction_set(Estimator, target, isa):
    frame = messy_frame(100)
    model = Estimator(max_epochs=2, n_members=2, random_state=0).fit(frame, target(frame))
    assert reference(Estimator, target) == outputs_of(model, frame).tobytes()


_REFERENCE = {}


def reference(Estimator, target):
    if Estimator not in _REFERENCE:
        frame = messy_frame(100)
        model = Estimator(max_epochs=2, n_members=2, random_state=0).fit(frame, target(frame))
        _REFERENCE[Estimator] = outputs_of(model, frame).tobytes()
    return _REFERENCE[Estimator]


def problem_of(Estimator, frame, y):
    model = Estimator()
    columns, parsed = Columns.learned(table_of(frame))
    part = Part(parsed, model._task(model._read_targets(y), known=False))
    return Problem(columns, part, np.arange(len(frame)) % 5, None, (16,), 1)


@BOTH
@pytest.mark.parametrize(("means_above", "pairs"), [(2, 12), (2, 0), (64, 0)])
@pytest.mark.parametrize("fold", [0, 3])
def test_labels_of_a_fold_do_not_reach_its_member(Estimator, target, fold, means_above, pairs):
    frame = messy_frame(300)
    y = target(frame)
    alike = (frame["city"] == "Bonn") == (
        frame["age"] > 40
    )  # two columns tell together what none tells alone
    y[alike] = y[alike.argmax()]
    folds = np.arange(300) % 5

    def member(y):
        problem = replace(problem_of(Estimator, frame, y), means_above=means_above, pairs=pairs)
        (inputs,) = candidates(problem, ["plain"]).values()
        trained = trained_member(problem, inputs, fold, 0, None, lambda _: True)
        return trained, trained.error if Estimator is TabularRegressor else problem.log_loss(trained)

    permuted = y.copy()
    permuted[folds == fold] = np.random.default_rng(0).permutation(y[folds == fold])
    (before, cost), (after, other_cost) = member(y), member(permuted)
    # street; all that have more than two levels; numbers and dates' parts, and pairs
    single = [crossing for crossing, _ in before.means if len(crossing.columns) == 1]
    assert len(single) == (1 if means_above == 64 else 10 if pairs else 4)
    assert (len(before.means) > len(single)) == (pairs > 0)
    for (crossing, means), (same, others) in zip(before.means, after.means, strict=True):
        assert crossing.columns == same.columns
        np.testing.assert_array_equal(means.means, others.means)
    np.testing.assert_array_equal(before.scaling.factor, after.scaling.factor)
    np.testing.assert_array_equal(before.network.parameters, after.network.parameters)
    np.testing.assert_array_equal(before.judged_outputs, after.judged_outputs)
    assert cost != other_cost


def test_noise_in_many_levels_is_not_learned():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"level": [f"l{i}" for i in rng.integers(0, 150, 600)], "x": rng.normal(size=600)})
    y = rng.integers(0, 2, 600)
    assert TabularClassifier(max_epochs=12, random_state=0).fit(frame, y).oof_score_ < 0.6


@BOTH
def test_pickles_are_small_and_predict_the_same(Estimator, target):
    frame = messy_frame()
    model = Estimator(hidden_layer_sizes=32, **QUICK).fit(frame, target(frame))
    data = pickle.dumps(model.slim())
    weights = sum(network.parameters.nbytes for network in model.members_)
    assert len(data) < weights + 60_000
    np.testing.assert_array_equal(outputs_of(pickle.loads(data), frame), outputs_of(model, frame))
    assert pickle.loads(data).oof_prediction_ is None


@BOTH
def test_rows_of_weight_zero_are_left_out(Estimator, target):
    frame = messy_frame(240)
    y = target(frame)
    weight = np.where(np.arange(240) % 4 == 0, 0.0, np.arange(240) % 3 + 1)
    kept = weight > 0
    weighted = Estimator(**QUICK).fit(frame, y, weight)
    without = Estimator(**QUICK).fit(frame[kept], y[kept], weight[kept])
    assert np.isnan(weighted.oof_prediction_[~kept]).all()
    np.testing.assert_array_equal(weighted.oof_prediction_[kept], without.oof_prediction_)


@BOTH
def test_weights_matter(Estimator, target):
    frame = messy_frame()
    y = target(frame)
    flat, steep = (Estimator(**QUICK).fit(frame, y, weight) for weight in (None, np.linspace(0.1, 5, len(y))))
    assert not np.array_equal(outputs_of(flat, frame), outputs_of(steep, frame))
    same = Estimator(**QUICK).fit(frame, y, np.full(len(y), 2.5))
    np.testing.assert_array_equal(outputs_of(flat, frame), outputs_of(same, frame))


def test_class_weights():
    X, y = make_classification(600, weights=[0.9], flip_y=0.15, random_state=0)
    plain = TabularClassifier(**QUICK).fit(X, y)
    balanced = TabularClassifier(class_weight="balanced", **QUICK).fit(X, y)
    by_label = TabularClassifier(class_weight={0: 1.0, 1: 8.0}, **QUICK).fit(X, y)
    assert balanced.predict(X).mean() > plain.predict(X).mean()
    assert by_label.predict(X).mean() > plain.predict(X).mean()
    with pytest.raises(ValueError, match="class_weight names 2, which is no class"):
        TabularClassifier(class_weight={2: 1.0}).fit(X, y)


@BOTH
def test_rows_to_judge_by_take_the_place_of_folds(Estimator, target):
    frame, new = messy_frame(200), messy_frame(100, seed=1)
    model = Estimator(n_members=3, **QUICK)
    model.fit(frame, target(frame), X_val=new, y_val=target(new, 1), sample_weight_val=np.arange(100.0))
    assert model.oof_prediction_.shape[0] == 99
    assert len(model.members_) == 3
    with pytest.raises(ValueError, match="X_val and y_val must be given together"):
        model.fit(frame, target(frame), X_val=new)
    with pytest.raises(ValueError, match=r"(?s)in the validation data.*now missing:\n- age"):
        model.fit(frame, target(frame), X_val=new.drop(columns="age"), y_val=target(new))


def test_groups_stay_together():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(60), 10)
    centre = rng.normal(size=(60, 3))
    X = centre[groups] + 0.01 * rng.normal(size=(600, 3))
    y = rng.integers(0, 2, 60)[groups]  # noise, but of one group all the same
    leaking = TabularClassifier(max_epochs=24, random_state=0).fit(X, y)
    grouped = TabularClassifier(max_epochs=24, random_state=0).fit(X, y, groups=groups)
    assert leaking.oof_score_ > 0.9
    assert grouped.oof_score_ < 0.7
    frame = pd.DataFrame(X).rename(columns=str).assign(event=[f"e{g}" for g in groups])
    with pytest.warns(UserWarning, match="column 'event' are nearly all of one class"):
        TabularClassifier(max_epochs=1, n_members=1).fit(frame, y)


def test_probabilities_are_calibrated():
    X, y = make_classification(1500, n_features=8, n_informative=6, flip_y=0.2, n_classes=3, random_state=0)
    honest = TabularClassifier(max_epochs=24, random_state=0).fit(X[:1000], y[:1000])
    raw = clone(honest).set_params(calibrate=False).fit(X[:1000], y[:1000])
    assert honest.temperature_ != 1
    assert raw.temperature_ == 1

    def log_loss(probabilities, y):
        return -np.log(probabilities[np.arange(len(y)), y]).mean()

    assert log_loss(honest.oof_prediction_, y[:1000]) < log_loss(raw.oof_prediction_, y[:1000])
    np.testing.assert_array_equal(honest.oof_prediction_.argmax(axis=1), raw.oof_prediction_.argmax(axis=1))
    probabilities = honest.predict_proba(X[1000:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        honest.predict_log_proba(X[1000:]), np.log(probabilities), rtol=1e-9, atol=1e-12
    )
    assert probabilities.min() > 0


def test_several_labels():
    X, Y = make_multilabel_classification(400, n_classes=4, random_state=0)
    model = TabularClassifier(max_epochs=16, random_state=0).fit(X, Y)
    assert model.predict(X).shape == (400, 4)
    assert (model.predict(X) == Y).mean() > 0.85
    np.testing.assert_array_equal(model.predict_proba(X) > 0.5, model.predict(X))


# Values.


@pytest.mark.parametrize("factor", [1e-6, 1.0, 1e6])
def test_a_target_on_any_scale(factor):
    X, y = make_regression(300, 5, noise=1, random_state=0)
    model = TabularRegressor(max_epochs=24, random_state=0).fit(X, factor * (y + 1000))
    assert model.oof_score_ > 0.9


def test_predictions_stay_within_the_targets():
    X = np.random.default_rng(0).uniform(-1, 1, (600, 2))
    X = X[np.abs(X).sum(axis=1) < 1]
    y = X.sum(axis=1)
    model = TabularRegressor(max_epochs=24, random_state=0).fit(X, y)
    free = TabularRegressor(max_epochs=24, random_state=0, clamp=False).fit(X, y)
    corner = [[0.95, 0.95]]  # where each column is as in the training, but not both
    assert free.predict(corner)[0] > y.max()
    assert model.predict(corner)[0] == y.max()


def test_several_targets():
    X, Y = make_regression(300, 4, n_targets=3, noise=1, random_state=0)
    model = TabularRegressor(max_epochs=24, random_state=0).fit(X, Y * [1, 100, 1e4])
    assert model.predict(X).shape == (300, 3)
    assert model.oof_score_ > 0.9
    assert model.predict_interval(X).shape == (300, 3, 2)


def skewed(n_rows, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, 2))
    return X, 10 * X[:, 0] + rng.exponential(5, n_rows)


@pytest.mark.parametrize("coverage", [0.5, 0.9])
def test_intervals_hold_their_share(coverage):
    X, y = skewed(1200, 0)
    model = TabularRegressor(max_epochs=16, random_state=0).fit(X, y)
    new, truth = skewed(4000, 1)
    low, high = model.predict_interval(new, coverage).T
    assert ((low <= truth) & (truth <= high)).mean() == pytest.approx(coverage, abs=0.05)
    with pytest.raises(ValueError, match=r"coverage must be a number in \(0, 1\)"):
        model.predict_interval(new, 1.0)


def test_quantiles_never_cross():
    X, y = skewed(1200, 0)
    model = TabularRegressor("quantile", quantile=[0.1, 0.5, 0.9], max_epochs=16, random_state=0).fit(X, y)
    new, truth = skewed(4000, 1)
    quantiles = model.predict(new)
    assert (np.diff(quantiles, axis=1) >= 0).all()
    np.testing.assert_allclose((truth[:, np.newaxis] <= quantiles).mean(axis=0), [0.1, 0.5, 0.9], atol=0.07)
    assert 0 < model.score(new, truth) < 1
    with pytest.raises(
        ValueError, match=r"predict are the bounds, one for each level of quantile=\[0.1, 0.5, 0.9\]"
    ):
        model.predict_interval(new)
    both = TabularRegressor("quantile", quantile=[0.1, 0.9], max_epochs=2).fit(X, np.stack([y, -y], axis=1))
    assert both.predict(new).shape == (4000, 2, 2)


def noisy_on_one_side(n_rows, seed):
    rng = np.random.default_rng(seed)
    X = rng.uniform(-1, 1, (n_rows, 2))
    std = np.where(X[:, 0] > 0, 30.0, 3.0)
    return X, 1000 + 50 * X[:, 1] + std * rng.normal(size=n_rows), std


def test_deviations_depend_on_the_row():
    X, y, _ = noisy_on_one_side(1500, 0)
    model = TabularRegressor("gaussian_nll", max_epochs=24, random_state=0).fit(X, y)
    new, truth, std = noisy_on_one_side(4000, 1)
    mean, deviation = model.predict(new, return_std=True)
    np.testing.assert_array_equal(mean, model.predict(new))
    assert model.score(new, truth) > 0.6
    for level in (3.0, 30.0):
        assert np.median(deviation[std == level]) == pytest.approx(level, rel=0.3)
    low, high = model.predict_interval(new, 0.9).T
    inside = (low <= truth) & (truth <= high)
    for level in (3.0, 30.0):
        assert inside[std == level].mean() == pytest.approx(0.9, abs=0.06)
    both = TabularRegressor("gaussian_nll", max_epochs=8, random_state=0).fit(X, np.stack([y, -y], axis=1))
    mean, deviation = both.predict(new, return_std=True)
    assert mean.shape == deviation.shape == (4000, 2)
    assert both.predict_interval(new).shape == (4000, 2, 2)
    with pytest.raises(ValueError, match=r"return_std=True needs a fit with loss='gaussian_nll'; got loss="):
        TabularRegressor(**QUICK).fit(X, y).predict(new, return_std=True)


@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_deviations_have_the_scale_of_the_target(factor):
    X, y, _ = noisy_on_one_side(300, 0)
    one, scaled = (
        TabularRegressor("gaussian_nll", **QUICK).fit(X, y * f).predict(X, return_std=True)
        for f in (1, factor)
    )
    np.testing.assert_allclose(scaled[0], factor * one[0], rtol=1e-3)
    np.testing.assert_allclose(scaled[1], factor * one[1], rtol=0.05)


@pytest.mark.parametrize("loss", ["absolute_error", "huber", "poisson", "gamma", "quantile"])
def test_losses(loss):
    X, y = skewed(500, 0)
    y = np.exp(y / 20)
    model = TabularRegressor(loss, max_epochs=16, random_state=0).fit(X, y)
    assert model.oof_score_ > (0.35 if loss == "quantile" else 0.5)
    if loss in ("poisson", "gamma"):
        assert (model.predict(X) > 0).all()
        with pytest.raises(ValueError, match="y must be"):
            model.fit(X, -y)


# Time, memory, Ctrl-C, progress.


@BOTH
def test_a_time_limit_ends_the_fit(Estimator, target):
    frame = messy_frame(400)
    y = target(frame)
    whole = Estimator(random_state=0).fit(frame, y)
    limited = Estimator(random_state=0, time_limit=whole.fit_seconds_ / 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # other work on this machine may make the limit too short
        limited.fit(frame, y)
    assert sum(map(len, limited.history_)) < sum(map(len, whole.history_))


@BOTH
@pytest.mark.parametrize(("epochs_in_time", "n_members"), [(7, 2), (9, 2), (17, 2), (60, 5)])
def test_nothing_new_starts_after_the_time_limit(Estimator, target, epochs_in_time, n_members):
    frame = messy_frame(100)
    problem = replace(problem_of(Estimator, frame, target(frame)), epochs=4)
    done = []
    watch = Watch(lambda: len(done) < epochs_in_time, lambda: done.append(0), lambda n: None)
    # Two encodings on two folds, 4 epochs each; then at least one try on both, and three more members.
    ensemble, interrupted = fit(problem, candidates(problem, ["plain", "bins"]), list(range(5)), 1, watch)
    assert not interrupted
    assert len(ensemble.members) == n_members
    n_jobs_left = {7: 3, 9: 2, 17: 3, 60: 0}[epochs_in_time]
    assert len(done) <= epochs_in_time + n_jobs_left
    assert np.isfinite(ensemble.outputs(problem.training.parsed, 1)[0]).all()


@BOTH
def test_a_time_limit_too_short_for_an_epoch(Estimator, target):
    frame = messy_frame(400)
    with pytest.warns(UserWarning, match="time_limit=1e-06 seconds ended the fit before its last epoch"):
        model = Estimator(time_limit=1e-6, max_epochs=5).fit(frame, target(frame))
    assert len(model.members_) == 1
    assert np.isfinite(model.score(frame, target(frame)))


def test_short_time_leaves_out_the_race_of_depths(monkeypatch):
    X, y = reach_of_an_arm(300)
    model = TabularRegressor(max_epochs=16, n_members=2, encodings="plain", random_state=0, time_limit=1000)
    for seconds, n_layers in [(1e-9, 3), (1000.0, 2)]:
        monkeypatch.setattr(
            "densegrad.tabular.fitting.timed_epoch",
            lambda problem, *_, longest=seconds: 1e-9 if problem.deeper is None else longest,
        )
        assert model.fit(X, y).hidden_layer_sizes_ == (256,) * n_layers
        assert len(model.history_[0]) == 16


def test_what_fits_into_a_time_limit():
    from densegrad.tabular.budget import Plan, planned

    wanted = Plan(3, 5, 64)
    assert planned(wanted, 0.1, 100.0, 2) == wanted
    assert planned(wanted, 1.0, 120.0, 2) == Plan(3, 5, 15)
    assert planned(wanted, 1.0, 66.0, 2) == Plan(1, 5, 12)
    assert planned(wanted, 1.0, 50.0, 2) == Plan(1, 3, 12)
    assert planned(wanted, 1.0, 8.0, 2) == Plan(1, 1, 12, 0.5)
    assert planned(wanted, 1.0, 0.01, 2) == Plan(1, 1, 12, 0.01)
    assert planned(replace(wanted, n_tries=3), 1.0, 130.0, 2) == Plan(3, 5, 12, n_tries=3)


def test_memory(monkeypatch):
    frame = messy_frame()
    model = TabularClassifier(**QUICK)
    few, many = model.estimate_memory(frame), model.estimate_memory(pd.concat([frame] * 50))
    assert 100_000 < few < many
    deep = TabularClassifier(hidden_layer_sizes=(256, 256, 256), **QUICK)
    assert few == deep.estimate_memory(frame)
    monkeypatch.setattr("densegrad.tabular.base.available_memory", lambda: 1000.0)
    with pytest.warns(ResourceWarning, match="GB of memory, and the process may use"):
        model.fit(frame, classes_of(frame))


def test_the_system_tells_how_much_memory_there_is():
    from densegrad.tabular.memory import available_memory

    assert available_memory() > 1e7


@BOTH
def test_ctrl_c_leaves_the_members_that_are_done(Estimator, target, monkeypatch):
    frame = messy_frame(1000)
    y = target(frame)
    trained = []

    def interrupted_in_the_third(*arguments):
        member = trained_member(*arguments)
        trained.append(member)
        if len(trained) == 3:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return member

    monkeypatch.setattr("densegrad.tabular.race.trained_member", interrupted_in_the_third)
    model = Estimator(n_threads=1, n_members=6, encodings="plain", max_epochs=12, random_state=0)
    # A job in the background has it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.warns(UserWarning, match="Training interrupted by user: [2-4] members were ready"):
            model.fit(frame, y)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(trained) in (3, 4)
    assert len(model.members_) in (2, 3, 4)
    assert np.isfinite(model.score(frame, y))


def test_ctrl_c_while_members_are_handed_out(monkeypatch):
    frame = messy_frame()
    submit, calls = ThreadPoolExecutor.submit, []

    def interrupted_in_the_last_but_one(self, *arguments):
        calls.append(arguments)
        if len(calls) == 10:  # 4 of encodings, 4 of tries, and 3 more members
            raise KeyboardInterrupt
        return submit(self, *arguments)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted_in_the_last_but_one)
    with pytest.warns(UserWarning, match="Training interrupted by user: [23] members were ready"):
        model = TabularClassifier(n_threads=1, **QUICK).fit(frame, classes_of(frame))
    assert np.isfinite(model.score(frame, classes_of(frame)))


def test_progress(capfd):
    frame = messy_frame()
    TabularClassifier(progress=True, **QUICK).fit(frame, classes_of(frame))
    # On two folds three layers, two encodings, no label smoothing, and more means; then three more members; 6
    # epochs each.
    assert "78/78" in capfd.readouterr().err


# With scikit-learn.


def test_scikit_learns_tools():
    frame = messy_frame()
    y = classes_of(frame)
    quick = TabularClassifier(n_members=2, max_epochs=16, random_state=0)
    search = GridSearchCV(quick, {"hidden_layer_sizes": [16, (16, 16)]}, cv=2).fit(frame, y)
    assert search.best_score_ > 0.6
    pipeline = make_pipeline(FunctionTransformer(lambda frame: frame.drop(columns="street")), quick)
    assert pipeline.fit(frame, y).predict(frame).shape == y.shape
    fitted = clone(quick).set_params(max_epochs=24).fit(frame, y)
    importance = permutation_importance(fitted, frame, y, n_repeats=2, random_state=0).importances_mean
    assert importance[frame.columns.get_loc("constant")] == 0
    assert set(frame.columns[np.argsort(importance)[-2:]]) == {"age", "city"}
    calibrated = CalibratedClassifierCV(quick, cv=2).fit(frame, y)
    assert calibrated.predict_proba(frame).shape == (200, 2)


# Refused arguments, and tables at the edge.


@BOTH
def test_refused_arguments_leave_the_estimator_as_it_was(Estimator, target):
    frame = messy_frame()
    y = target(frame)
    model = Estimator(**QUICK).fit(frame, y)
    before = outputs_of(model, frame)
    for change, words in [
        ({"X": frame.assign(age=np.inf)}, "infinity in column 'age'"),
        ({"X": pd.concat([frame, frame[["age"]]], axis=1)}, "two columns of one name"),
        ({"y": y[:-1]}, "inconsistent numbers of samples"),
        ({"sample_weight": np.zeros(len(y))}, "at least one non-zero number"),
        ({"sample_weight": -np.ones(len(y))}, "Negative values"),
        ({"groups": np.zeros(len(y))}, "at least two groups"),
        ({"groups": frame["city"]}, r"groups must not have missing values; got \d+"),
        ({"groups": np.zeros(3)}, r"groups must have shape \(200,\)"),
        ({"X": frame.iloc[:1], "y": y[:1]}, "n_samples=1"),
        ({"y": None}, "requires y to be passed"),
    ]:
        with pytest.raises(ValueError, match=words):
            model.fit(**{"X": frame, "y": y, **change})
        np.testing.assert_array_equal(outputs_of(model, frame), before)
    with pytest.raises(ValueError, match="now missing:\n- age"):
        model.predict(frame.drop(columns="age"))
    with pytest.raises(ValueError, match="encodings must be some of plain, bins, values"):
        Estimator(encodings=["plain", "fourier"]).fit(frame, y)
    for sizes in ([], [64, 2.5], ["a"], [0], [True, 8]):
        with pytest.raises(ValueError, match="hidden_layer_sizes must be 'auto', or widths"):
            Estimator(hidden_layer_sizes=sizes).fit(frame, y)
    with pytest.raises(ValueError, match="'n_threads' parameter"):
        Estimator(n_threads=10**30).fit(frame, y)


@pytest.mark.parametrize(
    ("Estimator", "names"),
    [
        (TabularClassifier, "n_members hidden_layer_sizes max_epochs time_limit random_state n_threads"),
        (
            TabularRegressor,
            "n_members hidden_layer_sizes max_epochs time_limit random_state n_threads quantile",
        ),
        (TabularEncoder, "max_levels n_bins smoothing n_folds random_state"),
    ],
)
def test_a_boolean_is_no_number(Estimator, names):
    frame = messy_frame(50)
    for name in names.split():
        for value in (True, np.True_):
            with pytest.raises(ValueError, match=f"'{name}' parameter .* Got .*True"):
                Estimator(**{name: value}).fit(frame, classes_of(frame))
    if hasattr(Estimator, "estimate_memory"):
        with pytest.raises(TypeError, match="n_outputs must be an integer of at least 1; got True"):
            Estimator().estimate_memory(frame, n_outputs=True)


def test_targets_that_cannot_be_read():
    frame = messy_frame(50)
    with pytest.raises(ValueError, match=r"y must hold numbers.*fit a TabularClassifier"):
        TabularRegressor().fit(frame, ["a"] * 50)
    for y in ([None, *range(49)], pd.Series([pd.NA, *range(49)], dtype="Int64"), [np.nan, *range(49)]):
        with pytest.raises(ValueError, match=r"y contains NaN.*Leave the rows out"):
            TabularRegressor().fit(frame, y)
    days = pd.date_range("2024-01-01", periods=50)
    for dates in (days, days.astype(object), days - days[0]):
        with pytest.raises(TypeError, match=r"y must hold numbers.*ass numbers of days"):
            TabularRegressor().fit(frame, dates)
    for factor in (1e200, 1e-200):
        with pytest.raises(ValueError, match=r"largest absolute value between 1e-150 and 1e\+150; got 1e"):
            TabularRegressor().fit(frame, factor * np.linspace(-1, 1, 50))
    with pytest.raises(TypeError, match=r"not the name of a column; got 'age'\. Pass X\.drop"):
        TabularRegressor().fit(frame, "age")
    with pytest.raises(ValueError, match="y must not have missing labels; got NaN or None 50 times"):
        TabularClassifier().fit(pd.concat([frame, frame]), ["a", None] * 50)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (pd.Series([1, 0] * 20, dtype=object), np.array([0, 1])),
        (pd.array([1, 0] * 20, dtype="Int64"), np.array([0, 1])),
        (pd.Series([True, False] * 20, dtype=object), np.array([False, True])),
        (pd.array([True, False] * 20, dtype="boolean"), np.array([False, True])),
        (pd.array(["b", "a"] * 20, dtype="string"), np.array(["a", "b"])),
    ],
)
def test_labels_keep_their_kind(y, classes):
    model = TabularClassifier(n_members=1, max_epochs=1).fit(np.arange(40.0)[:, np.newaxis], y)
    assert model.classes_.dtype == classes.dtype
    np.testing.assert_array_equal(model.classes_, classes)


def test_labels_of_no_one_kind():
    X = np.arange(40.0)[:, np.newaxis]
    day = pd.Timestamp("2024-01-01")
    for y, held in [
        (["yes", 1] * 20, "int and str"),
        ([1.5, True] * 20, "bool and float"),
        ([day, day.date()] * 20, "Timestamp and date"),
        (np.array([day] * 40, "datetime64[us]"), r"datetime64\[us\]"),
    ]:
        with pytest.raises(ValueError, match=f"Unknown label type: {held}.*one kind.*astype"):
            TabularClassifier().fit(X, np.array(y, object) if isinstance(y, list) else y)
    with pytest.raises(ValueError, match=r"whole numbers below 2\*\*63.*Make text"):
        TabularClassifier().fit(X, [2**70, 1] * 20)


@pytest.mark.parametrize("argument", ["y", "sample_weight", "groups"])
def test_a_name_in_place_of_values(argument):
    frame = messy_frame(50)
    with pytest.raises(TypeError, match=rf"{argument} must hold one .*not the name of a column; got 'age'"):
        TabularRegressor().fit(**{"X": frame, "y": np.arange(50), argument: "age"})


def reach_of_an_arm(n_rows):
    """Angles of three joints, and how far the arm reaches: a function of functions."""
    joints = np.random.RandomState(0).uniform(0, 2 * np.pi, (n_rows, 3))
    directions = joints.cumsum(axis=1)
    return joints, np.hypot(np.cos(directions).sum(axis=1), np.sin(directions).sum(axis=1))


def test_three_layers_only_where_they_pay():
    X, y = reach_of_an_arm(300)
    quick = {"max_epochs": 16, "n_members": 3, "random_state": 0}
    deep = TabularRegressor(**quick).fit(X, y)
    shallow = TabularRegressor(**quick).fit(X, X.sum(axis=1))
    assert deep.hidden_layer_sizes_ == (256, 256, 256)
    assert shallow.hidden_layer_sizes_ == (256, 256)
    for model in (deep, shallow):
        layers = {tuple(layer.units for layer in network.spec.layers[:-1]) for network in model.members_}
        assert layers == {model.hidden_layer_sizes_}
        # The race of encodings had that depth, too.
        same = TabularRegressor(hidden_layer_sizes=model.hidden_layer_sizes_, **quick)
        assert same.fit(X, y if model is deep else X.sum(axis=1)).race_ == model.race_
        np.testing.assert_array_equal(same.predict(X), model.predict(X))


def test_many_rows_race_depths_on_one_fold():
    X, y = reach_of_an_arm(300)
    quick = {"max_epochs": 16, "n_members": 3, "random_state": 0}
    trained = []

    def counted(problem, inputs, fold, *others):
        trained.append((len(problem.hidden), fold))
        return trained_member(problem, inputs, fold, *others)

    with (
        mock.patch("densegrad.tabular.race.ROWS_FOR_SHORT", 100),
        mock.patch("densegrad.tabular.race.trained_member", counted),
    ):
        model = TabularRegressor(n_threads=1, **quick).fit(X, y)
    assert model.hidden_layer_sizes_ == (256, 256)
    assert trained[:2] == [(2, 0), (3, 0)]
    assert {n_layers for n_layers, _ in trained[2:]} == {2}


def test_more_epochs_only_where_they_pay():
    rng = np.random.RandomState(0)
    X = rng.uniform(-2, 2, (400, 2))
    small = {"hidden_layer_sizes": 64, "max_epochs": 40, "encodings": "plain", "random_state": 0}
    with mock.patch("densegrad.tabular.race.ROWS_FOR_SHORT", 100):
        waves = TabularRegressor(**small).fit(X, np.sin(2 * X).sum(axis=1))
        noise = TabularRegressor(**small).fit(X, rng.standard_normal(400))
    assert {len(curve) for curve in waves.history_} == {40}
    assert max(len(curve) for curve in noise.history_) <= 8


@BOTH
def test_groups_of_any_kind(Estimator, target):
    frame = messy_frame(100)
    mixed = np.array([f"g{i}" if i % 2 else i for i in range(20)] * 5, dtype=object)
    assert len(Estimator(**QUICK).fit(frame, target(frame), groups=mixed).members_) == 5


def test_two_rows():
    model = TabularClassifier(**QUICK).fit([[0.0], [1.0]], ["a", "b"])
    assert model.predict([[0.0]])[0] in ("a", "b")
    assert np.isfinite(TabularRegressor(**QUICK).fit([[0.0], [1.0]], [3.0, 4.0]).predict([[9.0]])).all()


def test_one_class():
    model = TabularClassifier(**QUICK).fit([[0.0], [1.0], [2.0]], ["a"] * 3)
    np.testing.assert_array_equal(model.predict_proba([[5.0]]), [[1.0]])
    assert model.predict([[5.0]]) == ["a"]


def test_a_class_of_one_row_is_always_trained_on():
    X, y = make_classification(100, random_state=0)
    y[7] = 2
    model = TabularClassifier(**QUICK).fit(X, y)
    assert model.predict_proba(X).shape == (100, 3)
    assert np.isnan(model.oof_prediction_[7]).all()
    assert np.isfinite(np.delete(model.oof_prediction_, 7, axis=0)).all()


def test_many_classes(rng):
    y = np.repeat(np.arange(1000), 2)
    X = np.stack([y / 100, y % 100], axis=1) + 0.01 * rng.normal(size=(2000, 2))
    model = TabularClassifier(max_epochs=1, n_members=1, encodings="plain", random_state=0).fit(X, y)
    assert model.predict_proba(X[:3]).shape == (3, 1000)


def test_a_constant_target():
    model = TabularRegressor(**QUICK).fit(np.arange(20.0)[:, np.newaxis], np.full(20, 7.0))
    np.testing.assert_array_equal(model.predict([[3.0], [99.0]]), [7.0, 7.0])
    normal = TabularRegressor("gaussian_nll", **QUICK).fit(np.arange(20.0)[:, np.newaxis], np.full(20, 7.0))
    assert np.isfinite(normal.predict([[3.0], [99.0]], return_std=True)).all()


def test_a_table_without_information():
    X = pd.DataFrame({"constant": np.ones(30), "empty": [None] * 30})
    y = np.array([0.0, 1.0, 2.0] * 10)
    assert TabularRegressor(**QUICK).fit(X, y).predict(X) == pytest.approx(np.full(30, 1.0), abs=0.5)
