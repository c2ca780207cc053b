"""Linear regression at large n."""

from numbers import Integral, Real
from typing import Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.validation import check_is_fitted

from ._fitting import FittingMixin, fitting, progress, warn_user
from ._random import draw_seed
from ._sklearn import Interval, StrOptions
from ._typing import (
    Array,
    ArrayAsX,
    ArrayLike,
    Float,
    Int,
    MatrixLike,
    OrArray,
    OrNone,
    Seed,
    Tags,
)
from ._validation import FEW_ENTRIES, check_penalty_choice, check_rows, check_target
from .linalg.least_squares.solve import solve_least_squares
from .operators.passes import project
from .operators.threads import kernel_jobs


class SketchedRidge(FittingMixin, RegressorMixin, BaseEstimator):
    """Least squares and ridge regression to full accuracy, for many samples.

    Minimises ``sum_i w_i (y_i - x_i b - c)^2 + alpha ||b||^2``. It is a drop-in replacement
    for scikit-learn's `Ridge`, and with ``alpha=0`` for `LinearRegression`. A random sketch
    of the data makes the problem well conditioned; a few passes over the data then solve
    it. The solution is not that of the sketch: it agrees with that of an orthogonal
    factorisation up to rounding.

    Parameters
    ----------
    alpha : float or array-like of shape (n_targets,), default=1.0
        Penalty, as in `Ridge`; an array has one for each target. 0 means least squares; if
        there are several solutions, the one with the smallest norm is returned.
    alphas : array-like of shape (n_alphas,), default=None
        Penalties to choose from, in the place of `alpha`. The one with the least
        leave-one-out error, summed over the targets, is used for all targets, as in
        `RidgeCV`: from one factorisation, and one more pass over the data. Iterations do
        not choose.
    fit_intercept : bool, default=True
        Whether to add a constant that is not penalised.
    solver : {"auto", "direct", "iterative", "svd"}, default="auto"
        - "direct": the Gram matrix of the data where that is accurate, and otherwise of the
          data in the basis that a sketch [2]_, or the first Gram matrix [5]_, gives;
        - "iterative": conjugate gradients, preconditioned by a sketch and restarted [1]_,
          with one pass over the data for each iteration. There is no preconditioner if
          there are not many more samples than features;
        - "svd": a singular value decomposition in memory;
        - "auto": chosen by size, sparsity and the condition number of the sketch.

    tol : float, default=1e-14
        Relative error of the fitted values at which iterations stop. They also stop once
        they have reached rounding error.
    max_iter : int, default=None
        Maximum number of iterations. None means 200, or 5000 without a preconditioner.
    block_size : int, default=None
        Rows of a block; None chooses by size.
    n_jobs : int, default=None
        Threads over row blocks. None means as many as BLAS has, or as a
        :obj:`joblib.parallel_config` context says.
    random_state : int, RandomState instance or None, default=None
        Seeds the sketch. The solution depends on it only to rounding.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients.
    intercept_ : float or ndarray of shape (n_targets,)
        The constant; 0.0 with ``fit_intercept=False``.
    alpha_ : float or ndarray of shape (n_targets,)
        The penalty used: one for each target if `alpha` is an array.
    n_iter_ : int
        Passes over the data of iterations, and of those that verify them; not those of
        the sketch and of Gram matrices.
    solver_ : str
        The solver used.
    rank_ : int or None
        Numerical rank of the centred, weighted data: the number of singular values above
        about ``4 eps sqrt(n_samples)`` times the largest. With a penalty, smaller ones may
        count as well. None without a preconditioner.
    condition_ : float or None
        Condition number of the centred, weighted data stacked on ``sqrt(alpha) I``, for the
        smallest alpha, without the directions that the rank excludes. It is computed from
        the sketch, to about a factor of two.
    singular_ : ndarray of shape (min(n_samples, n_features),)
        Singular values of the centred, weighted data, to about 1e-7 of the largest. Only
        where a decomposition of the data or of their Gram matrix gave the solution:
        `solver` "svd", and "direct" with few features.
    error_estimate_ : float
        Estimated relative error of the fitted values, rounding included, the largest over
        the targets: ``sqrt(||A d||^2 + alpha ||d||^2) / ||y||`` for centred, weighted A and
        y, where d is the error of the coefficients. By half its square, times
        ``||y||^2 / ||residual||^2``, the residual norm exceeds the optimum. Without a
        preconditioner it rests on the least singular value that the iteration has come
        across; if that ends early, it is what the residual and the penalty allow at most.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X has string names.

    See Also
    --------
    sklearn.linear_model.Ridge : In memory.
    NystroemRidge : With a kernel.
    sklearn_rnla.linalg.lstsq : The same as a function.

    Notes
    -----
    The sketch costs a pass over the data, and ``O(n_features^3)`` flops. An iteration
    is one more pass; some 15 to 30 are needed, whatever the condition. "direct" takes
    ``n p^2`` flops and one step of refinement, and no sketch where there are few features;
    where the condition number exceeds about 1e6, it takes three times as many. Memory is
    that of two sketches of at most ``8 p`` rows for each thread, and of a few blocks; of
    sparse data, no more than ``max(1024, 2 p)`` rows are dense at a time. Sums are in
    float64, whatever the data.

    References
    ----------
    .. [1] Epperly, E. N., Meier, M., & Nakatsukasa, Y. (2025). Fast randomized
       least-squares solvers can be just as accurate and stable as classical direct
       solvers. Communications on Pure and Applied Mathematics. arXiv:2406.03468.
    .. [2] Fan, Y., Guo, Y., & Lin, T. (2021). A novel randomized XR-based preconditioned
       CholeskyQR algorithm. arXiv:2111.11148.
    .. [3] Meng, X., Saunders, M. A., & Mahoney, M. W. (2014). LSRN: a parallel iterative
       solver for strongly over- or underdetermined systems. SIAM Journal on Scientific
       Computing 36(2), C95-C118.
    .. [4] Rokhlin, V., & Tygert, M. (2008). A fast randomized algorithm for overdetermined
       linear least-squares regression. PNAS 105(36), 13212-13217.
    .. [5] Fukaya, T., Kannan, R., Nakatsukasa, Y., Yamamoto, Y., & Yanagisawa, Y. (2020).
       Shifted Cholesky QR for computing the QR factorization of ill-conditioned matrices.
       SIAM Journal on Scientific Computing 42(1), A477-A503.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla import SketchedRidge
    >>> x = np.linspace(-1, 1, 50_000)
    >>> X = np.vander(x, 10)[:, :-1]
    >>> ridge = SketchedRidge(alpha=0, random_state=0).fit(X, 3 * x + 2)
    >>> bool(abs(ridge.coef_[-1] - 3) < 1e-9), bool(abs(ridge.intercept_ - 2) < 1e-9)
    (True, True)
    """

    coef_: Array
    intercept_: float | OrArray
    alpha_: float | OrArray
    n_iter_: int
    solver_: str
    rank_: int | OrNone
    condition_: float | OrNone
    error_estimate_: float

    _parameter_constraints: dict = {  # noqa: RUF012 - scikit-learn's name and type
        "alpha": [Interval(Real, 0, None, closed="left"), "array-like"],
        "alphas": ["array-like", None],
        "fit_intercept": ["boolean"],
        "solver": [StrOptions({"auto", "direct", "iterative", "svd"})],
        "tol": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left"), None],
        "block_size": [Interval(Integral, 1, None, closed="left"), None],
        "n_jobs": [Integral, None],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        alpha: Float | ArrayLike = 1.0,
        *,
        alphas: ArrayLike | None = None,
        fit_intercept: bool = True,
        solver: Literal["auto", "direct", "iterative", "svd"] = "auto",
        tol: Float = 1e-14,
        max_iter: Int | None = None,
        block_size: Int | None = None,
        n_jobs: Int | None = None,
        random_state: Seed = None,
    ) -> None:
        self.alpha = alpha
        self.alphas = alphas
        self.fit_intercept = fit_intercept
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.block_size = block_size
        self.n_jobs = n_jobs
        self.random_state = random_state

    @fitting
    def fit(
        self, X: MatrixLike, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> Self:
        """Fit the regression.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap, row-sliceable or dask array
            Data of shape (n_samples, n_features).
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Targets.
        sample_weight : array-like of shape (n_samples,) or float, default=None
            Weights of the samples' errors.

        Returns
        -------
        SketchedRidge
            The fitted estimator itself. After an error it is as it was before.

        Raises
        ------
        ValueError
            When X or y have NaN or infinity, or alpha does not fit the targets.
        """
        rows = self._check_rows(X, reset=True, sample_weight=sample_weight)
        y = check_target(self, rows, y, numeric=True)
        Y = y.reshape(len(y), -1)
        alphas, choose = check_penalty_choice(self, Y.shape[1])
        if choose and self.solver == "iterative":
            raise ValueError(
                "solver='iterative' solves for one alpha: to choose among alphas, use "
                "'direct' or 'svd'."
            )
        solution, intercept = solve_least_squares(
            rows,
            Y,
            alphas if choose else np.broadcast_to(alphas, Y.shape[1:]).copy(),
            choose=choose,
            center=self.fit_intercept,
            solver=self.solver,
            tol=self.tol,
            max_iter=self.max_iter,
            seed=draw_seed(self.random_state),
            report=progress(self, "pass"),
        )
        coef = solution.coef.T.astype(rows.dtype)
        # Shapes as Ridge has them, also for a y of one column.
        self.coef_ = coef[0] if len(coef) == 1 else coef
        self.intercept_ = 0.0
        if self.fit_intercept:
            intercept = intercept.astype(rows.dtype)
            self.intercept_ = intercept[0] if y.ndim == 1 else intercept
        one_for_each = self.alphas is None and np.ndim(self.alpha) > 0
        self.alpha_ = solution.alphas if one_for_each else float(solution.alphas[0])
        self.n_iter_ = solution.n_iter
        self.solver_ = solution.solver
        self.rank_ = solution.rank
        self.condition_ = solution.condition
        self._singular_values = solution.singular_values
        self.error_estimate_ = solution.error_estimate
        if not solution.converged:
            warn_user(
                f"The relative error of the fitted values is about "
                f"{solution.error_estimate:.1e} after {solution.n_iter} passes, above "
                f"tol={self.tol}. Increase max_iter (now {solution.max_iter}) or "
                "alpha, or scale the features.",
                ConvergenceWarning,
            )
        return self

    @property
    def singular_(self) -> Array:
        """Singular values of the centred, weighted data, where they are known."""
        check_is_fitted(self)
        if self._singular_values is None:
            raise AttributeError(
                f"solver_={self.solver_!r} found no singular values of these data: fit "
                "with solver='svd', or take condition_."
            )
        return self._singular_values.astype(self.coef_.dtype)

    def predict(self, X: MatrixLike) -> ArrayAsX:
        """Predict targets.

        Parameters
        ----------
        X : array-like, sparse matrix, memmap, row-sliceable or dask array
            Data of shape (n_samples, n_features).

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets)
            Predictions; a lazy dask array if X is one.
        """
        check_is_fitted(self)
        rows = self._check_rows(X, reset=False)
        coef = np.atleast_2d(self.coef_)
        predicted = rows.map(project, coef.T, -self.intercept_, n_columns=len(coef))
        return predicted[:, 0] if self.coef_.ndim == 1 else predicted

    def _check_rows(self, X, *, reset, sample_weight=None):
        few = isinstance(X, np.ndarray) and X.size <= FEW_ENTRIES
        return check_rows(
            self,
            X,
            reset=reset,
            sample_weight=sample_weight,
            block_size=self.block_size,
            # Few entries are one block, for which nobody need look up the threads of BLAS.
            n_jobs=self.n_jobs if few else kernel_jobs(self.n_jobs),
            check_all=not reset,
            rereads=reset,
        )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags
