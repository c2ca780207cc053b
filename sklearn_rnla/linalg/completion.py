"""Driver: a low-rank matrix from some of its entries, by the solver asked for."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from .._sklearn import Interval, StrOptions
from ..operators.lanes import one_blas_thread
from .als import als
from .biases import Biases, fit_biases
from .gibbs import gibbs
from .iterative_svd import iterative_svd
from .low_rank import LowRankModel, RowPrior, fold_in, predict_pairs
from .ppca import PPCAResult, ppca
from .recovery import recover
from .soft_impute import largest_penalty, soft_impute, soft_impute_path

SOLVERS = ("als", "exact", "gibbs", "iterative_svd", "softimpute")
# What entries do not determine is arbitrary with these.
WITHOUT_PENALTY = ("exact", "iterative_svd")

# Parameters that both estimators of completion have.
CONSTRAINTS = {
    "rank": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    "solver": [StrOptions({"auto", *SOLVERS})],
    "alpha": [Interval(Real, 0, None, closed="neither"), None],
    "reg_power": [Interval(Real, 0, None, closed="left")],
    "center": ["boolean", StrOptions({"auto"})],
    "max_iter": [Interval(Integral, 1, None, closed="left"), None],
    "tol": [Interval(Real, 0, None, closed="left"), None],
    "validation_fraction": [Interval(Real, 0, 1, closed="left")],
    "early_stopping": ["boolean"],
    "warm_start": ["boolean"],
    "n_jobs": [Integral, None],
    "random_state": ["random_state"],
}

# Rank of a Bayesian factorisation where none is given: its prior keeps it from overfitting.
_BAYESIAN_RANK = 8
_LARGEST_RANK = 128
# Penalties of the nuclear norm tried, relative to the largest, and the accuracy that tells
# them apart; the number of them that may be worse than the best before it ends.
_PATH, _PATH_TOL, _PATIENCE = 0.7 ** np.arange(1, 25), 1e-3, 2
# Sweeps over all entries after a validated fit; of a chain that only tells the rank; the
# share it hides; gain of the error that is worth twice the rank.
_MORE_SWEEPS, _SHORT_CHAIN, _SHARE, _GAIN = 3, 24, 0.1, 5e-3
_MAX_ITER = {"als": 100, "em": 30, "exact": 1000, "iterative_svd": 300, "softimpute": 500}
_TOL = {"als": 1e-3, "em": 0.05, "exact": 1e-10, "iterative_svd": 1e-5, "softimpute": 1e-4}


class Completion(NamedTuple):
    """A completed matrix, and how it came about.

    Attributes
    ----------
    model : LowRankModel
    solver : str
    rank : int
    alpha : float or None
        The penalty used, in the units of the parameter.
    error_estimate : float
        Root mean squared error of entries not observed, estimated; NaN if it was not.
    n_iter : int
    converged : bool
    history : ndarray
        The solver's measure of fit after each iteration.
    noise : tuple of ndarray, of shape (m,) and (n,), or None
        An entry has the variance ``noise[0][i] noise[1][j]`` about the model.
    table : PPCAResult or None
        Of "em": the distribution of the rows.
    determined : tuple of ndarray, of shape (m,) and (n,), or None
        Of "exact": rows and columns that have the entries to be found.
    """

    model: LowRankModel
    solver: str
    rank: int
    alpha: float | None
    error_estimate: float
    n_iter: int
    converged: bool
    history: np.ndarray
    noise: tuple | None = None
    table: PPCAResult | None = None
    determined: tuple | None = None


def why_not_converged(found, estimator):
    """Return a sentence for a `ConvergenceWarning`.

    Parameters
    ----------
    found : Completion
        That did not converge.
    estimator : estimator
        With the parameters of `CONSTRAINTS`.

    Returns
    -------
    str
    """
    stopped = f"The solver {found.solver!r} stopped after {found.n_iter} iterations"
    if found.n_iter >= (estimator.max_iter or _MAX_ITER[found.solver]):
        return f"{stopped}. Allow a larger max_iter={estimator.max_iter}."
    tol = _TOL[found.solver] if estimator.tol is None else estimator.tol
    return (
        f"{stopped}, as it came no nearer to tol={tol}: a matrix of rank "
        f"{found.rank} may not be so near to the entries."
    )


class Options(NamedTuple):
    """Parameters of a solver, as those of `MatrixCompleter`."""

    rank: int | str
    alpha: float | None
    reg_power: float
    center: bool
    max_iter: int
    tol: float
    validation_fraction: float
    early_stopping: bool


def complete(observed, estimator, *, rank, solver, start=None, rng, report=None):
    """Complete a matrix with the parameters of an estimator.

    Parameters
    ----------
    observed : Observed
        At least one entry.
    estimator : estimator
        With the parameters of `CONSTRAINTS`.
    rank : int or "auto"
    solver : str
        "em", or one of `SOLVERS`.
    start : LowRankModel, default=None
        To start from, of the same shape.
    rng : Generator
    report : callable, default=None
        Called after each iteration; true to stop.

    Returns
    -------
    Completion

    Raises
    ------
    ValueError
        Where parameters do not belong to the solver, or the rank is too large.
    """
    center = estimator.center
    if center == "auto":
        center = solver in ("als", "em", "gibbs")
    elif not center and solver in ("em", "gibbs"):
        raise ValueError(f"center=False cannot be used with solver={solver!r}.")
    if estimator.alpha is not None and solver not in ("als", "softimpute"):
        raise ValueError(
            f"alpha={estimator.alpha} cannot be used with solver={solver!r}, which has no "
            "penalty: leave it at None."
        )
    limit = min(observed.shape)
    if rank != "auto" and rank > limit:
        raise ValueError(
            f"rank={rank} must be at most min(n_rows={observed.shape[0]}, "
            f"n_columns={observed.shape[1]})."
        )
    options = Options(
        rank,
        estimator.alpha,
        estimator.reg_power,
        center,
        estimator.max_iter or _MAX_ITER.get(solver),
        _TOL.get(solver) if estimator.tol is None else estimator.tol,
        estimator.validation_fraction,
        estimator.early_stopping,
    )
    # Products are small: BLAS keeps off the cores that the threads over rows use.
    with one_blas_thread(observed.n_jobs):
        return _FUNCTIONS[solver](observed, options, start, rng, report)


def _gibbs(observed, options, start, rng, report):
    rank, most = options.rank, min(observed.shape)
    sweeps = {} if options.max_iter is None else {"max_iter": options.max_iter}
    share = options.validation_fraction
    if rank == "auto":
        rank, _ = _grow_rank(
            lambda k: (
                gibbs(
                    observed, k, max_iter=_SHORT_CHAIN, share=share or _SHARE, rng=rng
                ).error_estimate
            ),
            first=min(_BAYESIAN_RANK // 2, most),
            most=most,
            # A prior makes it matter little.
            between=False,
        )
    result = gibbs(
        observed, rank, **sweeps, share=share, start=start, rng=rng, report=report
    )
    return Completion(
        result.model,
        "gibbs",
        rank,
        None,
        result.error_estimate,
        len(result.history),
        True,
        np.array(result.history),
        noise=(result.row_noise, result.column_noise),
    )


def _em(observed, options, start, rng, report):
    X = np.full(observed.shape, np.nan, observed.dtype)
    X[observed.rows, observed.indices] = observed.values
    result = ppca(
        X,
        None if options.rank == "auto" else options.rank,
        max_iter=options.max_iter,
        tol=options.tol,
        rng=rng,
        n_jobs=observed.n_jobs,
        report=report,
    )
    return Completion(
        result.model,
        "em",
        result.model.columns.shape[2] - 1,
        None,
        result.error_estimate,
        result.n_iter,
        result.converged,
        np.array(result.history),
        table=result,
    )


def _als(observed, options, start, rng, report):
    def fit(residual, rank, V, max_iter, left=None):
        return als(
            residual,
            rank,
            penalty=options.alpha,
            reg_power=options.reg_power,
            max_iter=max_iter,
            tol=options.tol,
            start=V,
            rng=rng,
            held_out=left,
            report=report,
        )

    rank, error, history, n_iter = options.rank, np.nan, [], 0
    max_iter, V = options.max_iter, None if start is None else start.factors()[1]
    if V is not None and V.shape[1] != rank:
        V = None
    residual, left = _held_out(observed, options, rng)
    if left is not None:
        found = {}

        def try_rank(rank):
            found[rank] = fit(residual, rank, V, max_iter, left)
            return min(found[rank].history)

        if rank == "auto":
            rank, error = _grow_rank(try_rank, first=1, most=min(observed.shape))
        else:
            error = try_rank(rank)
        V, history = found[rank].V, found[rank].history
        n_iter = len(history)
        if options.early_stopping:
            max_iter = _MORE_SWEEPS
    elif rank == "auto":
        rank = min(_BAYESIAN_RANK, *observed.shape)
    biases, residual = _centred(observed, options.center)
    result = fit(residual, rank, V, max_iter)
    penalties = np.full(rank, result.penalty)
    model = _model(observed, biases, result.V, penalties, options.reg_power)
    return Completion(
        model,
        "als",
        rank,
        float(result.penalty),
        error,
        n_iter + result.n_iter,
        result.converged or options.early_stopping,
        np.array(history or result.history),
    )


def _exact(observed, options, start, rng, report):
    fit = partial(recover, tol=options.tol, max_iter=options.max_iter, rng=rng)
    biases, residual = _centred(observed, options.center)
    (m, n), found, rank = observed.shape, None, options.rank
    if rank == "auto":
        # Ranks that the entries could determine.
        most = sum(k * (m + n - k) <= observed.nnz for k in range(1, min(m, n) + 1))
        most = min(max(most, 1), _LARGEST_RANK)
        for rank in range(1, most + 1):
            found = fit(residual, rank, report=report)
            if found.converged:
                break
    if options.rank == "auto" and not found.converged:
        # There is noise: what tells other entries best.
        share = options.validation_fraction or _SHARE
        seen, hidden = _split(residual, share, rng)

        def try_rank(k):
            tried = fit(seen, k)
            return _error(hidden, tried.U, tried.V)

        if hidden is not None:
            rank, _ = _grow_rank(try_rank, first=1, most=most)
    if options.rank != "auto" or rank != found.U.shape[1]:
        found = fit(residual, rank, report=report)
    rank = found.U.shape[1]
    model = _model(observed, biases, found.V, _negligible(found.V), 0.0)
    error = _freedom_corrected(observed, model, rank)
    return Completion(
        model,
        "exact",
        rank,
        None,
        error,
        found.n_iter,
        found.converged,
        np.asarray(found.history),
        determined=found.determined,
    )


def _iterative_svd(observed, options, start, rng, report):
    fit = partial(iterative_svd, tol=options.tol, max_iter=options.max_iter, rng=rng)
    residual, left = _held_out(observed, options, rng)
    rank, error = options.rank, np.nan
    if left is not None:

        def try_rank(rank):
            return _error(left, *_balanced(fit(residual, rank)))

        if rank == "auto":
            rank, error = _grow_rank(try_rank, first=1, most=min(observed.shape))
        else:
            error = try_rank(rank)
    elif rank == "auto":
        raise ValueError("rank='auto' needs a positive validation_fraction.")
    biases, residual = _centred(observed, options.center)
    result = fit(residual, rank, report=report)
    _, V = _balanced(result)
    model = _model(observed, biases, V, _negligible(V), 0.0)
    return _of_singular_values(model, "iterative_svd", rank, None, error, result)


def _soft_impute(observed, options, start, rng, report):
    most = None if options.rank == "auto" else options.rank
    settings = {"max_rank": most, "max_iter": options.max_iter, "rng": rng}
    residual, left = _held_out(observed, options, rng)
    alpha, error, result = options.alpha, np.nan, None
    if left is not None:
        largest = largest_penalty(residual, rng=rng)
        if alpha is None:
            path = soft_impute_path(residual, largest * _PATH, tol=_PATH_TOL, **settings)
            alpha, error, result = _follow_path(zip(_PATH, path, strict=True), left)
        else:
            result = soft_impute(residual, alpha * largest, tol=_PATH_TOL, **settings)
            error = _error(left, *_balanced(result))
    elif alpha is None:
        raise ValueError("alpha=None needs a positive validation_fraction.")
    biases, residual = _centred(observed, options.center)
    penalty = alpha * largest_penalty(residual, rng=rng)
    result = soft_impute(
        residual, penalty, start=result, tol=options.tol, report=report, **settings
    )
    _, V = _balanced(result)
    model = _model(observed, biases, V, np.full(V.shape[1], penalty), 0.0)
    rank = len(result.singular_values)
    return _of_singular_values(model, "softimpute", rank, alpha, error, result)


_FUNCTIONS = {
    "als": _als,
    "em": _em,
    "exact": _exact,
    "gibbs": _gibbs,
    "iterative_svd": _iterative_svd,
    "softimpute": _soft_impute,
}


def _split(observed, fraction, rng):
    """Return the entries seen, and those hidden or None."""
    if fraction:
        seen, hidden = observed.split(rng.random(observed.nnz) < fraction)
        if seen.nnz and hidden.nnz:
            return seen, hidden
    return observed, None


def _held_out(observed, options, rng):
    """Return entries to fit first, and others or None, both less biases of the first."""
    seen, hidden = _split(observed, options.validation_fraction, rng)
    if hidden is None:
        return None, None
    biases, residual = _centred(seen, options.center)
    return residual, biases.residual(hidden) if options.center else hidden


def _centred(observed, center):
    """Return biases and what they leave."""
    if center:
        biases = fit_biases(observed)
        return biases, biases.residual(observed)
    m, n = observed.shape
    return Biases(0.0, np.zeros(m), np.zeros(n), np.inf, np.inf), observed


def _model(observed, biases, V, penalties, power):
    """Return the model of the columns found, with rows folded in."""
    columns = np.column_stack([biases.columns, V]).astype(observed.dtype)[:, np.newaxis]
    prior = RowPrior.ridge(len(V), biases.row_penalty, penalties, power)
    new = np.zeros_like(columns[:1])
    model = LowRankModel(biases.offset, 1.0, None, columns, prior, new)
    return model._replace(rows=fold_in(model, observed)[0])


def _negligible(V):
    """Return a penalty that only decides where entries do not."""
    squares = float(np.square(V, dtype=np.float64).mean()) if V.size else 1.0
    return np.full(V.shape[1], 1e-14 * (squares or 1.0))


def _balanced(result):
    root = np.sqrt(result.singular_values)
    return result.U * root, result.Vt.T * root


def _error(hidden, U, V):
    product = hidden.sampled_product(U, V) if U.shape[1] else 0
    return float(np.sqrt(np.square(hidden.values - product, dtype=np.float64).mean()))


def _freedom_corrected(observed, model, rank):
    """Return the residual standard deviation, for the degrees of freedom left."""
    predicted, _ = predict_pairs(model, observed.rows, observed.indices)
    squares = float(np.square(observed.values - predicted).sum())
    freedom = observed.nnz - rank * (sum(observed.shape) - rank)
    return float(np.sqrt(squares / freedom)) if freedom > 0 else np.nan


def _grow_rank(error_of, *, first, most, between=True):
    """Return a rank of small error, of doublings until it no longer falls, and between.

    Returns
    -------
    rank : int
    error : float
    """
    best, least, rank, errors = first, np.inf, first, {}
    while rank <= min(most, _LARGEST_RANK):
        errors[rank] = error_of(rank)
        # What is not worth a factor twice as large is not taken.
        if errors[rank] >= least * (1 - _GAIN):
            break
        best, least, rank = rank, errors[rank], 2 * rank
    step = best // 2 if between else 0
    while step:
        for rank in (best - step, best + step):
            if 1 <= rank <= most and rank not in errors:
                errors[rank] = error_of(rank)
        near = [rank for rank in (best - step, best, best + step) if rank in errors]
        best = min(near, key=errors.get)
        step //= 2
    return best, errors[best]


def _follow_path(path, hidden):
    """Return the alpha of least error along a path of them, the error, and the fit."""
    best, worse = (1.0, np.inf, None), 0
    for alpha, found in path:
        error = _error(hidden, *_balanced(found))
        worse = 0 if error < best[1] else worse + 1
        if error < best[1]:
            best = alpha, error, found
        if worse == _PATIENCE:
            break
    return best


def _of_singular_values(model, solver, rank, alpha, error, result):
    return Completion(
        model,
        solver,
        rank,
        alpha,
        error,
        result.n_iter,
        result.converged,
        np.asarray(result.history[1:]),
    )
