"""The edge of every estimator: what a user passes becomes a row matrix, or an error."""

from numbers import Integral, Real

import numpy as np
import scipy.sparse as sp
from sklearn.exceptions import DataConversionWarning
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS
from sklearn.utils.validation import check_array, check_non_negative

from ._fitting import warn_user
from ._refusals import (
    is_plainly_finite,
    refuse_containers,
    refuse_masked,
    refuse_missing,
    refuse_read_once,
    refuse_target,
    refuse_unordered,
)
from ._sklearn import (
    Interval,
    StrOptions,
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    _check_y,
    assert_all_finite,
    validate_data,
)
from .operators import CenteredMatrix, as_row_matrix, is_read_lazily, passes
from .operators.feature_map import BLOCK_ROWS
from .operators.kernels import Kernel, PrecomputedKernel, is_kernel_object
from .operators.sources import refuse_not_in_memory
from .operators.threads import kernel_jobs

_DTYPES = [np.float64, np.float32]

# Up to this many entries, a look for NaN costs nothing worth saving; beyond it, the first
# pass finds them.
FEW_ENTRIES = 2**20

# Ways to choose landmarks; these come in an order, and can stop at a tolerance.
_ORDERED_LANDMARKS = ("rpcholesky", "greedy", "uniform", "leverage")

# Parameters that every kernel estimator has.
KERNEL_CONSTRAINTS = {
    "kernel": [StrOptions({*PAIRWISE_KERNEL_FUNCTIONS, "precomputed"}), callable],
    "gamma": [Interval(Real, 0, None, closed="neither"), StrOptions({"scale"}), None],
    "coef0": [Interval(Real, None, None, closed="neither"), None],
    "degree": [Interval(Real, 1, None, closed="left"), None],
    "kernel_params": [dict, None],
    "landmarks": [
        StrOptions({*_ORDERED_LANDMARKS, "kmeans"}),
        "array-like",
        "sparse matrix",
    ],
}


def check_rows(
    estimator,
    X,
    *,
    reset,
    sample_weight=None,
    block_size=None,
    n_jobs=None,
    min_samples=1,
    check_all=False,
    rereads=False,
    missing=False,
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
    check_all : bool
        Whether to look for NaN in all entries in memory here; otherwise, of large data,
        the first pass is to find them.
    rereads : bool
        Whether the rows are to be read more than once: an iterator is refused.
    missing : bool
        Whether NaN is a missing entry, and not refused here.

    Returns
    -------
    RowMatrix

    Raises
    ------
    ValueError, TypeError
        Those of `sklearn.utils.validation.validate_data`.
    """
    refuse_containers(X)
    if rereads:
        refuse_read_once(X, "X")
    if is_read_lazily(X):
        rows = as_row_matrix(X, block_size=block_size, n_jobs=n_jobs)
        _check_feature_names(estimator, X, reset=reset)
        _refuse_small(rows, min_samples)
        _check_n_features(estimator, rows, reset=reset)
    else:
        options = {"accept_sparse": ("csr", "csc"), "ensure_min_samples": min_samples}
        X = check_features(estimator, X, reset=reset, ensure_all_finite=False, **options)
        rows = as_row_matrix(X, block_size=block_size, n_jobs=n_jobs)
        if check_all or np.size(getattr(X, "data", X)) <= FEW_ENTRIES:
            rows.finite = is_plainly_finite(X)
            if not (rows.finite or missing):
                refuse_missing(X, "X")
                rows.finite = True
    if sample_weight is None:
        return rows
    if rows.shape[0] is None:
        raise ValueError(
            "sample_weight cannot be given with an iterator of blocks: call partial_fit "
            "with each block and its weights instead."
        )
    refuse_target(sample_weight, "sample_weight")
    weight = _check_sample_weight(
        sample_weight,
        np.empty((rows.shape[0], 0)),
        dtype=rows.dtype,
        ensure_non_negative=True,
    )
    if not weight.any():
        raise ValueError("sample_weight is zero for every sample: nothing to fit.")
    return rows.with_weight(weight)


def check_features(estimator, X, *, reset, ensure_min_samples=1, **options):
    """Return data in memory, of float32 or float64, as `validate_data` does.

    That looks for all that X might be, which takes longer than to fit a small array. What
    is known to be none of it is passed on.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_`` and ``feature_names_in_`` are set or checked.
    X : array-like or sparse matrix
    reset : bool
        Whether to set the features or to check them.
    ensure_min_samples : int
        Least number of rows.
    **options : dict
        Of `sklearn.utils.validation.check_array`.

    Returns
    -------
    ndarray or sparse matrix
    """
    if (
        type(X) is np.ndarray
        and X.dtype in _DTYPES
        and X.ndim == 2
        and len(X) >= max(1, ensure_min_samples)
        and X.shape[1] > 0
        and not hasattr(estimator, "feature_names_in_")
    ):
        _check_n_features(estimator, X, reset=reset)
        finite = options.get("ensure_all_finite", True)
        if finite:
            assert_all_finite(X, allow_nan=finite == "allow-nan", input_name="X")
        return X
    refuse_masked(X)
    options |= {"dtype": _DTYPES, "ensure_min_samples": ensure_min_samples}
    return validate_data(estimator, X, reset=reset, **options)


def check_kernel_rows(estimator, X, *, reset, sample_weight=None):
    """Return validated input of a kernel estimator, in blocks of a few tiles each.

    See `check_rows`; NaN is looked for at once, as landmarks would spread it: in `fit`,
    lazy data are read once for that.
    """
    rows = check_rows(
        estimator,
        X,
        reset=reset,
        sample_weight=sample_weight,
        block_size=BLOCK_ROWS,
        n_jobs=kernel_jobs(estimator.n_jobs),
        check_all=True,
        rereads=reset,
    )
    if reset and not rows.finite:
        rows.fold(passes.fold_not_finite)
    return rows


def check_target(estimator, X, y, *, numeric, multi_output=True, dtypes=(np.float64,)):
    """Return the target as an ndarray, checked against X.

    Parameters
    ----------
    estimator : estimator
        Named in errors.
    X : RowMatrix
    y : array-like of shape (n_samples,) or (n_samples, n_targets)
    numeric : bool
        Whether it is to be of one of `dtypes`, else of the first of them.
    multi_output : bool
        Whether it may have columns.
    dtypes : tuple of numpy dtype

    Returns
    -------
    ndarray

    Raises
    ------
    ValueError
        When y is None, of another length, or not finite.
    """
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    refuse_target(y)
    refuse_not_in_memory(y, "y")
    if not numeric:
        refuse_unordered(y)
    y = y if multi_output else as_vector(y)
    if (
        numeric
        and type(y) is np.ndarray
        and y.dtype in dtypes
        and 0 < y.ndim <= 1 + multi_output
    ):
        # There is nothing else to be found, see `check_features`.
        assert_all_finite(y, input_name="y")
    else:
        options = {"multi_output": multi_output, "y_numeric": numeric}
        y = _check_y(y, **options, estimator=estimator)
    if numeric and y.dtype not in dtypes:
        y = y.astype(dtypes[0])
    if X.shape[0] != len(y):
        raise ValueError(
            "Found input variables with inconsistent numbers of samples: "
            f"{[X.shape[0], len(y)]}"
        )
    return y


def as_vector(y):
    """Return y, where it has one column as a vector, with a warning of the user's line.

    That of scikit-learn's `column_or_1d` would be of a line of this package.
    """
    column = np.asarray(y)
    if column.ndim != 2 or column.shape[1] != 1:
        return y
    warn_user(
        "A column-vector y was passed when a 1d array was expected. Please change the "
        "shape of y to (n_samples,), for example using ravel().",
        DataConversionWarning,
    )
    return column.ravel()


def check_n_recommended(n):
    """Raise unless `n` columns can be recommended: an int of at least 1."""
    if not (isinstance(n, Integral) and n >= 1):
        raise ValueError(f"n={n!r} must be an int of at least 1.")


def check_pairs(rows, columns):
    """Raise ValueError unless rows and columns of pairs are vectors of one length."""
    refuse_masked(rows, "rows")
    refuse_masked(columns, "columns")
    if np.ndim(rows) != 1 or np.shape(rows) != np.shape(columns):
        raise ValueError(
            f"rows of shape {np.shape(rows)} and columns of shape {np.shape(columns)} must "
            "be vectors of one length: a row and a column of each pair."
        )


def check_penalties(alpha, name="alpha"):
    """Return the penalties of the parameter `name` as float64, of whatever shape.

    Raises
    ------
    ValueError
        When they are not numbers, not finite or negative.
    """
    try:
        alphas = np.asarray(alpha, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}={alpha!r} must be numbers.") from error
    if not (np.isfinite(alphas).all() and np.all(alphas >= 0)):
        raise ValueError(f"{name}={alpha!r} must be finite and at least 0 in all entries.")
    return alphas


def check_penalty_choice(estimator, n_targets):
    """Return the penalties of an estimator with `alpha` and `alphas`.

    Returns
    -------
    alphas : ndarray of shape (n_alphas,), (1,) or (n_targets,)
        Penalties to choose from, or the one of all targets, or those of the targets.
    choose : bool
        Whether one is to be chosen.

    Raises
    ------
    ValueError
        When they are not penalties, or not as many as targets.
    """
    choose = estimator.alphas is not None
    name = "alphas" if choose else "alpha"
    value = getattr(estimator, name)
    alphas = np.atleast_1d(check_penalties(value, name))
    if alphas.ndim != 1 or not len(alphas):
        raise ValueError(f"{name}={value!r} must be numbers in one dimension.")
    if not choose and len(alphas) not in (1, n_targets):
        raise ValueError(
            f"alpha={value!r} must be a number, or one for each of the "
            f"n_targets={n_targets} targets. To choose one, pass alphas."
        )
    return alphas, choose and len(alphas) > 1


def check_reduced(estimator, X, *, accept_sparse=("csr", "csc")):
    """Return what `transform` of `estimator` gave, checked, for its inverse.

    Parameters
    ----------
    estimator : estimator
    X : array-like or sparse matrix
    accept_sparse : tuple of str or False
        See `sklearn.utils.validation.check_array`.

    Returns
    -------
    ndarray or sparse matrix

    Raises
    ------
    ValueError, TypeError
        Those of `sklearn.utils.validation.check_array`, and when X has not
        ``n_components_`` columns.
    """
    refuse_read_once(X, "X")
    X = check_in_memory(X, "X", accept_sparse)
    check_n_reduced(estimator, X)
    return X


def check_in_memory(X, name, accept_sparse=("csr", "csc")):
    """Return an array or a sparse matrix of finite numbers in single or double precision.

    Parameters
    ----------
    X : array-like or sparse matrix
    name : str
        What errors call it.
    accept_sparse : tuple of str or False
        See `sklearn.utils.validation.check_array`.

    Returns
    -------
    ndarray or sparse matrix

    Raises
    ------
    ValueError, TypeError
        Those of `sklearn.utils.validation.check_array`.
    """
    refuse_masked(X, name)
    refuse_containers(X, name)
    X = check_array(
        X,
        accept_sparse=accept_sparse,
        dtype=[np.float64, np.float32],
        ensure_all_finite=False,
        input_name=name,
    )
    refuse_missing(X, name)
    return X


def check_n_reduced(estimator, X):
    """Raise ValueError where X has not ``n_components_`` columns."""
    if X.shape[1] != estimator.n_components_:
        raise ValueError(
            f"X has {X.shape[1]} columns, but n_components_={estimator.n_components_} "
            "are expected."
        )


def check_matrix(A, *, rereads=False, instead="", block_size=None, n_jobs=None):
    """Return the matrix a function is given as a row matrix.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable, dask array or iterator
    rereads : bool
        Whether it is to be read more than once: an iterator is refused.
    instead : str
        What else to do with an iterator, for the error.
    block_size, n_jobs
        See `as_row_matrix`.

    Returns
    -------
    RowMatrix

    Raises
    ------
    ValueError, TypeError
        Those of `sklearn.utils.validation.check_array`.
    """
    refuse_containers(A, "A")
    if rereads:
        refuse_read_once(A, "A", instead)
    lazy = is_read_lazily(A)
    if not lazy:
        A = check_in_memory(A, "A")
    rows = as_row_matrix(A, block_size=block_size, n_jobs=n_jobs)
    if lazy:
        _refuse_small(rows)
    else:
        rows.finite = True
    return rows


def _refuse_small(rows, min_samples=1):
    """Raise ValueError where there are too few rows or no columns."""
    for size, least, name in zip(
        rows.shape, (min_samples, 1), ("sample", "feature"), strict=True
    ):
        if size is not None and size < least:
            raise ValueError(
                f"Found array with {size} {name}(s) (shape={rows.shape}) while a minimum "
                f"of {least} is required."
            )


def check_rank(name, k, shape):
    """Raise ValueError where ``name=k`` exceeds the smaller of `shape`."""
    if k > min(shape):
        raise ValueError(
            f"{name}={k} must be at most min(n_rows={shape[0]}, n_columns={shape[1]})."
        )


def check_kernel(rows, kernel, *, params, gamma=None, degree=None, coef0=None):
    """Return the kernel that a user asks for.

    Parameters
    ----------
    rows : RowMatrix
        The data, which "scale" is taken from, or the kernel matrix.
    kernel : str or callable
        As in `KERNEL_CONSTRAINTS`, as are the others.
    params : dict or None
        Further parameters.
    gamma : float, "scale" or None
    degree, coef0 : float or None

    Returns
    -------
    KernelSource

    Raises
    ------
    ValueError
        When a parameter does not belong to the kernel, a kernel matrix is not square, or
        data have negative entries that the kernel does not take.
    """
    params, given = params or {}, {"gamma": gamma, "degree": degree, "coef0": coef0}
    given = {name: value for name, value in given.items() if value is not None}
    if isinstance(kernel, str) and kernel != "precomputed":
        if kernel in ("chi2", "additive_chi2"):
            for block in rows.blocks():
                check_non_negative(block.values, f"the kernel {kernel!r}")
        if gamma == "scale":
            given["gamma"] = _scale_gamma(rows)
        return Kernel(kernel, {**params, **given})
    if given:
        raise ValueError(
            f"{', '.join(given)} cannot be used with a callable or precomputed kernel: "
            "pass kernel_params."
        )
    if callable(kernel):
        if is_kernel_object(kernel) and params:
            kernel, params = kernel.clone_with_theta(kernel.theta).set_params(**params), {}
        return Kernel(kernel, params)
    if rows.shape[0] != rows.shape[1]:
        raise ValueError(f"A precomputed kernel of shape {rows.shape} must be square.")
    return PrecomputedKernel()


def _scale_gamma(rows):
    """Return ``1 / (n_features X.var())``: the default of scikit-learn's SVC."""
    moments = CenteredMatrix(rows).moments
    # Of all entries about their common mean.
    spread = np.square(moments.mean - moments.mean.mean()).sum()
    variance = (moments.squared_norm / moments.total_weight + spread) / rows.shape[1]
    return 1.0 / (rows.shape[1] * variance) if variance > 0 else 1.0


def check_landmarks(
    landmarks, n_landmarks, *, name="n_landmarks", tol=0.0, takes_points=True
):
    """Return the landmarks that a user asks for.

    Parameters
    ----------
    landmarks : str or array-like
        A method, or landmarks of the user's own.
    n_landmarks : int, float or None
        Most landmarks, or the share of the trace they are to capture.
    name : str
        The parameter it was given as.
    tol : float
        Relative trace error at which to stop.
    takes_points : bool
        Whether they may be any points, as for all but a `PrecomputedKernel`.

    Returns
    -------
    landmarks : str or ndarray or csr_array
        A method, or landmarks of the user's own.
    k : int or None
        Most landmarks.
    tol : float
        Relative trace error at which to stop.

    Raises
    ------
    ValueError
        Where the landmarks do not come one after another, but are to stop at an error; or
        need samples, where there is a kernel matrix.
    """
    k, stop = n_landmarks, f"tol={tol}"
    if isinstance(k, Integral):
        k = int(k)
    elif k is not None:
        stop, tol, k = f"{name}={k}", max(tol, 1 - k), None
    if isinstance(landmarks, str):
        if landmarks == "kmeans" and not takes_points:
            raise ValueError("landmarks='kmeans' needs samples, not a precomputed kernel.")
        if landmarks in _ORDERED_LANDMARKS or not tol:
            return landmarks, k, tol
    elif not tol:
        landmarks = _own_landmarks(landmarks)
        if landmarks.ndim == 2 and not takes_points:
            raise ValueError("landmarks of a precomputed kernel must be indices.")
        return landmarks, k, tol
    raise ValueError(
        f"{stop} needs landmarks that come one after another: landmarks must be one of "
        f"{', '.join(map(repr, _ORDERED_LANDMARKS))}."
    )


def _own_landmarks(landmarks):
    if sp.issparse(landmarks):
        return sp.csr_array(landmarks)
    landmarks = np.asarray(landmarks)
    if landmarks.ndim == 1 and landmarks.dtype.kind in "iu":
        return landmarks
    return check_array(landmarks, dtype=[np.float64, np.float32], input_name="landmarks")
