"""The only module that imports scikit-learn's semi-private helpers.

Names that moved, or that older versions lack, are given one meaning here.
"""

# ruff: noqa: F401 - all is imported for other modules.

from collections.abc import Callable
from typing import Any

from sklearn.base import _fit_context
from sklearn.utils._param_validation import (
    Interval,
    RealNotInt,
    StrOptions,
    make_constraint,
    validate_parameter_constraints,
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

from ._random import takes_rng
from ._typing import F

try:  # scikit-learn >= 1.9
    from sklearn.callback import CallbackSupportMixin
    from sklearn.utils._sparse import _align_api_if_sparse as as_configured
except ImportError:

    def as_configured(X: Any) -> Any:
        """Return X: which kind of sparse matrices there are is no setting yet."""
        return X

    class CallbackSupportMixin:
        """Stand-in where scikit-learn has no callbacks."""


def validated(**constraints: list[Any]) -> Callable[[F], F]:
    """Decorate a function whose parameters are validated as those of an estimator are.

    If it has `rng`, that is taken in the place of `random_state`.

    Parameters
    ----------
    **constraints : list
        By parameter, as in ``_parameter_constraints``.

    Returns
    -------
    callable
        The decorator.
    """
    validate = validate_params(constraints, prefer_skip_nested_validation=True)
    return lambda function: takes_rng(validate(function))
