"""scikit-learn's common checks, without an expected failure."""

import pytest
from sklearn.utils.estimator_checks import (
    check_dataframe_column_names_consistency,
    check_inplace_ensure_writeable,
    check_param_validation,
    check_sample_weight_equivalence_on_dense_data,
    estimator_checks_generator,
    parametrize_with_checks,
)

from densegrad import MLPClassifier, MLPRegressor

pytestmark = [
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:Can't check dok sparse matrix for nan or inf:UserWarning"),
]


@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
def test_common_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier(max_iter=100, loss="hinge"),
        MLPClassifier(max_iter=100, loss="focal"),
        MLPRegressor("huber", max_iter=100),
        MLPRegressor("gaussian_nll", max_iter=100),
        MLPClassifier(max_iter=100, activation="gelu", solver="adamw", clip_norm=1.0),
    ],
    ids=str,
)
def test_common_checks_of_what_is_added(estimator):
    for instance, check in estimator_checks_generator(estimator):
        try:
            check(instance)
        except pytest.skip.Exception:
            pass
        except Exception as error:
            error.add_note(f"in {check}")
            raise


# Not in check_estimator, but in scikit-learn's own tests of all its estimators.
@pytest.mark.parametrize(
    "check",
    [
        check_param_validation,
        check_dataframe_column_names_consistency,
        check_inplace_ensure_writeable,
    ],
    ids=lambda check: check.__name__,
)
@pytest.mark.parametrize("Estimator", [MLPClassifier, MLPRegressor])
def test_more_of_scikit_learns_checks(Estimator, check):
    check(Estimator.__name__, Estimator(max_iter=20))


# With the parameters that scikit-learn tests its own estimators with.
@pytest.mark.parametrize(
    "estimator",
    [
        MLPClassifier(max_iter=100, solver="lbfgs"),
        MLPRegressor(max_iter=100, solver="sgd", tol=1e-2, random_state=42),
    ],
    ids=str,
)
def test_sample_weight_equivalence(estimator):
    check_sample_weight_equivalence_on_dense_data(type(estimator).__name__, estimator)


def test_the_checks_are_many():
    assert len(list(estimator_checks_generator(MLPClassifier()))) > 50
    assert len(list(estimator_checks_generator(MLPRegressor()))) > 50
