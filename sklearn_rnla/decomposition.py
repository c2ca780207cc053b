"""Principal component analysis by randomized passes over row blocks."""

from itertools import chain
from numbers import Integral, Real
from typing import Literal, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ._fitting import FittingMixin, fitting, progress, warn_user
from ._random import generator
from ._refusals import NotFiniteError, refuse_read_once
from ._sklearn import Interval, RealNotInt, StrOptions
from ._typing import Array, ArrayAsX, ArrayLike, Blocks, Float, Int, MatrixLike, Seed, Tags
from ._validation import check_n_reduced, check_reduced, check_rows
from .linalg.dense.rank import numerical_rank
from .linalg.singular.incremental import RowSummary, batches
from .linalg.singular.missing import (
    LatentSummary,
    leading_complete,
    missing_components,
    updated_with_missing,
)
from .linalg.singular.principal_components import principal_components, updated_components
from .linalg.singular.probabilistic_pca import ProbabilisticPCA
from .linalg.singular.rank_rules import rank_rule
from .linalg.singular.truncated_svd import Settings
from .operators import CenteredMatrix, Moments, as_row_matrix, is_read_lazily, passes
from .operators.scaling import held, safe_exponent


class RandomizedPCA(
    FittingMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Principal component analysis of dense, sparse, streamed or distributed data.

    A drop-in replacement for scikit-learn's `PCA`, `TruncatedSVD` (``with_mean=False``)
    and `IncrementalPCA` (`partial_fit`). It makes a few passes over blocks of rows, without
    copying the data or making sparse data dense, and stops as soon as it estimates that
    the components are within `tol` of the best ones. `error_estimate_` tells how close they
    are.

    Parameters
    ----------
    n_components : int, float, "gavish-donoho", "mle" or None, default=None
        Number of components to keep:

        - int: that many, at most ``min(n_samples, n_features)``; 0 leaves all the variance
          to the noise;
        - float in (0, 1): the fewest whose share of the variance exceeds it;
        - "gavish-donoho": as many singular values as exceed the optimal hard threshold
          for white noise of unknown level [3]_;
        - "mle": the most probable number under the probabilistic model [6]_, from the
          whole spectrum of at least as many samples as features;
        - None: ``min(n_samples, n_features)``, the whole spectrum.

    with_mean : bool, default=True
        Whether to centre the data; implicitly, so that sparse data stay sparse. False
        gives the truncated singular value decomposition (latent semantic analysis).
    whiten : bool, default=False
        Whether `transform` scales its output to unit variance.
    missing : {"error", "em"}, default="error"
        What NaN means:

        - "error": it is refused;
        - "em": an entry that is not known. The components are those of maximum likelihood
          under the probabilistic model [4]_, given the entries that are known [7]_, by
          expectation maximisation in passes over the rows; `algorithm`, `n_oversamples`
          and `sketch` have no effect then. Data without NaN are solved as by "error".

    algorithm : {"auto", "krylov", "subspace", "gram", "one-view"}, default="auto"
        - "auto": the cheaper of "krylov" and "gram" by a count of flops; for an iterator
          of blocks, the incremental update of `partial_fit`;
        - "krylov": block Krylov iteration, stopped by its error estimate;
        - "subspace": the same without memory of earlier passes: more passes, less memory;
        - "gram": exact, from the Gram matrix of the features or of the samples, whichever
          is smaller;
        - "one-view": one pass for the Nystroem approximation of the Gram matrix [2]_, less
          accurate. The choice for an iterator when memory is short; needs an int
          `n_components`.

    tol : float, default=1e-3
        Stop once the error is at most this fraction above the best possible (0.001 means
        0.1 %). The error of components V is ``||A - A V^T V||_F`` for the centred data A;
        the best possible error is that of the leading singular vectors.
    max_passes : int, default=20
        Maximum number of passes over the data, but with "gram". A warning says where fewer
        than were needed are allowed.
    n_oversamples : int, default=None
        Number of vectors to iterate beyond those wanted. None means at least 8, and as many
        more as make matrix products fast.
    sketch : {"row_sampling", "gaussian", "sparse_sign", "srtt"}, default="row_sampling"
        What the iteration starts from: the solution on a sample of the rows
        ("row_sampling"), or the row space of a sketch of all rows, which takes one more
        pass.
    block_size : int, default=None
        Rows of a block. None chooses by size; dask arrays keep their chunks.
    n_jobs : int, default=None
        Number of threads over row blocks. None means 1, unless in a
        :obj:`joblib.parallel_config` context. Dense products use the threads of BLAS in any
        case, so this helps with sparse data and with data that are read from disk.
    random_state : int, RandomState instance or None, default=None
        Seeds the samples and the sketches. Pass an int for reproducible results.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        Principal directions: orthonormal rows, by decreasing variance.
    explained_variance_ : ndarray of shape (n_components_,)
        Variance of the data along each of them, with ``n_samples - 1`` degrees of freedom;
        with ``with_mean=False`` that of `TruncatedSVD`, with ``n_samples``.
    explained_variance_ratio_ : ndarray of shape (n_components_,)
        The same as a share of the total variance.
    singular_values_ : ndarray of shape (n_components_,)
        Singular values of the centred (and weighted) data.
    mean_ : ndarray of shape (n_features_in_,)
        Mean of the data; zero with ``with_mean=False``.
    noise_variance_ : float
        Variance of the noise in the model of Tipping & Bishop [4]_: the mean of the
        eigenvalues left out.
    n_components_ : int
        Number of components.
    n_samples_ : int
        Number of samples.
    n_samples_seen_ : int
        The same, under the name `IncrementalPCA` has for it.
    batch_size_ : int
        Most rows of a block that was read, under the name `IncrementalPCA` has for it.
    var_ : ndarray of shape (n_features_in_,)
        Mean square of each feature about `mean_`: the variance that `IncrementalPCA` has,
        with ``n_samples`` degrees of freedom. Only where all data came by `partial_fit`,
        or as an iterator with "auto".
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.
    error_estimate_ : float
        Estimated excess error, in the units of `tol`, and never below rounding error:

        - "krylov", "subspace": estimated on a sample of the rows;
        - "gram": exact, so this is rounding error;
        - "one-view": measured on an independent sketch, with a margin;
        - `partial_fit` and `fit` on an iterator: an upper bound;
        - with missing entries: how far the log-likelihood is from its maximum, for each
          parameter.
    n_passes_ : int
        Number of passes over all the data.

    See Also
    --------
    sklearn.decomposition.PCA : Exact and randomized solvers for data in memory.
    sklearn.decomposition.TruncatedSVD : Without centring.
    sklearn.decomposition.IncrementalPCA : In batches.
    sklearn_rnla.plotting.ExplainedVarianceDisplay : Plots the variances.

    Notes
    -----
    Block Krylov iteration on the Gram matrix [1]_, [5]_, from a solution on 5 % of the
    rows. A first pass finds the moments, and rows of a large norm, which are always among
    them. Each later one costs ``4 n_samples n_features l`` flops, or ``4 nnz l`` for sparse
    data, with `l` slightly above `n_components`. Memory beyond the data: a few ``l x
    n_features`` arrays and one block. Where all that is left is lost in the rounding of
    squares, more passes in double precision find the rest.

    The data may have any unit. A variance that single precision cannot hold is in double.

    With missing entries, `n_samples_` counts the rows that have an entry. Entries are
    taken to be missing at random: whether one is may depend on those that are known, not
    on its value.

    Zero-weight samples count as absent, integer weights as repetitions.

    With ``with_mean=False``, data whose mean is far above their spread are read once more
    for the variances; an iterator cannot be, and loses digits of them.

    References
    ----------
    .. [1] Halko, N., Martinsson, P.-G., & Tropp, J. A. (2011). Finding structure with
       randomness. SIAM Review, 53(2), 217-288.
    .. [2] Tropp, J. A., Yurtsever, A., Udell, M., & Cevher, V. (2017). Fixed-rank
       approximation of a positive-semidefinite matrix from streaming data. NIPS 30.
    .. [3] Gavish, M., & Donoho, D. L. (2014). The optimal hard threshold for singular
       values is 4/sqrt(3). IEEE Transactions on Information Theory, 60(8), 5040-5053.
    .. [4] Tipping, M. E., & Bishop, C. M. (1999). Probabilistic principal component
       analysis. Journal of the Royal Statistical Society B, 61(3), 611-622.
    .. [5] Musco, C., & Musco, C. (2015). Randomized block Krylov methods for stronger and
       faster approximate singular value decomposition. NIPS 28.
    .. [6] Minka, T. P. (2000). Automatic choice of dimensionality for PCA. NIPS 13.
    .. [7] Ilin, A., & Raiko, T. (2010). Practical approaches to principal component
       analysis in the presence of missing values. JMLR 11, 1957-2000.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_rnla import RandomizedPCA
    >>> X, _ = load_digits(return_X_y=True)
    >>> pca = RandomizedPCA(n_components=0.9, random_state=0).fit(X)
    >>> pca.n_components_
    21
    >>> pca.transform(X).shape
    (1797, 21)
    """

    components_: Array
    explained_variance_: Array
    explained_variance_ratio_: Array
    singular_values_: Array
    mean_: Array
    noise_variance_: float
    n_components_: int
    n_samples_: int
    n_samples_seen_: int
    batch_size_: int
    var_: Array
    error_estimate_: float
    n_passes_: int

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        "n_components": [
            Interval(Integral, 0, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            StrOptions({"gavish-donoho", "mle"}),
            None,
        ],
        "with_mean": ["boolean"],
        "whiten": ["boolean"],
        "missing": [StrOptions({"error", "em"})],
        "algorithm": [StrOptions({"auto", "krylov", "subspace", "gram", "one-view"})],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_passes": [Interval(Integral, 1, None, closed="left")],
        "n_oversamples": [Interval(Integral, 0, None, closed="left"), None],
        "sketch": [StrOptions({"row_sampling", "gaussian", "sparse_sign", "srtt"})],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        n_components: Float | Literal["gavish-donoho", "mle"] | None = None,
        *,
        with_mean: bool = True,
        whiten: bool = False,
        missing: Literal["error", "em"] = "error",
        algorithm: Literal["auto", "krylov", "subspace", "gram", "one-view"] = "auto",
        tol: Float = 1e-3,
        max_passes: Int = 20,
        n_oversamples: Int | None = None,
        sketch: Literal["row_sampling", "gaussian", "sparse_sign", "srtt"] = "row_sampling",
        block_size: Int | None = None,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
        self.n_components = n_components
        self.with_mean = with_mean
        self.whiten = whiten
        self.missing = missing
        self.algorithm = algorithm
        self.tol = tol
        self.max_passes = max_passes
        self.n_oversamples = n_oversamples
        self.sketch = sketch
        self.block_size = block_size
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fitting
    def fit(
        self,
        X: MatrixLike | Blocks,
        y: object = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Find the principal components of X.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap, dask array or iterator of blocks
            Data of shape (n_samples, n_features). Anything with ``shape``, ``dtype`` and
            row slicing is read a block at a time; an iterator is read once.
        y : Ignored
            Not used.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples: an integer is a number of repetitions.

        Returns
        -------
        RandomizedPCA
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When X has NaN, infinity, too few samples, or when `n_components` exceeds
            ``min(n_samples, n_features)``. With ``missing="em"``, when a feature has no
            known entry, or those known are too few for as many components.
        """
        rows = self._check_rows(
            X, reset=True, sample_weight=sample_weight, min_samples=1 + self.with_mean
        )
        rule = rank_rule(self.n_components, (rows.n_samples, rows.shape[1]))
        is_stream = rows.shape[0] is None
        if is_stream and self.algorithm == "auto":
            self._update_by_stream(rows, rule)
        else:
            self._solve(rows, rule)
        if is_stream:
            # Its rows have been counted only now.
            rank_rule(self.n_components, (self.n_samples_, rows.shape[1]))
        return self

    @fitting
    def partial_fit(
        self, X: MatrixLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Update the components with one more batch of samples.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            A batch of any size.
        y : Ignored
            Not used.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        RandomizedPCA
            The updated estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When X has NaN, infinity or another number of features than before; when
            `with_mean` has changed, or `n_components` has come to ask for components that
            were dropped.

        Notes
        -----
        The update of Ross, Lim, Lin & Yang (2008) on more directions than are asked for;
        the mean and the total variance are exact. After `fit` it goes on from the
        components found.

        Once a batch has had missing entries, an update is a maximum of the likelihood of
        the batch, where the rows before count as so many that are as the model says. That
        is not exact: several epochs come nearer to `fit`. It needs an int `n_components`,
        and a first batch that has enough entries to tell them.
        """
        rows = self._check_rows(
            X, reset=not hasattr(self, "components_"), sample_weight=sample_weight
        )
        rule = rank_rule(self.n_components, (None, rows.shape[1]))
        self._update(rows, rule, self._summary_so_far(rule))
        return self

    def fit_transform(
        self, X: MatrixLike, y: object = None, sample_weight: ArrayLike | None = None
    ) -> ArrayAsX:
        """Find the principal components of X, and project X on them.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features). Not an iterator, which can be read only
            once: fit on one, and transform another.
        y : Ignored
            Not used.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the samples.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            The coordinates; a lazy dask array if X is one.
        """
        refuse_read_once(X, "X", "or fit on one iterator and transform another")
        return self.fit(X, sample_weight=sample_weight).transform(X)

    @overload
    def transform(self, X: MatrixLike, return_std: Literal[False] = False) -> ArrayAsX: ...
    @overload
    def transform(
        self, X: MatrixLike, return_std: bool
    ) -> ArrayAsX | tuple[ArrayAsX, ArrayAsX]: ...
    def transform(self, X, return_std=False):
        """Project X on the principal components.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features). With ``missing="em"`` NaN is a missing
            entry.
        return_std : bool, default=False
            Whether to return the standard deviations as well.

        Returns
        -------
        coordinates : ndarray of shape (n_samples, n_components_)
            A lazy dask array if X is one. Of a row with missing entries, the means given
            those that are known: `inverse_transform` fills the others in.
        std : ndarray of shape (n_samples, n_components_)
            Only with `return_std`: how far the coordinates of the complete row may be from
            these. Zero for complete rows.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        V = self.components_
        factors = _inverse(self._scale(), V.dtype)
        V = V * factors[:, np.newaxis]
        Vt = np.ascontiguousarray(V.T, dtype=rows.dtype)
        offset = (V.astype(np.float64) @ self.mean_).astype(rows.dtype)
        if self.missing == "error":
            Y = rows.map(passes.project, Vt, offset, n_columns=len(V))
            return (Y, np.zeros_like(Y)) if return_std else Y
        Y = self._model().project(rows, Vt, offset, factors, with_std=return_std)
        return (Y[:, : len(V)], Y[:, len(V) :]) if return_std else Y

    def inverse_transform(self, X: MatrixLike) -> ArrayAsX:
        """Map coordinates back to the space of the data.

        Parameters
        ----------
        X : array-like or dask array of shape (n_samples, n_components_)
            Coordinates, as `transform` returns them.

        Returns
        -------
        ndarray of shape (n_samples, n_features_in_)
            The points of the principal subspace; a lazy dask array if X is one.

        Raises
        ------
        ValueError
            When X has another number of columns than `n_components_`.
        """
        check_is_fitted(self)
        if not is_read_lazily(X):
            X = check_reduced(self, X, accept_sparse=False)
        rows = as_row_matrix(X, block_size=self.block_size, n_jobs=self.n_jobs)
        check_n_reduced(self, rows)
        V = (self.components_ * self._scale()[:, np.newaxis]).astype(rows.dtype)
        mean = -self.mean_.astype(rows.dtype)
        return rows.map(passes.project, V, mean, n_columns=V.shape[1])

    def get_covariance(self) -> Array:
        """Return the covariance of the data under the probabilistic model.

        Returns
        -------
        ndarray of shape (n_features_in_, n_features_in_)
            ``V^T diag(variance - noise) V + noise I``; with ``with_mean=False`` the second
            moment about the origin.
        """
        check_is_fitted(self)
        return held(self._model().covariance(), self.components_.dtype)

    def get_precision(self) -> Array:
        """Return the inverse of `get_covariance`.

        Returns
        -------
        ndarray of shape (n_features_in_, n_features_in_)
            Where the covariance is singular to rounding, its eigenvalues are taken as
            ``eps`` times the largest.
        """
        check_is_fitted(self)
        return held(self._model().precision(), self.components_.dtype)

    def score_samples(self, X: MatrixLike) -> Array:
        """Return the log-likelihood of each sample under the probabilistic model.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,)
            Bishop (2006), section 12.2.1, in ``O(n_features n_components_)`` a sample. With
            ``missing="em"``, of the entries that are known.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        return self._model().log_likelihood(rows, missing=self.missing == "em")

    def score(self, X: MatrixLike, y: object = None) -> float:
        """Return the mean log-likelihood of the samples.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
            The data.
        y : Ignored
            Not used.

        Returns
        -------
        float
            See `score_samples`.
        """
        return float(np.mean(self.score_samples(X)))

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = self.missing == "em"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _check_rows(self, X, *, reset, sample_weight=None, min_samples=1):
        return check_rows(
            self,
            X,
            reset=reset,
            sample_weight=sample_weight,
            block_size=self.block_size,
            n_jobs=self.n_jobs,
            min_samples=min_samples,
            missing=self.missing == "em",
        )

    def _solve(self, rows, rule):
        """Set the components of the rows, with missing entries if there turn out to be."""
        if not self._without_gaps(self._solve_complete, rows, rule):
            self._solve_missing(rows, rule)

    def _without_gaps(self, solve, rows, *args):
        """Solve as for complete rows; return whether they are, where they need not be."""
        try:
            solve(rows, *args)
        except NotFiniteError:
            if self.missing == "error" or not rows.rereadable:
                raise
            return False
        return True

    def _solve_missing(self, rows, rule):
        """Set the components of rows with missing entries."""
        if self.n_components == "mle":
            raise ValueError(
                "n_components='mle' needs rows without missing entries: pass a number, or "
                "a share of the variance."
            )
        found, summary, n_passes = missing_components(
            rows,
            rule,
            center=self.with_mean,
            tol=self.tol,
            max_passes=self.max_passes,
            rng=generator(self.random_state),
            report=progress(self, "pass"),
        )
        if not found.converged:
            warn_user(
                f"The log-likelihood is {found.error_estimate:.1e} from its maximum, for "
                f"each parameter, after {n_passes} passes, above tol={self.tol}. Increase "
                f"max_passes (now {self.max_passes}) or tol.",
                ConvergenceWarning,
            )
        _warn_of_empty(summary.n_empty)
        self._set_results(found, rows, summary.n_rows, n_passes)
        self._summary = summary

    def _solve_complete(self, rows, rule):
        """Set the components of the rows; raise where the algorithm needs others."""
        if self.algorithm == "one-view":
            if not isinstance(self.n_components, Integral):
                raise ValueError(
                    f"n_components={self.n_components!r} must be an int with "
                    "algorithm='one-view', which sizes its sketches in advance."
                )
        elif rows.shape[0] is None and self.algorithm != "gram":
            raise ValueError(
                f"algorithm={self.algorithm!r} reads the data several times, but an "
                "iterator of blocks can be read once: choose 'auto', 'gram' or 'one-view'."
            )
        report = progress(self, "pass")
        A = CenteredMatrix(rows, center=self.with_mean, report=report).in_safe_unit()
        settings = Settings(
            algorithm=self.algorithm,
            tol=self.tol,
            max_passes=self.max_passes,
            n_oversamples=self.n_oversamples,
            sketch=self.sketch,
        )
        rng = generator(self.random_state)
        found = principal_components(A, rule, settings, rng=rng)
        if not found.converged:
            warn_user(
                f"The estimated excess error is {found.error_estimate:.1e} after "
                f"{A.n_passes} passes, above tol={self.tol}. Increase max_passes (now "
                f"{self.max_passes}) or tol, or choose algorithm='gram', which is exact.",
                ConvergenceWarning,
            )
        elif A.n_passes > self.max_passes and self.algorithm != "gram":
            warn_user(
                f"{A.n_passes} passes were made, max_passes={self.max_passes}: fewer do "
                "not give these components. Increase max_passes.",
                ConvergenceWarning,
            )
        self._set_results(found, A.rows, A.rows.shape[0], A.n_passes)
        self._summary = None

    def _summary_so_far(self, rule):
        """Return what `partial_fit` goes on from, if anything; raise where it cannot."""
        if not hasattr(self, "components_"):
            return None
        if self.with_mean != self._with_mean:
            raise ValueError(
                f"with_mean={self.with_mean} cannot continue from components found with "
                f"with_mean={self._with_mean}: call fit."
            )
        summary = self._summary or RowSummary.of_leading(
            self.singular_values_.astype(np.float64) / 2.0**self._exponent,
            self.components_,
            Moments.at_mean(*self._moments),
            self.n_samples_,
            rule,
        )
        if not summary.supports(rule):
            raise ValueError(
                f"n_components={self.n_components!r} asks for components that were dropped "
                f"when n_components_={self.n_components_} of them were kept: call fit."
            )
        return summary

    def _update(self, rows, rule, before):
        """Set the components of the rows that a summary stands for, and of those given."""
        if isinstance(before, LatentSummary) or not self._without_gaps(
            self._update_complete, rows, rule, before
        ):
            self._update_missing(rows, rule, before)

    def _update_by_stream(self, rows, rule):
        """Set the components of the rows of an iterator."""
        if self.missing == "error":
            self._update(rows, rule, None)
            return
        blocks, rest, before = rows.blocks(), [], None
        complete = leading_complete(blocks, rest)
        for values in complete:
            self._update(as_row_matrix(chain([values], complete)), rule, None)
            before = self._summary
        for values, _ in batches(chain(rest, blocks)):
            self._update(as_row_matrix(values), rule, before)
            before = self._summary

    def _update_missing(self, rows, rule, before):
        """Set the components of rows with missing entries, and of those before."""
        if not isinstance(self.n_components, Integral):
            raise ValueError(
                f"n_components={self.n_components!r} must be an int where rows with "
                "missing entries come in batches."
            )
        if before is None:
            self._solve_missing(rows, rule)
            return
        if isinstance(before, RowSummary):
            before = LatentSummary.of_complete(before, rule.first_guess)
        rows = rows.in_unit(self._exponent)
        found, summary = updated_with_missing(
            rows, rule, center=self.with_mean, tol=self.tol, before=before
        )
        _warn_of_empty(summary.n_empty - before.n_empty)
        self._set_results(found, rows, summary.n_rows, 1)
        self._summary = summary

    def _update_complete(self, rows, rule, before):
        """Set the components of complete rows, and of those before."""
        # The first rows tell the unit of all.
        rows = rows.in_unit(safe_exponent(rows) if before is None else self._exponent)
        found, summary = updated_components(
            rows, rule, center=self.with_mean, summary=before
        )
        self._set_results(found, rows, summary.n_rows, 1)
        self._summary = summary
        if summary.squares is not None:
            total = max(summary.total_weight, np.finfo(np.float64).tiny)
            variances = np.ldexp(summary.squares / total, 2 * self._exponent)
            self.var_ = held(variances, found.components.dtype)

    def _set_results(self, found, rows, n_rows, n_passes):
        """Name the principal components found."""
        vars(self).pop("var_", None)
        self.components_ = found.components
        self.singular_values_ = found.singular_values
        self.explained_variance_ = found.explained_variance
        self.explained_variance_ratio_ = found.explained_variance_ratio
        self.mean_ = found.mean
        self.noise_variance_ = found.noise_variance
        self.n_components_ = len(found.components)
        self.n_samples_ = self.n_samples_seen_ = n_rows
        self.n_passes_ = n_passes
        self.batch_size_ = rows.block_rows
        self.error_estimate_ = found.error_estimate
        self._second_moments, self._noise = found.second_moments, found.noise
        self._exponent = found.exponent
        # What a later `partial_fit` continues from, as plain numbers.
        moments = found.moments
        self._moments = moments.total_weight, moments.mean, moments.squared_norm
        self._with_mean = self.with_mean

    def _scale(self):
        """Return what `transform` divides by, in float64."""
        if not self.whiten:
            return np.ones(self.n_components_)
        return np.sqrt(self._second_moments) * 2.0**self._exponent

    def _model(self):
        # No property, as showing an estimator evaluates all of them.
        return ProbabilisticPCA.above_rounding(
            components=self.components_,
            mean=self.mean_,
            variances=self._second_moments,
            noise=self._noise,
            exponent=self._exponent,
        )


def _warn_of_empty(n_rows):
    if n_rows:
        warn_user(f"X has {n_rows} row(s) without any known entry: they are left out.")


def _inverse(scale, dtype):
    """Return one over `scale`, zero where that is lost in the rounding of `dtype`."""
    lost = np.arange(len(scale)) >= numerical_rank(scale, (len(scale), len(scale)), dtype)
    return np.where(lost, 0.0, 1 / np.where(lost, 1.0, scale))
