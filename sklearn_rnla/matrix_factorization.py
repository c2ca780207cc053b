"""Regression on pairs of identifiers, by a matrix of low rank."""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ._fitting import fitting, progress, warn_user
from ._random import draw_seed, stream
from ._refusals import refuse_containers, refuse_masked
from ._sklearn import CallbackSupportMixin, validate_data
from ._validation import check_n_recommended, check_target
from .linalg.completion.complete import (
    CONSTRAINTS,
    CompletionOptions,
    complete,
    why_not_converged,
)
from .operators.lanes import kernel_jobs
from .operators.observed import Observed


class MatrixFactorizationRegressor(RegressorMixin, CallbackSupportMixin, BaseEstimator):
    """Regression on pairs of identifiers: user and item, plant and site, drug and target.

    The value of a pair is the sum of an offset, a bias of the row, a bias of the column,
    and the inner product of a vector of the row and one of the column. Samples are entries
    of a matrix, so that cross-validation and grid search split the entries.

    Parameters
    ----------
    rank : int or "auto", default=6
        Length of these vectors, at most the number of identifiers on either side. "auto"
        picks the rank that best predicts held-out entries.
    solver : {"auto", "gibbs", "als", "softimpute", "exact", "iterative_svd"}, \
            default="auto"
        As in `MatrixCompleter`. "auto" is "als" if `alpha` is given, and otherwise "gibbs",
        which is the most accurate and needs no tuning.
    alpha : float, default=None
        Penalty of "als" and "softimpute", as in `MatrixCompleter`.
    reg_power : float, default=1.0
        Power of the number of entries in the penalty of "als", as in `MatrixCompleter`.
    center : bool or "auto", default="auto"
        Whether to fit offset and biases; see `MatrixCompleter`.
    max_iter : int, default=None
        Maximum number of iterations; the default depends on the solver.
    tol : float, default=None
        Tolerance at which to stop; see `MatrixCompleter`.
    validation_fraction : float, default=0.05
        Fraction of the entries to hold out, in order to pick rank and penalty where they
        are not given, and to estimate the error. The final fit uses these entries too.
    early_stopping : bool, default=False
        Whether "als" stops when the error of held-out entries rises.
    clip : bool, default=True
        Whether predictions are clipped to the range of the values in `fit`.
    warm_start : bool, default=False
        Whether `fit` starts from the previous model, if there are as many identifiers on
        each side. For "gibbs" and "als".
    n_jobs : int, default=None
        Number of threads. None means as many as BLAS uses, unless a
        :obj:`joblib.parallel_config` context sets it.
    random_state : int, RandomState instance or None, default=None
        Seeds the samples, the starting points and the choice of held-out entries.

    Attributes
    ----------
    row_ids_ : ndarray of shape (n_rows,)
        Distinct identifiers in the first column of X, sorted.
    column_ids_ : ndarray of shape (n_columns,)
        Distinct identifiers in the second column of X, sorted.
    offset_ : float
        Constant term of all values; 0 without centring.
    row_biases_ : ndarray of shape (n_rows,)
        Biases of the rows, in the order of `row_ids_`; 0 without centring.
    column_biases_ : ndarray of shape (n_columns,)
        Biases of the columns, in the order of `column_ids_`.
    row_factors_ : ndarray of shape (n_rows, k)
        Vectors of the rows. k is `rank_`, but for "gibbs", where the vectors of all samples
        are concatenated along columns.
    column_factors_ : ndarray of shape (n_columns, k)
        Vectors of the columns. A value is ``offset_ + row_biases_[i] + column_biases_[j] +
        row_factors_[i] @ column_factors_[j]``.
    rank_ : int
        The rank.
    solver_ : str
        The solver used.
    alpha_ : float or None
        The penalty used.
    error_estimate_ : float
        Upper bound, in units of y, on the root mean squared error of pairs that are
        missing at random, among them identifiers of a single pair. It holds with
        probability 0.95 and comes from held-out pairs; NaN if there were none. For
        "exact", it comes from the residual, corrected for degrees of freedom.
    new_error_estimate_ : float
        The same for pairs with an identifier that is new; NaN if no pair was held out
        whose identifier comes only there.
    held_out_error_ : float
        Root mean squared error of the held-out pairs themselves.
    n_iter_ : int
        Number of iterations.
    history_ : ndarray
        Measure of fit after each iteration, as in `MatrixCompleter`.
    n_features_in_ : int
        Two.
    feature_names_in_ : ndarray of shape (2,)
        Names of the columns, where X has string names.

    See Also
    --------
    MatrixCompleter : From a matrix; fills it in, and folds in new rows.

    Notes
    -----
    Of few pairs, most of which are the only ones of an identifier, "gibbs" shrinks its
    deviations from the mean of all values by a factor that cross-validation chooses.

    An identifier that was not in `fit` gets the values that are expected of any: offset and
    bias of the other side, and with "gibbs" an average over the distribution of vectors.

    References
    ----------
    .. [1] Salakhutdinov, R., & Mnih, A. (2008). Bayesian probabilistic matrix factorization
       using Markov chain Monte Carlo. ICML.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import MatrixFactorizationRegressor
    >>> rng = np.random.default_rng(0)
    >>> pairs = np.array([(i, j) for i in range(30) for j in range(20)])
    >>> values = pairs[:, 0] * pairs[:, 1] / 100
    >>> seen = rng.random(len(pairs)) < 0.5
    >>> model = MatrixFactorizationRegressor(rank=2, random_state=0)
    >>> model = model.fit(pairs[seen], values[seen])
    >>> bool(model.score(pairs[~seen], values[~seen]) > 0.99)
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        **CONSTRAINTS,
        "clip": ["boolean"],
    }

    def __init__(
        self,
        rank=6,
        *,
        solver="auto",
        alpha=None,
        reg_power=1.0,
        center="auto",
        max_iter=None,
        tol=None,
        validation_fraction=0.05,
        early_stopping=False,
        clip=True,
        warm_start=False,
        n_jobs=None,
        random_state=None,
    ):
        self.rank = rank
        self.solver = solver
        self.alpha = alpha
        self.reg_power = reg_power
        self.center = center
        self.max_iter = max_iter
        self.tol = tol
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.clip = clip
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fitting
    def fit(self, X, y):
        """Fit the model to the values of pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            An identifier of a row and one of a column each: ints or strings.
        y : array-like of shape (n_samples,)
            Values. Those of a pair that comes several times are averaged.

        Returns
        -------
        MatrixFactorizationRegressor
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When X does not have two columns, an identifier is missing, or y is not finite.
        TypeError
            When an identifier is missing as ``pandas.NA``.

        Warns
        -----
        ConvergenceWarning
            When the solver stops before it reaches the tolerance.
        """
        X = self._check(X, reset=True)
        y = check_target(
            self,
            X,
            y,
            numeric=True,
            multi_output=False,
            dtypes=(np.float64, np.float32),
        )
        self.row_ids_, rows = _distinct(X[:, 0])
        self.column_ids_, columns = _distinct(X[:, 1])
        shape = len(self.row_ids_), len(self.column_ids_)
        observed = Observed.from_pairs(
            rows, columns, y, shape, n_jobs=kernel_jobs(self.n_jobs)
        )
        options = CompletionOptions.of(self.get_params(deep=False))
        if self.rank != "auto":
            options = options._replace(rank=min(self.rank, *shape))
        warm = self.warm_start and hasattr(self, "_completion")
        report = progress(self, "iteration")
        found = complete(
            observed,
            options,
            start=self._completion.known if warm else None,
            rng=stream(draw_seed(self.random_state)),
            report=report,
        )
        self._completion = found.with_unseen()
        self._range = y.min(), y.max()
        self.offset_ = found.model.offset
        self.rank_ = found.rank
        self.solver_ = found.solver
        self.alpha_ = found.alpha
        self.error_estimate_ = found.error_estimate
        self.new_error_estimate_ = found.new_error_estimate
        self.held_out_error_ = found.held_out_error
        self.n_iter_ = found.n_iter
        self.history_ = found.history
        if not found.converged:
            message = why_not_converged(found, options)
            warn_user(message, ConvergenceWarning)
        return self

    def predict(self, X, return_std=False):
        """Predict the values of pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            An identifier of a row and one of a column each. They may be new.
        return_std : bool, default=False
            Whether to return standard deviations of new values; with "gibbs".

        Returns
        -------
        mean : ndarray of shape (n_samples,)
            Predictions.
        std : ndarray of shape (n_samples,)
            Only if `return_std`.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
        rows = _places(X[:, 0], self.row_ids_)
        columns = _places(X[:, 1], self.column_ids_)
        mean, std = self._completion.predict(
            rows, columns, return_std=return_std, n_jobs=kernel_jobs(self.n_jobs)
        )
        if self.clip:
            mean = np.clip(mean, *self._range)
        dtype = self._completion.model.columns.dtype
        mean = mean.astype(dtype, copy=False)
        return (mean, std.astype(dtype, copy=False)) if return_std else mean

    def recommend(self, rows, n=10, exclude_seen=True):
        """Return the columns with the largest values for each row.

        Parameters
        ----------
        rows : array-like of shape (n_rows,)
            Identifiers of rows; they may be new.
        n : int, default=10
            Columns for each.
        exclude_seen : bool, default=True
            Whether to leave out the pairs that were in `fit`.

        Returns
        -------
        columns : ndarray of shape (n_rows, n)
            Identifiers, the best first. Where there are fewer than `n`, the first of
            `column_ids_`, with a score of -inf.
        scores : ndarray of shape (n_rows, n)
            Values, not clipped.
        """
        check_is_fitted(self)
        check_n_recommended(n)
        refuse_masked(rows, "rows")
        rows = np.asarray(rows)
        if rows.ndim != 1:
            raise ValueError(f"rows of shape {rows.shape} must have one dimension.")
        best, scores = self._completion.recommend(
            _places(rows, self.row_ids_),
            int(n),
            exclude_seen=exclude_seen,
            n_jobs=kernel_jobs(self.n_jobs),
        )
        return self.column_ids_[np.maximum(best, 0)], scores

    @property
    def row_biases_(self):
        """Biases of rows."""
        return self._completion.known.row_biases

    @property
    def column_biases_(self):
        """Biases of columns."""
        return self._completion.known.column_biases

    @property
    def row_factors_(self):
        """Factors of rows."""
        return self._completion.known.row_factors

    @property
    def column_factors_(self):
        """Factors of columns."""
        return self._completion.known.column_factors

    def _check(self, X, *, reset):
        refuse_masked(X)
        refuse_containers(X)
        X = validate_data(self, X, reset=reset, dtype=None)
        if X.shape[1] != 2:
            raise ValueError(
                f"X has {X.shape[1]} feature(s), but {type(self).__name__} needs 2: "
                "identifiers of rows and of columns."
            )
        return X


def _distinct(ids):
    """Return distinct identifiers, sorted, and the place of each."""
    ids = _plain(ids)
    if ids.dtype.kind in "iu":
        low, high = int(ids.min()), int(ids.max())
        if high - low < 4 * len(ids) + 1000 and high < 2**62:
            # Counting is faster than sorting.
            numbers = ids.astype(np.int64) - low
            present = np.zeros(high - low + 1, dtype=bool)
            present[numbers] = True
            places = np.cumsum(present) - 1
            return (np.flatnonzero(present) + low).astype(ids.dtype), places[numbers]
    return np.unique(ids, return_inverse=True)


def _places(ids, distinct):
    """Return the place of each identifier, or the number of them where it is new."""
    ids = _plain(ids)
    if (ids.dtype.kind in "US") != (distinct.dtype.kind in "US"):
        raise ValueError(
            f"Identifiers are {ids.dtype}, but were {distinct.dtype} in fit: give the same "
            "type."
        )
    places = np.minimum(np.searchsorted(distinct, ids), len(distinct) - 1)
    return np.where(distinct[places] == ids, places, len(distinct))


def _plain(ids):
    """Return identifiers as an array of numbers or of strings."""
    if ids.dtype.kind != "O":
        return ids
    if any(each is None or each != each for each in ids):
        raise ValueError("X contains identifiers that are missing.")
    return np.array(ids.tolist())
