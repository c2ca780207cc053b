"""The edge of every estimator: what a user passes becomes a row matrix, or an error."""

from __future__ import annotations

import numpy as np
from sklearn.utils.validation import check_array

from ._sklearn import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    assert_all_finite,
    validate_data,
)
from .operators import as_row_matrix, is_read_lazily

# Up to this many entries, a look for NaN costs nothing worth saving; beyond it, the first
# pass finds them.
_FEW_ENTRIES = 2**20


def check_rows(
    estimator,
    X,
    *,
    reset,
    sample_weight=None,
    block_size=None,
    n_jobs=None,
    min_samples=1,
):
    """Return validated input as a row matrix.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_`` and ``feature_names_in_`` are set or checked.
    X : array-like, sparse matrix, memmap, row-sliceable, dask array or iterator
        Lazy input is not read here.
    reset : bool
        Whether to set the features or to check them.
    sample_weight : array-like of shape (n_samples,) or float, default=None
    block_size, n_jobs
        See `as_row_matrix`.
    min_samples : int
        Least number of rows.

    Returns
    -------
    RowMatrix

    Raises
    ------
    ValueError, TypeError
        Those of `sklearn.utils.validation.validate_data`.
    """
    if is_read_lazily(X):
        rows = as_row_matrix(X, block_size=block_size, n_jobs=n_jobs)
        _check_feature_names(estimator, X, reset=reset)
        _check_n_features(estimator, rows, reset=reset)
        n_samples = rows.shape[0]
        if n_samples is not None and n_samples < min_samples:
            raise ValueError(
                f"Found array with {n_samples} sample(s) (shape={rows.shape}) while a "
                f"minimum of {min_samples} is required by {type(estimator).__name__}."
            )
    else:
        X = validate_data(
            estimator,
            X,
            reset=reset,
            accept_sparse=("csr", "csc"),
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=min_samples,
        )
        if np.size(getattr(X, "data", X)) <= _FEW_ENTRIES:
            assert_all_finite(X, estimator_name=type(estimator).__name__, input_name="X")
        rows = as_row_matrix(X, block_size=block_size, n_jobs=n_jobs)
    if sample_weight is None:
        return rows
    if rows.shape[0] is None:
        raise ValueError(
            "sample_weight cannot be given with an iterator of blocks: call partial_fit "
            "with each block and its weights instead."
        )
    weight = _check_sample_weight(
        sample_weight,
        np.empty((rows.shape[0], 0)),
        dtype=rows.dtype,
        ensure_non_negative=True,
    )
    if not weight.any():
        raise ValueError("sample_weight is zero for every sample: nothing to fit.")
    return rows.with_weight(weight)


def check_matrix(A, *, block_size=None, n_jobs=None):
    """Return the matrix a function is given as a row matrix.

    Raises
    ------
    ValueError, TypeError
        Those of `sklearn.utils.validation.check_array`.
    """
    if not is_read_lazily(A):
        A = check_array(
            A, accept_sparse=("csr", "csc"), dtype=[np.float64, np.float32], input_name="A"
        )
    return as_row_matrix(A, block_size=block_size, n_jobs=n_jobs)


def check_rank(name, k, shape):
    """Raise ValueError where ``name=k`` exceeds the smaller of `shape`."""
    if k > min(shape):
        raise ValueError(
            f"{name}={k} must be at most min(n_rows={shape[0]}, n_columns={shape[1]})."
        )
