"""TabularEncoder: kinds of tables and columns, the numbers of each encoding, and no leak of the target."""

import contextlib
import re
import subprocess
import sys
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import (
    check_param_validation,
    parametrize_with_checks,
)

from densegrad import MLPClassifier, MLPRegressor, TabularEncoder
from densegrad.tabular.level_encoding import TargetMeans
from densegrad.tabular.standard_target import standard_target
from frames import classes_of, messy_frame, values_of

ENCODINGS = ["plain", "bins", "values"]


@parametrize_with_checks([TabularEncoder(), TabularEncoder("bins"), TabularEncoder("values")])
def test_common_checks(estimator, check):
    check(estimator)


def test_parameters_are_validated():
    check_param_validation("TabularEncoder", TabularEncoder())


def other_tables(frame):
    yield "objects", frame.astype(object).to_numpy()
    yield "lists", frame.astype(object).to_numpy().tolist()
    with contextlib.suppress(ImportError):
        import polars

        yield "polars", polars.from_pandas(frame)
    with contextlib.suppress(ImportError):
        import pyarrow

        yield "Arrow", pyarrow.Table.from_pandas(frame)
        yield "Arrow in pandas", frame.convert_dtypes(dtype_backend="pyarrow")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_equal_tables_have_equal_inputs(encoding):
    frame = messy_frame()
    y = values_of(frame)
    encoder = TabularEncoder(encoding, random_state=0)
    trained, new = encoder.fit_transform(frame, y), encoder.transform(messy_frame(seed=1))
    for kind, table in other_tables(frame):
        other = TabularEncoder(encoding, random_state=0)
        np.testing.assert_array_equal(other.fit_transform(table, y), trained, err_msg=kind)
        assert other.kinds_ == encoder.kinds_, kind
    for kind, table in other_tables(messy_frame(seed=1)):
        if kind in ("objects", "lists"):
            with pytest.warns(UserWarning, match="does not have valid feature names"):
                np.testing.assert_array_equal(encoder.transform(table), new)
        else:
            np.testing.assert_array_equal(encoder.transform(table), new, err_msg=kind)


def test_columns_are_matched_by_name():
    frame = messy_frame()
    encoder = TabularEncoder().fit(frame)
    np.testing.assert_array_equal(encoder.transform(frame[frame.columns[::-1]]), encoder.transform(frame))
    assert list(encoder.feature_names_in_) == list(frame.columns)


def test_no_library_of_frames_is_needed():
    code = (
        "import sys; sys.modules.update(dict.fromkeys(['pandas', 'polars', 'pyarrow']));"
        "import numpy as np; from densegrad import TabularEncoder;"
        "TabularEncoder().fit(np.array([[1.0, 'a'], [2.0, 'b']], dtype=object))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_kinds():
    assert TabularEncoder().fit(messy_frame()).kinds_ == [
        "number", "number", "category", "category", "category", "category", "date", "number", "empty",
    ]  # fmt: skip


def test_names_go_with_the_inputs():
    frame = messy_frame()
    encoder = TabularEncoder("bins", random_state=0).set_output(transform="pandas")
    inputs = encoder.fit_transform(frame, classes_of(frame))
    assert len(set(inputs.columns)) == inputs.shape[1]
    assert list(inputs.columns) == list(encoder.get_feature_names_out())
    assert np.isfinite(inputs.to_numpy()).all()
    bonn = inputs["city=Bonn"].to_numpy()
    np.testing.assert_array_equal(bonn, np.where(frame["city"] == "Bonn", np.float32(1.66), 0))
    np.testing.assert_array_equal(inputs["age_missing"], frame["age"].isna())
    assert "street_mean" in inputs
    assert "constant" not in inputs
    assert "since_days_missing" in inputs
    assert "since_year_missing" not in inputs  # the same rows


def test_the_target_has_one_mean_for_each_class():
    frame = messy_frame()
    y = np.arange(len(frame)) % 3
    names = TabularEncoder().fit(frame, y).get_feature_names_out()
    assert [name for name in names if name.startswith("street_mean")] == [
        "street_mean0", "street_mean1", "street_mean2",
    ]  # fmt: skip


def test_robust_scale_and_clip():
    x = np.array([0.0, 1, 2, 3, 4, 100])
    inputs = TabularEncoder().fit_transform(x[:, np.newaxis])
    first, median, third = np.quantile(x, [0.25, 0.5, 0.75])
    z = (x - median) / (third - first)
    np.testing.assert_allclose(inputs[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6)
    np.testing.assert_allclose(inputs[:, 1], (x - x.mean()) / x.std(), rtol=1e-6)


def test_half_the_range_stands_in_for_quartiles_that_are_equal():
    x = np.array([0.0] * 9 + [4.0])
    z = x / 2
    inputs = TabularEncoder().fit_transform(x[:, np.newaxis])
    np.testing.assert_allclose(inputs[:, 0], z / np.sqrt(1 + (z / 3) ** 2), rtol=1e-6)


def test_new_numbers_outside_the_range():
    encoder = TabularEncoder().fit(np.arange(11.0)[:, np.newaxis])
    inside, outside = encoder.transform([[10.0]]), encoder.transform([[1e9]])
    assert outside[0, 0] == pytest.approx(3, abs=1e-6)
    assert outside[0, 1] == inside[0, 1]


def test_bins_are_piecewise_linear():
    x = np.arange(5.0)
    encoder = TabularEncoder("bins").fit(x[:, np.newaxis])
    bins = encoder.transform([[-7.0], [0.5], [2.0], [9.0]])[:, 2:]
    np.testing.assert_allclose(bins, [[-1, 0, 0, 0], [0.5, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 2]])


def test_bins_become_fewer_where_columns_are_many(rng):
    X = rng.normal(size=(300, 90))
    assert TabularEncoder("bins").fit(X[:, :50]).transform(X[:, :50]).shape[1] == 50 * (2 + 16)
    assert TabularEncoder("bins").fit(X).transform(X).shape[1] == 90 * (2 + 8)
    assert TabularEncoder("bins").fit(np.hstack([X, X])).transform(np.hstack([X, X])).shape[1] == 180


def test_frequent_values_get_indicators(rng):
    x = np.where(rng.random(1000) < 0.2, 99.0, rng.normal(size=1000))
    encoder = TabularEncoder("values").fit(x[:, np.newaxis])
    assert list(encoder.get_feature_names_out()) == ["x0", "x0_standard", "x0=99"]
    np.testing.assert_array_equal(encoder.transform(x[:, np.newaxis])[:, 2], x == 99)


def test_levels():
    X = np.array([["a"]] * 3 + [["b"]] * 2 + [[None]] * 2 + [["rare"]], dtype=object)
    encoder = TabularEncoder().fit(X)
    assert list(encoder.get_feature_names_out()) == ["x0=a", "x0_missing", "x0=b"]
    new = np.array([["a"], [None], ["rare"], ["unknown"], [3]], dtype=object)
    one = np.float32(1.66)
    np.testing.assert_array_equal(
        encoder.transform(new), [[one, 0, 0], [0, one, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]
    )


def test_two_levels_are_one_input_of_either_sign():
    encoder = TabularEncoder().fit(np.array([[True], [True], [False]]))
    np.testing.assert_array_equal(
        encoder.transform(np.array([[True], [False], [None]], dtype=object)),
        np.float32([[1.66], [-1.66], [0]]),
    )


def test_most_frequent_levels_only(rng):
    X = rng.integers(0, 30, (2000, 1)).astype(str).astype(object)
    assert TabularEncoder(max_levels=7).fit(X).transform(X).shape == (2000, 7)


@pytest.mark.parametrize("chosen", [["code"], [1], np.array([False, True])], ids=["name", "number", "mask"])
def test_numbers_that_are_categories(chosen):
    frame = pd.DataFrame({"x": [0.1, 0.2, 0.3, 0.4], "code": [7, 8, 7, 8]})
    encoder = TabularEncoder(categorical_features=chosen).fit(frame)
    assert encoder.kinds_ == ["number", "category"]


def test_dates():
    when = pd.Series(pd.to_datetime(["2024-02-29 06:00", "1999-12-31 00:00", None, "2030-01-01 00:00"]))
    encoder = TabularEncoder().fit(when.to_frame("when"))
    parts = [name for name in encoder.get_feature_names_out() if name.count("_") == 1]
    assert parts == ["when_days", "when_year", "when_month", "when_weekday", "when_hour"]
    zoned = when.dt.tz_localize("UTC").dt.tz_convert("Asia/Tokyo").to_frame("when")
    np.testing.assert_array_equal(encoder.transform(zoned), encoder.transform(when.to_frame("when")))
    from densegrad.tabular.columns import Columns
    from densegrad.tabular.frame import table_of

    _, parsed = Columns.learned(table_of(when.to_frame("when")))
    assert parsed.numbers[0].tolist() == [19782.25, 2024, 2, 3, 6]
    assert parsed.numbers[1].tolist() == [10956, 1999, 12, 4, 0]
    assert np.isnan(parsed.numbers[2]).all()


def test_periods_are_dates():
    months = pd.period_range("2024-01", periods=24, freq="M")
    dates = pd.DataFrame({"month": months.to_timestamp()})
    periods = pd.DataFrame({"month": months})
    periods.loc[3, "month"] = dates.loc[3, "month"] = None
    encoder = TabularEncoder().fit(dates)
    assert TabularEncoder().fit(periods).kinds_ == encoder.kinds_ == ["date"]
    np.testing.assert_array_equal(encoder.transform(periods), encoder.transform(dates))


def test_complex_numbers_in_a_frame_are_refused():
    with pytest.raises(ValueError, match="column 'z' of X cannot be read: Complex data not supported"):
        TabularEncoder().fit(pd.DataFrame({"z": [1j, 2.0]}))


def test_missing_values_that_the_training_did_not_have():
    encoder = TabularEncoder().fit(pd.DataFrame({"x": [1.0, 2, 4], "c": ["a", "b", "b"]}))
    new = encoder.transform(pd.DataFrame({"x": [np.nan, 2.0], "c": [None, "a"]}))
    assert np.isfinite(new).all()
    np.testing.assert_array_equal(new[0, :2], new[1, :2])  # the median


def test_a_table_that_tells_nothing():
    X = np.full((4, 2), np.nan)
    X[:, 1] = 3
    encoder = TabularEncoder().fit(X)
    np.testing.assert_array_equal(encoder.transform(X), np.zeros((4, 1)))


# The target.


def street_frame(n_rows=400, n_levels=100, seed=0):
    rng = np.random.default_rng(seed)
    street = rng.integers(0, n_levels, n_rows)
    return pd.DataFrame({"street": [f"s{i}" for i in street]}), street


def test_no_row_sees_its_own_target():
    frame, _ = street_frame()
    y = np.random.default_rng(1).normal(size=len(frame))
    inputs = TabularEncoder(random_state=0).fit_transform(frame, y)[:, -1]
    # Noise cannot be predicted: means over all rows, the row among them, correlate by 0.4 here.
    assert abs(np.corrcoef(inputs, y)[0, 1]) < 0.15
    whole = TabularEncoder(random_state=0).fit(frame, y).transform(frame)[:, -1]
    assert np.corrcoef(whole, y)[0, 1] > 0.3


def test_labels_of_a_fold_do_not_reach_its_inputs():
    _, street = street_frame()
    codes, rng = street.astype(np.int32), np.random.default_rng(1)
    folds = rng.integers(0, 5, len(codes))
    target = rng.normal(size=(len(codes), 2))
    _, inputs = TargetMeans.learned(codes, target, folds, 100, 10.0)
    permuted = target.copy()
    permuted[folds == 2] = rng.permutation(target[folds == 2])
    _, again = TargetMeans.learned(codes, permuted, folds, 100, 10.0)
    np.testing.assert_array_equal(again[folds == 2], inputs[folds == 2])
    assert not np.array_equal(again[folds == 1], inputs[folds == 1])


@pytest.mark.parametrize(("noise", "low", "high"), [(0.0, 1, 1), (30.0, 100, 1000)])
def test_smoothing_is_chosen_by_other_folds(noise, low, high):
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 80, 4000).astype(np.int32)
    y = rng.normal(size=80)[codes] + noise * rng.normal(size=4000)
    target = standard_target(y[:, np.newaxis])
    folds = rng.integers(0, 5, 4000)

    def misfit(smoothing):
        _, of_rows = TargetMeans.learned(codes, target, folds, 80, smoothing)
        return np.square(target - of_rows).mean()

    smoothings = [1, 3, 10, 30, 100, 300, 1000]
    best = min(smoothings, key=misfit)
    assert low <= best <= high
    chosen, expected = (TargetMeans.learned(codes, target, folds, 80, s) for s in (None, best))
    np.testing.assert_array_equal(chosen[0].means, expected[0].means)
    np.testing.assert_array_equal(chosen[1], expected[1])
    frame = pd.DataFrame({"level": [f"l{code}" for code in codes]})
    automatic, *fixed = (
        TabularEncoder(smoothing=s, random_state=0).fit_transform(frame, y) for s in ("auto", *smoothings)
    )
    (same,) = (s for s, of_rows in zip(smoothings, fixed, strict=True) if np.array_equal(of_rows, automatic))
    assert low <= same <= high  # not always `best`: its folds are others


def test_means_are_shrunk():
    frame = pd.DataFrame({"c": ["a"] * 30 + [f"s{i}" for i in range(70)]})
    y = np.where(frame["c"] == "a", 1.0, 0.0)
    encoder = TabularEncoder(smoothing=10.0).fit(frame, y)
    t = (1 - y.mean()) / y.std()
    assert encoder.transform(frame)[0, -1] == pytest.approx(30 * t / 40, rel=1e-6)
    assert encoder.transform(pd.DataFrame({"c": ["unknown"]}))[0, -1] == 0


# Refused arguments.


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda frame: frame.drop(columns="age"), "now missing:\n- age"),
        (lambda frame: frame.rename(columns={"age": "Age"}), "unseen at fit time:\n- Age"),
        (lambda frame: pd.concat([frame, frame[["age"]]], axis=1), "two columns of one name; got ['age']"),
        (lambda frame: frame.assign(age="old"), "column 'age' held numbers in fit, and now holds str"),
        (lambda frame: frame.assign(since=3), "column 'since' held dates in fit, and now holds numbers"),
        (lambda frame: frame.assign(age=np.inf), "infinity in column 'age'"),
        (lambda frame: frame.assign(age=1e200), "column 'age' holds numbers above 1e+150"),
        (lambda frame: frame.assign(city=[["a"]] * len(frame)), "column 'city' of X cannot be read"),
        (lambda frame: frame.iloc[:0], "Found array with 0 sample"),
        (
            lambda frame: frame.to_numpy(dtype=object)[:, :3],
            "X has 3 features, but TabularEncoder is expecting 9",
        ),
    ],
)
def test_refused_tables(change, words):
    frame = messy_frame()
    encoder = TabularEncoder().fit(frame)
    before = encoder.transform(frame)
    with pytest.raises((TypeError, ValueError)) as raised:
        encoder.transform(change(frame))
    assert words in str(raised.value)
    np.testing.assert_array_equal(encoder.transform(frame), before)


def test_lazy_frames_are_refused():
    polars = pytest.importorskip("polars", reason="needs polars")
    with pytest.raises(TypeError, match="LazyFrame: call its collect"):
        TabularEncoder().fit(polars.from_pandas(messy_frame()).lazy())


def test_frames_are_refused_in_fit_too():
    frame = messy_frame()
    with pytest.raises(ValueError, match="infinity in column 'age'"):
        TabularEncoder().fit(frame.assign(age=-np.inf))
    with pytest.raises(TypeError, match=r"got a dict\. Make a frame of it, as by pandas\.DataFrame"):
        TabularEncoder().fit(frame.to_dict("list"))
    with pytest.raises(TypeError, match=r"got a list of dicts\. Make a frame"):
        TabularEncoder().fit(frame.to_dict("records"))
    with pytest.raises(ValueError, match="no column 'color'"):
        TabularEncoder(categorical_features=["color"]).fit(frame)


# Before the plain estimators.


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(("Estimator", "target"), [(MLPClassifier, classes_of), (MLPRegressor, values_of)])
def test_the_plain_estimators_name_the_column_and_the_way_out(Estimator, target):
    frame = messy_frame()
    y = target(frame)
    for columns, words in [
        (["age"], "Column 'age' of X holds missing values"),
        (["constant", "city"], "Column 'city' of X holds text, such as"),
        (["constant", "since"], "Column 'since' of X holds dates"),
    ]:
        with pytest.raises(ValueError, match=words) as raised:
            Estimator().fit(frame[columns], y)
        assert f"make_pipeline(TabularEncoder(), {Estimator.__name__}())" in str(raised.value)
        assert "HistGradientBoosting" not in str(raised.value)
    model = make_pipeline(TabularEncoder(), Estimator(max_iter=20, early_stopping=True, random_state=0))
    assert model.fit(frame, y).predict(frame).shape == (len(frame),)


def test_the_plain_estimators_name_the_column_at_prediction():
    model = MLPRegressor(max_iter=50, tol=100.0).fit(pd.DataFrame({"x": [1.0, 2.0, 3.0]}), [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="Column 'x' of X holds missing values"):
        model.predict(pd.DataFrame({"x": [1.0, None]}))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([f"{i}.5" for i in range(30)], "'1.5', look like numbers.*to_numeric"),
        ([f"{i},25 " for i in range(30)], "look like numbers"),
        ([f"2024-01-{i + 1:02}" for i in range(30)], "'2024-01-02', look like dates.*to_datetime"),
        ([f"2024-01-{i + 1:02} 10:00" for i in range(30)], "look like dates"),
        ([f"{i + 1}/3/2024" for i in range(30)], "look like dates.*dayfirst="),
        ([f"{i + 1}.3.2024" for i in range(30)], "look like dates.*dayfirst="),
        ([f"{i}.50 EUR" for i in range(30)], "EUR', look like numbers with a unit"),
        ([f"${i}.50" for i in range(30)], "look like numbers with a unit"),
        ([f"-${i},250.50" for i in range(1, 30)], "look like numbers with a unit"),
        ([f"{i} %" for i in range(30)], "look like numbers with a unit"),
        ([f"{i},5 %" for i in range(30)], "look like numbers with a comma"),
        ([f"{i}.250,50 €" for i in range(1, 30)], "look like numbers with a comma"),
    ],
)
def test_text_that_stands_for_something_else(values, words):
    frame = pd.DataFrame({"odd": [values[1], *values, "n/a", None]})
    with pytest.warns(UserWarning, match=f"column 'odd' is taken for a category, but.*{words}") as caught:
        TabularEncoder().fit(frame)
    way_out = re.search(r"as by (pandas.*)\. If not", str(caught[0].message)).group(1)
    converted = eval(way_out, {"pandas": pd, "column": frame["odd"]})
    assert converted[:-2].notna().all()
    assert converted[-2:].isna().all()
    assert converted.nunique() == len(values)
    TabularEncoder(categorical_features=["odd"]).fit(frame)
    TabularEncoder().fit(frame.astype("category"))


def test_a_comma_before_three_digits():
    for text, number in (("0,125", 0.125), ("1,250", 1250.0)):
        frame = pd.DataFrame({"odd": [text, *(f"{i},{500 + i}" for i in range(number > 1, 30))]})
        with pytest.warns(UserWarning, match="column 'odd' is taken for a category") as caught:
            TabularEncoder().fit(frame)
        way_out = re.search(r"as by (pandas.*)\. If not", str(caught[0].message)).group(1)
        assert eval(way_out, {"pandas": pd, "column": frame["odd"]})[0] == number


@pytest.mark.parametrize(
    "values",
    [
        [*map(float, range(30)), "n/a"],
        [*range(30), *"abcde"],
        [*map(str, range(30)), "-", " unknown"],
        [*range(10), *map(str, range(10, 30)), "?"],
    ],
)
def test_text_among_numbers(values):
    frame = pd.DataFrame({"odd": pd.Series([*values, None], dtype=object)})
    words = r"column 'odd' is taken for a category, since it holds text, such as .*beside 30 levels"
    with pytest.warns(UserWarning, match=words) as caught:
        TabularEncoder().fit(frame)
    way_out = re.search(r"as by (pandas.*)\. If not", str(caught[0].message)).group(1)
    converted = eval(way_out, {"pandas": pd, "column": frame["odd"]})
    np.testing.assert_array_equal(converted[:30], np.arange(30.0))
    assert converted[30:].isna().all()
    TabularEncoder(categorical_features=["odd"]).fit(frame)


def test_masked_values_are_missing():
    values = np.arange(12.0).reshape(6, 2)
    masked = np.ma.masked_array(values, mask=values == 3)
    encoder = TabularEncoder().fit(masked)
    assert encoder.kinds_ == ["number", "number"]
    with_nan = np.where(values == 3, np.nan, values)
    np.testing.assert_array_equal(
        encoder.transform(masked), TabularEncoder().fit(with_nan).transform(with_nan)
    )


def test_codes_as_text_are_categories():
    numbers = range(100)
    codes = {
        "postcode": [f"{i:04}" for i in numbers],
        "word": ["a.b"] * 100,
        "version": [f"v{i}.1" for i in numbers],
        "address": [f"10.0.0.{i}" for i in numbers],
        "part": [f"A{i}-3.5" for i in numbers],
        "diagnosis": [*map(str, range(200, 296)), "V27", "V45", "V58", "E909"],
    }
    TabularEncoder().fit(pd.DataFrame(codes))


def test_missing_decimals():
    frame = pd.DataFrame({"price": [Decimal("1.5"), Decimal("NaN"), Decimal("sNaN"), Decimal(2), None]})
    made = TabularEncoder().fit_transform(frame)
    missing = list(TabularEncoder().fit(frame).get_feature_names_out()).index("price_missing")
    np.testing.assert_array_equal(made[:, missing], [0, 1, 1, 0, 1])


def test_levels_of_another_kind():
    frame = pd.DataFrame({"plan": ["basic", "pro", None] * 5, "yes": [True, False, None] * 5})
    encoder = TabularEncoder().fit(frame)
    unknown = encoder.transform(frame.assign(plan="plus"))
    assert (unknown[:, 0] == 0).all()
    encoder.transform(frame.assign(plan=None, yes=[0, 1, None] * 5))
    with pytest.raises(
        ValueError, match="column 'plan' held levels such as 'basic' in fit, and now holds num"
    ):
        encoder.transform(frame.assign(plan=3))
    with pytest.raises(ValueError, match=r"column 'yes' held levels such as .*now holds str, such as 'no'"):
        encoder.transform(frame.assign(yes="no"))
    numbers = TabularEncoder().fit(pd.DataFrame({"n": [1.0, 2.0]}))
    with pytest.raises(ValueError, match="column 'n' held numbers in fit, and now holds str, such as 'a'"):
        numbers.transform(pd.DataFrame({"n": [1, "a"]}))
