"""Row samples that miss nothing, and starts that overlap with every direction."""

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla import RandomizedPCA
from sklearn_rnla._random import stream
from sklearn_rnla.linalg import leverage_scores, randomized_svd
from sklearn_rnla.linalg.singular.starts import draw_rows, draw_sample, draw_start
from sklearn_rnla.operators import CenteredMatrix, as_row_matrix
from tests.invariants import excess
from tests.matrices import with_spectrum


def lone(sizes, m, n, seed, *, noise=1.0):
    """Return noise of largest singular value one, and rows of one entry in own columns."""
    rng = np.random.default_rng(seed)
    A = noise * rng.standard_normal((m, n)) / (np.sqrt(m) + np.sqrt(n))
    rows, columns = (rng.choice(size, len(sizes), replace=False) for size in (m, n))
    A[rows], A[:, columns] = 0, 0
    A[rows, columns] = sizes
    return A


def test_heavy_rows_are_certain_and_sums_keep_their_expectation():
    energies = np.ones(4000)
    energies[:5] = [1e12, 1e6, 1e5, 300, 30]
    totals = []
    for seed in range(100):
        indices, factors = draw_rows(energies, 200, stream(seed))
        assert len(np.unique(indices)) == len(indices)
        assert {0, 1, 2, 3} <= set(indices)
        assert (factors[np.isin(indices, range(4))] == 1).all()
        totals.append(factors[indices > 3] @ energies[indices[indices > 3]])
    # Only the row of 30 comes by chance: five standard errors of its share.
    assert abs(np.mean(totals) - energies[4:].sum()) <= 5 * 30 / np.sqrt(100)


def test_rows_alike_are_drawn_uniformly_and_rows_without_weight_never():
    energies = np.random.default_rng(0).random(1000)
    weight = np.arange(1000) % 2.0
    indices, factors = draw_rows(energies, 100, stream(0), weight)
    assert factors is None
    assert len(np.unique(indices)) == 100
    assert (indices % 2 == 1).all()


@pytest.mark.parametrize("sketch", ["row_sampling", "gaussian", "sparse_sign"])
@pytest.mark.parametrize("width", [5, 16])
def test_a_start_overlaps_with_directions_that_no_row_has(sketch, width):
    A = CenteredMatrix(as_row_matrix(lone([], 2000, 100, 0)), center=False)
    A = CenteredMatrix(as_row_matrix(A.rows.in_memory() * (np.arange(100) < 90)))
    V = draw_start(A, width, 5, sketch, n_rows=100, known=None, rng=stream(0))
    assert len(V) == max(width, 6)
    np.testing.assert_allclose(V @ V.T, np.eye(len(V)), atol=1e-12)
    assert (np.linalg.norm(V[:, 90:], axis=0) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
@pytest.mark.parametrize(
    "sizes", [[1000], [5, 4, 3, 2], [1000, 100, 30, 10, 5, 3, 2]], ids=str
)
def test_heavy_rows_of_all_sizes_are_found(sizes, make, dtype, seed):
    A = lone(sizes, 1500, 200, seed).astype(dtype)
    exact = A.astype(np.float64)
    svd = randomized_svd(make(A), 8, algorithm="krylov", random_state=seed)
    found = excess(exact, svd.Vt.astype(np.float64), 8, False)
    assert found <= 1e-3
    assert found <= max(1.5 * svd.error_estimate, 1e-6)
    for algorithm in ("krylov", "auto"):
        pca = RandomizedPCA(8, algorithm=algorithm, random_state=seed).fit(make(A))
        found = excess(exact, pca.components_.astype(np.float64), 8, True)
        assert found <= 1e-3
        assert found <= max(1.5 * pca.error_estimate_, 1e-6)


def test_a_row_in_a_column_of_its_own_has_leverage_one(seed):
    X = sp.random(4000, 900, density=0.002, format="lil", random_state=seed)
    X[:, -1], X[1234] = 0, 0
    X[1234, -1] = 5000
    X = X.tocsr()
    assert leverage_scores(X, 5, random_state=seed)[1234] == pytest.approx(1)
    assert randomized_svd(X, 5, random_state=seed).singular_values[0] == pytest.approx(5000)
    pca = RandomizedPCA(5, with_mean=False, random_state=seed).fit(X)
    assert pca.singular_values_[0] == pytest.approx(5000)
    assert 0.99 < pca.explained_variance_ratio_.sum() <= 1 + 1e-12


def test_a_sample_in_parts_is_read_once(seed):
    class Counted:
        """Rows on a slow disk."""

        def __init__(self, X):
            self.X, self.shape, self.dtype, self.n_read = X, X.shape, X.dtype, 0

        def __getitem__(self, rows):
            self.n_read += len(self.X[rows])
            return self.X[rows]

    X = with_spectrum(0.9 ** np.arange(30), 3000, 30)
    source = Counted(X)
    sample = {"n_rows": 300, "rng": np.random.default_rng(seed)}
    drawn = draw_sample(CenteredMatrix(as_row_matrix(source)), 5, **sample)
    # Once for the norms of the rows, once for the sample.
    assert source.n_read <= 2.1 * len(X)
    sample["rng"] = np.random.default_rng(seed)
    same = draw_sample(CenteredMatrix(as_row_matrix(X)), 5, **sample)
    for one, other in zip(drawn.parts, same.parts, strict=True):
        np.testing.assert_array_equal(one.rows.in_memory(), other.rows.in_memory())
