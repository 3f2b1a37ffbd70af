"""Files and pickles of the tabular estimators."""

import copy
import io
import json
import pickle
import struct

import numpy as np
import pandas as pd
import pytest

import densegrad
from densegrad import MLPClassifier, TabularClassifier, TabularEncoder, TabularRegressor
from frames import classes_of, messy_frame, values_of

QUICK = {"max_epochs": 3, "hidden_layer_sizes": 8, "n_members": 2, "random_state": 0}


def several(frame, seed=0):
    return np.stack([values_of(frame, seed), -values_of(frame, seed)], axis=1)


MODELS = [
    (TabularClassifier(class_weight={"yes": 2.0, "no": 1.0}, **QUICK), classes_of),
    (TabularClassifier(**QUICK), lambda frame: np.arange(len(frame)) % 3),
    (
        TabularClassifier(**QUICK),
        lambda frame: np.stack([np.arange(len(frame)) % k == 0 for k in (2, 3)], 1) * 1,
    ),
    (TabularRegressor(encodings="bins", **QUICK), values_of),
    (TabularRegressor("quantile", quantile=[0.1, 0.9], **QUICK), several),
    (TabularRegressor("gaussian_nll", **QUICK), several),
    (TabularRegressor("gamma", clamp=False, time_limit=60.0, **QUICK), values_of),
]


class Named(pickle.Unpickler):
    """Notes the classes and functions of densegrad that a pickle names."""

    def __init__(self, pickled):
        super().__init__(io.BytesIO(pickled))
        self.names = set()

    def find_class(self, module, name):
        if module.startswith("densegrad"):
            self.names.add((module, name))
        return super().find_class(module, name)


def test_pickles_name_public_classes_and_have_a_format():
    frame = messy_frame()
    frame["oid"] = [f"{i}-{i % 3}" for i in range(len(frame))]
    encoder = TabularEncoder(max_levels=2, random_state=0)
    inputs = encoder.fit_transform(frame, values_of(frame))
    assert inputs.shape[1] > TabularEncoder(max_levels=2).fit_transform(frame).shape[1]
    np.testing.assert_array_equal(
        pickle.loads(pickle.dumps(encoder)).transform(frame), encoder.transform(frame)
    )
    fitted = [model.fit(frame, target(frame)) for model, target in (MODELS[0], MODELS[3])]
    for model in (encoder, *fitted, TabularEncoder(), TabularRegressor()):
        named = Named(pickle.dumps(model))
        named.load()
        assert named.names
        for module, name in named.names:
            assert module == "densegrad"
            assert hasattr(densegrad, name)
        newer = {**model.__getstate__(), "format": 99}
        with pytest.raises(ValueError, match="format 99"):
            type(model)().__setstate__(newer)


@pytest.mark.parametrize(("model", "target"), MODELS)
def test_a_loaded_estimator_is_the_same(model, target, tmp_path):
    frame, new = messy_frame(), messy_frame(50, seed=1)
    new.loc[3, "city"] = "unknown"
    path = tmp_path / "model.safetensors"
    model.fit(frame, target(frame)).save(path)
    loaded = type(model).load(path)
    assert loaded.get_params() == model.get_params()
    assert set(vars(loaded)) == set(vars(model))
    np.testing.assert_array_equal(loaded.predict(new), model.predict(new))
    np.testing.assert_array_equal(loaded.oof_prediction_, model.oof_prediction_)
    np.testing.assert_array_equal(loaded.feature_names_in_, model.feature_names_in_)
    learned = "kinds_ encoding_ hidden_layer_sizes_ race_ history_ member_epochs_ oof_score_ fit_seconds_"
    for name in learned.split():
        assert getattr(loaded, name) == getattr(model, name)
    if isinstance(model, TabularClassifier):
        np.testing.assert_array_equal(loaded.predict_proba(new), model.predict_proba(new))
        np.testing.assert_array_equal(loaded.classes_, model.classes_)
        assert loaded.temperature_ == model.temperature_
    elif model.loss != "quantile":
        np.testing.assert_array_equal(loaded.predict_interval(new), model.predict_interval(new))
    for same in (loaded, pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert set(vars(same)) == set(vars(model))
        again = tmp_path / "again.safetensors"
        same.save(again)
        assert again.read_bytes() == path.read_bytes()
    with pytest.raises(ValueError, match="now missing:\n- age"):
        loaded.predict(new.drop(columns="age"))


def test_an_array_and_an_estimator_without_a_fit(tmp_path):
    path = tmp_path / "model.safetensors"
    TabularRegressor(n_members=3).save(path)
    assert TabularRegressor.load(path).n_members == 3
    X = np.arange(60.0).reshape(30, 2)
    model = TabularRegressor(**QUICK).fit(X, X[:, 0]).slim()
    model.save(path)
    loaded = TabularRegressor.load(path)
    assert loaded.oof_prediction_ is None
    assert not hasattr(loaded, "feature_names_in_")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    TabularRegressor().save(path)
    with pytest.raises(ValueError, match="it is of class TabularRegressor, not TabularClassifier"):
        TabularClassifier.load(path)
    with pytest.raises(ValueError, match="it is of class TabularRegressor, not MLPClassifier"):
        MLPClassifier.load(path)
    MLPClassifier().save(path)
    with pytest.raises(ValueError, match="not a densegrad estimator"):
        TabularClassifier.load(path)
    with pytest.raises(FileNotFoundError):
        TabularClassifier.load(tmp_path / "nothing")


def test_levels_that_files_do_not_hold(tmp_path):
    frame = pd.DataFrame({"part": pd.cut(np.arange(30.0), 3)})
    model = TabularRegressor(**QUICK).fit(frame, np.arange(30.0))
    with pytest.raises(TypeError, match="save cannot write column 'part': its levels are of type Interval"):
        model.save(tmp_path / "model.safetensors")
    assert not list(tmp_path.iterdir())


def places(value, path=()):
    """Yield the path of every value of a nested description."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


@pytest.mark.parametrize(("model", "target"), [MODELS[0], MODELS[5]])
def test_a_changed_file_is_refused_or_predicts(model, target, tmp_path):
    path = tmp_path / "model.safetensors"
    frame = messy_frame(60)
    model.fit(frame, target(frame)).save(path)
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    (name,) = (name for name, text in header["__metadata__"].items() if "fitted" in text)
    description = json.loads(header["__metadata__"][name])
    rng = np.random.default_rng(0)
    found = list(places(description))
    refused, of_tables = [], []
    for k in rng.choice(len(found), 150, replace=False):
        changed = json.loads(json.dumps(description))
        *parents, last = found[k] or ("fitted",)
        place = changed
        for key in parents:
            place = place[key]
        place[last] = [None, -1, "x", [], {}, 1e9, True][rng.integers(7)]
        header["__metadata__"][name] = json.dumps(changed)
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])
        try:
            loaded = type(model).load(path)
        except ValueError as error:
            refused.append(str(error))
            continue
        if hasattr(loaded, "oof_score_"):
            try:
                loaded.predict(frame)
            except (ValueError, TypeError) as error:
                of_tables.append(str(error))
    assert len(refused) > 50
    assert all(repr(str(path)) in message for message in refused)
    assert all(any(w in message for w in ("column", "feature", "n_threads")) for message in of_tables)
