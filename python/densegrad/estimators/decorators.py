"""scikit-learn's decorators of methods, with types: the methods keep theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sklearn.base import _fit_context
from sklearn.utils import metaestimators

from densegrad.estimators import sklearn_callbacks

Method = TypeVar("Method", bound=Callable[..., Any])


def validated(method: Method) -> Method:
    """Check the estimator's parameters before the call."""
    decorated: Method = _fit_context(prefer_skip_nested_validation=True)(method)
    return decorated


def with_callbacks(method: Method) -> Method:
    """Set up and tear down scikit-learn's callbacks around the call."""
    decorated: Method = sklearn_callbacks.with_callbacks(method)
    return decorated


def available_if(check: Callable[[Any], Any]) -> Callable[[Method], Method]:
    """Let only estimators that pass the check have the method."""
    decorator: Callable[[Method], Method] = metaestimators.available_if(check)
    return decorator
