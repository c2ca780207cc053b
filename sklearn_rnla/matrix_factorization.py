"""Regression on pairs of identifiers, by a matrix of low rank."""

from typing import Literal, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ._fitting import FittingMixin, fitting, progress, warn_user
from ._identifiers import Identifiers, columns_of
from ._random import generator
from ._refusals import refuse_masked
from ._typing import AnyArray, Array, ArrayLike, Float, Int, OrNone, Seed, Tags
from ._validation import check_n_recommended, check_pairs, check_target
from .linalg.completion.solve import (
    CONSTRAINTS,
    CompletionOptions,
    complete,
    why_not_converged,
)
from .operators.observed import Observed
from .operators.threads import kernel_jobs


class MatrixFactorizationRegressor(RegressorMixin, FittingMixin, BaseEstimator):
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
    clip : bool, default=False
        Whether predictions are clipped to the range of the values in `fit`, as is right for
        ratings. Otherwise a matrix may well have larger entries than those that were seen.
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
    sklearn_rnla.plotting.CompletionHistoryDisplay : Plots `history_`.

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

    offset_: float
    rank_: int
    solver_: str
    alpha_: float | OrNone
    error_estimate_: float
    new_error_estimate_: float
    held_out_error_: float
    n_iter_: int
    history_: Array

    _parameter_constraints: dict = CONSTRAINTS

    def __init__(
        self,
        rank: Int | Literal["auto"] = 6,
        *,
        solver: Literal[
            "auto", "gibbs", "als", "softimpute", "exact", "iterative_svd"
        ] = "auto",
        alpha: Float | None = None,
        reg_power: Float = 1.0,
        center: bool | Literal["auto"] = "auto",
        max_iter: Int | None = None,
        tol: Float | None = None,
        validation_fraction: Float = 0.05,
        early_stopping: bool = False,
        clip: bool = False,
        warm_start: bool = False,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
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
    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Fit the model to the values of pairs.

        Parameters
        ----------
        X : array-like of shape (n_samples, 2)
            An identifier of a row and one of a column each: integers, strings, categories,
            dates, or anything else of one kind in each column that can be sorted. They are
            told apart exactly, whatever their type: columns of a data frame are not given
            a common one, and 1 is not the same as "1".
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
            When identifiers in one column cannot be compared, such as 1 and "1".

        Warns
        -----
        UserWarning
            When `alpha` is given to a solver that has no penalty.
        ConvergenceWarning
            When the solver stops before it reaches the tolerance.
        """
        of_rows, of_columns = self._check(X, reset=True)
        self._rows, rows = Identifiers.encode(*of_rows)
        self._columns, columns = Identifiers.encode(*of_columns)
        y = check_target(
            self,
            rows,
            y,
            numeric=True,
            multi_output=False,
            dtypes=(np.float64, np.float32),
        )
        shape = len(self._rows), len(self._columns)
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
            rng=generator(self.random_state),
            report=report,
        )
        self._completion = found.with_unseen()
        self.offset_ = found.model.offset
        self.rank_ = found.rank
        self.solver_ = found.solver
        self.alpha_ = found.alpha
        self.error_estimate_ = found.bounds.missing
        self.new_error_estimate_ = found.bounds.new
        self.held_out_error_ = found.bounds.held_out
        self.n_iter_ = found.n_iter
        self.history_ = found.history
        if not found.converged:
            message = why_not_converged(found, options)
            warn_user(message, ConvergenceWarning)
        return self

    @overload
    def predict(self, X: ArrayLike, return_std: Literal[False] = False) -> Array: ...
    @overload
    def predict(self, X: ArrayLike, return_std: Literal[True]) -> tuple[Array, Array]: ...
    @overload
    def predict(self, X: ArrayLike, return_std: bool) -> Array | tuple[Array, Array]: ...
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
        return self._predict(*self._check(X, reset=False), return_std)

    @overload
    def predict_entries(
        self, rows: ArrayLike, columns: ArrayLike, return_std: Literal[False] = False
    ) -> Array: ...
    @overload
    def predict_entries(
        self, rows: ArrayLike, columns: ArrayLike, return_std: Literal[True]
    ) -> tuple[Array, Array]: ...
    @overload
    def predict_entries(
        self, rows: ArrayLike, columns: ArrayLike, return_std: bool
    ) -> Array | tuple[Array, Array]: ...
    def predict_entries(self, rows, columns, return_std=False):
        """Predict the values of pairs, of which the identifiers come one side at a time.

        Parameters
        ----------
        rows, columns : array-like of shape (n_pairs,)
            Identifiers of rows, and of columns. They may be new.
        return_std : bool, default=False
            Whether to return standard deviations of new values; with "gibbs".

        Returns
        -------
        mean : ndarray of shape (n_pairs,)
            Predictions.
        std : ndarray of shape (n_pairs,)
            Only if `return_std`.

        Raises
        ------
        ValueError
            When there are not as many rows as columns.
        """
        check_is_fitted(self)
        check_pairs(rows, columns)
        return self._predict((rows, "rows"), (columns, "columns"), return_std)

    def _predict(self, of_rows, of_columns, return_std):
        mean, std = self._completion.predict(
            self._rows.places(*of_rows),
            self._columns.places(*of_columns),
            return_std=return_std,
            clip=self.clip,
            n_jobs=kernel_jobs(self.n_jobs),
        )
        dtype = self._completion.model.columns.dtype
        mean = mean.astype(dtype, copy=False)
        return (mean, std.astype(dtype, copy=False)) if return_std else mean

    def recommend(
        self, rows: ArrayLike, n: Int = 10, exclude_seen: bool = True
    ) -> tuple[AnyArray, Array]:
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
        if np.ndim(rows) != 1:
            raise ValueError(f"rows of shape {np.shape(rows)} must have one dimension.")
        best, scores = self._completion.recommend(
            self._rows.places(rows, "rows"),
            int(n),
            exclude_seen=exclude_seen,
            n_jobs=kernel_jobs(self.n_jobs),
        )
        return self.column_ids_[np.maximum(best, 0)], scores

    @property
    def row_ids_(self) -> AnyArray:
        """Identifiers of rows."""
        return self._rows.distinct

    @property
    def column_ids_(self) -> AnyArray:
        """Identifiers of columns."""
        return self._columns.distinct

    @property
    def row_biases_(self) -> Array:
        """Biases of rows."""
        return self._completion.known.row_biases

    @property
    def column_biases_(self) -> Array:
        """Biases of columns."""
        return self._completion.known.column_biases

    @property
    def row_factors_(self) -> Array:
        """Factors of rows."""
        return self._completion.known.row_factors

    @property
    def column_factors_(self) -> Array:
        """Factors of columns."""
        return self._completion.known.column_factors

    def _check(self, X, *, reset):
        """Return the two columns of identifiers, each with its name."""
        columns = columns_of(self, X, reset=reset)
        if len(columns) != 2:
            raise ValueError(
                f"X has {len(columns)} feature(s), but {type(self).__name__} needs 2: "
                "identifiers of rows and of columns."
            )
        return columns

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        # Where scikit-learn wants half of the variance told, all numbers are different. As
        # identifiers they come once, and the mean is all there is to say of a new pair.
        tags.regressor_tags.poor_score = True
        return tags
