"""Spectral clustering of many samples, with labels for new ones."""

from numbers import Integral
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS
from sklearn.utils.validation import check_is_fitted

from ._fitting import FittingMixin, fitting, progress, warn_user
from ._random import generator
from ._sklearn import Interval, StrOptions
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
from .linalg.nystroem.spectral_embedding import (
    cluster_rule,
    eigengap,
    spectral_embedding,
)

# Affinities that are a matrix, or a graph of neighbours: no function of two samples.
_GRAPHS = ("precomputed", "nearest_neighbors", "precomputed_nearest_neighbors")

# Eigenvalues closer to one than this are those of groups that share no affinity: rounding
# in single precision.
_SEPARATE = 1e-5

# Share of the samples without a degree that is no matter of a few outliers.
_LOST_SHARE = 0.1


class NystroemSpectralClustering(FittingMixin, ClusterMixin, BaseEstimator):
    """Spectral clustering on landmarks, for many samples.

    Computes normalised cuts like scikit-learn's `SpectralClustering`, but in memory linear
    in the number of samples, because affinities are evaluated only between samples and
    landmarks [1]_. `predict` labels new samples.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    n_components : int, default=None
        Number of eigenvectors. None means `n_clusters`.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of landmarks, and of k-means or the first rotation.
    n_init : int, default=10
        Number of starts of k-means. With more than 20000 samples, and more than 1000 for
        each cluster, all starts run on a sample of that size, and the best of them
        continues on all samples.
    gamma : float, "scale" or None, default=1.0
        Parameter of the rbf, laplacian, polynomial, sigmoid and chi2 kernels. "scale"
        means ``1 / (n_features * X.var())``; None means ``1 / n_features``, or 1 for chi2.
        The default is that of scikit-learn and suits features of spread 1, and few of
        them. A warning is issued where it leaves samples without any affinity to others;
        "scale" is a better start then.
    affinity : str or callable, default="rbf"
        A name of ``sklearn.metrics.pairwise.PAIRWISE_KERNEL_FUNCTIONS``; a kernel of
        ``sklearn.gaussian_process.kernels``; or a function of two samples. Its values
        must not be negative. A matrix or a graph of neighbours is not supported.
    degree : float, default=3
        Degree of the polynomial kernel.
    coef0 : float, default=1
        Parameter of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Further parameters of the kernel.
    n_landmarks : int, default=300
        Largest number of landmarks. All samples are used if there are fewer.
    landmarks : str or array-like, default="rpcholesky"
        How landmarks are chosen, as in `NystroemKernel`: "rpcholesky", "uniform",
        "greedy", "kmeans", "leverage", indices of samples, or the landmarks themselves.
    assign_labels : {"kmeans", "discretize", "cluster_qr"}, default="kmeans"
        How labels are derived from the eigenvectors:

        - "kmeans": by k-means;
        - "discretize": by the rotation that is nearest to a partition [4]_;
        - "cluster_qr": by the rotation of pivoted QR [5]_.

        The last two find one cluster for each eigenvector, so that `n_components` must be
        `n_clusters`.
    n_jobs : int, default=None
        Number of threads, which work on row blocks and tiles. None means as many as BLAS
        uses, or the number of a :obj:`joblib.parallel_config` context.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample. `predict` returns the same labels for these samples.
    eigenvalues_ : ndarray of shape (n_eigenvalues,)
        All eigenvalues of the normalised affinity on the landmarks, in decreasing order:
        1 minus those of the normalised Laplacian.
    n_clusters_hint_ : int
        Number of eigenvalues before the largest gap between those above one half. It is
        meaningful only where that gap is wide, which `eigenvalues_` shows.
    embedding_ : ndarray of shape (n_samples, n_components)
        Eigenvectors of the random walk: those of the normalised affinity, divided by the
        root of the degree. There are fewer columns where the affinity has a lower rank.
        Rows of samples that the landmarks do not represent are zero.
    components_ : ndarray or sparse matrix of shape (n_landmarks, n_features_in_)
        The landmarks, in the order in which they were chosen, without those that depend
        numerically on others.
    component_indices_ : ndarray of shape (n_landmarks,) or None
        Indices of the landmarks among the samples. None for "kmeans" and for an array of
        points.
    n_landmarks_ : int
        Number of landmarks.
    error_estimate_ : float
        Relative trace error of the affinity, as in `NystroemKernel`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    sklearn.cluster.SpectralClustering : On all affinities, or on neighbours.
    NystroemKernel : The approximation as a transformer.
    sklearn_rnla.plotting.EigengapDisplay : Plots the eigenvalues and their gap.

    Notes
    -----
    Choosing landmarks costs ``n_samples n_landmarks`` affinities and
    ``n_samples n_landmarks^2`` flops, as in `NystroemKernel`; the eigenvectors as many
    flops again, and the embedding the affinities again.

    As affinities are not negative, the degree of a sample is at least its affinity to
    itself. An approximate degree may be less and is raised to this value for the
    normalisation. A sample whose approximate degree is below half of it is not represented
    by the landmarks: it takes the label of the landmark that is most similar to it, or of
    the nearest one if all affinities vanish. The same holds for new samples far from all
    others. A warning is issued if this concerns more than a tenth of the samples.

    A landmark whose affinity to all other samples together is below a tenth of that to
    itself is an outlier, and would become a cluster of its own. If at most one in twenty
    of the samples are such outliers, they are left out of the graph and labelled like
    samples that the landmarks do not represent.

    Unlike in scikit-learn, the degree includes the affinity of a sample to itself. This
    makes a difference where it is a large share of the degree, as for narrow kernels on
    few samples.

    `eigen_solver`, `eigen_tol`, `n_neighbors` and `verbose` of `SpectralClustering` have
    no counterpart, because the eigenproblem has the size of the landmarks and is solved
    completely.

    References
    ----------
    .. [1] Fowlkes, C., Belongie, S., Chung, F., & Malik, J. (2004). Spectral grouping
       using the Nystrom method. IEEE Transactions on Pattern Analysis and Machine
       Intelligence 26(2), 214-225.
    .. [2] Ng, A. Y., Jordan, M. I., & Weiss, Y. (2001). On spectral clustering: analysis
       and an algorithm. NIPS 14.
    .. [3] von Luxburg, U. (2007). A tutorial on spectral clustering. Statistics and
       Computing 17(4), 395-416.
    .. [4] Yu, S. X., & Shi, J. (2003). Multiclass spectral clustering. ICCV.
    .. [5] Damle, A., Minden, V., & Ying, L. (2019). Simple, direct and efficient
       multi-way spectral clustering. Information and Inference 8(1), 181-203.

    Examples
    --------
    >>> from sklearn.datasets import make_moons
    >>> from sklearn_rnla import NystroemSpectralClustering
    >>> X, y = make_moons(5000, noise=0.05, random_state=0)
    >>> clustering = NystroemSpectralClustering(2, gamma=30, random_state=0).fit(X)
    >>> clustering.predict([[0, 1], [1, -0.5]]) != clustering.labels_[0]
    array([False,  True])
    """

    labels_: Indices
    eigenvalues_: Array
    n_clusters_hint_: int
    embedding_: Array
    components_: ArrayAsX
    component_indices_: Indices | OrNone
    n_landmarks_: int
    error_estimate_: float

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        "n_clusters": [Interval(Integral, 1, None, closed="left")],
        "n_components": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "affinity": [StrOptions({*PAIRWISE_KERNEL_FUNCTIONS, *_GRAPHS}), callable],
        **{
            name: KERNEL_CONSTRAINTS[name]
            for name in ("gamma", "degree", "coef0", "kernel_params", "landmarks")
        },
        "n_landmarks": [Interval(Integral, 1, None, closed="left")],
        "assign_labels": [StrOptions({"kmeans", "discretize", "cluster_qr"})],
        "n_jobs": [Integral, None],
    }

    def __init__(
        self,
        n_clusters: Int = 8,
        *,
        n_components: Int | None = None,
        random_state: Seed = None,
        n_init: Int = 10,
        gamma: Float | Literal["scale"] | None = 1.0,
        affinity: KernelLike = "rbf",
        degree: Float = 3,
        coef0: Float = 1,
        kernel_params: dict[str, Any] | None = None,
        n_landmarks: Int = 300,
        landmarks: Landmarks = "rpcholesky",
        assign_labels: Literal["kmeans", "discretize", "cluster_qr"] = "kmeans",
        n_jobs: Int | None = None,
    ) -> None:
        self.n_clusters = n_clusters
        self.n_components = n_components
        self.random_state = random_state
        self.n_init = n_init
        self.gamma = gamma
        self.affinity = affinity
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.n_landmarks = n_landmarks
        self.landmarks = landmarks
        self.assign_labels = assign_labels
        self.n_jobs = n_jobs

    @fitting
    def fit(self, X: MatrixLike, y: object = None) -> Self:
        """Cluster the samples.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).
        y : Ignored
            Not used.

        Returns
        -------
        NystroemSpectralClustering
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When X has NaN or infinity or fewer samples than `n_clusters`, affinities
            are negative, or a parameter does not fit another.
        """
        n_components = self._check_components()
        rows = check_kernel_rows(self, X, reset=True)
        if rows.shape[0] < self.n_clusters:
            raise ValueError(
                f"n_samples={rows.shape[0]} should be >= n_clusters={self.n_clusters}."
            )
        kernel = self._kernel(rows)
        landmarks, k, _ = check_landmarks(self.landmarks, self.n_landmarks)
        rng = generator(self.random_state)
        report = progress(self, "block of landmarks")
        nystroem = nystroem_features(
            rows, kernel, k, landmarks, n_jobs=self.n_jobs, rng=rng, report=report
        )
        spectrum = spectral_embedding(rows, kernel, nystroem, n_components)
        embedding_map = spectrum.embedding_map
        E, lost_to = embedding_map.of_rows(rows)
        search = {"n_init": self.n_init, "rng": rng}
        self._rule = cluster_rule(
            embedding_map, E, lost_to, self.n_clusters, self.assign_labels, **search
        )
        self.labels_ = self._rule.labels(E, lost_to)
        self.embedding_ = E
        self.eigenvalues_ = spectrum.eigenvalues
        self.n_clusters_hint_ = eigengap(self.eigenvalues_)
        self.components_ = nystroem.points
        self.n_landmarks_ = nystroem.points.shape[0]
        self.component_indices_ = nystroem.indices
        self.error_estimate_ = nystroem.error_estimate
        n_lost = np.count_nonzero(lost_to >= 0)
        self._warn_of_doubts(n_lost, spectrum.n_alone, n_components)
        return self

    def predict(self, X: MatrixLike) -> Indices:
        """Return the cluster of each sample.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).

        Returns
        -------
        ndarray of shape (n_samples,)
            Labels; of the samples fitted, `labels_`.
        """
        check_is_fitted(self)
        rows = check_kernel_rows(self, X, reset=False)
        return self._rule.labels(*self._rule.embedding_map.of_rows(rows))

    def _check_components(self):
        """Return the number of eigenvectors, or raise where it does not fit."""
        if self.n_components is None:
            return self.n_clusters
        if self.assign_labels != "kmeans" and self.n_components != self.n_clusters:
            raise ValueError(
                f"assign_labels={self.assign_labels!r} gives a cluster for each "
                f"eigenvector: n_components={self.n_components} must be "
                f"n_clusters={self.n_clusters}. Use 'kmeans' for another number."
            )
        return self.n_components

    def _kernel(self, rows):
        """Return the affinity asked for; raise if it is not a function of two samples."""
        parameters = {"gamma": self.gamma, "degree": self.degree, "coef0": self.coef0}
        if not isinstance(self.affinity, str):
            # As in scikit-learn, a callable sees none of these.
            parameters = {}
        elif self.affinity in _GRAPHS:
            raise ValueError(
                f"affinity={self.affinity!r} is not a function of two samples, which "
                "landmarks need: use sklearn.cluster.SpectralClustering, or a kernel."
            )
        return check_kernel(rows, self.affinity, params=self.kernel_params, **parameters)

    def _warn_of_doubts(self, n_lost, n_alone, n_components):
        """Warn where clusters may not be what the user wants, and of what to do."""
        n_samples, rank = self.embedding_.shape
        n_groups = np.count_nonzero(self.eigenvalues_ > 1 - _SEPARATE)
        widen = (
            "Scale the features to the same spread, or widen the kernel: gamma='scale' "
            f"fits it to the data (now gamma={self.gamma!r}; less is wider)."
        )
        if not isinstance(self.affinity, str):
            widen = "Scale the features to the same spread, or widen the kernel."
        if n_lost > _LOST_SHARE * n_samples:
            warn_user(
                f"{n_lost} of {n_samples} samples are similar to no landmark, and "
                "were given the label of the nearest one. Increase n_landmarks (now "
                f"{self.n_landmarks}). {widen}"
            )
        if n_alone > self.n_clusters:
            warn_user(
                f"{n_alone} of {n_samples} samples are similar to no other sample, and use "
                f"up the n_clusters={self.n_clusters} clusters. {widen} If they are "
                "outliers, remove them."
            )
        elif n_groups > self.n_clusters:
            warn_user(
                f"The samples fall into {n_groups} groups that share no affinity, and "
                f"which of them are the n_clusters={self.n_clusters} clusters is "
                f"arbitrary. Increase n_clusters. {widen}"
            )
        if rank < n_components:
            warn_user(
                f"The affinity of the samples to the landmarks has rank {rank}, less than "
                f"the {n_components} eigenvectors asked for. Remove duplicates from X, "
                f"increase n_landmarks (now {self.n_landmarks}) or narrow the kernel (for "
                "rbf, increase gamma)."
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = self.affinity in ("chi2", "additive_chi2")
        tags.input_tags.sparse = not tags.input_tags.positive_only
        return tags
