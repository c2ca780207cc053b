"""Gaussian process regression at large n."""

from collections.abc import Callable, Iterator
from numbers import Integral, Real
from typing import Any, Literal, Self, overload

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Kernel
from sklearn.utils import check_random_state

from ._fitting import FittingMixin, fitting, progress, warn_user
from ._random import generator
from ._sklearn import (
    Interval,
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
    Landmarks,
    MatrixLike,
    OrArray,
    OrNone,
    Seed,
    Tags,
)
from ._validation import (
    KERNEL_CONSTRAINTS,
    check_kernel_rows,
    check_landmarks,
    check_target,
)
from .linalg.gaussian_process.fit import affordable_landmarks, fit_gaussian_process
from .linalg.gaussian_process.passes import METHODS
from .linalg.gaussian_process.problem import GaussianProcessProblem, starting_kernel
from .operators import as_row_matrix, is_read_lazily
from .operators.feature_map import BLOCK_ROWS
from .operators.scaling import column_scales
from .operators.threads import kernel_jobs


class NystroemGaussianProcessRegressor(FittingMixin, RegressorMixin, BaseEstimator):
    """Gaussian process regression on landmarks, for many samples.

    A drop-in replacement for scikit-learn's `GaussianProcessRegressor` where an
    n_samples x n_samples matrix is too large: it has the same kernels, parameters and
    methods and takes ``O(n_samples n_landmarks^2)`` time. All samples enter the marginal
    likelihood and the posterior. Far from the landmarks, variances are those of the prior.

    Parameters
    ----------
    kernel : kernel object, default=None
        A kernel of ``sklearn.gaussian_process.kernels`` or one with the same interface.
        None means ``ConstantKernel() * RBF() + WhiteKernel()``, which is learned completely
        and starts at the scale of y; or, without an optimiser,
        ``ConstantKernel() * RBF()``.
    alpha : float or ndarray of shape (n_samples,), default=1e-10
        Variance of the noise besides that of a `WhiteKernel`: one for all samples, or one
        for each.
    optimizer : "fmin_l_bfgs_b", callable or None, default="fmin_l_bfgs_b"
        As in scikit-learn. A callable is called in each stage of the fit, and landmarks
        are not moved then. None leaves the kernel as it is.
    n_restarts_optimizer : int, default=0
        Number of further starts of the first, coarse stage. The best of them continues.
    normalize_y : bool, default=False
        Whether to subtract the mean of y and divide it by its standard deviation.
    copy_X_train : bool, default=True
        Whether to keep a copy of X instead of X itself. Data that are read lazily are
        never copied.
    n_targets : int, default=None
        Number of columns of y. Before `fit`, the prior has this many; None means 1.
    method : {"variational", "fitc", "dtc"}, default="variational"
        - "variational": maximises a lower bound of the marginal likelihood [1]_, which
          does not overfit and never gets worse with more landmarks;
        - "fitc": keeps the exact variances on the diagonal [2]_, as noise that varies with
          the input;
        - "dtc": maximises the likelihood of the approximate prior alone [3]_.

    n_landmarks : int or "auto", default="auto"
        Largest number of landmarks. With as many landmarks as samples, everything is that
        of the exact process, which takes n_samples x n_samples numbers. "auto" is the exact
        process of up to 4000 samples. Of more, landmarks double until the bound of the
        likelihood could hardly gain, or the work is that of 4000 samples.
    landmarks : str or array-like, default="rpcholesky"
        How landmarks are chosen, or the landmarks themselves, as in `NystroemKernel`.
    reselect_landmarks : bool, default=True
        Whether to choose landmarks again as the parameters of the kernel change [4]_.
    n_landmark_steps : int, default=100
        Number of steps in which chosen landmarks move along the gradient of the bound,
        together with the parameters. Only "variational" takes them: what the other methods
        maximise is not a bound and overfits. No steps are taken if nothing is left to gain,
        or if the gradient of a user-defined kernel is unknown. With 0, landmarks remain
        samples.
    learn_noise : bool, default=True
        Whether to add a `WhiteKernel` to a kernel without noise if there is an optimiser
        and `alpha` is one number. Landmarks cannot interpolate.
    learn_mean : bool, default=True
        Whether to learn a constant mean of the prior, which predictions return to far from
        the landmarks, if there is an optimiser. The mean is zero if all samples are
        landmarks, as in scikit-learn.
    n_jobs : int, default=None
        Number of threads, which work on tiles of the kernel. None means as many as BLAS
        uses, or the number of a :obj:`joblib.parallel_config` context.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of landmarks, the samples of coarse stages and the restarts.

    Attributes
    ----------
    kernel_ : kernel object
        The kernel with the parameters that were found.
    log_marginal_likelihood_value_ : float
        Log marginal likelihood of ``kernel_.theta``, or its lower bound for "variational".
    X_train_ : ndarray of shape (n_samples, n_features_in_)
        The samples, or the source that they are read from.
    y_train_ : ndarray of shape (n_samples,) or (n_samples, n_targets)
        A copy of the targets, normalised if `normalize_y` is set.
    components_ : ndarray of shape (n_landmarks, n_features_in_)
        The landmarks.
    component_indices_ : ndarray of shape (n_landmarks,) or None
        Indices of the landmarks among the samples. None if they were moved, for "kmeans",
        and for an array of points.
    n_landmarks_ : int
        Number of landmarks.
    dual_coef_ : ndarray of shape (n_landmarks,) or (n_landmarks, n_targets)
        Means are ``kernel(X, components_) @ dual_coef_ + intercept_``, before
        normalisation is undone.
    intercept_ : float or ndarray of shape (n_targets,)
        The mean of the prior, before normalisation is undone.
    error_estimate_ : float
        How much greater the exact log marginal likelihood is than its bound, for each
        value of y, at most in expectation over y: the variance that the landmarks miss
        over that of the noise, in the mean of the samples [4]_. If it is zero, the model is
        that of the exact process.
    n_iter_ : int
        Number of evaluations of the marginal likelihood on all samples and landmarks.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    sklearn.gaussian_process.GaussianProcessRegressor : Exact, in time of n_samples^3.
    NystroemRidge : The mean alone, for a penalty that is given or cross-validated.

    Notes
    -----
    One evaluation of the marginal likelihood and its gradient takes two passes over row
    blocks and ``6 n m^2`` flops, and keeps ``O(n + m^2)`` numbers, so that X may be a
    memmap or a dask array. Parameters are first found on samples of the rows with few
    landmarks; all rows and landmarks are used in a few final evaluations. Unlike in
    scikit-learn, there is no `L_` and no `alpha_`, and kernels of objects other than
    vectors are refused.

    The methods differ in the noise that they learn. "fitc" explains what the landmarks
    miss by noise of its own, and may learn too little of it; "variational" learns too much
    if there are too few landmarks (Bauer, van der Wilk & Rasmussen, 2016).
    `error_estimate_` tells whether this is the case.

    References
    ----------
    .. [1] Titsias, M. (2009). Variational learning of inducing variables in sparse
       Gaussian processes. AISTATS, 567-574.
    .. [2] Snelson, E., & Ghahramani, Z. (2006). Sparse Gaussian processes using
       pseudo-inputs. NIPS 18, 1257-1264.
    .. [3] Quinonero-Candela, J., & Rasmussen, C. E. (2005). A unifying view of sparse
       approximate Gaussian process regression. JMLR 6, 1939-1959.
    .. [4] Burt, D. R., Rasmussen, C. E., & van der Wilk, M. (2020). Convergence of sparse
       variational inference in Gaussian processes regression. JMLR 21(131), 1-63.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    >>> from sklearn_rnla import NystroemGaussianProcessRegressor
    >>> rng = np.random.default_rng(0)
    >>> X = rng.uniform(0, 10, size=(2000, 1))
    >>> y = np.sin(X[:, 0]) + 0.1 * rng.normal(size=2000)
    >>> gpr = NystroemGaussianProcessRegressor(
    ...     1.0 * RBF() + WhiteKernel(), n_landmarks=50, random_state=0
    ... ).fit(X, y)
    >>> mean, std = gpr.predict([[2.0]], return_std=True)
    >>> mean.round(2)
    array([0.91])
    >>> round(float(std[0]), 2)
    0.1
    """

    kernel_: Any
    log_marginal_likelihood_value_: float
    X_train_: Any
    y_train_: Array
    components_: Array
    component_indices_: Indices | OrNone
    n_landmarks_: int
    dual_coef_: Array
    intercept_: float | OrArray
    error_estimate_: float
    n_iter_: int

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        "kernel": [None, Kernel],
        "alpha": [Interval(Real, 0, None, closed="left"), np.ndarray],
        "optimizer": [StrOptions({"fmin_l_bfgs_b"}), callable, None],
        "n_restarts_optimizer": [Interval(Integral, 0, None, closed="left")],
        "normalize_y": ["boolean"],
        "copy_X_train": ["boolean"],
        "n_targets": [Interval(Integral, 1, None, closed="left"), None],
        "method": [StrOptions(set(METHODS))],
        "n_landmarks": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "landmarks": KERNEL_CONSTRAINTS["landmarks"],
        "reselect_landmarks": ["boolean"],
        "n_landmark_steps": [Interval(Integral, 0, None, closed="left")],
        "learn_noise": ["boolean"],
        "learn_mean": ["boolean"],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        kernel: Kernel | None = None,
        *,
        alpha: Float | AnyArray = 1e-10,
        optimizer: Literal["fmin_l_bfgs_b"] | Callable[..., Any] | None = "fmin_l_bfgs_b",
        n_restarts_optimizer: Int = 0,
        normalize_y: bool = False,
        copy_X_train: bool = True,
        n_targets: Int | None = None,
        method: Literal["variational", "fitc", "dtc"] = "variational",
        n_landmarks: Int | Literal["auto"] = "auto",
        landmarks: Landmarks = "rpcholesky",
        reselect_landmarks: bool = True,
        n_landmark_steps: Int = 100,
        learn_noise: bool = True,
        learn_mean: bool = True,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
        self.kernel = kernel
        self.alpha = alpha
        self.optimizer = optimizer
        self.n_restarts_optimizer = n_restarts_optimizer
        self.normalize_y = normalize_y
        self.copy_X_train = copy_X_train
        self.n_targets = n_targets
        self.method = method
        self.n_landmarks = n_landmarks
        self.landmarks = landmarks
        self.reselect_landmarks = reselect_landmarks
        self.n_landmark_steps = n_landmark_steps
        self.learn_noise = learn_noise
        self.learn_mean = learn_mean
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fitting
    def fit(self, X: MatrixLike, y: ArrayLike) -> Self:
        """Find landmarks and parameters of the kernel, and the posterior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), memmap or dask array
            Samples.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.

        Returns
        -------
        NystroemGaussianProcessRegressor
            The fitted estimator.

        Raises
        ------
        ValueError
            When a parameter does not fit the data, or these are not finite.
        """
        rows = self._check_rows(X, reset=True)
        y = check_target(self, rows, y, numeric=True)
        self.X_train_ = self._kept(X, rows)
        self.y_train_ = self._normalized(y)
        grow, k = self.n_landmarks == "auto", self.n_landmarks
        if grow:
            k = affordable_landmarks(len(y), self.n_landmark_steps)
        landmarks, k, _ = check_landmarks(self.landmarks, k)
        if not isinstance(landmarks, str):
            k = landmarks.shape[0]
        problem = GaussianProcessProblem(
            rows=rows,
            Y=self.y_train_.reshape(len(y), -1),
            alpha=self._check_alpha(rows),
            method=self.method,
            k=min(k, rows.shape[0]),
            landmarks=landmarks,
            rng=generator(self.random_state),
            n_jobs=self.n_jobs,
            learn_mean=self.learn_mean and self.optimizer is not None,
        )
        kernel = starting_kernel(
            problem,
            self.kernel,
            optimized=self.optimizer is not None,
            learn_noise=self.learn_noise,
        )
        report = progress(self, "iteration")
        found = fit_gaussian_process(
            problem,
            kernel,
            self.optimizer,
            n_restarts=self.n_restarts_optimizer,
            n_steps=self.n_landmark_steps,
            reselect=self.reselect_landmarks,
            grow=grow,
            report=report,
        )
        self.kernel_ = found.kernel
        self.components_ = found.Z
        self.component_indices_ = found.indices
        self.n_iter_ = found.n_iter
        self._evidence = found.evidence
        self.log_marginal_likelihood_value_ = found.evidence.value
        self.error_estimate_ = 2 * found.evidence.slack / y.size
        self.dual_coef_ = self._shaped(found.evidence.dual)
        self.intercept_ = self._shaped(found.evidence.mean)
        self.n_landmarks_ = len(found.Z)
        # Bounds of the default kernel are no user's, nor are those of noise that was added.
        if self.optimizer is not None and self.kernel is not None:
            for message in at_bounds(self.kernel_, self.kernel.n_dims):
                warn_user(message, ConvergenceWarning)
        return self

    def _check_rows(self, X, *, reset):
        rows = check_kernel_rows(self, X, reset=reset)
        if rows.sparse:
            raise TypeError(
                "Sparse data were passed, but kernels of Gaussian processes need dense "
                "data: use X.toarray(), or NystroemRidge, which takes sparse data."
            )
        return rows

    def _kept(self, X, rows):
        """Return what the marginal likelihood at other parameters is computed from."""
        if is_read_lazily(X):
            return X
        X = rows.in_memory()
        return X.copy() if self.copy_X_train else X

    def _normalized(self, y):
        n_targets = 1 if y.ndim == 1 else y.shape[1]
        if self.n_targets is not None and n_targets != self.n_targets:
            raise ValueError(
                f"n_targets={self.n_targets}, but y has {n_targets} target(s)."
            )
        Y = y.reshape(len(y), -1).copy()
        self._y_mean, self._y_std = np.zeros(n_targets), np.ones(n_targets)
        if self.normalize_y:
            # In units in which squares neither overflow nor vanish.
            unit = column_scales(Y)
            mean, std = (Y / unit).mean(axis=0), (Y / unit).std(axis=0)
            Y, std = Y / unit - mean, np.where(std > 0, std, 1.0)
            self._y_mean, self._y_std = unit * mean, unit * std
            Y = Y / std
        elif not np.isfinite(np.vdot(Y, Y)):
            raise ValueError(
                f"y reaches {np.abs(Y).max():.1e}, and variances of such numbers overflow: "
                "set normalize_y=True, or scale y."
            )
        return Y.reshape(y.shape)

    def _check_alpha(self, rows):
        if np.size(self.alpha) == 1:
            alpha = np.float64(np.ravel(self.alpha)[0])
        elif self.alpha.shape != (rows.shape[0],):
            raise ValueError(
                f"alpha has shape {self.alpha.shape}, but one value for each of the "
                f"n_samples={rows.shape[0]} is expected."
            )
        else:
            alpha = self.alpha.astype(np.float64)
        if not (np.isfinite(alpha).all() and (alpha >= 0).all()):
            raise ValueError("alpha must be finite and at least 0 in all entries.")
        return alpha

    @overload
    def predict(
        self,
        X: MatrixLike,
        return_std: Literal[False] = False,
        return_cov: Literal[False] = False,
    ) -> ArrayAsX: ...
    @overload
    def predict(
        self, X: MatrixLike, return_std: Literal[True], return_cov: Literal[False] = False
    ) -> tuple[Array, Array]: ...
    @overload
    def predict(
        self,
        X: MatrixLike,
        return_std: Literal[False] = False,
        *,
        return_cov: Literal[True],
    ) -> tuple[Array, Array]: ...
    @overload
    def predict(
        self, X: MatrixLike, return_std: bool = False, return_cov: bool = False
    ) -> ArrayAsX | tuple[Array, Array]: ...
    def predict(self, X, return_std=False, return_cov=False):
        """Predict by the posterior; before `fit`, by the prior.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features), memmap or dask array
            Samples.
        return_std : bool, default=False
            Whether to return standard deviations, too: those of the function and the
            noise of the kernel together.
        return_cov : bool, default=False
            Whether to return the covariance of the samples, too.

        Returns
        -------
        y_mean : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Means.
        y_std : ndarray of shape (n_samples,) or (n_samples, n_targets)
            Standard deviations, with `return_std`.
        y_cov : ndarray of shape (n_samples, n_samples[, n_targets])
            Covariances, with `return_cov`.

        Raises
        ------
        RuntimeError
            When both `return_std` and `return_cov` are set.
        """
        if return_std and return_cov:
            raise RuntimeError("At most one of return_std or return_cov can be requested.")
        rows = self._check_rows(X, reset=False)
        if not hasattr(self, "X_train_"):
            return self._predict_by_prior(rows.in_memory(), return_std, return_cov)
        with np.errstate(invalid="ignore", over="ignore"):
            return self._predict(rows, return_std, return_cov)

    def _predict(self, rows, return_std, return_cov):
        if not (return_std or return_cov):
            return self._mean(self._evidence.predict(rows))
        found = self._evidence.predict_with_variance(rows)
        mean, variance, noise = found[:, :-2], found[:, -2:-1], found[:, -1:]
        if return_std:
            std = np.sqrt(variance + noise) * self._y_std
            return self._mean(mean), self._shaped(std)
        cov = self._evidence.covariance(np.asarray(rows.in_memory(), np.float64))
        cov = np.multiply.outer(cov, self._y_std) * self._y_std
        return self._mean(mean), self._shaped(cov)

    def _mean(self, mean):
        if isinstance(mean, np.ndarray) and not np.isfinite(mean).all():
            raise ValueError(
                f"Predictions are NaN or infinite: kernel={self.kernel_} must be finite "
                "for all pairs of samples and landmarks."
            )
        return self._shaped(mean * self._y_std + self._y_mean)

    def _shaped(self, values):
        # As in scikit-learn, a single target has no axis of its own, even if y has one.
        return values if len(self._y_std) > 1 else values[..., 0]

    def _predict_by_prior(self, X, return_std, return_cov):
        kernel = ConstantKernel() * RBF() if self.kernel is None else self.kernel
        n_targets = self.n_targets or 1
        mean = np.zeros((len(X), n_targets))
        spread = kernel(X) if return_cov else np.sqrt(kernel.diag(X))
        spread = np.repeat(spread[..., np.newaxis], n_targets, axis=-1)
        if n_targets == 1:
            mean, spread = mean[..., 0], spread[..., 0]
        return (mean, spread) if return_std or return_cov else mean

    def sample_y(self, X: MatrixLike, n_samples: Int = 1, random_state: Seed = 0) -> Array:
        """Draw functions from the posterior, including the noise of the kernel.

        Parameters
        ----------
        X : array-like of shape (n_samples_X, n_features)
            Points at which to evaluate them.
        n_samples : int, default=1
            Number of functions.
        random_state : int, RandomState instance or None, default=0
            Seed of the draws.

        Returns
        -------
        ndarray of shape (n_samples_X, n_samples) or (n_samples_X, n_targets, n_samples)
            The values.
        """
        rng = check_random_state(random_state)
        mean, cov = self.predict(X, return_cov=True)
        if mean.ndim == 1:
            return rng.multivariate_normal(mean, cov, n_samples).T
        drawn = [
            rng.multivariate_normal(mean[:, t], cov[..., t], n_samples).T
            for t in range(mean.shape[1])
        ]
        return np.stack(drawn, axis=1)

    @overload
    def log_marginal_likelihood(
        self,
        theta: ArrayLike | None = None,
        eval_gradient: Literal[False] = False,
        clone_kernel: bool = True,
    ) -> float: ...
    @overload
    def log_marginal_likelihood(
        self,
        theta: ArrayLike | None = None,
        *,
        eval_gradient: Literal[True],
        clone_kernel: bool = True,
    ) -> tuple[float, Array]: ...
    @overload
    def log_marginal_likelihood(
        self,
        theta: ArrayLike | None,
        eval_gradient: Literal[True],
        clone_kernel: bool = True,
    ) -> tuple[float, Array]: ...
    def log_marginal_likelihood(self, theta=None, eval_gradient=False, clone_kernel=True):
        """Return the log marginal likelihood, or its lower bound, on the landmarks.

        Parameters
        ----------
        theta : array-like of shape (n_kernel_params,), default=None
            Parameters of the kernel, as logarithms. None is ``kernel_.theta``.
        eval_gradient : bool, default=False
            Whether to return the gradient, too; needs `theta`.
        clone_kernel : bool, default=True
            False sets ``kernel_.theta``, as in scikit-learn.

        Returns
        -------
        log_likelihood : float
            Sum over the targets.
        log_likelihood_gradient : ndarray of shape (n_kernel_params,)
            With `eval_gradient`.

        Raises
        ------
        ValueError
            When the gradient is asked for without `theta`.
        """
        if theta is None:
            if eval_gradient:
                raise ValueError("Gradient can only be evaluated for theta!=None")
            return self.log_marginal_likelihood_value_
        theta = np.asarray(theta, dtype=np.float64)
        kernel = self.kernel_.clone_with_theta(theta)
        if not clone_kernel:
            self.kernel_.theta = theta
        model = self._evidence.model
        problem = GaussianProcessProblem(
            rows=as_row_matrix(
                self.X_train_, block_size=BLOCK_ROWS, n_jobs=kernel_jobs(self.n_jobs)
            ),
            Y=self.y_train_.reshape(len(self.y_train_), -1),
            alpha=model.alpha,
            method=model.method,
            k=self.n_landmarks_,
            landmarks=self.components_,
            rng=None,
            n_jobs=self.n_jobs,
            learn_mean=model.learn_mean,
        )
        Z = None if self._evidence.is_exact else self.components_
        try:
            found = problem.evidence(kernel, Z, gradient=eval_gradient)
        except np.linalg.LinAlgError:
            return (-np.inf, np.zeros_like(theta)) if eval_gradient else -np.inf
        return (found.value, found.gradient) if eval_gradient else found.value

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.target_tags.multi_output = True
        tags.target_tags.single_output = True
        return tags


def at_bounds(kernel: Kernel, n_params: int) -> Iterator[str]:
    """Yield a message for each of the first parameters that ends at one of its bounds.

    The others are those of noise that was added, and whose bounds are no user's.
    """
    free = [h for h in kernel.hyperparameters if not h.fixed]
    elements = [(h.name, i) for h in free for i in range(h.n_elements)]
    near = np.isclose(kernel.bounds, kernel.theta[:, np.newaxis])
    for (name, i), bounds, (low, high) in list(
        zip(elements, np.exp(kernel.bounds), near, strict=True)
    )[:n_params]:
        if low or high:
            side, bound = ("lower", bounds[0]) if low else ("upper", bounds[1])
            yield (
                f"Element {i} of the parameter {name} of the kernel ends at its {side} "
                f"bound, {bound:.3g}: {'decrease' if low else 'increase'} the bound, which "
                "may find a greater likelihood, or fix the parameter."
            )
