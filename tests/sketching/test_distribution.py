"""What every sketch promises, and what each distribution adds."""

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from scipy import stats

from sklearn_rnla.operators import as_row_matrix
from sklearn_rnla.sketching import (
    SRTT,
    Gaussian,
    RowSampling,
    SparseSign,
    make_distribution,
)
from tests.invariants import assert_adjoint, assert_close_to_scale

N = 1500  # more than one tile of every sketch
P = tuple(np.arange(1, N + 1) / np.arange(1, N + 1).sum())
DISTRIBUTIONS = {
    "gaussian": Gaussian(20, N),
    "count": SparseSign(20, N, nnz=1),
    "sparse sign 2": SparseSign(20, N, nnz=2),
    "sparse sign 8": SparseSign(20, N),
    "srtt": SRTT(20, N),
    "uniform rows": RowSampling(20, N),
    "weighted rows": RowSampling(20, N, probabilities=P),
}
every = pytest.mark.parametrize("distribution", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS)
CONTAINERS = [
    np.asarray,
    np.asfortranarray,
    sp.csr_array,
    sp.csc_array,
    sp.csr_matrix,
    sp.csc_matrix,
]

# A false alarm of a random test is this unlikely.
FAILURE = 1e-9


@every
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_agree_with_the_dense_matrix(distribution, container, dtype, seed):
    S = distribution.sample(seed)
    dense = S.to_dense()
    A = np.random.default_rng(seed).standard_normal((N, 5)).astype(dtype)
    A[A < 0.3] = 0
    assert_close_to_scale(S @ container(A), dense @ A, dtype)
    assert_close_to_scale(container(A.T) @ S.T, A.T @ dense.T, dtype)
    Y = A[:20]
    assert_close_to_scale(S.T @ container(Y), dense.T @ Y, dtype)
    assert_close_to_scale(container(Y.T) @ S, Y.T @ dense, dtype)
    assert (S @ container(A)).dtype == dtype


@every
@pytest.mark.parametrize("block_size", [1, 7, 256, 300, N])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_blocking_and_threads_change_nothing(distribution, block_size, n_jobs):
    S = distribution.sample(0)
    dense = S.to_dense()
    A = np.random.default_rng(0).standard_normal((N, 3))
    for X in (A, sp.csr_array(A)):
        if block_size == 1 and n_jobs == 2:
            continue
        rows = as_row_matrix(X, block_size=block_size, n_jobs=n_jobs)
        assert_close_to_scale(S @ rows, dense @ A, np.float64)
    rows = as_row_matrix(A.T.copy(), block_size=block_size, n_jobs=n_jobs)
    assert_close_to_scale(rows @ S.T, A.T @ dense.T, np.float64)


@every
def test_adjoint_identity(distribution, seed):
    assert_adjoint(distribution.sample(seed))


@every
def test_slices_of_columns_are_always_the_same(distribution):
    S = distribution.sample(3)
    part = S.columns(250, 1100)
    part = part.toarray() if sp.issparse(part) else part
    assert_close_to_scale(part, S.to_dense()[:, 250:1100], np.float64)


@every
def test_applying_a_sketch_changes_no_random_state(distribution):
    before = np.random.get_state()[1].copy()
    S = distribution.sample(0)
    A = np.ones((N, 1))
    first = S @ A
    np.testing.assert_array_equal(first, S @ A)
    np.testing.assert_array_equal(first, distribution.sample(0) @ A)
    np.testing.assert_array_equal(first, pickle.loads(pickle.dumps(S)) @ A)
    np.testing.assert_array_equal(np.random.get_state()[1], before)
    assert not np.array_equal(S.to_dense(), distribution.sample(1).to_dense())


@every
def test_a_distribution_is_immutable(distribution):
    with pytest.raises(AttributeError):
        distribution.n_rows = 3


@every
def test_squared_lengths_are_preserved_on_average(distribution):
    # Chebyshev would ask for many draws: by the central limit theorem the mean of 400 is
    # within 6.1 standard errors, but for a probability of 1e-9.
    x = np.random.default_rng(0).standard_normal((N, 1))
    x /= np.linalg.norm(x)
    draws = [float(np.sum((distribution.sample(i) @ x) ** 2)) for i in range(400)]
    error = np.std(draws, ddof=1) / np.sqrt(len(draws))
    assert abs(np.mean(draws) - 1) < stats.norm.isf(FAILURE / 2) * error


@every
def test_the_mean_of_gram_matrices_is_the_identity(distribution):
    units = np.eye(N)[:, [0, 255, 256, 1023, 1024, N - 1]]
    draws = []
    for i in range(300):
        columns = distribution.sample(i) @ units
        draws.append(columns.T @ columns)
    error = np.std(draws, axis=0, ddof=1) / np.sqrt(len(draws))
    limit = stats.norm.isf(FAILURE / 72) * error + 1e-12
    # A row drawn with small probability is rarely seen: its mean is far from normal.
    if isinstance(distribution, RowSampling):
        limit = limit + 1.0
    assert np.all(np.abs(np.mean(draws, axis=0) - np.eye(6)) <= limit)


def test_gaussian_distortion_of_a_vector_is_chi_square(seed):
    n_rows = 50
    S = Gaussian(n_rows, N).sample(seed)
    x = np.ones((N, 1)) / np.sqrt(N)
    value = n_rows * float(np.sum((S @ x) ** 2))
    assert stats.chi2.ppf(FAILURE, n_rows) < value < stats.chi2.isf(FAILURE, n_rows)


@pytest.mark.parametrize("name", ["gaussian", "sparse_sign", "srtt"])
def test_a_subspace_is_embedded(name, seed):
    # Davidson & Szarek (2001): singular values of S Q are within sqrt(k/l) + t of one but
    # for a probability 2 exp(-l t^2 / 2), for Gaussian S; the others follow it in practice
    # on incoherent subspaces.
    k, n_rows = 5, 400
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((N, k)))[0]
    s = np.linalg.svd(make_distribution(name, n_rows, N).sample(seed) @ Q, compute_uv=False)
    t = np.sqrt(2 * np.log(2 / FAILURE) / n_rows)
    assert s[0] < 1 + np.sqrt(k / n_rows) + t
    assert s[-1] > 1 - np.sqrt(k / n_rows) - t


@pytest.mark.parametrize("nnz", [1, 2, 8])
def test_sparse_sign_columns_have_distinct_rows_of_equal_size(nnz, seed):
    S = SparseSign(20, N, nnz=nnz).sample(seed).to_dense()
    assert np.all(np.count_nonzero(S, axis=0) == nnz)
    np.testing.assert_allclose(np.abs(S[S != 0]), 1 / np.sqrt(nnz))


def test_sparse_sign_has_no_more_non_zeros_than_rows():
    assert SparseSign(3, 10, nnz=8).nnz == 3


def test_one_tile_of_a_trigonometric_sketch_has_orthogonal_rows(seed):
    S = SRTT(16, 512).sample(seed).to_dense() * np.sqrt(16 / 512)
    assert_close_to_scale(S @ S.T, np.eye(16), np.float64)


def test_row_sampling_keeps_real_rows(seed):
    S = RowSampling(10, N).sample(seed)
    A = np.random.default_rng(seed).standard_normal((N, 4))
    np.testing.assert_allclose(S @ A, S.scales[:, None] * A[S.indices])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Gaussian(0, 5), "n_rows=0"),
        (lambda: SparseSign(5, 0), "n_columns=0"),
        (lambda: SparseSign(5, 5, nnz=0), "nnz=0"),
        (lambda: SRTT(6, 5), "n_rows=6 must be at most n_columns=5"),
        (lambda: RowSampling(2, 3, probabilities=(0.5, 0.5)), "3 non-negative numbers"),
        (lambda: RowSampling(2, 2, probabilities=(1.5, -0.5)), "non-negative"),
        (lambda: make_distribution("fourier", 2, 3), "sketch='fourier'"),
        (lambda: Gaussian(2, 5).sample(-1), "random_state=-1"),
        (lambda: Gaussian(2, 5).sample(0) @ np.ones((4, 1)), "5 dimensions"),
    ],
)
def test_errors_name_value_and_limit(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("sparse", [False, True])
def test_a_sketch_of_a_row_matrix_is_that_of_the_array(sparse):
    A = np.random.default_rng(0).standard_normal((600, 20))
    rows = as_row_matrix(sp.csr_array(A) if sparse else A, block_size=70)
    S = SparseSign(40, 600).sample(0)
    product = S @ rows
    assert isinstance(product, np.ndarray)
    np.testing.assert_allclose(product, S @ A, atol=1e-12)
