"""Spectral clustering of many samples, with labels for new ones."""

from __future__ import annotations

from numbers import Integral
from types import SimpleNamespace

import numpy as np
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.metrics.pairwise import PAIRWISE_KERNEL_FUNCTIONS
from sklearn.utils.validation import check_is_fitted

from ._fitting import fitting, progress, warn_user
from ._random import draw_seed, stream
from ._sklearn import (
    CallbackSupportMixin,
    Interval,
    StrOptions,
)
from ._validation import (
    KERNEL_CONSTRAINTS,
    check_kernel,
    check_kernel_rows,
    check_landmarks,
)
from .linalg import spectral
from .linalg.nystroem import nystroem_features
from .operators.affinity_passes import embedded

# Affinities that are a matrix, or a graph of neighbours: no function of two samples.
_GRAPHS = ("precomputed", "nearest_neighbors", "precomputed_nearest_neighbors")

# Share of the samples without a degree that is no matter of a few outliers.
_LOST_SHARE = 0.1


class NystroemSpectralClustering(CallbackSupportMixin, ClusterMixin, BaseEstimator):
    """Spectral clustering on landmarks, for many samples.

    Normalised cuts, as by scikit-learn's `SpectralClustering`, in memory linear in the
    number of samples: affinities are evaluated between samples and landmarks [1]_.
    `predict` labels new samples.

    Parameters
    ----------
    n_clusters : int, default=8
        Number of clusters.
    n_components : int, default=None
        Number of eigenvectors. None is `n_clusters`.
    random_state : int, RandomState instance or None, default=None
        Seeds the landmarks, and k-means or the first rotation.
    n_init : int, default=10
        Starts of k-means. Beyond 20000 samples, and 1000 a cluster, they are made on
        a sample of as many, and the best goes on with all.
    gamma : float, "scale" or None, default=1.0
        Of the rbf, laplacian, polynomial, sigmoid and chi2 kernels. "scale" is
        ``1 / (n_features * X.var())``; None is ``1 / n_features``, for chi2 1.
    affinity : str or callable, default="rbf"
        A name of ``sklearn.metrics.pairwise.PAIRWISE_KERNEL_FUNCTIONS``; a kernel of
        ``sklearn.gaussian_process.kernels``; or a function of two samples. Its values
        must not be negative. Not a matrix and not a graph of neighbours.
    degree : float, default=3
        Of the polynomial kernel.
    coef0 : float, default=1
        Of the polynomial and sigmoid kernels.
    kernel_params : dict, default=None
        Further parameters of the kernel.
    n_landmarks : int, default=300
        Most landmarks; all samples where there are fewer.
    landmarks : str or array-like, default="rpcholesky"
        How they are chosen, as in `NystroemKernel`: "rpcholesky", "uniform", "greedy",
        "kmeans", "leverage", indices of samples, or the landmarks themselves.
    assign_labels : {"kmeans", "discretize", "cluster_qr"}, default="kmeans"
        How labels follow from the eigenvectors: by k-means; by the rotation nearest to
        a partition [4]_; or by that of pivoted QR [5]_. The last two give one cluster for
        each eigenvector, so that `n_components` must be `n_clusters`.
    n_jobs : int, default=None
        Threads over row blocks and tiles. None means as many as BLAS has, or as a
        :obj:`joblib.parallel_config` context says.

    Attributes
    ----------
    labels_ : ndarray of shape (n_samples,)
        Cluster of each sample: what `predict` returns for them.
    eigenvalues_ : ndarray of shape (n_eigenvalues,)
        Of the normalised affinity, in decreasing order: as many as there are features.
        1 less the eigenvalues of the normalised Laplacian.
    n_clusters_hint_ : int
        After how many eigenvalues the largest gap comes, those above one half. It says
        something where the gap is wide: look at `eigenvalues_`.
    embedding_ : ndarray of shape (n_samples, n_components)
        Eigenvectors of the random walk, that is those of the normalised affinity over
        the root of the degree. Fewer columns where the affinity has a lower rank. Rows are
        zero of samples whose degree is lost.
    components_ : ndarray or sparse matrix of shape (n_landmarks, n_features_in_)
        The landmarks, in the order chosen, without those that depend on others.
    component_indices_ : ndarray of shape (n_landmarks,) or None
        Which samples they are; None for centres of clusters and points of one's own.
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

    Notes
    -----
    Choosing landmarks costs ``n_samples n_landmarks`` affinities and
    ``n_samples n_landmarks^2`` flops, as in `NystroemKernel`; the eigenvectors as many
    flops again, and the embedding the affinities again.

    The degree of a sample is at least its affinity to itself, where affinities are not
    negative; of an approximation it may be less, and is raised to that in the
    normalisation. A sample whose approximate degree is below half of it is none that the
    landmarks stand for: it takes the label of the landmark most similar to it, or of the
    nearest where all affinities vanish. So does a new sample far from all others.
    There is a warning where such samples are more than a tenth.

    A landmark whose affinity to all others together is below a tenth of that to itself is
    an outlier, and would be a cluster of its own. Where such are at most one in twenty of
    the samples, they are left out, and labelled as samples without a degree.

    The degree counts the affinity of a sample to itself, which scikit-learn's leaves out.
    It matters where that is a large share of the degree: for narrow kernels on few
    samples.

    `eigen_solver`, `eigen_tol`, `n_neighbors` and `verbose` of `SpectralClustering` have
    no counterpart: the eigenproblem has the size of the landmarks and is solved whole.

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
        n_clusters=8,
        *,
        n_components=None,
        random_state=None,
        n_init=10,
        gamma=1.0,
        affinity="rbf",
        degree=3,
        coef0=1,
        kernel_params=None,
        n_landmarks=300,
        landmarks="rpcholesky",
        assign_labels="kmeans",
        n_jobs=None,
    ):
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
    def fit(self, X, y=None):
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
        self._fit(X)
        return self

    def predict(self, X):
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
        E, fallback = self._embed(check_kernel_rows(self, X, reset=False))
        return self._label(E, fallback)

    def _fit(self, X):
        n_components = self._check_components()
        rows = check_kernel_rows(self, X, reset=True)
        if rows.shape[0] < self.n_clusters:
            raise ValueError(
                f"n_samples={rows.shape[0]} should be >= n_clusters={self.n_clusters}."
            )
        parameters = self._kernel_parameters()
        kernel = check_kernel(parameters, rows)
        landmarks, k, _ = check_landmarks(parameters)
        rng = stream(draw_seed(self.random_state))
        report = progress(self, "block of landmarks")
        nystroem = nystroem_features(
            rows, kernel, k, landmarks, n_jobs=self.n_jobs, rng=rng, report=report
        )
        spectrum = spectral.spectral_embedding(rows, kernel, nystroem, n_components)
        self._embedding_map = spectrum.embedding_map
        self.embedding_, fallback = self._embed(rows)
        self._warn_of_lost(np.count_nonzero(fallback >= 0), len(fallback))
        self._warn_of_alone(spectrum.n_alone, len(fallback))
        self._warn_of_rank(spectrum.embedding_map.numerators.shape[1], n_components)
        known = self.embedding_[fallback < 0]
        if len(known) < self.n_clusters:
            known = self.embedding_
        self._assignment = spectral.assignment(
            known, self.n_clusters, self.assign_labels, n_init=self.n_init, rng=rng
        )
        of_landmarks = embedded(nystroem.points, self._embedding_map, rows.dtype)[:, :-1]
        self._landmark_labels = self._assignment.labels(of_landmarks)
        self.labels_ = self._label(self.embedding_, fallback)
        self.eigenvalues_ = spectrum.eigenvalues
        self.n_clusters_hint_ = spectral.eigengap(spectrum.eigenvalues)
        self.components_ = nystroem.points
        self.component_indices_ = nystroem.indices
        self.error_estimate_ = nystroem.error_estimate

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

    def _kernel_parameters(self):
        """Return the parameters under the names that other kernel estimators give them."""
        if isinstance(self.affinity, str) and self.affinity in _GRAPHS:
            raise ValueError(
                f"affinity={self.affinity!r} is no function of two samples, as landmarks "
                "need: use sklearn.cluster.SpectralClustering, or a kernel."
            )
        named = isinstance(self.affinity, str)
        return SimpleNamespace(
            kernel=self.affinity,
            # As in scikit-learn, a callable does not see them.
            gamma=self.gamma if named else None,
            degree=self.degree if named else None,
            coef0=self.coef0 if named else None,
            kernel_params=self.kernel_params,
            n_components=self.n_landmarks,
            landmarks=self.landmarks,
        )

    def _embed(self, rows):
        """Return the embedding of rows, and the landmarks of those that have none."""
        n_columns = self._embedding_map.numerators.shape[1] + 1
        out = rows.map(embedded, self._embedding_map, rows.dtype, n_columns=n_columns)
        out = np.asarray(out)
        return np.ascontiguousarray(out[:, :-1]), out[:, -1].astype(np.intp)

    def _label(self, E, fallback):
        labels = self._assignment.labels(E)
        lost = fallback >= 0
        labels[lost] = self._landmark_labels[fallback[lost]]
        return labels.astype(np.int32)

    def _warn_of_lost(self, n_lost, n_samples):
        if n_lost > _LOST_SHARE * n_samples:
            warn_user(
                f"{n_lost} of {n_samples} samples are similar to no landmark, and take the "
                "label of the nearest. Allow more of them than "
                f"n_landmarks={self.n_landmarks}, or a wider kernel (of rbf, a smaller "
                "gamma).",
                UserWarning,
            )

    def _warn_of_alone(self, n_alone, n_samples):
        if self.n_clusters < n_alone < n_samples:
            warn_user(
                f"{n_alone} of {n_samples} samples are similar to no other, more than the "
                f"n_clusters={self.n_clusters} that they take. Widen the kernel (a smaller "
                "gamma, of rbf), or leave them out.",
                UserWarning,
            )

    def _warn_of_rank(self, rank, n_components):
        if rank < n_components:
            warn_user(
                f"The affinity of the samples to the landmarks has rank {rank}, less than "
                f"the {n_components} eigenvectors asked for. There are duplicates in X, or "
                f"n_landmarks={self.n_landmarks} or gamma are too small for so many.",
                UserWarning,
            )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.affinity not in ("chi2", "additive_chi2")
        tags.input_tags.positive_only = self.affinity in ("chi2", "additive_chi2")
        return tags
