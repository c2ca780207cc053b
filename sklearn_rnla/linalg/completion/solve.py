"""Driver: a low-rank matrix from some of its entries, by the solver asked for."""

from functools import partial
from numbers import Integral, Real
from typing import NamedTuple

import numpy as np

from ..._fitting import warn_user
from ..._sklearn import Interval, StrOptions
from ...operators.threads import one_blas_thread
from ..dense.rank import numerical_rank
from .als import als
from .biases import without_biases
from .column_units import ColumnMoments, ColumnUnits
from .completed_matrix import Completion
from .em import ppca
from .error_bounds import HeldOutErrors, error_bounds
from .exact import recover
from .gibbs import gibbs
from .model import model_of_columns, negligible_penalties, predict_entries
from .model_selection import (
    LARGEST_RANK,
    errors_of,
    follow_path,
    grow_rank,
    hold_out,
    split,
)
from .neighbors import fit_neighbors
from .nuclear_norm.hard_impute import iterative_svd
from .nuclear_norm.soft_impute import largest_penalty, soft_impute, soft_impute_path
from .sampling import obstacles

SOLVERS = ("als", "exact", "gibbs", "iterative_svd", "softimpute")
# Solvers that leave arbitrary what the entries do not determine.
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
    "clip": ["boolean"],
    "warm_start": ["boolean"],
    "n_jobs": [Integral, None],
    "random_state": ["random_state"],
}

# Dense data with at most so many columns have all their covariances estimated.
_FEW_COLUMNS = 300
# Rank of a factorisation where nothing can be held out to choose it, and the first that is
# tried for a Bayesian one, whose prior keeps it from overfitting.
_USUAL_RANK, _FIRST_RANK = 8, 4
# Penalties of the nuclear norm tried, relative to the largest, and the accuracy that tells
# them apart.
_PATH, _PATH_TOL = 0.7 ** np.arange(1, 25), 1e-3
# Sweeps over all entries after a validated fit; of a chain that only tells the rank; the
# share it hides.
_MORE_SWEEPS, _SHORT_CHAIN, _SHARE = 3, 24, 0.1
# Where fewer entries than that would be held out, all are, in so many folds.
_FEW_HIDDEN, _FOLDS = 128, 5
_MAX_ITER = {"als": 100, "em": 100, "exact": 1000, "iterative_svd": 300, "softimpute": 500}
_TOL = {"als": 1e-3, "em": 0.05, "exact": 1e-10, "iterative_svd": 1e-5, "softimpute": 1e-4}


class CompletionOptions(NamedTuple):
    """How to complete a matrix: the parameters of `MatrixCompleter` of the same names."""

    rank: int | str = "auto"
    solver: str = "auto"
    alpha: float | None = None
    reg_power: float = 1.0
    center: bool | str = "auto"
    neighbors: bool = True
    max_iter: int | None = None
    tol: float | None = None
    validation_fraction: float = 0.05
    early_stopping: bool = False

    @classmethod
    def of(cls, params):
        """Return the options among named parameters; others in the dict are ignored."""
        return cls(**{name: params[name] for name in cls._fields if name in params})

    def decided(self, table, shape):
        """Return options of which solver, centring and limits are decided.

        Parameters
        ----------
        table : ndarray or None
            As for `complete`.
        shape : tuple of int

        Returns
        -------
        CompletionOptions

        Raises
        ------
        ValueError
            Where parameters do not belong to the solver, or the rank is too large.
        """
        solver = self.solver
        if solver == "auto" and self.alpha is not None:
            # alpha only makes sense for a penalised solver.
            solver = "als"
        elif solver == "auto":
            solver = "gibbs" if table is None or shape[1] > _FEW_COLUMNS else "em"
        elif solver == "em" and table is None:
            raise ValueError("solver='em' needs dense data: leave it at 'auto' for sparse.")
        center = self.center
        if center == "auto":
            center = solver in ("als", "em", "gibbs")
        elif not center and solver in ("em", "gibbs"):
            raise ValueError(f"center=False cannot be used with solver={solver!r}.")
        if self.alpha is not None and solver not in ("als", "softimpute"):
            warn_user(
                f"alpha={self.alpha} has no effect with solver={solver!r}, which has no "
                "penalty: leave it at None."
            )
        if self.rank != "auto" and self.rank > min(shape):
            raise ValueError(
                f"rank={self.rank} must be at most min(n_rows={shape[0]}, "
                f"n_columns={shape[1]})."
            )
        return self._replace(
            solver=solver,
            center=center,
            max_iter=self.max_iter or _MAX_ITER.get(solver),
            tol=_TOL.get(solver) if self.tol is None else self.tol,
        )


def complete(observed, options, *, table=None, start=None, rng, report=None):
    """Complete a matrix.

    Parameters
    ----------
    observed : Observed
        At least one entry.
    options : CompletionOptions
    table : ndarray of shape (m, n), default=None
        The same entries as a dense array, NaN where missing; "em" needs it.
    start : LowRankModel, default=None
        To start from; ignored where its shape is another. For "gibbs" and "als".
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
    is_open = options == CompletionOptions()._replace(neighbors=options.neighbors)
    given, options = options, options.decided(table, observed.shape)
    if start is not None and start.shape != observed.shape:
        start = None
    moments = None
    if table is not None:
        # Sums depend on the order of what is added up.
        table = np.ascontiguousarray(table)
        moments = ColumnMoments.of(table)
    # Products are small: BLAS keeps off the cores that the threads over rows use.
    with one_blas_thread(observed.n_jobs):
        found = None
        if is_open and table is not None:
            units = ColumnUnits.of(moments, shift=False)
            found = _exact_if_of_low_rank(units, observed, table, rng)
        if found is None and options.solver == "em":
            found = _em(observed, options, table=table, rng=rng, report=report)
        elif found is None:
            if table is None:
                units = ColumnUnits.common(observed.values)
            else:
                # Columns without biases of rows are centred too, unless that is turned off.
                auto = given.center == "auto" and options.solver != "exact"
                units = ColumnUnits.of(moments, shift=options.center or auto)
            if units.same and options.solver == "als" and options.alpha is not None:
                options = options._replace(alpha=options.alpha / units.scale)
            start = start and start.relative_to(units)
            found = _SOLVE[options.solver](
                units.standardised(observed), options, start=start, rng=rng, report=report
            )
            found = found.in_units(units)
    of_table = {}
    if table is not None:
        of_table = {"spread": moments.usual_spread, "missing": np.isnan(table)}
    bounds = error_bounds(found.held_out, observed, likely=found.likely, **of_table)
    values = observed.values
    return found._replace(
        bounds=bounds,
        # What tells the bounds need not be kept.
        held_out=HeldOutErrors.nothing(),
        likely=None,
        seen=observed.places(),
        limits=(values.min(), values.max()),
    )


def why_not_converged(found, options):
    """Return a sentence for a `ConvergenceWarning`.

    Parameters
    ----------
    found : Completion
        That did not converge.
    options : CompletionOptions
        That it was completed with.

    Returns
    -------
    str
    """
    stopped = f"The solver {found.solver!r} stopped after {found.n_iter} iterations"
    most = options.max_iter or _MAX_ITER[found.solver]
    if found.n_iter >= most:
        return f"{stopped}. Increase max_iter (now {most})."
    tol = _TOL[found.solver] if options.tol is None else options.tol
    return (
        f"{stopped}: it stalled above tol={tol}. There may be no matrix of rank "
        f"{found.rank} that close to the entries: increase tol, or change the rank."
    )


def why_arbitrary(found, sampling, columns):
    """Return a sentence for a warning that the entries do not determine the matrix.

    Parameters
    ----------
    found : Completion
        Of one of the solvers `WITHOUT_PENALTY`.
    sampling : Sampling
        Of its entries.
    columns : ndarray of int
        Numbers that the columns go by.

    Returns
    -------
    str
        Empty where nothing is known to stand in the way.
    """
    reasons = "; ".join(obstacles(sampling, found.rank, found.determined, columns))
    if not reasons:
        return ""
    return (
        f"{reasons[0].upper()}{reasons[1:]}. What the entries do not determine is "
        "arbitrary: 'gibbs', 'als' and 'softimpute' are for that."
    )


def _gibbs(observed, options, *, start, rng, report):
    """Sample factors and biases; short chains with entries held out choose the rank."""
    rank, most = options.rank, min(observed.shape)
    sweeps = {} if options.max_iter is None else {"max_iter": options.max_iter}
    share = options.validation_fraction
    if rank == "auto":
        # The same entries for all ranks, and for all sweeps: in the first ones a larger
        # rank learns faster.
        hide = rng.random(observed.nnz) < (share or _SHARE)

        def error_of_rank(k):
            short = gibbs(observed, k, max_iter=_SHORT_CHAIN, hide=hide, rng=rng)
            return short.held_out.rms

        first = min(_FIRST_RANK, most)
        rank = grow_rank(error_of_rank, first=first, most=most, penalised=True)
    result = gibbs(
        observed, rank, **sweeps, share=share, start=start, rng=rng, report=report
    )
    model, errors = result.model, result.held_out
    if 0 < share * observed.nnz < _FEW_HIDDEN:
        shrunk, errors = _shrink_to_mean(observed, rank, errors, rng)
        model = model._replace(shrunk=shrunk)
    return Completion(
        model=model,
        seen=observed,
        solver="gibbs",
        rank=rank,
        held_out=errors,
        n_iter=len(result.history),
        converged=True,
        history=np.array(result.history),
        history_is_rms=True,
        noise=(result.row_noise, result.column_noise),
    )


def _shrink_to_mean(observed, rank, errors, rng):
    """Return a factor of deviations from the mean, by cross-validation, and its errors.

    Of few entries, most of which are the only ones of their row or column, a model may
    predict others worse than their mean does. The factor is one standard error below that
    of least squares: what that loses is, in expectation, one parameter's worth of noise.

    Parameters
    ----------
    observed : Observed
    rank : int
    errors : HeldOutErrors
        What to return where there are too few entries.
    rng : Generator

    Returns
    -------
    factor : float
        From 0 to 1.
    errors : HeldOutErrors
        Of all entries, each from a chain that did not see it.
    """
    fold = rng.permutation(observed.nnz) % _FOLDS
    predicted, wanted = (np.empty(observed.nnz) for _ in range(2))
    for number in range(_FOLDS):
        hide = fold == number
        if not hide.any() or hide.all():
            return 1.0, errors
        found = gibbs(observed, rank, max_iter=_SHORT_CHAIN, hide=hide, rng=rng)
        wanted[hide] = observed.values[hide] - observed.values[~hide].mean()
        predicted[hide] = wanted[hide] - found.held_out.values
    squares = float(predicted @ predicted)
    if not squares:
        return 1.0, HeldOutErrors.at(observed, wanted)
    factor = float(predicted @ wanted) / squares
    doubt = float(np.linalg.norm(predicted * (wanted - factor * predicted))) / squares
    factor = float(np.clip(factor - doubt, 0, 1))
    return factor, HeldOutErrors.at(observed, wanted - factor * predicted)


def _em(observed, options, *, table, rng, report):
    """Fit a Gaussian distribution of the rows, and neighbours where they help."""
    result = ppca(
        table,
        None if options.rank == "auto" else options.rank,
        max_iter=options.max_iter,
        tol=options.tol,
        rng=rng,
        n_jobs=observed.n_jobs,
        report=report,
    )
    neighbors, held_out = None, result.errors(table)
    if options.neighbors:
        neighbors, held_out = fit_neighbors(table, result, rng=rng, n_jobs=observed.n_jobs)
    return Completion(
        model=result.model,
        seen=observed,
        filler=neighbors or result.gaussian,
        solver="em",
        rank=result.model.columns.shape[2] - 1,
        held_out=held_out,
        likely=result.likely_errors(table) if len(held_out.values) else None,
        n_iter=result.n_iter,
        converged=result.converged,
        history=np.array(result.history),
    )


def _als(observed, options, *, start, rng, report):
    """Alternate after biases: first without entries held out, which tell when to stop."""
    fit = partial(
        als,
        penalty=options.alpha,
        reg_power=options.reg_power,
        tol=options.tol,
        rng=rng,
        report=report,
    )
    rank, errors, history, n_iter = options.rank, HeldOutErrors.nothing(), [], 0
    max_iter, V = options.max_iter, None if start is None else start.factors()[1]
    if V is not None and V.shape[1] != rank:
        V = None
    share = options.validation_fraction
    residual, left = hold_out(observed, share, options.center, rng)
    if left is not None:
        found = {}

        def error_of_rank(k):
            found[k] = fit(residual, k, max_iter=max_iter, start=V, held_out=left)
            return min(found[k].history)

        if rank == "auto":
            rank = grow_rank(error_of_rank, first=1, most=min(observed.shape))
        else:
            error_of_rank(rank)
        V, history = found[rank].V, found[rank].history
        errors = errors_of(left, found[rank].U, V)
        n_iter = len(history)
        if options.early_stopping:
            max_iter = _MORE_SWEEPS
    elif rank == "auto":
        rank = min(_USUAL_RANK, *observed.shape)
    # The final fit uses the held-out entries, too: those of the first go before it.
    residual = left = None
    biases, residual = without_biases(observed, options.center)
    result = fit(residual, rank, max_iter=max_iter, start=V)
    penalties = np.full(rank, result.penalty)
    model = model_of_columns(observed, biases, result.V, penalties, options.reg_power)
    return Completion(
        model=model,
        seen=observed,
        solver="als",
        rank=rank,
        held_out=errors,
        n_iter=n_iter + result.n_iter,
        converged=result.converged or options.early_stopping,
        history=np.array(history) if history else _relative(result.history, residual, 1),
        history_is_rms=bool(history),
        alpha=float(result.penalty),
    )


def _exact_if_of_low_rank(units, observed, table, rng):
    """Recover a table whose complete rows are exactly of low rank, or return None.

    Whatever else supposes noise, of which there is none. It has to agree with all entries,
    which have to determine it.
    """
    m, n = table.shape
    complete_rows = np.flatnonzero(~np.isnan(table).any(axis=1))[: 2 * n]
    complete_rows = table[complete_rows] / units.scale
    if min(complete_rows.shape) < 2:
        return None
    s = np.linalg.svd(complete_rows, compute_uv=False)
    rank = numerical_rank(s, complete_rows.shape, table.dtype)
    # Some columns that depend on others are not yet a table of low rank.
    if not 0 < rank <= min(complete_rows.shape) / 2:
        return None
    options = CompletionOptions(rank=rank, solver="exact")
    options = options.decided(table, (m, n))
    inner = units.standardised(observed)
    found = _exact(inner, options, start=None, rng=rng, report=None)
    whole = all(side.all() for side in found.determined)
    return found.in_units(units) if found.converged and whole else None


def _exact(observed, options, *, start, rng, report):
    """Recover a matrix of a rank; "auto" is the least that agrees with the entries."""
    fit = partial(recover, tol=options.tol, max_iter=options.max_iter, rng=rng)
    biases, residual = without_biases(observed, options.center)
    rank, found = options.rank, None
    if rank == "auto":
        most = _largest_determined_rank(observed)
        for rank in range(1, most + 1):
            found = fit(residual, rank, report=report)
            if found.converged:
                break
        else:
            share = options.validation_fraction or _SHARE
            rank = _rank_of_noisy_entries(fit, residual, share, most, rng)
    if found is None or rank != found.U.shape[1]:
        found = fit(residual, rank, report=report)
    model = model_of_columns(observed, biases, found.V, negligible_penalties(found.V))
    return Completion(
        model=model,
        seen=observed,
        solver="exact",
        rank=rank,
        held_out=_freedom_corrected(observed, model, rank),
        n_iter=found.n_iter,
        converged=found.converged,
        history=np.asarray(found.history),
        determined=found.determined,
    )


def _rank_of_noisy_entries(fit, observed, share, most, rng):
    """Return the rank that best predicts held-out entries, at most `most`."""
    seen, hidden = split(observed, share, rng)
    if hidden is None:
        return most

    def error_of_rank(k):
        found = fit(seen, k)
        return errors_of(hidden, found.U, found.V).rms

    return grow_rank(error_of_rank, first=1, most=most)


def _largest_determined_rank(observed):
    """Return the largest rank with no more degrees of freedom than there are entries."""
    m, n = observed.shape
    most = sum(k * (m + n - k) <= observed.nnz for k in range(1, min(m, n) + 1))
    return min(max(most, 1), LARGEST_RANK)


def _freedom_corrected(observed, model, rank):
    """Return the residual, enlarged for the degrees of freedom that are left."""
    freedom = observed.nnz - rank * (sum(observed.shape) - rank)
    if freedom <= 0:
        return HeldOutErrors.nothing()
    predicted, _ = predict_entries(model, observed.rows, observed.indices)
    enlarged = np.sqrt(observed.nnz / freedom) * (observed.values - predicted)
    return HeldOutErrors.at(observed, enlarged)


def _iterative_svd(observed, options, *, start, rng, report):
    """Fit a matrix of a rank; "auto" is the one that best predicts held-out entries."""
    fit = partial(iterative_svd, tol=options.tol, max_iter=options.max_iter, rng=rng)
    share, rank, errors = options.validation_fraction, options.rank, {}
    residual, left = hold_out(observed, share, options.center, rng)
    if left is not None:

        def error_of_rank(k):
            errors[k] = errors_of(left, *fit(residual, k).balanced())
            return errors[k].rms

        if rank == "auto":
            rank = grow_rank(error_of_rank, first=1, most=min(observed.shape))
        else:
            error_of_rank(rank)
    elif rank == "auto":
        _check_can_choose("rank='auto'", share)
        rank = 1
    residual = left = None
    biases, residual = without_biases(observed, options.center)
    result = fit(residual, rank, report=report)
    _, V = result.balanced()
    model = model_of_columns(observed, biases, V, negligible_penalties(V))
    history = _relative(result.history[1:], residual, 2)
    return Completion(
        model=model,
        seen=observed,
        solver="iterative_svd",
        rank=rank,
        held_out=errors.get(rank, HeldOutErrors.nothing()),
        n_iter=result.n_iter,
        converged=result.converged,
        history=history,
    )


def _soft_impute(observed, options, *, start, rng, report):
    """Solve the convex problem, for the alpha on a path that has the least error."""
    most = None if options.rank == "auto" else options.rank
    settings = {"max_rank": most, "max_iter": options.max_iter, "rng": rng}
    share, alpha, result = options.validation_fraction, options.alpha, None
    errors = HeldOutErrors.nothing()
    residual, left = hold_out(observed, share, options.center, rng)
    if left is not None:
        largest = largest_penalty(residual, rng=rng)
        if alpha is None:
            path = soft_impute_path(residual, largest * _PATH, tol=_PATH_TOL, **settings)
            alpha, result = follow_path(zip(_PATH, path, strict=True), left)
        else:
            result = soft_impute(residual, alpha * largest, tol=_PATH_TOL, **settings)
        errors = errors_of(left, *result.balanced())
    elif alpha is None:
        _check_can_choose("alpha=None", share)
        alpha = _PATH[-1]
    residual = left = None
    biases, residual = without_biases(observed, options.center)
    penalty = alpha * largest_penalty(residual, rng=rng)
    result = soft_impute(
        residual, penalty, start=result, tol=options.tol, report=report, **settings
    )
    _, V = result.balanced()
    model = model_of_columns(observed, biases, V, np.full(V.shape[1], penalty))
    return Completion(
        model=model,
        seen=observed,
        solver="softimpute",
        rank=V.shape[1],
        held_out=errors,
        n_iter=result.n_iter,
        converged=result.converged,
        history=_relative(result.history[1:], residual, 2),
        alpha=alpha,
    )


def _check_can_choose(what, share):
    """Raise unless entries are held out; of a single one none can be, which is no error."""
    if not share:
        raise ValueError(f"{what} needs a positive validation_fraction, not 0.")


def _relative(objectives, observed, parts):
    """Return objectives relative to that of a zero matrix, the sum of squares in parts."""
    norm = np.linalg.norm(observed.values.astype(np.float64)) or 1.0
    return np.array(objectives) * parts / norm**2


_SOLVE = {
    "als": _als,
    "exact": _exact,
    "gibbs": _gibbs,
    "iterative_svd": _iterative_svd,
    "softimpute": _soft_impute,
}
