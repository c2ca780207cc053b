"""Traces, diagonals and log-determinants: against the exact ones, by peers and seeds."""

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose
from scipy.sparse.linalg import LinearOperator, aslinearoperator
from scipy.stats import binom

from sklearn_rnla.linalg import diagonal, log_det, trace

N = 300
SPECTRA = {
    "flat": np.linspace(1, 3, N),
    "power law": np.arange(1.0, N + 1) ** -2,
    "geometric": 0.7 ** np.arange(N),
    "step": np.where(np.arange(N) < 40, 1.0, 1e-3),
    "rank 10": np.where(np.arange(N) < 10, 1.0, 0.0),
}
OVER_SPECTRA = pytest.mark.parametrize("name", SPECTRA)
KINDS = pytest.mark.parametrize("assume_a", ["gen", "pos"])


def symmetric(name):
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((N, N)))[0]
    return (Q * SPECTRA[name]) @ Q.T


def hutchinson(A, m, rng):
    W = rng.choice([-1.0, 1.0], size=(len(A), m))
    return np.sum(W * (A @ W)) / m


def hutch_pp(A, m, rng):
    """Meyer, Musco, Musco & Woodruff (2021), algorithm 1."""
    S, G = rng.choice([-1.0, 1.0], size=(2, len(A), m // 3))
    Q = np.linalg.qr(A @ S)[0]
    G -= Q @ (Q.T @ G)
    return np.trace(Q.T @ A @ Q) + np.sum(G * (A @ G)) / (m // 3)


def error_of(estimate, exact, runs=60):
    return np.sqrt(np.mean([(estimate(seed) - exact) ** 2 for seed in range(runs)]))


@OVER_SPECTRA
@KINDS
def test_traces_are_no_worse_than_those_of_the_peers(name, assume_a):
    A, m = symmetric(name), 42
    exact, rng = np.trace(A), np.random.default_rng(1)
    ours = error_of(lambda s: trace(A, m, assume_a=assume_a, random_state=s).value, exact)
    peers = min(
        error_of(lambda s, peer=peer: peer(A, m, rng), exact)
        for peer in (hutchinson, hutch_pp)
    )
    # Of 60 runs, root mean squares are known within a fifth or so.
    assert ours < 1.4 * peers + 1e-12 * exact


@OVER_SPECTRA
@KINDS
def test_errors_of_traces_are_covered(name, assume_a):
    A, runs = symmetric(name), 60
    exact = np.trace(A)
    covered = 0
    for seed in range(runs):
        found = trace(A, 42, assume_a=assume_a, random_state=seed)
        covered += abs(found.value - exact) <= found.error_estimate + 1e-12 * exact
    assert covered >= binom.ppf(1e-4, runs, 0.95)


@OVER_SPECTRA
def test_diagonals_are_no_worse_than_plain_ones_and_errors_are_covered(name):
    A, m, runs = symmetric(name), 42, 30
    rng, exact = np.random.default_rng(1), np.diag(A)
    ours, plain, covered = [], [], []
    for seed in range(runs):
        found = diagonal(A, m, random_state=seed)
        wrong = np.abs(found.values - exact)
        covered.append(np.mean(wrong <= found.errors + 1e-12))
        ours.append(np.linalg.norm(wrong))
        W = rng.choice([-1.0, 1.0], size=(N, m))
        plain.append(np.linalg.norm(np.mean(W * (A @ W), axis=1) - exact))
        assert 0.05 < (ours[-1] + 1e-12) / (found.error_estimate + 1e-12) < 1.5
    assert np.mean(ours) < 1.1 * np.mean(plain)
    assert np.mean(covered) >= 0.94


def test_matrices_that_are_not_symmetric_have_traces_and_diagonals():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((N, 5)) @ rng.standard_normal((5, N))
    assert trace(A, 30, random_state=0).value == pytest.approx(np.trace(A))
    assert_allclose(diagonal(A, 30, random_state=0).values, np.diag(A), atol=1e-10)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_intervals_of_log_determinants_cover(scale):
    values = np.geomspace(1, 100, 1500) * scale
    A, runs = sp.diags(values, format="csr"), 30
    found = [log_det(A, 400, random_state=seed) for seed in range(runs)]
    covered = sum(
        abs(each.value - np.log(values).sum()) <= each.error_estimate for each in found
    )
    assert covered >= binom.ppf(1e-4, runs, 0.95)
    assert all(each.n_products <= 400 for each in found)


@pytest.mark.parametrize("function", [trace, diagonal, log_det])
@pytest.mark.parametrize("unit", [1e-300, 1e-170, 1e150, 1e300])
@pytest.mark.parametrize("n_products", [40, 1000])
def test_results_have_the_unit_of_the_matrix(function, unit, n_products):
    A = symmetric("flat")
    expected = function(A, n_products, random_state=0)
    found = function(A * unit, n_products, random_state=0)
    if function is log_det:
        assert found.value == pytest.approx(expected.value + N * np.log(unit))
    else:
        assert_allclose(found[0], expected[0] * unit, rtol=1e-8)
        assert found.error_estimate == pytest.approx(expected.error_estimate * unit)


@pytest.mark.parametrize("function", [trace, diagonal, log_det])
@pytest.mark.parametrize("make", [sp.csr_array, sp.csc_matrix, aslinearoperator])
def test_kinds_of_matrices_agree(function, make):
    A = symmetric("flat")
    expected = function(A, 40, random_state=0)
    assert_allclose(function(make(A), 40, random_state=0)[0], expected[0], rtol=1e-8)
    single = function(make(A.astype(np.float32)), 40, random_state=0)
    assert_allclose(single[0], expected[0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("function", [trace, diagonal, log_det])
def test_small_matrices_are_exact(function):
    A = symmetric("flat")[:20, :20]
    exact = {trace: np.trace(A), diagonal: np.diag(A), log_det: np.linalg.slogdet(A)[1]}
    found = function(A, 20)
    assert_allclose(found[0], exact[function])
    assert found.error_estimate == 0
    assert found.n_products == 20


def test_products_are_counted():
    calls = []
    A = symmetric("geometric")

    def product(X):
        calls.append(X.shape[1])
        return A @ X

    options = {"matvec": lambda x: A @ x, "matmat": product, "rmatmat": product}
    operator = LinearOperator(A.shape, dtype=np.float64, **options)
    for function, n_products in ((trace, 41), (diagonal, 41), (log_det, 290)):
        calls.clear()
        assert function(operator, n_products).n_products == sum(calls) <= n_products


def test_zero_has_a_trace_and_a_diagonal():
    for assume_a in ("gen", "pos"):
        assert trace(np.zeros((50, 50)), 10, assume_a=assume_a)[:2] == (0, 0)
    assert not diagonal(np.zeros((50, 50)), 10).values.any()


@pytest.mark.parametrize("n_products", [40, 1000])
def test_what_is_not_definite_is_refused(n_products):
    A = np.diag(np.r_[-1.0, np.ones(N - 1)])
    with pytest.raises(ValueError, match="A is not positive definite"):
        log_det(A, n_products, random_state=0)
    with pytest.raises(ValueError, match="A is not positive semidefinite"):
        trace(-np.eye(N), 40, assume_a="pos")


@pytest.mark.parametrize("function", [trace, diagonal, log_det])
def test_bad_input_is_refused(function):
    with pytest.raises(ValueError, match="must be square"):
        function(np.ones((3, 4)))
    A = symmetric("flat")
    A[3, 5] = np.nan
    with pytest.raises(ValueError, match="contains NaN or infinity"):
        function(A, 20)
    with pytest.raises(ValueError, match="'n_products' parameter"):
        function(A, 3)
