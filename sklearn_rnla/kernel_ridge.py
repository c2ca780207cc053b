"""Kernel ridge regression and classification at large n."""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ._fitting import fitting, progress, warn_user
from ._random import draw_seed, stream
from ._sklearn import CallbackSupportMixin, Interval, RealNotInt, StrOptions
from ._validation import (
    KERNEL_CONSTRAINTS,
    KernelSpec,
    as_vector,
    check_kernel,
    check_kernel_rows,
    check_landmarks,
    check_penalties,
    check_target,
)
from .linalg.nystroem.features import nystroem_features
from .linalg.nystroem.ridge import kernel_ridge
from .operators.feature_map import predictions


class _NystroemRidge(CallbackSupportMixin, BaseEstimator):
    """What regression and classification share."""

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like"],
        **KERNEL_CONSTRAINTS,
        "n_components": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "centers": [StrOptions({"landmarks", "all"})],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"auto", "direct", "cg"})],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        kernel="rbf",
        gamma=None,
        degree=None,
        coef0=None,
        kernel_params=None,
        n_components=300,
        landmarks="rpcholesky",
        centers="landmarks",
        fit_intercept=False,
        solver="auto",
        tol=1e-6,
        max_iter=200,
        n_jobs=None,
        random_state=None,
    ):
        self.alpha = alpha
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.n_components = n_components
        self.landmarks = landmarks
        self.centers = centers
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _check_alphas(self):
        """Return the penalties; raise where they do not fit `centers` or `solver`."""
        alphas = np.atleast_1d(check_penalties(self.alpha))
        if alphas.ndim != 1 or not len(alphas):
            raise ValueError(
                f"alpha={self.alpha!r} must be a number or numbers in one dimension, "
                "not empty."
            )
        if self.centers == "all":
            if not np.all(alphas > 0):
                raise ValueError(
                    f"alpha={self.alpha!r} must be positive with centers='all'."
                )
            if self.solver == "direct":
                raise ValueError(
                    "solver='direct' would form an n_samples x n_samples matrix with "
                    "centers='all': use sklearn.kernel_ridge.KernelRidge, or solver='cg'."
                )
        elif self.solver == "cg" and len(alphas) > 1:
            raise ValueError(
                "solver='cg' solves for one alpha: to search several, use 'direct'."
            )
        return alphas

    def _fit_targets(self, rows, Y):
        """Solve for the columns of Y, float64, and set the fitted attributes."""
        alphas = self._check_alphas()
        if self.kernel == "precomputed":
            raise ValueError(
                f"kernel='precomputed' is not supported by {type(self).__name__}: use "
                "make_pipeline(NystroemKernel(kernel='precomputed'), Ridge())."
            )
        spec = KernelSpec(
            self.kernel,
            gamma=self.gamma,
            degree=self.degree,
            coef0=self.coef0,
            params=self.kernel_params,
        )
        samples = rows.with_weight(None)
        kernel = check_kernel(spec, samples)
        landmarks, k, trace_tol = check_landmarks(self.landmarks, self.n_components)
        rng = stream(draw_seed(self.random_state))
        report = progress(self, "iteration")
        nystroem = nystroem_features(
            samples,
            kernel,
            k,
            landmarks,
            tol=trace_tol,
            n_jobs=self.n_jobs,
            rng=rng,
            report=report,
        )
        model = kernel_ridge(
            rows,
            kernel,
            nystroem,
            Y,
            alphas,
            centers=self.centers,
            solver=self.solver,
            fit_intercept=self.fit_intercept,
            tol=self.tol,
            max_iter=self.max_iter,
            n_jobs=self.n_jobs,
            rng=rng,
            report=report,
        )
        self.components_, self.component_indices_ = model.points, model.indices
        self.dual_coef_, self.intercept_ = model.dual, model.intercept
        self.alpha_, search = model.solution.alpha, model.solution.search
        self.solver_, self.n_iter_ = model.solver, search.n_iter
        self.error_estimate_ = nystroem.error_estimate
        self._columns = model.columns
        if not search.converged:
            warn_user(
                f"The relative residual is {search.residual:.1e} after {search.n_iter} "
                f"iterations, above tol={self.tol}. Increase max_iter (now "
                f"{self.max_iter}), or n_components (now {self.n_components}) for a better "
                "preconditioner.",
                ConvergenceWarning,
            )

    def _predict(self, X):
        check_is_fitted(self)
        rows = check_kernel_rows(self, X, reset=False)
        dual = self.dual_coef_.reshape(len(self.dual_coef_), -1)
        return rows.map(
            predictions,
            self._columns,
            dual,
            np.atleast_1d(self.intercept_),
            rows.dtype,
            n_columns=dual.shape[1],
        )

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self.kernel not in ("chi2", "additive_chi2")
        tags.input_tags.positive_only = self.kernel in ("chi2", "additive_chi2")
        return tags


class NystroemRidge(RegressorMixin, _NystroemRidge):
    """Kernel ridge regression on landmarks, for many samples.

    Minimises ``||y - K_nm c||^2 + alpha c^T K_mm c`` over combinations c of the kernel at
    m landmarks, using all samples. It is a drop-in replacement for scikit-learn's
    `KernelRidge` where an n_samples x n_samples matrix is too large.

    Parameters
    ----------
    alpha : float or array-like of shape (n_alphas,), default=1.0
        Penalty, as in `KernelRidge`. If several are given, the one with the least
        generalised cross-validation error is chosen, as in `RidgeCV`.
    kernel : str or callable, default="rbf"
        As in `NystroemKernel`, except that "precomputed" is not supported.
    gamma : float or "scale", default=None
        As in `NystroemKernel`.
    degree : float, default=None
        Degree of the polynomial kernel. None means 3.
    coef0 : float, default=None
        Parameter of the polynomial and sigmoid kernels. None means 1.
    kernel_params : dict, default=None
        Further parameters of a callable kernel.
    n_components : int, float or None, default=300
        Number of landmarks, as in `NystroemKernel`. With ``centers="all"``, the rank of
        the preconditioner.
    landmarks : str or array-like, default="rpcholesky"
        How landmarks are chosen, as in `NystroemKernel`.
    centers : {"landmarks", "all"}, default="landmarks"
        Whether the solution is a combination of the kernel at the landmarks, or at all
        samples as in `KernelRidge`. The latter is found by conjugate gradients [3]_.
    fit_intercept : bool, default=False
        Whether to add a constant that is not penalised. `KernelRidge` has none.
    solver : {"auto", "direct", "cg"}, default="auto"
        - "direct": normal equations in the basis of the Nystroem features;
        - "cg": preconditioned conjugate gradients [2]_, which make one pass over the data
          for each iteration and keep nothing of size n_samples x n_components;
        - "auto": the cheaper of the two by a count of flops.

    tol : float, default=1e-6
        Relative residual at which conjugate gradients stop.
    max_iter : int, default=200
        Largest number of iterations.
    n_jobs : int, default=None
        Number of threads, which work on row blocks and tiles. None means as many as BLAS
        uses, or the number of a :obj:`joblib.parallel_config` context.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of landmarks and of the preconditioner.

    Attributes
    ----------
    dual_coef_ : ndarray of shape (n_landmarks,) or (n_landmarks, n_targets)
        Predictions are ``kernel(X, components_) @ dual_coef_ + intercept_``.
    intercept_ : float or ndarray of shape (n_targets,)
        The constant, which is 0.0 with ``fit_intercept=False``.
    components_ : ndarray or sparse matrix of shape (n_landmarks, n_features_in_)
        The landmarks, or all samples with ``centers="all"``.
    component_indices_ : ndarray of shape (n_landmarks,) or None
        Indices of the landmarks among the samples. None for "kmeans" and for an array of
        points.
    alpha_ : float
        The penalty used.
    n_iter_ : int
        Conjugate gradient iterations; 1 for "direct".
    solver_ : str
        The solver used.
    error_estimate_ : float
        Relative trace error of the kernel on the landmarks, as in `NystroemKernel`. With
        ``centers="all"`` it is that of the preconditioner, while the kernel is exact.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    sklearn.kernel_ridge.KernelRidge : Exact, in memory of n_samples^2.
    NystroemKernel : The same approximation as a transformer.
    NystroemRidgeClassifier : For classes.

    Notes
    -----
    "direct" costs ``2 n m^2`` flops, or half of that where the choice of landmarks left
    its factor behind; "cg" evaluates ``n m`` kernel values in each iteration. Both sum in
    float64 and in the basis of the features, because the normal equations of the kernel
    itself break down in single precision.

    References
    ----------
    .. [1] Williams, C. K. I., & Seeger, M. (2001). Using the Nystrom method to speed up
       kernel machines. NIPS 13, 682-688.
    .. [2] Rudi, A., Carratino, L., & Rosasco, L. (2017). FALKON: an optimal large scale
       kernel method. NIPS 30.
    .. [3] Diaz, M., Epperly, E. N., Frangella, Z., Tropp, J. A., & Webber, R. J. (2023).
       Robust, randomized preconditioning for kernel ridge regression. arXiv:2304.12465.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_rnla import NystroemRidge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> ridge = NystroemRidge(alpha=[0.01, 0.1, 1], gamma=10, random_state=0)
    >>> ridge.fit(X, y - y.mean()).predict(X).shape
    (442,)
    """

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Fit the regression.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights of the samples' errors.

        Returns
        -------
        NystroemRidge
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When X or y have NaN or infinity, or a parameter does not fit another.
        """
        rows = check_kernel_rows(self, X, reset=True, sample_weight=sample_weight)
        y = check_target(self, rows, y, numeric=True)
        self._fit_targets(rows, y.reshape(len(y), -1))
        if y.ndim == 1:
            self.dual_coef_ = self.dual_coef_.ravel()
            self.intercept_ = float(self.intercept_[0])
        return self

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions; a lazy dask array if X is one.
        """
        scores = self._predict(X)
        return scores[:, 0] if self.dual_coef_.ndim == 1 else scores

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


class NystroemRidgeClassifier(ClassifierMixin, _NystroemRidge):
    """Kernel ridge regression of classes coded -1 and 1, on landmarks.

    Works like `RidgeClassifier`, but with a kernel. There is no `predict_proba`, because
    least squares scores are not probabilities. To get these, use
    ``make_pipeline(NystroemKernel(), LogisticRegression())``.

    Parameters
    ----------
    alpha : float or array-like of shape (n_alphas,), default=1.0
        Penalty. If several are given, the one with the least generalised
        cross-validation error is chosen.
    kernel : str or callable, default="rbf"
        As in `NystroemKernel`, except that "precomputed" is not supported.
    gamma : float or "scale", default=None
        As in `NystroemKernel`.
    degree : float, default=None
        Degree of the polynomial kernel. None means 3.
    coef0 : float, default=None
        Parameter of the polynomial and sigmoid kernels. None means 1.
    kernel_params : dict, default=None
        Further parameters of a callable kernel.
    n_components : int, float or None, default=300
        Number of landmarks, as in `NystroemKernel`. With ``centers="all"``, the rank of
        the preconditioner.
    landmarks : str or array-like, default="rpcholesky"
        How landmarks are chosen, as in `NystroemKernel`.
    centers : {"landmarks", "all"}, default="landmarks"
        Whether the solution is a combination of the kernel at the landmarks, or at all
        samples as in `KernelRidge`. The latter is found by conjugate gradients [3]_.
    fit_intercept : bool, default=True
        Whether to add a constant that is not penalised.
    solver : {"auto", "direct", "cg"}, default="auto"
        As in `NystroemRidge`.
    tol : float, default=1e-6
        Relative residual at which conjugate gradients stop.
    max_iter : int, default=200
        Largest number of iterations.
    class_weight : dict or "balanced", default=None
        Weights of the classes. "balanced" makes them inverse to the class frequencies.
    n_jobs : int, default=None
        Number of threads, which work on row blocks and tiles.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of landmarks and of the preconditioner.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    dual_coef_ : ndarray of shape (n_landmarks, n_scores)
        Scores are ``kernel(X, components_) @ dual_coef_ + intercept_``; one for two
        classes.
    intercept_ : ndarray of shape (n_scores,)
        The constant, which is zero with ``fit_intercept=False``.
    components_ : ndarray or sparse matrix of shape (n_landmarks, n_features_in_)
        The landmarks, or all samples with ``centers="all"``.
    component_indices_ : ndarray of shape (n_landmarks,) or None
        Indices of the landmarks among the samples. None for "kmeans" and for an array of
        points.
    alpha_ : float
        The penalty used.
    n_iter_ : int
        Conjugate gradient iterations; 1 for "direct".
    solver_ : str
        The solver used.
    error_estimate_ : float
        Relative trace error of the kernel on the landmarks.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    NystroemRidge : Regression, with notes on both.
    sklearn.linear_model.RidgeClassifier : Linear.

    References
    ----------
    .. [1] Williams, C. K. I., & Seeger, M. (2001). Using the Nystrom method to speed up
       kernel machines. NIPS 13, 682-688.
    .. [2] Rudi, A., Carratino, L., & Rosasco, L. (2017). FALKON: an optimal large scale
       kernel method. NIPS 30.
    .. [3] Diaz, M., Epperly, E. N., Frangella, Z., Tropp, J. A., & Webber, R. J. (2023).
       Robust, randomized preconditioning for kernel ridge regression. arXiv:2304.12465.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn_rnla import NystroemRidgeClassifier
    >>> X, y = load_digits(return_X_y=True)
    >>> classifier = NystroemRidgeClassifier(0.1, gamma=1e-3, random_state=0)
    >>> classifier.fit(X[::2], y[::2]).score(X[1::2], y[1::2]) > 0.95
    True
    """

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        **_NystroemRidge._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        alpha=1.0,
        *,
        kernel="rbf",
        gamma=None,
        degree=None,
        coef0=None,
        kernel_params=None,
        n_components=300,
        landmarks="rpcholesky",
        centers="landmarks",
        fit_intercept=True,
        solver="auto",
        tol=1e-6,
        max_iter=200,
        class_weight=None,
        n_jobs=None,
        random_state=None,
    ):
        super().__init__(
            alpha=alpha,
            kernel=kernel,
            gamma=gamma,
            degree=degree,
            coef0=coef0,
            kernel_params=kernel_params,
            n_components=n_components,
            landmarks=landmarks,
            centers=centers,
            fit_intercept=fit_intercept,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.class_weight = class_weight

    @fitting
    def fit(self, X, y, sample_weight=None):
        """Fit the classifier.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).
        y : array-like of shape (n_samples,)
            Classes.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights of the samples' errors.

        Returns
        -------
        NystroemRidgeClassifier
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When X has NaN or infinity, y is not of classes, or a parameter does not fit
            another.
        """
        rows = check_kernel_rows(self, X, reset=True, sample_weight=sample_weight)
        y = column_of_classes(check_target(self, rows, y, numeric=False))
        if self.class_weight is not None:
            weight = compute_sample_weight(self.class_weight, y)
            if not (np.all(weight >= 0) and np.isfinite(weight).all() and weight.any()):
                raise ValueError(
                    f"class_weight={self.class_weight!r} must be finite and at least "
                    "0, and not 0 for all classes of y."
                )
            if rows.weight is not None:
                weight = weight * rows.weight
            rows = rows.with_weight(weight.astype(rows.dtype))
        self._binarizer = LabelBinarizer(neg_label=-1)
        Y = self._binarizer.fit_transform(y).astype(np.float64)
        self.classes_ = self._binarizer.classes_
        if len(self.classes_) < 2:
            raise ValueError(
                f"y has one class only, {self.classes_[0]!r}: there must be two or "
                "more classes."
            )
        self._fit_targets(rows, Y)
        return self

    def decision_function(self, X):
        """Return the scores of the classes.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            For two classes the score of the second, positive where it is predicted.
        """
        scores = self._predict(X)
        return scores[:, 0] if len(self.classes_) == 2 else scores

    def predict(self, X):
        """Predict classes.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).

        Returns
        -------
        ndarray of shape (n_samples,)
            The class of the largest score.
        """
        scores = np.asarray(self.decision_function(X))
        if scores.ndim == 1:
            return self.classes_[(scores > 0).astype(int)]
        return self.classes_[np.argmax(scores, axis=1)]


def column_of_classes(y):
    """Return y as one column of classes, or raise."""
    check_classification_targets(y)
    return column_or_1d(as_vector(y))
