"""The only module that imports scikit-learn's semi-private helpers.

Names that moved, or that older versions lack, are given one meaning here.
"""

from __future__ import annotations

from contextlib import contextmanager

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    Interval,
    RealNotInt,
    StrOptions,
    validate_params,
)
from sklearn.utils.extmath import svd_flip
from sklearn.utils.validation import (
    _check_feature_names,
    _check_feature_names_in,
    _check_n_features,
    _check_sample_weight,
    _check_y,
    assert_all_finite,
    validate_data,
)

try:  # scikit-learn >= 1.9
    from sklearn.callback import CallbackSupportMixin
except ImportError:

    class CallbackSupportMixin:
        """Stand-in where scikit-learn has no callbacks."""


__all__ = [
    "CallbackSupportMixin",
    "Interval",
    "RealNotInt",
    "StrOptions",
    "_check_feature_names",
    "_check_feature_names_in",
    "_check_n_features",
    "_check_sample_weight",
    "_check_y",
    "_fit_context",
    "assert_all_finite",
    "progress",
    "svd_flip",
    "undone_on_failure",
    "validate_data",
    "validate_params",
]


@contextmanager
def undone_on_failure(estimator):
    """Give back the attributes `estimator` had, if what is inside raises."""
    attributes = vars(estimator).copy()
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(attributes)
        raise


@contextmanager
def progress(estimator, task):
    """Give ``report()``, to be called after each `task` of a fit of unknown length.

    It returns whether a callback asks to stop. Where scikit-learn has no callbacks, or
    none is set, it does nothing.
    """
    if not getattr(estimator, "_skl_callbacks", None):
        yield _report_nothing
        return
    context = estimator._init_callback_context(max_subtasks=None)
    context.call_on_fit_task_begin(estimator=estimator)

    def report():
        step = context.subcontext(task_name=task)
        step.call_on_fit_task_begin(estimator=estimator)
        return bool(step.call_on_fit_task_end(estimator=estimator))

    yield report
    context.call_on_fit_task_end(estimator=estimator)


def _report_nothing():
    return False
