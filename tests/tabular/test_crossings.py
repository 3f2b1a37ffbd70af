"""Means of the target by pairs of columns."""

import numpy as np
import pandas as pd

from densegrad import TabularRegressor
from densegrad.tabular import crossings
from densegrad.tabular.columns import Columns
from densegrad.tabular.crossings import BINS_IN_PAIR, LevelCodes, best_pairs, of_categories, of_numbers
from densegrad.tabular.frame import table_of
from densegrad.tabular.standard_target import standard_target

N_ROWS = 2000


def frame_and_signs(seed=0):
    """A sign that a category and a number tell together, and neither tells alone."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "city": rng.choice(["Bonn", "Graz", "Genf", None], N_ROWS),
            "noise": rng.choice(list("abcdef"), N_ROWS),
            "age": rng.normal(40, 12, N_ROWS),
            "size": rng.normal(size=N_ROWS),
            "constant": 1.0,
        }
    )
    frame.loc[::7, "size"] = np.nan
    return frame, np.where(frame["city"].isin(["Bonn", "Graz"]) == (frame["age"] > 40), 1.0, -1.0)


def pairs_of(frame, target, most=12):
    columns, parsed = Columns.learned(table_of(frame))
    singles = of_categories(columns.categories, 1) + of_numbers(parsed, BINS_IN_PAIR)
    assert [single.columns for single in singles] == [(0,), (1,), (2,), (3,)]
    folds = np.arange(N_ROWS) % 5
    return best_pairs(singles, parsed, standard_target(target[:, np.newaxis]), folds, None, most), parsed


def test_the_pair_that_tells_the_target_comes_first():
    frame, sign = frame_and_signs()
    noisy = sign + np.random.default_rng(1).normal(size=N_ROWS)
    pairs, _ = pairs_of(frame, noisy)
    assert pairs[0].columns == (0, 2)
    assert len(pairs_of(frame, noisy, 1)[0]) == 1


def test_some_of_many_rows_tell_the_pair(monkeypatch):
    monkeypatch.setattr(crossings, "_ROWS", N_ROWS // 5)  # every fifth row would be of one fold
    frame, sign = frame_and_signs()
    assert pairs_of(frame, sign)[0][0].columns == (0, 2)


def test_single_columns_and_noise_give_no_pairs():
    frame, _ = frame_and_signs()
    alone = frame["age"].to_numpy() / 12 + 2.0 * (frame["city"] == "Bonn").to_numpy()
    assert not pairs_of(frame, alone + np.random.default_rng(2).normal(size=N_ROWS))[0]


def test_codes_tell_all_pairs_of_levels_apart():
    frame, sign = frame_and_signs()
    (pair, *_), parsed = pairs_of(frame, sign)
    codes = LevelCodes(parsed).of(pair)
    assert codes.min() >= 0
    assert codes.max() < pair.n_levels
    bins = np.searchsorted(pair.edges[1], frame["age"], "right")
    expected = pd.DataFrame({"city": frame["city"].fillna("missing"), "bin": bins})
    assert len(np.unique(codes)) == len(expected.drop_duplicates())
    assert expected.groupby(codes).nunique().max().max() == 1


def test_an_unknown_level_has_no_pair_and_a_missing_number_has_its_own():
    frame, sign = frame_and_signs()
    (pair, *_), _ = pairs_of(frame, sign)
    columns, _ = Columns.learned(table_of(frame))
    new = frame.head(3).copy()
    new.loc[0, "city"] = "Rome"
    new.loc[1, "age"] = np.nan
    codes = LevelCodes(columns.read(new, "test")).of(pair)
    assert codes[0] == -1
    assert codes[1] % pair.sizes[1] == len(pair.edges[1]) + 1


def test_a_fit_finds_pairs_and_a_file_keeps_them(tmp_path):
    frame, sign = frame_and_signs()
    y = sign + np.random.default_rng(1).normal(size=N_ROWS)
    small = {"hidden_layer_sizes": 8, "max_epochs": 12, "n_members": 2, "random_state": 0}
    model = TabularRegressor(encodings="plain", **small).fit(frame, y)
    columns = [crossing.columns for crossing, _ in model._ensemble.members[0].means]
    assert (0, 2) in columns
    assert model.score(frame, sign) > 0.8
    new = frame_and_signs(1)[0]
    new.loc[0, "city"] = "Rome"
    model.save(tmp_path / "model.safetensors")
    loaded = TabularRegressor.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(new), model.predict(new))
