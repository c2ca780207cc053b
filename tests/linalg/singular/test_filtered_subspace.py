"""Subspace iteration with a Chebyshev filter, on sparse rows."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla.linalg.singular.filtered_subspace import filtered_subspace
from sklearn_rnla.linalg.singular.rank_rules import FixedRank
from sklearn_rnla.linalg.singular.row_gram import WideSparse
from sklearn_rnla.linalg.singular.starts import power_start
from sklearn_rnla.linalg.singular.truncated_svd import right_svd
from sklearn_rnla.operators import CenteredMatrix, as_row_matrix
from tests.invariants import assert_close_to_scale, assert_orthonormal_rows, excess
from tests.matrices import SPECTRA, coherent, deep, with_spectrum

M, N, K, WIDTH = 500, 120, 8, 16
TOL = 1e-3
MATRICES = {
    **{name: lambda s=s: with_spectrum(s(N), M, N) for name, s in SPECTRA.items()},
    "coherent": lambda: coherent(M, N),
    "a single entry": lambda: _single_entry(),
}


def _single_entry():
    A = with_spectrum(np.ones(N), M, N)
    A[7] = A[:, 3] = 0
    A[7, 3] = 5
    return A


def sparse(A, center=False):
    return CenteredMatrix(as_row_matrix(sp.csr_array(A)), center=center)


def iterate(A, seed, k=K, **options):
    """Return what is found, and the subspace to go on from."""
    start = power_start(A, WIDTH, None, np.random.default_rng(seed))
    return filtered_subspace(A, start, k, **{"tol": TOL, "max_passes": 20} | options)


@pytest.mark.parametrize("name", MATRICES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", [True, False])
def test_the_error_is_within_the_tolerance_and_the_estimate(name, dtype, center, seed):
    A = MATRICES[name]().astype(dtype)
    found, subspace = iterate(sparse(A, center), seed)
    if name == "coherent" and dtype == np.float32:
        assert found is None  # Squares lose the last values.
        return
    V = found.components[:K]
    assert found.converged
    assert_orthonormal_rows(V)
    centered = A - A.mean(axis=0) if center else A
    error = excess(A.astype(float), V, K, center=center)
    assert error <= min(TOL, max(found.error_estimate, 1e-6))
    # Values are those of the vectors.
    norms = np.linalg.norm(centered.astype(float) @ V.T.astype(float), axis=0)
    assert_close_to_scale(found.singular_values[:K], norms, dtype, 1e3)
    assert_orthonormal_rows(subspace)


def test_wide_rows_have_the_values_of_their_transpose(seed):
    A = MATRICES["harmonic"]()
    tall, _ = iterate(sparse(A), seed)
    wide, _ = iterate(WideSparse(sparse(A.T)), seed)
    assert_close_to_scale(wide.singular_values[:K], tall.singular_values[:K], float, 1e4)


def test_values_that_squares_lose_are_left_to_the_other_iteration(seed):
    A, s = deep(M, N, digits=100)
    found, subspace = iterate(sparse(A), seed, k=16)
    assert found is None
    assert_orthonormal_rows(subspace)
    _, found = right_svd(sparse(A), FixedRank(16), rng=np.random.default_rng(seed))
    assert_close_to_scale(found.singular_values[:16], s[:16], float)


def test_no_more_passes_are_made_than_allowed_or_wanted():
    noise = np.random.default_rng(0).standard_normal((M, N))
    A = sparse(noise)
    start = power_start(A, WIDTH, None, np.random.default_rng(0))
    before = A.n_passes
    found, _ = filtered_subspace(A, start, K, tol=TOL, max_passes=2)
    assert A.n_passes == before + 2
    assert not found.converged
    A = sparse(noise)
    A.report = lambda: True
    stopped, _ = iterate(A, 0)
    assert stopped.error_estimate > found.error_estimate > TOL


def test_sparse_rows_are_iterated_with_the_filter_and_dense_ones_are_not(monkeypatch):
    calls = []
    monkeypatch.setattr(
        "sklearn_rnla.linalg.singular.truncated_svd.filtered_subspace",
        lambda *args, **options: calls.append(1) or filtered_subspace(*args, **options),
    )
    X = sp.random(4000, 900, density=0.01, random_state=0, format="csr")
    for rows, n_calls in ((X, 1), (X.T.tocsr(), 2), (X.toarray(), 2)):
        A = CenteredMatrix(as_row_matrix(rows), center=True)
        right_svd(A, FixedRank(4), rng=np.random.default_rng(0))
        assert len(calls) == n_calls
