"""What surrounds every fit: validation, callbacks, undo on failure, and warnings."""

import functools
import inspect
import sys
import warnings
from collections.abc import Callable
from typing import Any

from ._sklearn import CallbackSupportMixin, _fit_context, make_constraint
from ._typing import AnyArray, F

# Warnings are of the line that called one of these packages.
_INTERNAL = frozenset({"sklearn_rnla", "sklearn", "contextlib", "joblib"})


class FittingMixin(CallbackSupportMixin):
    """What all estimators share: callbacks, and a cheap look at parameters.

    scikit-learn reads the signature of the class, and makes the constraints of it, whenever
    it clones an estimator or validates its parameters. Of small data that takes longer than
    a fit. Here both are read once for each class.
    """

    # Where the HTML representation of scikit-learn links to.
    _doc_link_module = "sklearn_rnla"
    _doc_link_template = (
        "https://sklearn-rnla.readthedocs.io/en/latest/api/generated/"
        "sklearn_rnla.{estimator_name}.html"
    )
    n_features_in_: int
    feature_names_in_: AnyArray

    @classmethod
    @functools.cache
    def _get_param_names(cls):
        return super()._get_param_names()

    @classmethod
    @functools.cache
    def _constraints(cls):
        return {
            name: [make_constraint(constraint) for constraint in constraints]
            for name, constraints in cls._parameter_constraints.items()
        }

    def _validate_params(self):
        for name, constraints in self._constraints().items():
            value = getattr(self, name)
            if not any(constraint.is_satisfied_by(value) for constraint in constraints):
                # Raises.
                super()._validate_params()


def fitting(fit: F) -> F:
    """Decorate a method that fits an estimator.

    Parameters are validated, and callbacks see the fit begin and end, with its data. After
    an error the estimator has the attributes that it had before.
    """
    signature = inspect.signature(fit)

    @functools.wraps(fit)
    def announced(estimator, *args, **kwargs):
        if not getattr(estimator, "_skl_callbacks", None):
            return fit(estimator, *args, **kwargs)
        data = signature.bind(estimator, *args, **kwargs).arguments
        del data["self"]
        task = estimator._fit_task = _FitTask(estimator, **data)
        result = fit(estimator, *args, **kwargs)
        # Callbacks get a copy of the estimator, which is not to keep the data.
        del estimator._fit_task
        task.end()
        return result

    validated = _fit_context(prefer_skip_nested_validation=True)(announced)

    @functools.wraps(fit)
    def undone_on_failure(estimator, *args, **kwargs):
        # Outside of scikit-learn's context, which tears callbacks down by attributes that
        # they set on the estimator.
        attributes = vars(estimator).copy()
        try:
            return validated(estimator, *args, **kwargs)
        except BaseException:
            vars(estimator).clear()
            vars(estimator).update(attributes)
            raise

    return undone_on_failure


class _FitTask:
    """A fit that callbacks of scikit-learn are told about."""

    def __init__(self, estimator, X, y=None, **metadata):
        # Reading an iterator of blocks would use it up.
        X = None if hasattr(X, "__next__") else X
        metadata = {name: value for name, value in metadata.items() if value is not None}
        self._data = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self._context = estimator._init_callback_context(max_subtasks=None)
        self._context.call_on_fit_task_begin(**self._data)

    def report(self, name):
        """Tell of a step called `name` that has ended; return whether to stop."""
        step = self._context.subcontext(task_name=name)
        step.call_on_fit_task_begin(**self._data)
        return bool(step.call_on_fit_task_end(**self._data))

    def end(self):
        """Tell that the estimator is fitted: no attributes need be set to make it so."""
        self._context.call_on_fit_task_end(**self._data, reconstruction_attributes={})


def progress(estimator: Any, step: str) -> Callable[[], bool]:
    """Return ``report()``, to be called after each `step` of a fit of unknown length.

    It returns whether a callback asks to stop. Where scikit-learn has no callbacks, or
    none is set, it does nothing.
    """
    task = getattr(estimator, "_fit_task", None)
    return (lambda: False) if task is None else functools.partial(task.report, step)


def warn_user(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn of the line, outside of this package and of scikit-learn, that led here."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and _is_internal(frame):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def _is_internal(frame):
    return frame.f_globals.get("__name__", "").partition(".")[0] in _INTERNAL
