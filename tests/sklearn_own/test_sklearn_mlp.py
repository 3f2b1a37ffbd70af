"""scikit-learn's own tests of its MLP, from the installed scikit-learn, on our estimators."""

import importlib.util
import os
from unittest import mock

import pytest
import sklearn.neural_network
from sklearn.utils.fixes import parse_version

import densegrad

_PATH = os.path.join(os.path.dirname(sklearn.neural_network.__file__), "tests", "test_mlp.py")

if not os.path.exists(_PATH):
    pytest.skip("this scikit-learn was installed without its tests", allow_module_level=True)


def _tests():
    spec = importlib.util.spec_from_file_location("sklearn_neural_network_test_mlp", _PATH)
    module = importlib.util.module_from_spec(spec)
    ours = {name: getattr(densegrad, name) for name in ("MLPClassifier", "MLPRegressor")}
    with mock.patch.multiple(sklearn.neural_network, **ours):
        spec.loader.exec_module(module)
    assert all(getattr(module, name) is estimator for name, estimator in ours.items())
    tests = {name: test for name, test in vars(module).items() if name.startswith("test_")}
    if parse_version(sklearn.__version__) < parse_version("1.7"):
        # Calls a private method whose signature did not have the sample weights then.
        del tests["test_gradient"]
    return tests


# Which warnings are errors is for scikit-learn's own configuration to say.
pytestmark = pytest.mark.filterwarnings("default")
globals().update(_tests())


@pytest.fixture(params=[0, 42])
def global_random_seed(request):
    return request.param


def test_all_of_them_run():
    assert len([name for name in globals() if name.startswith("test_")]) > 35
