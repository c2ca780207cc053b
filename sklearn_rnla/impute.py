"""Completion of matrices of which only some entries are known."""

from numbers import Real
from typing import Literal, NamedTuple, Self, overload

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import MissingIndicator
from sklearn.utils.validation import check_is_fitted

from ._fitting import FittingMixin, fitting, progress, warn_user
from ._random import generator
from ._refusals import refuse_containers, refuse_masked, refuse_read_once
from ._sklearn import (
    StrOptions,
    _check_feature_names_in,
)
from ._typing import (
    AnyArray,
    Array,
    ArrayAsX,
    ArrayLike,
    Float,
    Indices,
    Int,
    MatrixLike,
    OrNone,
    Seed,
    Tags,
)
from ._validation import check_features, check_n_recommended, check_pairs
from .linalg.completion.kept_columns import KeptColumns
from .linalg.completion.sampling import Sampling, describe_sampling
from .linalg.completion.solve import (
    CONSTRAINTS,
    SOLVERS,
    WITHOUT_PENALTY,
    CompletionOptions,
    complete,
    why_arbitrary,
    why_not_converged,
)
from .operators.observed import Observed
from .operators.sources import is_dask, is_row_sliceable
from .operators.threads import kernel_jobs

# Most columns that a warning names.
_MOST_NAMED = 10

# Share of each row's entries that `score` hides.
_SCORED = 0.2


class FoldedRows(NamedTuple):
    """Rows given the columns of a model.

    Attributes
    ----------
    biases : ndarray of shape (n_rows,)
    factors : ndarray of shape (n_rows, k)
        The rows are ``offset_ + biases + column_biases_ + factors @ column_factors_.T``.
    """

    biases: np.ndarray
    factors: np.ndarray


class MatrixCompleter(TransformerMixin, FittingMixin, BaseEstimator):
    """Completion of a matrix of low rank from some of its entries.

    Missing values of dense data are filled in, as by scikit-learn's imputers. For sparse
    data, such as ratings, the stored entries are the known ones, **including stored
    zeros**. Rows that were not in `fit` are folded in.

    Parameters
    ----------
    rank : int or "auto", default="auto"
        Rank of the factors, beside offset and biases. "auto" picks the rank that best
        predicts held-out entries. Some solvers differ:

        - "em": "auto" uses all columns;
        - "softimpute": an upper limit, and "auto" sets none;
        - "exact": "auto" picks the smallest rank that agrees with the entries, and only
          if there is none, the one that best predicts held-out entries.

    solver : {"auto", "em", "gibbs", "als", "softimpute", "exact", "iterative_svd"}, \
            default="auto"
        - "em": probabilistic PCA by expectation maximisation [5]_. For dense data of at
          most a few hundred columns;
        - "gibbs": Bayesian factors and biases, averaged over samples [4]_. There is
          nothing to tune;
        - "als": biases, then factors by alternating ridge regressions;
        - "softimpute": the convex problem with a penalty on the nuclear norm [2]_;
        - "exact": recovery of a matrix that has exactly this rank [1]_, [3]_;
        - "iterative_svd": the matrix is filled in with its best approximation of this
          rank, again and again;
        - "auto": "als" if `alpha` is given; "em" for dense data of at most 300 columns;
          else "gibbs".

    alpha : float, default=None
        Penalty. It only makes sense for the two penalised solvers; sums are over the known
        entries, which for dense data are standardised by columns:

        - "softimpute" minimises ``1/2 sum (x_ij - m_ij)^2 + alpha s ||M||_*``, where s is
          the spectral norm of the entries, less biases if `center`, with zeros elsewhere.
          If alpha is at least 1, the solution is zero. None picks the value that best
          predicts held-out entries;
        - "als" minimises ``sum (x_ij - m_ij)^2 + alpha (sum_i n_i^p ||u_i||^2 + sum_j n_j^p
          ||v_j||^2)``, where p is `reg_power` and n_i is the number of entries of row i,
          n_j that of column j. None estimates the value from the noise.

    reg_power : float, default=1.0
        Power of the number of entries in the penalty of "als"; see `alpha`.
    center : bool or "auto", default="auto"
        Whether to fit an offset and a bias of each row and column beside the factors.
        "auto" is True for "als", "em" and "gibbs"; the last two always have them. Of dense
        data, "auto" also centres the columns for "softimpute" and "iterative_svd".
    neighbors : bool, default=True
        Whether "em" corrects its predictions by the rows nearest to the one that is
        filled in, if that lowers the error of held-out entries.
    max_iter : int, default=None
        Maximum number of iterations; the default depends on the solver. "gibbs" always
        makes that many sweeps.
    tol : float, default=None
        Tolerance at which to stop:

        - "em": change of the conditional means in a step, relative to their standard
          deviations, once the error of held-out entries has stopped falling; 0.05 by
          default;
        - "als": relative gain of a sweep; 1e-3 by default;
        - "softimpute": duality gap, relative to the objective; 1e-4 by default;
        - "exact": residual, relative to the entries; 1e-10 by default;
        - "iterative_svd": relative change of the residual in a step; 1e-5 by default.

    validation_fraction : float, default=0.05
        Fraction of the entries to hold out, in order to pick rank and penalty where they
        are not given, and to estimate the error. The final fit uses these entries too. "em"
        always holds out entries, of a fraction of its own.
    early_stopping : bool, default=False
        Whether "als" stops when the error of held-out entries rises.
    clip : bool, default=False
        Whether predictions are clipped to the range of the entries in `fit`, of all
        columns, as is right for ratings. Otherwise a matrix may well have larger entries
        than those that were seen.
    missing_values : float, default=nan
        Placeholder of missing values in dense data. NaN always counts as missing.
    add_indicator : bool, default=False
        Whether to append the columns of a `MissingIndicator`. For dense data.
    keep_empty_features : bool, default=False
        Whether `transform` keeps columns without an entry, filled with 0, rather than
        leaving them out. For dense data.
    warm_start : bool, default=False
        Whether `fit` starts from the previous model, if the shape is the same. For "gibbs"
        and "als".
    n_jobs : int, default=None
        Number of threads. None means as many as BLAS uses, unless a
        :obj:`joblib.parallel_config` context sets it.
    random_state : int, RandomState instance or None, default=None
        Seeds the samples, the starting points and the choice of held-out entries.

    Attributes
    ----------
    offset_ : float
        Constant term of all entries; 0 without centring.
    row_biases_ : ndarray of shape (n_samples,)
        Biases of the rows; 0 without centring.
    column_biases_ : ndarray of shape (n_columns,)
        Biases of the columns, which are the features that are not left out.
    row_factors_ : ndarray of shape (n_samples, k)
        Factors of the rows. k is `rank_`, with two exceptions. "gibbs" concatenates the
        factors of all samples along columns. For dense data, the biases of rows that "als"
        and "gibbs" fit are in standardised units: they are one factor more.
    column_factors_ : ndarray of shape (n_columns, k)
        Factors of the columns. The model is ``offset_ + row_biases_[:, None] +
        column_biases_ + row_factors_ @ column_factors_.T``.
    components_ : ndarray of shape (rank_, n_columns)
        Leading right singular vectors of ``row_factors_ @ column_factors_.T``.
    singular_values_ : ndarray of shape (rank_,)
        Singular values of the same product.
    rank_ : int
        Rank of the factors.
    solver_ : str
        The solver used.
    alpha_ : float or None
        The penalty used.
    error_estimate_ : float
        Upper bound on the root mean squared error of what `transform` fills in, or
        `predict` returns, for entries missing at random. It holds with probability 0.95,
        and comes from held-out entries; NaN if nothing was held out. For "exact", it comes
        from the residual, corrected for degrees of freedom.

        - Dense data: relative to the spread of each column, the standard deviation of its
          known entries. The error of an entry is divided by the spread of its column before
          squares are averaged; 1 is no better than column means.
        - Sparse data: in the unit of the entries, for a sample of a fifth as many as are
          known, or of as many as are held out if these are fewer.

    column_errors_ : ndarray of shape (n_columns,)
        Such a bound for each column, in its own unit.
    held_out_error_ : float
        Root mean squared error of the held-out entries themselves, relative as
        `error_estimate_`.
    indicator_ : MissingIndicator
        What adds the columns of `add_indicator`; only with that.
    n_iter_ : int
        Number of iterations.
    history_ : ndarray
        Measure of fit after each iteration:

        - "em": penalised log-likelihood, in steps that see all entries;
        - "gibbs": root mean squared error of the entries it sees, which for dense data are
          standardised here and below;
        - "als": root mean squared error of the held-out entries, or the objective if there
          are none;
        - "softimpute" and "iterative_svd": objective, here and for "als" relative to that
          of a zero matrix;
        - "exact": relative residual.

    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    MatrixFactorizationRegressor : From pairs of identifiers and a value for each.
    sklearn.impute.IterativeImputer : A regression of each column on the others.
    sklearn_rnla.plotting.CompletionHistoryDisplay : Plots `history_`.

    Notes
    -----
    Columns of dense data may have different units: every solver standardises them, and
    gives the units back. Those of sparse data, such as ratings, are taken to have one unit.

    Memory is that of the factors and of four copies of the entries, by rows and by columns,
    with and without biases; sparse data are never made dense. A sweep of "gibbs" takes
    ``nnz k^2`` flops, one of "als" ``32 nnz k``. The first fit compiles loops, which takes
    some seconds, and caches them on disk, where there is a place that can be written.

    References
    ----------
    .. [1] Candes, E. J., & Recht, B. (2009). Exact matrix completion via convex
       optimization. Foundations of Computational Mathematics, 9, 717-772.
    .. [2] Mazumder, R., Hastie, T., & Tibshirani, R. (2010). Spectral regularization
       algorithms for learning large incomplete matrices. JMLR, 11, 2287-2322.
    .. [3] Zilber, P., & Nadler, B. (2022). GNMR: a provable one-line algorithm for low rank
       matrix recovery. SIAM Journal on Mathematics of Data Science, 4(2), 909-934.
    .. [4] Salakhutdinov, R., & Mnih, A. (2008). Bayesian probabilistic matrix factorization
       using Markov chain Monte Carlo. ICML.
    .. [5] Tipping, M. E., & Bishop, C. M. (1999). Probabilistic principal component
       analysis. Journal of the Royal Statistical Society B, 61(3), 611-622.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import MatrixCompleter
    >>> X = np.outer(np.arange(1, 9), [1.0, 2.0, 3.0, 4.0])
    >>> X[1, 1] = X[5, 2] = np.nan
    >>> completer = MatrixCompleter(1, solver="exact", random_state=0)
    >>> completer.fit_transform(X)[[1, 5], [1, 2]].round(6)
    array([ 4., 18.])
    """

    offset_: float
    components_: Array
    singular_values_: Array
    rank_: int
    solver_: str
    alpha_: float | OrNone
    error_estimate_: float
    column_errors_: Array
    held_out_error_: float
    indicator_: MissingIndicator
    n_iter_: int
    history_: Array

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        **CONSTRAINTS,
        "solver": [StrOptions({"auto", "em", *SOLVERS})],
        "neighbors": ["boolean"],
        "missing_values": [Real],
        "add_indicator": ["boolean"],
        "keep_empty_features": ["boolean"],
    }

    def __init__(
        self,
        rank: Int | Literal["auto"] = "auto",
        *,
        solver: Literal[
            "auto", "em", "gibbs", "als", "softimpute", "exact", "iterative_svd"
        ] = "auto",
        alpha: Float | None = None,
        reg_power: Float = 1.0,
        center: bool | Literal["auto"] = "auto",
        neighbors: bool = True,
        max_iter: Int | None = None,
        tol: Float | None = None,
        validation_fraction: Float = 0.05,
        early_stopping: bool = False,
        clip: bool = False,
        missing_values: Float = np.nan,
        add_indicator: bool = False,
        keep_empty_features: bool = False,
        warm_start: bool = False,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
        self.rank = rank
        self.solver = solver
        self.alpha = alpha
        self.reg_power = reg_power
        self.center = center
        self.neighbors = neighbors
        self.max_iter = max_iter
        self.tol = tol
        self.validation_fraction = validation_fraction
        self.early_stopping = early_stopping
        self.clip = clip
        self.missing_values = missing_values
        self.add_indicator = add_indicator
        self.keep_empty_features = keep_empty_features
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fitting
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Fit the model to the known entries.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Dense, with missing values or, as a masked array, masked ones; or sparse, of
            which the stored entries are known.
            Entries stored twice are averaged, stored NaN are not known.
        y : None
            Ignored.

        Returns
        -------
        MatrixCompleter
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When no entry is known, or one is infinite; when `rank` exceeds the shape, or
            `solver` or `center` does not suit the data.

        Warns
        -----
        UserWarning
            When columns without an entry are left out, or `alpha` is given to a solver that
            has no penalty. With "exact" and "iterative_svd",
            when the entries cannot determine the matrix; the message says why, and where.
        ConvergenceWarning
            When the solver stops before it reaches the tolerance.
        """
        X, dense = self._check(X, reset=True)
        self._kept = KeptColumns.with_entries(X) if dense else KeptColumns.all_of(X)
        if dense and self.add_indicator:
            self.indicator_ = MissingIndicator(error_on_new=False).fit(X)
        X = self._kept.take(X)
        observed = self._entries(X)
        if not observed.nnz:
            raise ValueError("X has no known entry: nothing to fit.")
        warm = self.warm_start and hasattr(self, "_completion")
        options = CompletionOptions.of(self.get_params(deep=False))
        report = progress(self, "iteration")
        found = complete(
            observed,
            options,
            table=X if dense else None,
            start=self._completion.model if warm else None,
            rng=generator(self.random_state),
            report=report,
        )
        self._dense = dense
        self._completion = found
        self.offset_ = found.model.offset
        self.rank_ = found.rank
        self.solver_ = found.solver
        self.alpha_ = found.alpha
        svd = found.model.svd(found.rank)
        self.singular_values_, self.components_, self._rotation = svd
        self.error_estimate_ = found.bounds.missing
        self.held_out_error_ = found.bounds.held_out
        self.column_errors_ = found.bounds.columns
        self.n_iter_ = found.n_iter
        self.history_ = found.history
        if not self.keep_empty_features:
            self._warn_of_empty_columns()
        if found.solver in WITHOUT_PENALTY:
            reason = why_arbitrary(found, self.describe_sampling(), self._kept.numbers)
            if reason:
                warn_user(reason, UserWarning)
        if not found.converged:
            message = why_not_converged(found, options)
            warn_user(message, ConvergenceWarning)
        return self

    def transform(self, X: MatrixLike) -> ArrayAsX:
        """Fill in what is missing in dense data; embed sparse data.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            As in `fit`. The rows are folded in; they may be new.

        Returns
        -------
        ndarray or data frame of shape (n_samples, n_features_out)
            Of dense data: the data, with missing entries from the model, and those known
            as they are. Of sparse data, never a matrix of their shape, but the rows in
            terms of `components_`, of shape (n_samples, rank_), without biases.
            `predict`, `predict_entries` and `recommend` give entries.
        """
        check_is_fitted(self)
        X, dense = self._check(X, reset=False)
        kept = self._kept.take(X)
        if not dense:
            rows = self._completion.fold_in(self._entries(kept))
            return self._completion.model.factors_of(rows) @ self._rotation
        filled = self._completion.fill(
            kept, clip=self.clip, n_jobs=kernel_jobs(self.n_jobs)
        )
        if self.keep_empty_features:
            filled = self._kept.put_back(filled, X)
        if self.add_indicator:
            if not hasattr(self, "indicator_"):
                raise ValueError("add_indicator=True needs dense data in fit, too.")
            mask = self.indicator_.transform(X)
            filled = np.hstack([filled, mask.astype(filled.dtype)])
        return filled

    def predict(self, X: MatrixLike) -> Array:
        """Return what the model says of every entry of rows, observed or not.

        Where `transform` of dense data keeps the known entries, and for "em" fills
        in the others with all that it knows, this is the low-rank model alone.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            With missing values, as in `fit`. The rows are folded in; they may be new.

        Returns
        -------
        ndarray of shape (n_samples, n_features)
            The entries; 0 in columns without an entry in `fit`.

        Raises
        ------
        TypeError
            When X is sparse, as a dense matrix of its shape may not fit in memory:
            `predict_entries` gives some of its entries, `recommend` the largest, and
            `fold_in` the factors of all.
        """
        check_is_fitted(self)
        X, dense = self._check(X, reset=False)
        if not dense:
            raise TypeError(
                "predict does not accept sparse data, because its result is a dense matrix "
                "of the same shape. Use predict_entries for some entries, recommend for "
                "the largest in each row, or fold_in for factors."
            )
        entries = self._entries(self._kept.take(X))
        entries = self._completion.predict_rows(entries, clip=self.clip)
        return self._kept.put_back(entries)

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
        """Return entries of the model, observed or not, in rows of the data in `fit`.

        Parameters
        ----------
        rows, columns : array-like of int of shape (n_pairs,)
            Rows of the data in `fit`, and columns.
        return_std : bool, default=False
            Whether to return standard deviations of new observations; with "gibbs".

        Returns
        -------
        mean : ndarray of shape (n_pairs,)
            The entries; 0 in columns without an entry in `fit`.
        std : ndarray of shape (n_pairs,)
            Only if `return_std`.

        Raises
        ------
        ValueError
            When rows and columns are not integers, of different lengths, or outside of the
            matrix.
        """
        check_is_fitted(self)
        check_pairs(rows, columns)
        rows = _check_indices("rows", rows, len(self._completion.model.rows))
        columns = _check_indices("columns", columns, self.n_features_in_)
        places, kept = self._kept.places(columns)
        mean, std = self._completion.predict(
            rows,
            places,
            return_std=return_std,
            clip=self.clip,
            n_jobs=kernel_jobs(self.n_jobs),
        )
        mean[~kept] = 0
        if not return_std:
            return mean
        std[~kept] = np.nan
        return mean, std

    def recommend(
        self, X: MatrixLike, n: Int = 10, exclude_seen: bool = True
    ) -> tuple[Indices, Array]:
        """Return the columns with the largest entries in each row.

        Parameters
        ----------
        X : array-like of int of shape (n_rows,), or data of shape (n_rows, n_features)
            Rows of the data in `fit`; or other rows, which are folded in.
        n : int, default=10
            Columns of each row.
        exclude_seen : bool, default=True
            Whether to leave out the known entries.

        Returns
        -------
        columns : ndarray of int of shape (n_rows, n)
            The best first; -1 where there are no more.
        scores : ndarray of shape (n_rows, n)
            Entries of the model; -inf where there are no more.

        Raises
        ------
        ValueError
            When `n` is not positive, or rows are outside of the data.
        """
        check_is_fitted(self)
        check_n_recommended(n)
        settings = {"exclude_seen": exclude_seen, "n_jobs": kernel_jobs(self.n_jobs)}
        if np.ndim(X) == 1 and not sp.issparse(X):
            refuse_masked(X, "rows")
            rows = _check_indices("rows", X, len(self._completion.model.rows))
            best, scores = self._completion.recommend(rows, int(n), **settings)
        else:
            X, _ = self._check(X, reset=False)
            entries = self._entries(self._kept.take(X))
            best, scores = self._completion.recommend_new(entries, int(n), **settings)
        return self._kept.original(best), scores

    def fold_in(self, X: MatrixLike) -> FoldedRows:
        """Return biases and factors of rows, given those of the columns.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_rows, n_features)
            As in `fit`. A row that was there gets what it has in `row_factors_`.

        Returns
        -------
        FoldedRows
            ``(biases, factors)``.
        """
        check_is_fitted(self)
        X, _ = self._check(X, reset=False)
        rows = self._completion.fold_in(self._entries(self._kept.take(X)))
        model = self._completion.model
        return FoldedRows(biases=model.biases_of(rows), factors=model.factors_of(rows))

    def score(self, X: MatrixLike, y: object = None) -> float:
        """Hide a part of the entries of each row, and predict it from the rest.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            As in `fit`.
        y : None
            Ignored.

        Returns
        -------
        float
            Coefficient of determination of a fifth of the entries of each row, the same
            whenever X is, from the others.

        Raises
        ------
        ValueError
            When there are no two entries in any row.
        """
        check_is_fitted(self)
        X, dense = self._check(X, reset=False)
        X = self._kept.take(X)
        return self._completion.score(
            self._entries(X),
            _SCORED,
            table=X if dense else None,
            clip=self.clip,
            n_jobs=kernel_jobs(self.n_jobs),
        )

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> AnyArray:
        """Return the names of what `transform` returns of data such as those in `fit`.

        Parameters
        ----------
        input_features : array-like of str, default=None
            Names of the features; those of `fit` if None.

        Returns
        -------
        ndarray of str
            Of dense data, those of the columns that are not left out, and of the indicator.
        """
        check_is_fitted(self)
        if not self._dense:
            return np.array(
                [f"matrixcompleter{i}" for i in range(self.rank_)], dtype=object
            )
        names = _check_feature_names_in(self, input_features)
        kept = names if self.keep_empty_features else names[self._kept.mask]
        if not self.add_indicator:
            return kept
        indicated = self.indicator_.get_feature_names_out(names)
        return np.concatenate([kept, indicated])

    def describe_sampling(self) -> Sampling:
        """Describe the places of the entries that `fit` saw.

        Returns
        -------
        Sampling
            Number of entries of each row and column, connected components of the graph
            they form, entries per degree of freedom, and coherence of the estimate.
        """
        check_is_fitted(self)
        U, V = self.row_factors_ @ self._rotation, self.components_.T
        return describe_sampling(self._completion.seen, U, V)

    @property
    def row_biases_(self) -> Array:
        """Biases of rows."""
        return self._completion.model.row_biases

    @property
    def column_biases_(self) -> Array:
        """Biases of columns."""
        return self._completion.model.column_biases

    @property
    def row_factors_(self) -> Array:
        """Factors of rows."""
        return self._completion.model.row_factors

    @property
    def column_factors_(self) -> Array:
        """Factors of columns."""
        return self._completion.model.column_factors

    def _check(self, X, *, reset):
        """Return data with NaN where they are missing, and whether they are dense."""
        refuse_containers(X)
        refuse_read_once(X, "X")
        options = {"accept_sparse": ("csr", "csc", "coo"), "ensure_all_finite": "allow-nan"}
        X = check_features(self, _unmasked(X), reset=reset, **options)
        dense = not sp.issparse(X)
        if dense and not np.isnan(self.missing_values):
            X = np.where(X.dtype.type(self.missing_values) == X, X.dtype.type(np.nan), X)
        return X, dense

    def _warn_of_empty_columns(self):
        empty = np.flatnonzero(~self._kept.mask)
        if not len(empty):
            return
        names = getattr(self, "feature_names_in_", np.arange(self.n_features_in_))[empty]
        shown = ", ".join(repr(name) for name in names[:_MOST_NAMED].tolist())
        more = len(names) - _MOST_NAMED
        warn_user(
            f"Column(s) {shown}{f' and {more} more' * (more > 0)} of X have no known entry "
            "and are left out. Set keep_empty_features=True to keep them, filled with 0."
        )

    def _entries(self, X):
        """Return the known entries of checked data."""
        return Observed.from_matrix(X, n_jobs=kernel_jobs(self.n_jobs))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.solver != "em"
        tags.input_tags.allow_nan = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _unmasked(X):
    """Return data, read where they are lazy, with NaN for what is masked."""
    if is_dask(X):
        X = X.compute()
    elif is_row_sliceable(X):
        # Conversion to an ndarray would look behind the mask.
        X = X[:]
    if isinstance(X, list | tuple) and any(map(np.ma.isMaskedArray, X)):
        X = np.ma.stack(X)
    if not np.ma.is_masked(X):
        return X
    return X.astype(np.float32 if X.dtype == np.float32 else np.float64).filled(np.nan)


def _check_indices(things, indices, size):
    """Return indices of rows or columns; raise unless they are, of `size` of them."""
    indices = np.asarray(indices)
    if not len(indices):
        return indices.astype(np.int64)
    if indices.dtype.kind not in "iu":
        raise ValueError(f"{things} must be integers, but are {indices.dtype}.")
    if not (indices.min() >= 0 and indices.max() < size):
        raise ValueError(
            f"{things} go from {indices.min()} to {indices.max()}, but there are {size} "
            f"{things}, from 0."
        )
    return indices.astype(np.int64, copy=False)
