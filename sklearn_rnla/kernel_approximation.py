"""Kernel feature maps on landmarks that are chosen well."""

from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from ._fitting import FittingMixin, fitting, progress
from ._random import generator
from ._sklearn import (
    Interval,
    RealNotInt,
)
from ._typing import (
    Array,
    ArrayAsX,
    Float,
    Indices,
    Int,
    KernelLike,
    Landmarks,
    MatrixLike,
    OrNone,
    Seed,
    Tags,
)
from ._validation import (
    KERNEL_CONSTRAINTS,
    check_kernel,
    check_kernel_rows,
    check_landmarks,
)
from .linalg.nystroem.features import nystroem_features
from .operators.feature_map import FeatureMap, features


class NystroemKernel(
    FittingMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
):
    """Approximate kernel feature map on a subset of the samples.

    A drop-in replacement for scikit-learn's `Nystroem`, with the same parameters and
    attributes. Landmarks are chosen by randomly pivoted Cholesky factorisation instead of
    uniformly, so that the same number of them leaves a smaller error. `error_estimate_`
    tells how large it is.

    Parameters
    ----------
    kernel : str or callable, default="rbf"
        A name of ``sklearn.metrics.pairwise.PAIRWISE_KERNEL_FUNCTIONS``; a kernel of
        ``sklearn.gaussian_process.kernels``; a function of two samples; or "precomputed".
    gamma : float or "scale", default=None
        Parameter of the rbf, laplacian, polynomial, sigmoid and chi2 kernels. None means
        ``1 / n_features``, or 1 for chi2; "scale" means ``1 / (n_features * X.var())``.
    coef0 : float, default=None
        Parameter of the polynomial and sigmoid kernels. None means 1.
    degree : float, default=None
        Degree of the polynomial kernel. None means 3.
    kernel_params : dict, default=None
        Further parameters of a callable kernel.
    n_components : int, float or None, default=100
        - int: the largest number of landmarks; all samples are used if there are fewer;
        - float in (0, 1): the fewest landmarks that capture this share of the trace;
        - None: as many landmarks as `tol`, or the numerical rank of the kernel, requires.

    landmarks : str or array-like, default="rpcholesky"
        - "rpcholesky": drawn by randomly pivoted Cholesky factorisation [2]_, in blocks
          [3]_; of four proposals, the one that represents most of the others is kept;
        - "uniform": drawn uniformly, as in scikit-learn;
        - "greedy": the pivots of a Cholesky factorisation, a block at a time;
        - "kmeans": centres of clusters;
        - "leverage": drawn by recursive ridge leverage scores [4]_;
        - array of int of shape (m,): indices of samples;
        - array of shape (m, n_features): the landmarks themselves.

        Of samples that are equal, one may become a landmark, and counts as often as it
        comes. What is drawn does not depend on the order of the samples.
    tol : float, default=0
        Relative trace error at which to stop adding landmarks. It cannot be used with
        "kmeans" or with an array of landmarks.
    n_jobs : int, default=None
        Number of threads, which work on tiles of the kernel. None means as many as BLAS
        uses, or the number of a :obj:`joblib.parallel_config` context.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of landmarks.

    Attributes
    ----------
    components_ : ndarray or sparse matrix of shape (n_landmarks, n_features_in_)
        The landmarks, in the order in which they were chosen, without those that depend
        numerically on others.
    component_indices_ : ndarray of shape (n_landmarks,) or None
        Indices of the landmarks among the samples. None for "kmeans" and for an array of
        points.
    normalization_ : ndarray of shape (n_components_, n_landmarks)
        A root of the inverse of their kernel matrix: features are
        ``kernel(X, components_) @ normalization_.T``. Lower triangular, where
        scikit-learn's is symmetric: the same features but for a rotation.
    n_components_ : int
        Number of features.
    error_estimate_ : float
        Relative trace error: the share of the trace of the kernel matrix that its
        approximation misses. It is exact for "rpcholesky" and "greedy" if the landmarks
        were chosen among all samples, and estimated from 2000 samples otherwise. For an
        indefinite kernel it is the relative Frobenius error, estimated from 400 samples.
        Half of these are the samples that may have the largest errors.
    n_features_in_ : int
        Number of features of the input.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    sklearn.kernel_approximation.Nystroem : Landmarks drawn uniformly.
    NystroemRidge : Kernel ridge regression on landmarks.
    sklearn_rnla.plotting.LandmarksDisplay : Plots landmarks and what each adds.

    Notes
    -----
    Choosing costs ``n_samples n_components`` kernel evaluations and
    ``n_samples n_components^2`` flops, and keeps as many entries as the features have;
    beyond 2^27 entries landmarks are chosen among a uniform sample of the rows.
    `transform` holds its output and one tile of the kernel a thread.

    Landmarks whose pivot is below ``64 eps`` of the largest are left out, with the eps of
    the data: in single precision, a smooth kernel has a rank of tens or hundreds. Of
    kernels that are not positive semidefinite (sigmoid, additive_chi2), the positive part
    of the spectrum of the landmarks' kernel is kept, and landmarks are drawn uniformly
    instead of by pivoting. A kernel that vanishes on all samples has one feature, zero.

    References
    ----------
    .. [1] Williams, C. K. I., & Seeger, M. (2001). Using the Nystrom method to speed up
       kernel machines. NIPS 13, 682-688.
    .. [2] Chen, Y., Epperly, E. N., Tropp, J. A., & Webber, R. J. (2022). Randomly pivoted
       Cholesky: practical approximation of a kernel matrix with few entry evaluations.
       arXiv:2207.06503.
    .. [3] Epperly, E. N., Tropp, J. A., & Webber, R. J. (2024). Embrace rejection: kernel
       matrix approximation by accelerated randomly pivoted Cholesky. arXiv:2410.03969.
    .. [4] Musco, C., & Musco, C. (2017). Recursive sampling for the Nystrom method.
       NIPS 30.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_rnla import NystroemKernel
    >>> X, _ = load_digits(return_X_y=True)
    >>> kernel = NystroemKernel(gamma=2e-4, n_components=300, random_state=0).fit(X)
    >>> kernel.transform(X).shape
    (1797, 300)
    >>> kernel.error_estimate_ < 0.03
    True
    """

    components_: ArrayAsX
    component_indices_: Indices | OrNone
    normalization_: Array
    n_components_: int
    error_estimate_: float

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        **KERNEL_CONSTRAINTS,
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "tol": [Interval(Real, 0, 1, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kernel: KernelLike = "rbf",
        *,
        gamma: Float | Literal["scale"] | None = None,
        coef0: Float | None = None,
        degree: Float | None = None,
        kernel_params: dict[str, Any] | None = None,
        n_components: Float | None = 100,
        landmarks: Landmarks = "rpcholesky",
        tol: Float = 0.0,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
        self.kernel = kernel
        self.gamma = gamma
        self.coef0 = coef0
        self.degree = degree
        self.kernel_params = kernel_params
        self.n_components = n_components
        self.landmarks = landmarks
        self.tol = tol
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fitting
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Choose landmarks among the samples.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features), or, with a precomputed kernel, the
            kernel matrix of shape (n_samples, n_samples).
        y : Ignored
            Not used.

        Returns
        -------
        NystroemKernel
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When X has NaN or infinity, a precomputed kernel is not square, or a parameter
            does not fit the kernel.
        """
        self._fit(X)
        return self

    @fitting
    def fit_transform(self, X: MatrixLike, y: object = None) -> ArrayAsX:
        """Choose landmarks, and return the features of the samples.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features), or the kernel matrix.
        y : Ignored
            Not used.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            The features: those that the choice of landmarks left behind, where it saw all
            samples.
        """
        rows, cholesky = self._fit(X)
        if cholesky is None or rows.lazy:
            return self._features(rows)
        return np.ascontiguousarray(cholesky.factor)

    def transform(self, X: MatrixLike) -> ArrayAsX:
        """Map X to the features.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features); with a precomputed kernel, the kernel
            between X and the samples fitted.

        Returns
        -------
        ndarray of shape (n_samples, n_components_)
            The features; a lazy dask array if X is one.
        """
        check_is_fitted(self)
        return self._features(check_kernel_rows(self, X, reset=False))

    def _fit(self, X):
        """Set the fitted attributes; return the rows and the factorisation of all."""
        rows = check_kernel_rows(self, X, reset=True)
        kernel = check_kernel(
            rows,
            self.kernel,
            params=self.kernel_params,
            gamma=self.gamma,
            degree=self.degree,
            coef0=self.coef0,
        )
        landmarks, k, tol = check_landmarks(
            self.landmarks,
            self.n_components,
            name="n_components",
            tol=self.tol,
            takes_points=kernel.takes_points,
        )
        report = progress(self, "block of landmarks")
        result = nystroem_features(
            rows,
            kernel,
            k,
            landmarks,
            tol=tol,
            n_jobs=self.n_jobs,
            rng=generator(self.random_state),
            report=report,
        )
        self.components_ = result.points
        self.component_indices_ = result.indices
        self.normalization_ = result.feature_map.W.astype(rows.dtype, copy=False)
        self.n_components_ = len(self.normalization_)
        self.error_estimate_ = result.error_estimate
        self._kernel, self._feature_map = kernel, result.feature_map
        return rows, result.cholesky

    def _features(self, rows):
        return rows.map(
            features, self._feature_map, rows.dtype, n_columns=self.n_components_
        )

    def __getstate__(self) -> dict[str, Any]:
        # What the landmarks and the normalization make is made again.
        state = super().__getstate__().copy()
        if "_feature_map" in state:
            feature_map = state.pop("_feature_map")
            state["normalization_"] = feature_map.W
            state["_triangular"] = feature_map.triangular
            state["_dtype"] = self.normalization_.dtype
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = state.copy()
        if "_triangular" in state:
            kernel = state["_kernel"].among(state["component_indices_"])
            W, triangular = state["normalization_"], state.pop("_triangular")
            columns = kernel.at(state["components_"])
            state["_feature_map"] = FeatureMap(columns, W, triangular)
            state["normalization_"] = W.astype(state.pop("_dtype"), copy=False)
        super().__setstate__(state)

    @property
    def _n_features_out(self):
        return self.n_components_

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.kernel not in ("chi2", "additive_chi2")
        tags.input_tags.positive_only = self.kernel in ("chi2", "additive_chi2")
        tags.input_tags.pairwise = self.kernel == "precomputed"
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
