"""Principal component analysis by randomized passes over row blocks."""

from __future__ import annotations

import warnings
from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_array, check_is_fitted

from ._random import draw_seed, stream
from ._sklearn import (
    CallbackSupportMixin,
    Interval,
    RealNotInt,
    StrOptions,
    _fit_context,
    progress,
    svd_flip,
    undone_on_failure,
)
from ._validation import check_rows
from .linalg.incremental import RowSummary, summarize
from .linalg.one_view import one_view_right_svd
from .linalg.rank import FixedRank, GavishDonoho, VarianceFraction
from .linalg.right_svd import right_svd
from .operators import CenteredMatrix, as_row_matrix, is_read_lazily, passes
from .operators.moments import safe_exponent


class RandomizedPCA(
    CallbackSupportMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Principal component analysis of dense, sparse, streamed or distributed data.

    A drop-in for scikit-learn's `PCA`, `TruncatedSVD` (``with_mean=False``) and
    `IncrementalPCA` (`partial_fit`). It reads the data in a few passes over row blocks,
    never copies it, never makes it dense, and stops as soon as an estimate says that the
    components are within `tol` of the best; `error_estimate_` tells how close they came.

    Parameters
    ----------
    n_components : int, float, "gavish-donoho" or None, default=None
        Number of components to keep:

        - int: that many, at most ``min(n_samples, n_features)``;
        - float in (0, 1): the fewest whose share of the variance exceeds it;
        - "gavish-donoho": as many singular values as exceed the optimal hard threshold
          for white noise of unknown level [3]_;
        - None: ``min(n_samples, n_features)``, the whole spectrum.

    with_mean : bool, default=True
        Whether to centre the data; implicitly, so that sparse data stay sparse. False
        gives the truncated singular value decomposition (latent semantic analysis).
    whiten : bool, default=False
        Whether `transform` scales its output to unit variance.
    algorithm : {"auto", "krylov", "subspace", "gram", "one-view"}, default="auto"
        - "auto": the cheaper of "krylov" and "gram" by a count of flops; for an iterator
          of blocks, the incremental update of `partial_fit`;
        - "krylov": block Krylov iteration, stopped by its error estimate;
        - "subspace": the same without memory of earlier passes: more passes, less memory;
        - "gram": exact, from the Gram matrix of the features or of the samples, whichever
          is smaller;
        - "one-view": one pass of linear sketches [2]_, less accurate. The choice for an
          iterator when memory is short; needs an int `n_components`.

    tol : float, default=1e-3
        Excess error at which passes stop: ``||A - A V^T V||_F`` relative to that of the
        best rank `n_components`, less one.
    max_passes : int, default=20
        Most passes of the iteration.
    n_oversamples : int, default=None
        Vectors iterated beyond those wanted. None is at least 8, up to a width at which
        matrix products are fast.
    sketch : {"row_sampling", "gaussian", "sparse_sign", "srtt"}, default="row_sampling"
        What the iteration starts from: the solution on a sample of the rows, or the row
        space of a sketch of all of them, one more pass.
    block_size : int, default=None
        Rows of a block. None chooses by size; dask arrays keep their chunks.
    n_jobs : int, default=None
        Threads over row blocks. None means 1 unless in a :obj:`joblib.parallel_config`
        context. Dense products use the threads of BLAS all the same, so this pays for
        sparse data and for data read from disk.
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
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.
    error_estimate_ : float
        Estimated excess error, in the units of `tol`, never below rounding. It is rounding
        for exact algorithms, an upper bound after `partial_fit`.
    n_passes_ : int
        Passes made over all the data.

    See Also
    --------
    sklearn.decomposition.PCA : Exact and randomized solvers for data in memory.
    sklearn.decomposition.TruncatedSVD : Without centring.
    sklearn.decomposition.IncrementalPCA : In batches.

    Notes
    -----
    Block Krylov iteration on the Gram matrix [1]_, [5]_, from a solution on 5 % of the
    rows. A first pass finds the moments, and rows of a large norm, which are always among
    them. Each later one costs ``4 n_samples n_features l`` flops, or ``4 nnz l`` for sparse
    data, with `l` slightly above `n_components`. Memory beyond the data: a few ``l x
    n_features`` arrays and one block. Where all that is left is lost in the rounding of
    squares, more passes in double precision find the rest.

    The data may have any unit. A variance that single precision cannot hold is in double.

    Zero-weight samples count as absent, integer weights as repetitions.

    References
    ----------
    .. [1] Halko, N., Martinsson, P.-G., & Tropp, J. A. (2011). Finding structure with
       randomness. SIAM Review, 53(2), 217-288.
    .. [2] Tropp, J. A., Yurtsever, A., Udell, M., & Cevher, V. (2019). Streaming low-rank
       matrix approximation with an application to scientific simulation. SIAM Journal on
       Scientific Computing, 41(4), A2430-A2463.
    .. [3] Gavish, M., & Donoho, D. L. (2014). The optimal hard threshold for singular
       values is 4/sqrt(3). IEEE Transactions on Information Theory, 60(8), 5040-5053.
    .. [4] Tipping, M. E., & Bishop, C. M. (1999). Probabilistic principal component
       analysis. Journal of the Royal Statistical Society B, 61(3), 611-622.
    .. [5] Musco, C., & Musco, C. (2015). Randomized block Krylov methods for stronger and
       faster approximate singular value decomposition. NIPS 28.

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

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            StrOptions({"gavish-donoho"}),
            None,
        ],
        "with_mean": ["boolean"],
        "whiten": ["boolean"],
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
        n_components=None,
        *,
        with_mean=True,
        whiten=False,
        algorithm="auto",
        tol=1e-3,
        max_passes=20,
        n_oversamples=None,
        sketch="row_sampling",
        block_size=None,
        n_jobs=None,
        random_state=None,
    ):
        self.n_components = n_components
        self.with_mean = with_mean
        self.whiten = whiten
        self.algorithm = algorithm
        self.tol = tol
        self.max_passes = max_passes
        self.n_oversamples = n_oversamples
        self.sketch = sketch
        self.block_size = block_size
        self.n_jobs = n_jobs
        self.random_state = random_state

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None, sample_weight=None):
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
            ``min(n_samples, n_features)``.
        """
        with undone_on_failure(self):
            rows = self._check_rows(
                X, reset=True, sample_weight=sample_weight, min_samples=1 + self.with_mean
            )
            self._check_n_components((rows.n_samples, rows.shape[1]))
            if rows.shape[0] is None and self.algorithm == "auto":
                summary, exponent = self._summarize(rows)
                self._check_n_components((summary.n_rows, rows.shape[1]))
                self._set_summary(summary, rows.dtype, exponent)
                return self
            if rows.weight is not None and self.with_mean and rows.weight.sum() <= 1:
                raise ValueError(
                    f"sample_weight sums to {rows.weight.sum()}, but a variance needs "
                    "more than 1: weights count repetitions."
                )
            A = CenteredMatrix(rows, center=self.with_mean).in_safe_unit()
            with progress(self, "pass") as report:
                k, result = self._solve(A, report)
            # A stream knows its length now.
            rows = A.rows
            n_samples = rows.n_samples
            self._check_n_components((n_samples, rows.shape[1]))
            self._set_results(k, result, A.moments, n_samples, A.dtype, rows.exponent)
            self.n_samples_ = self.n_samples_seen_ = rows.shape[0]
            self.n_passes_ = A.n_passes
            self._summary = None
        return self

    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None, sample_weight=None):
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
            When X has NaN, infinity or another number of features than before.

        Notes
        -----
        The update of Ross, Lim, Lin & Yang (2008) on more directions than are asked for;
        the mean and the total variance are exact. After `fit` it goes on from the
        components found.
        """
        with undone_on_failure(self):
            rows = self._check_rows(
                X, reset=not hasattr(self, "components_"), sample_weight=sample_weight
            )
            self._check_n_components((rows.shape[1],) * 2)
            summary, exponent = self._summarize(rows)
            self._set_summary(summary, rows.dtype, exponent)
        return self

    def transform(self, X):
        """Project X on the principal components.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            The coordinates; a lazy dask array if X is one.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        V = self.components_ * _inverse(self._scale())[:, np.newaxis]
        Vt = np.ascontiguousarray(V.T, dtype=rows.dtype)
        offset = (V.astype(np.float64) @ self.mean_).astype(rows.dtype)
        return rows.map(passes.project, Vt, offset, n_columns=len(V))

    def inverse_transform(self, X):
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
            X = check_array(X, dtype=[np.float64, np.float32], input_name="X")
        if X.shape[1] != self.n_components_:
            raise ValueError(
                f"X has {X.shape[1]} columns, but n_components_={self.n_components_} "
                "coordinates are expected."
            )
        rows = as_row_matrix(X, block_size=self.block_size, n_jobs=self.n_jobs)
        V = (self.components_ * self._scale()[:, np.newaxis]).astype(rows.dtype)
        mean = -self.mean_.astype(rows.dtype)
        return rows.map(passes.project, V, mean, n_columns=V.shape[1])

    def get_covariance(self):
        """Return the covariance of the data under the probabilistic model.

        Returns
        -------
        ndarray of shape (n_features_in_, n_features_in_)
            ``V^T diag(variance - noise) V + noise I``; with ``with_mean=False`` the second
            moment about the origin.
        """
        check_is_fitted(self)
        return self._spectral(lambda variance: variance, 1)

    def get_precision(self):
        """Return the inverse of `get_covariance`.

        Returns
        -------
        ndarray of shape (n_features_in_, n_features_in_)
            Where the covariance is singular to rounding, its eigenvalues are taken as
            ``eps`` times the largest.
        """
        check_is_fitted(self)
        return self._spectral(lambda variance: 1 / variance, -1)

    def score_samples(self, X):
        """Return the log-likelihood of each sample under the probabilistic model.

        Parameters
        ----------
        X : array-like, sparse matrix or memmap of shape (n_samples, n_features)
            The data.

        Returns
        -------
        ndarray of shape (n_samples,)
            Bishop (2006), section 12.2.1, in ``O(n_features n_components_)`` a sample.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False).in_unit(self._exponent)
        variance, noise = self._model()
        V = self.components_.astype(np.float64)
        log_det = np.log(variance).sum() + (V.shape[1] - len(V)) * np.log(noise)
        mean = self.mean_.astype(np.float64) / 2.0**self._exponent
        log_det += 2 * V.shape[1] * self._exponent * np.log(2.0)
        distance = rows.map(_mahalanobis, V, mean, variance, noise, n_columns=1)
        return -0.5 * (distance[:, 0] + V.shape[1] * np.log(2 * np.pi) + log_det)

    def score(self, X, y=None):
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
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
        )

    def _check_n_components(self, shape):
        """Raise where `n_components` exceeds `shape`, of None where not known yet."""
        known = [n for n in shape if n is not None]
        if isinstance(self.n_components, Integral) and self.n_components > min(known):
            raise ValueError(
                f"n_components={self.n_components} must be at most "
                f"min(n_samples={shape[0]}, n_features={shape[1]})."
            )

    def _rule(self, n_samples, n_features):
        if self.n_components is None:
            return FixedRank(min(n_samples, n_features))
        if isinstance(self.n_components, Integral):
            return FixedRank(int(self.n_components))
        if isinstance(self.n_components, str):
            return GavishDonoho()
        return VarianceFraction(self.n_components)

    def _solve(self, A, report):
        """Return the number of components and the triplets they are taken from."""
        rng = stream(draw_seed(self.random_state))
        if self.algorithm == "one-view":
            if not isinstance(self.n_components, Integral):
                raise ValueError(
                    f"n_components={self.n_components!r} must be an int with "
                    "algorithm='one-view', which sizes its sketches in advance."
                )
            k = int(self.n_components)
            return k, one_view_right_svd(A, k, rng=rng)
        if A.shape[0] is None and self.algorithm != "gram":
            raise ValueError(
                f"algorithm={self.algorithm!r} reads the data several times, but an "
                "iterator of blocks can be read once: choose 'auto', 'gram' or 'one-view'."
            )
        k, result = right_svd(
            A,
            self._rule(A.rows.n_samples or A.shape[1], A.shape[1]),
            algorithm=self.algorithm,
            tol=self.tol,
            max_passes=self.max_passes,
            n_oversamples=self.n_oversamples,
            sketch=self.sketch,
            rng=rng,
            report=report,
        )
        if not result.converged:
            warnings.warn(
                f"The estimated excess error is {result.error_estimate:.1e} after "
                f"{A.n_passes} passes, above tol={self.tol}. Allow a larger max_passes="
                f"{self.max_passes} or tol, or choose algorithm='gram', which is exact.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return k, result

    def _summarize(self, rows):
        """Return the summary of the rows and, in `partial_fit`, of those before.

        With the exponent of its unit, which that of the first rows remains.
        """
        n_features = rows.shape[1]
        k = n_kept = n_features
        if isinstance(self.n_components, Integral):
            k = min(int(self.n_components), n_features)
            n_kept = min(n_features, 2 * k + 32)
        summary, exponent = None, safe_exponent(rows)
        if rows.shape[0] is not None and hasattr(self, "components_"):
            exponent = self._exponent
            s = self.singular_values_.astype(np.float64) / 2.0**exponent
            summary = self._summary or RowSummary.of_leading(
                s, self.components_, self._moments, self.n_samples_
            )
        rows, options = rows.in_unit(exponent), {"center": self.with_mean}
        return summarize(rows, k, n_kept, summary=summary, **options), exponent

    def _set_summary(self, summary, dtype, exponent):
        n_samples = max(summary.n_rows, int(summary.total_weight))
        k, result = summary.right_svd(self._rule(n_samples, len(summary.mean)))
        self._set_results(k, result, summary.moments, n_samples, dtype, exponent)
        self.n_samples_ = self.n_samples_seen_ = summary.n_rows
        self.n_passes_ = 1
        self._summary = summary

    def _set_results(self, k, result, moments, n_samples, dtype, exponent):
        """Name what was found of the data divided by two to the power `exponent`."""
        s = result.singular_values[:k]
        V = svd_flip(None, result.components[:k].copy(), u_based_decision=False)[1]
        total, mean = moments.total_weight, moments.mean
        squared_norm = moments.squared_norm
        degrees = total - 1 if self.with_mean else total
        # A first batch of one sample has no variance yet.
        degrees = degrees if degrees > 0 else np.inf
        variance = s**2 / degrees
        explained, whole = variance, squared_norm / degrees
        if not self.with_mean:
            explained = np.maximum(variance - (V.astype(np.float64) @ mean) ** 2, 0.0)
            whole = max(0.0, whole - float(mean @ mean))
        # More than the whole is rounding.
        whole = max(whole, float(explained.sum()))
        left_out = min(n_samples, V.shape[1]) - k
        rest = max(0.0, squared_norm - float(s @ s)) / degrees
        self.components_ = V.astype(dtype, copy=False)
        unit = 2.0**exponent
        self.singular_values_ = (s * unit).astype(dtype)
        self.explained_variance_ = _held(explained * unit * unit, dtype)
        ratio = explained / whole if whole > 0 else np.zeros(k)
        self.explained_variance_ratio_ = ratio.astype(dtype)
        self.mean_ = (mean * unit if self.with_mean else np.zeros_like(mean)).astype(dtype)
        noise = rest / left_out if left_out > 0 else 0.0
        self.noise_variance_ = noise * unit * unit
        self.n_components_ = k
        self.error_estimate_ = result.error_estimate
        # In a unit whose squares are in range.
        self._variance, self._noise = variance, noise
        self._moments, self._exponent = moments, exponent

    def _scale(self):
        """Return what `transform` divides by, in float64."""
        if not self.whiten:
            return np.ones(self.n_components_)
        return np.sqrt(self._variance) * 2.0**self._exponent

    def _model(self):
        """Return the eigenvalues of the model's covariance and that of its noise.

        In the unit of `_exponent`; neither is below rounding, relative to the largest.
        """
        floor = np.finfo(self.components_.dtype).eps * self._variance[0]
        noise = max(self._noise, floor, np.finfo(np.float64).tiny)
        return np.maximum(self._variance, noise), noise

    def _spectral(self, function, power):
        """Return a function, of variances to a power, of the model's covariance matrix."""
        variance, noise = self._model()
        V = self.components_.astype(np.float64)
        matrix = (V.T * (function(variance) - function(noise))) @ V
        matrix.flat[:: len(matrix) + 1] += function(noise)
        unit = 2.0 ** (power * self._exponent)
        return _held(matrix * unit * unit, self.components_.dtype)


def _held(values, dtype):
    """Return values in `dtype`, or as they are where its range does not hold them."""
    magnitudes = np.abs(values[values != 0])
    limits = np.finfo(dtype)
    holds = magnitudes.size == 0 or limits.tiny <= magnitudes.max() <= limits.max
    return values.astype(dtype) if holds else values


def _inverse(scale):
    """Return one over `scale`, zero where that is lost in rounding."""
    lost = scale <= len(scale) * np.finfo(scale.dtype).eps * scale[0]
    return np.where(lost, 0.0, 1 / np.where(lost, 1.0, scale))


def _mahalanobis(values, V, mean, variance, noise):
    """Return the squared Mahalanobis distances of a block's rows, as a column."""
    Y = values @ V.T - V @ mean
    if isinstance(values, np.ndarray):
        rest = values - mean - Y @ V
        rest = np.einsum("ij,ij->i", rest, rest)
    else:
        rest = values.multiply(values).sum(axis=1) - 2 * (values @ mean) + mean @ mean
        rest = np.maximum(rest - np.einsum("ij,ij->i", Y, Y), 0.0)
    return (Y**2 @ (1 / variance) + rest / noise)[:, np.newaxis]
