"""Kernel ridge regression and classification at large n."""

from numbers import Integral, Real
from typing import Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, column_or_1d

from ._fitting import FittingMixin, fitting, progress, warn_user
from ._random import generator
from ._sklearn import (
    Interval,
    RealNotInt,
    StrOptions,
)
from ._typing import (
    AnyArray,
    Array,
    ArrayAsX,
    ArrayLike,
    Float,
    Indices,
    Int,
    KernelLike,
    Landmarks,
    MatrixLike,
    OrArray,
    OrNone,
    Seed,
    Tags,
)
from ._validation import (
    KERNEL_CONSTRAINTS,
    as_vector,
    check_kernel,
    check_kernel_rows,
    check_landmarks,
    check_penalty_choice,
    check_target,
)
from .linalg.nystroem.features import nystroem_features
from .linalg.nystroem.ridge import Penalties, kernel_ridge
from .linalg.nystroem.supervised_landmarks import MOST_SUPERVISED, supervised_landmarks
from .operators.feature_map import predictions


class _NystroemRidge(FittingMixin, BaseEstimator):
    """What regression and classification share."""

    components_: ArrayAsX
    component_indices_: Indices | OrNone
    n_landmarks_: int
    alpha_: float | OrArray
    n_iter_: int
    solver_: str
    error_estimate_: float

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like"],
        "alphas": ["array-like", None],
        **KERNEL_CONSTRAINTS,
        "landmarks": [*KERNEL_CONSTRAINTS["landmarks"], StrOptions({"auto"})],
        "n_landmarks": [
            Interval(Integral, 1, None, closed="left"),
            Interval(RealNotInt, 0, 1, closed="neither"),
            None,
        ],
        "exact": ["boolean"],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"auto", "direct", "cg"})],
        "tol": [Interval(Real, 0, None, closed="neither")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        alpha: Float | ArrayLike = 1.0,
        *,
        alphas: ArrayLike | None = None,
        kernel: KernelLike = "rbf",
        gamma: Float | Literal["scale"] | None = None,
        degree: Float | None = None,
        coef0: Float | None = None,
        kernel_params: dict[str, Any] | None = None,
        n_landmarks: Float | None = 300,
        landmarks: Landmarks = "auto",
        exact: bool = False,
        fit_intercept: bool = True,
        solver: Literal["auto", "direct", "cg"] = "auto",
        tol: Float = 1e-6,
        max_iter: Int = 200,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
        self.alpha = alpha
        self.alphas = alphas
        self.kernel = kernel
        self.gamma = gamma
        self.degree = degree
        self.coef0 = coef0
        self.kernel_params = kernel_params
        self.n_landmarks = n_landmarks
        self.landmarks = landmarks
        self.exact = exact
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _has_many_alphas(self):
        return self.alphas is None and np.ndim(self.alpha) > 0

    def _check_penalties(self, n_targets):
        """Return the penalties; raise where they do not fit `exact` or `solver`."""
        alphas, choose = check_penalty_choice(self, n_targets)
        if self.exact:
            if not np.all(alphas > 0):
                name = "alpha" if self.alphas is None else "alphas"
                raise ValueError(
                    f"{name}={getattr(self, name)} must be positive with exact=True."
                )
            if self.solver == "direct":
                raise ValueError(
                    "solver='direct' would form an n_samples x n_samples matrix with "
                    "exact=True: use sklearn.kernel_ridge.KernelRidge, or solver='cg'."
                )
        elif self.solver == "cg" and choose:
            raise ValueError(
                "solver='cg' solves for one alpha: to choose among alphas, use 'direct'."
            )
        return Penalties(alphas, choose)

    def _fit_targets(self, rows, Y):
        """Solve for the columns of Y, float64, and set the fitted attributes."""
        penalties = self._check_penalties(Y.shape[1])
        if self.kernel == "precomputed":
            raise ValueError(
                f"kernel='precomputed' is not supported by {type(self).__name__}: use "
                "make_pipeline(NystroemKernel(kernel='precomputed'), Ridge())."
            )
        kernel = check_kernel(
            rows,
            self.kernel,
            params=self.kernel_params,
            gamma=self.gamma,
            degree=self.degree,
            coef0=self.coef0,
        )
        rng = generator(self.random_state)
        landmarks, k, trace_tol = self._landmarks(rows, kernel, Y, penalties, rng)
        report = progress(self, "iteration")
        nystroem = nystroem_features(
            rows,
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
            penalties,
            exact=self.exact,
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
        self.alpha_ = model.alphas if self._has_many_alphas() else float(model.alphas[0])
        search = model.search
        self.solver_, self.n_iter_ = model.solver, search.n_iter
        self.n_landmarks_ = nystroem.points.shape[0]
        self.error_estimate_ = nystroem.error_estimate
        self._kernel, self._columns = kernel, model.columns
        # Predictions are in the precision of the data, unless this lacks their unit.
        largest, single = np.abs(Y).max(initial=0.0), np.finfo(np.float32)
        self._in_double = largest > single.max / 2**20 or 0 < largest < single.tiny * 2**20
        if not search.converged:
            warn_user(
                f"The relative residual is {search.residual:.1e} after {search.n_iter} "
                f"iterations, above tol={self.tol}. Increase max_iter (now "
                f"{self.max_iter}), or n_landmarks (now {self.n_landmarks}) for a better "
                "preconditioner.",
                ConvergenceWarning,
            )

    def _landmarks(self, rows, kernel, Y, penalties, rng):
        """Return landmarks or the way to choose them, their number, and a tolerance."""
        if not (isinstance(self.landmarks, str) and self.landmarks == "auto"):
            return check_landmarks(self.landmarks, self.n_landmarks)
        landmarks, k, tol = check_landmarks("rpcholesky", self.n_landmarks)
        few = k is not None and k < rows.shape[0] and k <= MOST_SUPERVISED
        if few and not (self.exact or kernel.indefinite):
            landmarks = supervised_landmarks(rows, kernel, k, Y, penalties.alphas, rng)
        return landmarks, k, tol

    def __getstate__(self) -> dict[str, Any]:
        # What is made of the centres is made again.
        return {k: v for k, v in super().__getstate__().items() if k != "_columns"}

    def __setstate__(self, state):
        super().__setstate__(state)
        if hasattr(self, "_kernel"):
            self._columns = self._kernel.at(self.components_)

    def _predict(self, X):
        check_is_fitted(self)
        rows = check_kernel_rows(self, X, reset=False)
        dual = self.dual_coef_.reshape(len(self.dual_coef_), -1)
        dtype = np.dtype(np.float64) if self._in_double else rows.dtype
        return rows.map(
            predictions,
            self._columns,
            dual,
            np.atleast_1d(self.intercept_),
            dtype,
            n_columns=dual.shape[1],
            dtype=dtype,
        )

    def __sklearn_tags__(self) -> Tags:
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
    alpha : float or array-like of shape (n_targets,), default=1.0
        Penalty, as in `KernelRidge`: one for all targets, or one for each.
    alphas : array-like of shape (n_alphas,), default=None
        Penalties to choose from, in the place of `alpha`. The one with the least
        leave-one-out error, summed over the targets, is used for all targets, as in
        `RidgeCV`. The landmarks are the same whichever sample is left out.
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
    n_landmarks : int, float or None, default=300
        Number of landmarks, as `n_components` of `NystroemKernel`. With ``exact=True``,
        the rank of the preconditioner.
    landmarks : str or array-like, default="auto"
        How landmarks are chosen.

        - "auto": by the response. Of random candidates, two for each landmark, those are
          taken one after another that decrease the penalised squares most [4]_, on half of
          the samples or fewer. As "rpcholesky" with ``exact=True``, for an indefinite
          kernel, or where `n_landmarks` is not an int up to 1000 and below the number of
          samples;
        - otherwise as in `NystroemKernel`, where the response plays no part.

    exact : bool, default=False
        Whether the solution is a combination of the kernel at all samples, as in
        `KernelRidge`, and not only at the landmarks. It is found by conjugate gradients
        [3]_.
    fit_intercept : bool, default=True
        Whether to add a constant that is not penalised. `KernelRidge` has none.
    solver : {"auto", "direct", "cg"}, default="auto"
        - "direct": normal equations in the basis of the Nystroem features;
        - "cg": preconditioned conjugate gradients [2]_, which make one pass over the data
          for each iteration and keep nothing of size n_samples x n_landmarks;
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
        The landmarks, or all samples with ``exact=True``.
    component_indices_ : ndarray of shape (n_landmarks,) or None
        Indices of the landmarks among the samples. None for "kmeans" and for an array of
        points.
    n_landmarks_ : int
        Number of landmarks; with ``exact=True``, of those that precondition.
    alpha_ : float or ndarray of shape (n_targets,)
        The penalty used: one for each target if `alpha` is an array.
    n_iter_ : int
        Conjugate gradient iterations; 1 for "direct".
    solver_ : str
        The solver used.
    error_estimate_ : float
        Relative trace error of the kernel on the landmarks, as in `NystroemKernel`. With
        ``exact=True`` it is that of the preconditioner, while the kernel is exact.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    sklearn.kernel_ridge.KernelRidge : Exact, in memory of n_samples^2.
    NystroemKernel : The same approximation as a transformer.
    NystroemRidgeClassifier : For classes.
    sklearn_rnla.plotting.LandmarksDisplay : Plots landmarks and what each adds.

    Notes
    -----
    "direct" costs ``2 n m^2`` flops, or half of that where the choice of landmarks left
    its factor behind. Choosing landmarks by the response costs some ``40 m^3``, whatever n
    is. "cg" evaluates ``n m`` kernel values in each iteration. Both sum in float64 and in
    the basis of the features, because the normal equations of the kernel itself break down
    in single precision.

    References
    ----------
    .. [1] Williams, C. K. I., & Seeger, M. (2001). Using the Nystrom method to speed up
       kernel machines. NIPS 13, 682-688.
    .. [2] Rudi, A., Carratino, L., & Rosasco, L. (2017). FALKON: an optimal large scale
       kernel method. NIPS 30.
    .. [3] Diaz, M., Epperly, E. N., Frangella, Z., Tropp, J. A., & Webber, R. J. (2023).
       Robust, randomized preconditioning for kernel ridge regression. arXiv:2304.12465.
    .. [4] Chen, S., Cowan, C. F. N., & Grant, P. M. (1991). Orthogonal least squares
       learning algorithm for radial basis function networks. IEEE Transactions on Neural
       Networks 2(2), 302-309.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn_rnla import NystroemRidge
    >>> X, y = load_diabetes(return_X_y=True)
    >>> ridge = NystroemRidge(alphas=[0.01, 0.1, 1], gamma=10, random_state=0)
    >>> ridge.fit(X, y).predict(X).shape
    (442,)
    """

    dual_coef_: Array
    intercept_: float | OrArray

    @fitting
    def fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the regression.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights of the samples' errors. A sample of weight 2 is as one that comes
            twice, also where landmarks are chosen; of weight 0, as one that is not there.

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

    def predict(self, X: MatrixLike) -> ArrayAsX:
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

    def __sklearn_tags__(self) -> Tags:
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
    alpha : float or array-like of shape (n_scores,), default=1.0
        Penalty: one for all scores, or one for each.
    alphas : array-like of shape (n_alphas,), default=None
        Penalties to choose from by leave-one-out errors, as in `NystroemRidge`.
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
    n_landmarks : int, float or None, default=300
        Number of landmarks, as `n_components` of `NystroemKernel`. With ``exact=True``,
        the rank of the preconditioner.
    landmarks : str or array-like, default="auto"
        How landmarks are chosen, as in `NystroemRidge`.
    exact : bool, default=False
        Whether the solution is a combination of the kernel at all samples, as in
        `KernelRidge`, and not only at the landmarks. It is found by conjugate gradients
        [3]_.
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
        The landmarks, or all samples with ``exact=True``.
    component_indices_ : ndarray of shape (n_landmarks,) or None
        Indices of the landmarks among the samples. None for "kmeans" and for an array of
        points.
    n_landmarks_ : int
        Number of landmarks; with ``exact=True``, of those that precondition.
    alpha_ : float or ndarray of shape (n_targets,)
        The penalty used: one for each target if `alpha` is an array.
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
    sklearn_rnla.plotting.LandmarksDisplay : Plots landmarks and what each adds.

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

    classes_: AnyArray
    dual_coef_: Array
    intercept_: Array

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        **_NystroemRidge._parameter_constraints,
        "class_weight": [dict, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
        alpha: Float | ArrayLike = 1.0,
        *,
        alphas: ArrayLike | None = None,
        kernel: KernelLike = "rbf",
        gamma: Float | Literal["scale"] | None = None,
        degree: Float | None = None,
        coef0: Float | None = None,
        kernel_params: dict[str, Any] | None = None,
        n_landmarks: Float | None = 300,
        landmarks: Landmarks = "auto",
        exact: bool = False,
        fit_intercept: bool = True,
        solver: Literal["auto", "direct", "cg"] = "auto",
        tol: Float = 1e-6,
        max_iter: Int = 200,
        class_weight: dict[Any, float] | Literal["balanced"] | None = None,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
        super().__init__(
            alpha=alpha,
            alphas=alphas,
            kernel=kernel,
            gamma=gamma,
            degree=degree,
            coef0=coef0,
            kernel_params=kernel_params,
            n_landmarks=n_landmarks,
            landmarks=landmarks,
            exact=exact,
            fit_intercept=fit_intercept,
            solver=solver,
            tol=tol,
            max_iter=max_iter,
            n_jobs=n_jobs,
            random_state=random_state,
        )
        self.class_weight = class_weight

    @fitting
    def fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the classifier.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap or dask array
            Data of shape (n_samples, n_features).
        y : array-like of shape (n_samples,)
            Classes.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights of the samples' errors. A sample of weight 2 is as one that comes
            twice, also where landmarks are chosen; of weight 0, as one that is not there.

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

    def decision_function(self, X: MatrixLike) -> Array:
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

    def predict(self, X: MatrixLike) -> AnyArray:
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


def column_of_classes(y: ArrayLike) -> AnyArray:
    """Return y as one column of classes, or raise."""
    check_classification_targets(y)
    return column_or_1d(as_vector(y))
