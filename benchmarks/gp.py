"""NystroemGaussianProcessRegressor against gpytorch and the exact Gaussian process."""

from contextlib import suppress
from functools import partial
from itertools import product
from typing import NamedTuple

import numpy as np
from sklearn.metrics import root_mean_squared_error as rmse

from sklearn_rnla import NystroemGaussianProcessRegressor

from . import gp_peers, quasi_newton
from .datasets import Dataset, real_sets
from .gp_peers import Posterior, Setting, nlpd, start_kernel
from .harness import MEGABYTE, MemoryWatch, compare, installed, race, rounds
from .machine import gemm_peak

OURS = "ours"
_METHODS = ("variational", "fitc", "dtc")

# Rows and features of each set, which a generated one of its name repeats.
_SHAPES = {"protein": (45_730, 9), "bike": (17_379, 17), "parkinsons": (5875, 20)}
_NOISE = 0.1

# Of a normal distribution, for an interval of 95 %.
_QUANTILE = 1.96
_BLOCK = 8192

# How the peer optimises: no single way is best on all sets. In float32 some fail.
_PEERS = {
    f"gpytorch SGPR, {setting.optimizer} {setting.rate:g}, {setting.dtype}": setting
    for setting in (
        Setting("LBFGS", 1.0, 100, 5),
        Setting("Adam", 0.1, 300, 10, "float32"),
        Setting("Adam", 0.3, 300, 10, "float32"),
        Setting("LBFGS", 1.0, 100, 5, "float32"),
    )
}

# It has converged where its NLPD of test rows is within this of its best: a choice that
# sees these rows, and so in its favour.
_NEAR = 0.005

# A peer is watched for so many times as long as ours took.
_PATIENCE = 4.0


class Score(NamedTuple):
    """A fit after some iterations, on test rows."""

    seconds: float
    n_iter: int
    rmse: float
    nlpd: float


def prior_draw(n, d, *, noise=_NOISE, n_waves=500, seed=0):
    """Return rows and noisy values of a Gaussian process, by random Fourier features.

    The covariance is a Gaussian one of variance 1, with length scales from a half
    to twice the root of d, and rows are normal (Rahimi & Recht, 2007).
    """
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    scales = np.sqrt(d) * np.linspace(0.5, 2, d)
    frequencies = rng.standard_normal((d, n_waves)) / scales[:, np.newaxis]
    phases = rng.uniform(0, 2 * np.pi, n_waves)
    weights = np.sqrt(2 / n_waves) * rng.standard_normal(n_waves)
    y = np.sqrt(noise) * rng.standard_normal(n)
    for start in range(0, n, _BLOCK):
        part = slice(start, start + _BLOCK)
        y[part] += np.cos(X[part] @ frequencies + phases) @ weights
    return X, y


def sparse(report, quick, *, name, m):
    """Compare with gpytorch's sparse regression at equal numbers of landmarks."""
    train, test = _train_and_test(report, name, quick)
    m = m // 40 if quick else m
    report.note(f"{len(train[1])} x {train[0].shape[1]}, m={m}, hyper-parameters learned")
    run = race(
        {OURS: partial(_ours, *train, m)},
        rounds=rounds(quick, 3),
        patience=0 if quick else 10.0,
        memory=False,
    )[OURS]
    ours = _score(run.result._replace(seconds=run.seconds), *test)
    traces = {OURS: [ours]}
    for label, setting in list(_PEERS.items())[: 1 if quick else None]:
        setting = setting._replace(longest=_PATIENCE * ours.seconds)
        traces[label] = _trace(*train, m, setting, test, quick)
    report.table([_summary(label, trace, ours) for label, trace in traces.items()])
    report.note(
        f"peers stop at the first NLPD within {_NEAR} of their best, seen on test rows; "
        "the last column is when one first was as good as ours"
    )


def _trace(X, y, m, setting, test, quick):
    """Return the scores of a fit of gpytorch until it fails; None if not installed."""
    if not installed("gpytorch"):
        return None
    once = setting._replace(most=1, every=1)
    if quick:
        setting = once
    else:
        # The first iteration of a process is slow.
        list(gp_peers.sgpr(X[: 2 * m], y[: 2 * m], m, once))
    trace = []
    # No Cholesky factor, or predictions that are not finite.
    with suppress(RuntimeError, ValueError):
        for state in gp_peers.sgpr(X, y, m, setting):
            trace.append(_score(state, *test))
    return trace


def _score(posterior, X, y):
    mean, std = posterior.predict(X)
    return Score(posterior.seconds, posterior.n_iter, rmse(y, mean), nlpd(y, mean, std))


def _summary(label, trace, ours):
    """Return a row of the table: where the trace converged, and where it meets ours."""
    row = {"method": label, "seconds": "not installed" if trace is None else "failed"}
    row |= dict.fromkeys(("peer / ours", "iterations", "RMSE", "NLPD"))
    row |= dict.fromkeys(("run for", "best NLPD", "seconds to NLPD of ours"))
    if trace:
        best = min(score.nlpd for score in trace)
        found = next(score for score in trace if score.nlpd <= best + _NEAR)
        met = next((score.seconds for score in trace if score.nlpd <= ours.nlpd), "never")
        row |= {
            "seconds": found.seconds,
            "peer / ours": found.seconds / ours.seconds,
            "iterations": found.n_iter,
            "RMSE": f"{found.rmse:.4f}",
            "NLPD": f"{found.nlpd:.4f}",
            "run for": trace[-1].n_iter,
            "best NLPD": f"{best:.4f}",
            "seconds to NLPD of ours": met,
        }
    return row


def exact(report, quick):
    """Compare with scikit-learn's exact Gaussian process, on as many rows as it bears."""
    n, sizes = (80, (20,)) if quick else (4000, (500, 1000))
    for name in ("protein",) if quick else _SHAPES:
        (X, y), test = _train_and_test(report, name, quick)
        chosen = np.random.default_rng(0).choice(len(X), n, replace=False)
        few = X[chosen], y[chosen]
        methods = {f"{OURS}, m={m}": partial(_ours, *few, m) for m in sizes}
        methods["GaussianProcessRegressor"] = partial(gp_peers.exact, *few)
        report.note(f"{n} x {X.shape[1]}, the same kernel and start")
        runs = race(
            methods,
            rounds=rounds(quick, 3),
            patience=0 if quick else 10.0,
            memory=not quick,
        )
        report.table(compare(runs, f"{OURS}, m={sizes[-1]}", _scores(*test)))


def coverage(report, quick):
    """Count the new values in intervals of 95 %, on data that the model draws."""
    n, n_new, sizes = (300, 200, (30,)) if quick else (3000, 3000, (50, 300))
    inside = {key: [] for key in product(sizes, _METHODS)}
    for seed in range(1 if quick else 10):
        X, y = prior_draw(n + n_new, 3, seed=seed)
        for (m, method), shares in inside.items():
            mean, std = _ours(X[:n], y[:n], m, method=method, seed=seed).predict(X[n:])
            shares.append(np.mean(np.abs(y[n:] - mean) <= _QUANTILE * std))
    deviation = np.sqrt(0.95 * 0.05 / n_new)
    report.note(
        f"{n} x 3 drawn from the prior, {n_new} new rows: of a true 0.95, the proportion "
        f"found has standard deviation {deviation:.4f}"
    )
    report.table(
        [
            {
                "m": m,
                "method": method,
                "seeds": len(shares),
                "coverage, mean": f"{np.mean(shares):.4f}",
                "least": f"{min(shares):.4f}",
                "largest": f"{max(shares):.4f}",
            }
            for (m, method), shares in inside.items()
        ]
    )


def million(report, quick):
    """Evaluate the marginal likelihood and its gradient on a million rows."""
    n, d, m = (20_000, 10, 100) if quick else (1_000_000, 10, 1000)
    model, theta = _unoptimised(*prior_draw(n, d, n_waves=100), m)
    with MemoryWatch() as watch:
        runs = race(
            {"once": partial(model.log_marginal_likelihood, theta, eval_gradient=True)},
            rounds=rounds(quick, 2),
            patience=0 if quick else 60.0,
            memory=False,
        )
    seconds = runs["once"].seconds
    peak = gemm_peak(np.float64, 512 if quick else 3072)
    flops = 6.0 * n * m**2 + 6.0 * n * m * d
    report.note(f"{n} x {d} float64, m={len(model.components_)}, {len(theta)} parameters")
    report.table(
        [
            {
                "seconds": seconds,
                "Tflop": flops / 1e12,
                "GEMM peak GFlop/s": peak / 1e9,
                "limit seconds": flops / peak,
                "ours / limit": seconds * peak / flops,
                "peak MB": watch.peak and watch.peak / MEGABYTE,
                "data MB": model.X_train_.nbytes / MEGABYTE,
            }
        ]
    )


def growth(report, quick, *, size):
    """Grow the rows, or the landmarks, of one evaluation."""
    base = {"n": 1000, "m": 20} if quick else {"n": 50_000, "m": 300}
    grown = {"n": (10_000, 30_000, 100_000, 300_000), "m": (100, 200, 500, 1000)}[size]
    if quick:
        grown = [base[size], 2 * base[size]]
    rows = []
    for value in grown:
        shape = base | {size: value}
        model, theta = _unoptimised(*prior_draw(shape["n"], 10, n_waves=100), shape["m"])
        evaluate = partial(model.log_marginal_likelihood, theta)
        runs = race(
            {"value": evaluate, "with gradient": partial(evaluate, eval_gradient=True)},
            rounds=rounds(quick, 3),
            patience=0 if quick else 10.0,
            memory=not quick,
        )
        row = {size: value} | {f"{key} ms": 1e3 * run.seconds for key, run in runs.items()}
        row["peak MB"] = runs["with gradient"].peak
        row["peak MB"] = row["peak MB"] and row["peak MB"] / MEGABYTE
        rows.append(row)
    report.note(", ".join(f"{key}={v}" for key, v in base.items() if key != size))
    report.table(rows)
    for column in ("value ms", "with gradient ms"):
        slope = np.polyfit(np.log(grown), np.log([row[column] for row in rows]), 1)[0]
        report.note(f"{column} grows as {size}^{slope:.2f}, by least squares")


def _ours(X, y, m, *, method="variational", seed=0):
    """Fit ours and return a `Posterior`."""
    model = NystroemGaussianProcessRegressor(
        start_kernel(X.shape[1]), method=method, n_landmarks=m, random_state=seed
    ).fit(X, y)
    return Posterior(partial(model.predict, return_std=True), model.n_iter_)


def _unoptimised(X, y, m):
    """Return a model of given parameters, and others to evaluate at."""
    kernel = start_kernel(X.shape[1])
    model = NystroemGaussianProcessRegressor(
        kernel, optimizer=None, n_landmarks=m, random_state=0
    ).fit(X, y)
    return model, kernel.theta + 0.1


def _scores(X, y):
    """Return the columns of a comparison of posteriors on new rows."""
    return {
        "RMSE": lambda found: f"{rmse(y, found.predict(X)[0]):.4f}",
        "NLPD": lambda found: f"{nlpd(y, *found.predict(X)):.4f}",
        "iterations": lambda found: found.n_iter,
    }


def _train_and_test(report, name, quick):
    """Return training rows and values, then those of test, all standardised."""
    data = None if quick else real_sets(np.float64, quick).get(f"uci_{name}")
    report.note(name if data else f"{name}: generated, uci_{name}.npz is not there")
    X, y, is_test = data or _generated(*_SHAPES[name], quick)
    y = (y - y[~is_test].mean()) / y[~is_test].std()
    return (X[~is_test], y[~is_test]), (X[is_test], y[is_test])


def _generated(n, d, quick):
    n = 200 if quick else n
    return Dataset(*prior_draw(n, d), np.arange(n) % 10 == 0)


TASKS = {
    **{
        f"gp-{name}-{m}": partial(sparse, name=name, m=m)
        for name, m in product(_SHAPES, (500, 1000))
    },
    "gp-exact": exact,
    "gp-search": quasi_newton.parameters,
    "gp-coverage": coverage,
    "gp-million": million,
    "gp-growth-n": partial(growth, size="n"),
    "gp-growth-m": partial(growth, size="m"),
}
