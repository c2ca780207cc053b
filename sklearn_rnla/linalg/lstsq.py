"""Driver: least squares by sketch-and-precondition."""

from numbers import Integral, Real
from typing import Literal, NamedTuple

import numpy as np
from sklearn.utils.validation import check_array

from .._random import draw_seed
from .._refusals import refuse_target
from .._sklearn import Interval, StrOptions, validated
from .._typing import ArrayLike, Float, Int, MatrixLike, Seed
from .._validation import check_matrix
from ..operators.sources import refuse_not_in_memory
from ..operators.threads import kernel_jobs
from .least_squares.solve import solve_least_squares


class LeastSquares(NamedTuple):
    """Solution of ``min ||A x - b||^2 + alpha ||x||^2``.

    Attributes
    ----------
    x : ndarray of shape (n_columns,) or (n_columns, n_targets)
        The minimiser; if there are several, the one with the smallest norm.
    rank : int or None
        Numerical rank of A; None if A is too large for a factorisation.
    condition : float or None
        Condition number of A stacked on ``sqrt(alpha) I``, from a sketch to about a factor
        of two. Directions lost in rounding do not count.
    error_estimate : float
        Estimated relative error of the fitted values, rounding included:
        ``sqrt(||A (x - x*)||^2 + alpha ||x - x*||^2) / ||b||``.
    n_iter : int
        Number of passes over A made by iterations, and to verify them.
    solver : str
        The solver that was used.
    converged : bool
        Whether the tolerance, or the level of rounding, was reached.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import lstsq
    >>> A = np.random.default_rng(0).standard_normal((1000, 3))
    >>> solution = lstsq(A, A @ [1.0, 2.0, 3.0], random_state=0)
    >>> solution.x.round(6)
    array([1., 2., 3.])
    >>> solution.rank, solution.converged
    (3, True)
    """

    x: np.ndarray
    rank: int | None
    condition: float | None
    error_estimate: float
    n_iter: int
    solver: str
    converged: bool


@validated(
    b=["array-like"],
    alpha=[Interval(Real, 0, None, closed="left")],
    solver=[StrOptions({"auto", "direct", "iterative", "svd"})],
    tol=[Interval(Real, 0, None, closed="left")],
    max_iter=[Interval(Integral, 1, None, closed="left"), None],
    block_size=[Interval(Integral, 1, None, closed="left"), None],
    n_jobs=[Integral, None],
)
def lstsq(
    A: MatrixLike,
    b: ArrayLike,
    *,
    alpha: Float = 0.0,
    solver: Literal["auto", "direct", "iterative", "svd"] = "auto",
    tol: Float = 1e-14,
    max_iter: Int | None = None,
    block_size: Int | None = None,
    n_jobs: Int | None = None,
    random_state: Seed = None,
) -> LeastSquares:
    """Solve a least squares problem with many more rows than columns.

    Parameters
    ----------
    A : array-like, sparse matrix, memmap, row-sliceable or dask array
        Of shape (n_rows, n_columns).
    b : array-like of shape (n_rows,) or (n_rows, n_targets)
        Right-hand sides.
    alpha : float, default=0.0
        Penalty on the squared norm of x.
    solver : {"auto", "direct", "iterative", "svd"}, default="auto"
        As in `SketchedRidge`.
    tol : float, default=1e-14
        Relative error of the fitted values at which iterations stop. They also stop once
        they have reached rounding error.
    max_iter : int, default=None
        Maximum number of iterations. None means 200, or 5000 if A is too wide for a
        preconditioner.
    block_size : int, default=None
        Number of rows of a block. None chooses by size.
    n_jobs : int, default=None
        Number of threads over row blocks. None means as many as BLAS has.
    random_state : int, RandomState instance, Generator or None, default=None
        Seeds the sketch.

    Returns
    -------
    LeastSquares
        ``(x, rank, condition, error_estimate, n_iter, solver, converged)``, in float64.

    Raises
    ------
    ValueError
        When A or b have NaN or infinity, or differ in their number of rows.

    See Also
    --------
    SketchedRidge : The same as an estimator, with an intercept and weights.
    scipy.linalg.lstsq : In memory, by a singular value decomposition.

    Notes
    -----
    A sketch with sparse signs makes a preconditioner (Rokhlin & Tygert 2008), conjugate
    gradients on the preconditioned normal equations are restarted with the true residual
    (Epperly, Meier & Nakatsukasa 2025), or their matrix is formed (Fan, Guo & Lin 2021).
    `SketchedRidge` has the references.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_rnla.linalg import lstsq
    >>> A = np.vander(np.linspace(0, 1, 10_000), 12)
    >>> solution = lstsq(A, A.sum(axis=1), random_state=0)
    >>> bool(solution.condition > 1e7)
    True
    >>> bool(np.abs(solution.x - 1).max() < 1e-6)
    True
    """
    rows = check_matrix(A, rereads=True, block_size=block_size, n_jobs=kernel_jobs(n_jobs))
    refuse_target(b, "b")
    refuse_not_in_memory(b, "b")
    b = check_array(b, dtype=np.float64, ensure_2d=False, input_name="b")
    if b.ndim not in (1, 2) or len(b) != rows.shape[0]:
        raise ValueError(
            f"b of shape {b.shape} must have n_rows={rows.shape[0]} rows, as A has, and at "
            "most two dimensions."
        )
    B = b.reshape(len(b), -1)
    solution, _ = solve_least_squares(
        rows,
        B,
        np.full(B.shape[1], float(alpha)),
        center=False,
        solver=solver,
        tol=tol,
        max_iter=max_iter,
        seed=draw_seed(random_state),
    )
    x = solution.coef[:, 0] if b.ndim == 1 else solution.coef
    return LeastSquares(
        x=x,
        rank=solution.rank,
        condition=solution.condition,
        error_estimate=solution.error_estimate,
        n_iter=solution.n_iter,
        solver=solution.solver,
        converged=solution.converged,
    )
