"""Kernel PCA as a pipeline: kernel features, and principal components of them."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import make_circles
from sklearn.decomposition import KernelPCA
from sklearn.gaussian_process.kernels import Matern
from sklearn.linear_model import LogisticRegression
from sklearn.metrics.pairwise import pairwise_kernels, rbf_kernel
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline

from sklearn_rnla import NystroemKernel, NystroemRidge, RandomizedPCA
from tests.invariants import assert_close_to_scale, excess

RNG = np.random.default_rng(0)
# Spread unevenly, so that no two leading eigenvalues are close.
SPREAD = np.array([2.0, 1.4, 1.0, 0.7])
X, NEW = RNG.standard_normal((150, 4)) * SPREAD, RNG.standard_normal((40, 4)) * SPREAD
N = len(X)
KERNELS = {
    "rbf": {"kernel": "rbf", "gamma": 0.1},
    "rbf of default width": {},
    "polynomial": {"kernel": "polynomial", "gamma": 0.1},
    "linear": {"kernel": "linear"},
    "cosine": {"kernel": "cosine"},
    "laplacian": {"kernel": "laplacian", "gamma": 0.1},
    "matern": {"kernel": Matern(2.0)},
}
EACH_KERNEL = pytest.mark.parametrize("params", KERNELS.values(), ids=KERNELS)
EACH_DTYPE = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def recipe(k=3, *, m=N, seed=0, algorithm="gram", pca=(), **params):
    return make_pipeline(
        NystroemKernel(**params, n_components=m, random_state=seed),
        RandomizedPCA(k, algorithm=algorithm, random_state=seed, **dict(pca)),
    )


def kernel_values(A, B, params):
    params = {"kernel": "rbf", **params}
    return pairwise_kernels(A, B, metric=params.pop("kernel"), **params)


def centred(K):
    K = K - K.mean(axis=0)
    return K - K.mean(axis=1, keepdims=True)


def with_signs_of(Z, reference):
    return Z * np.sign(np.sum(Z * reference, axis=0))


@EACH_DTYPE
@EACH_KERNEL
def test_with_all_samples_as_landmarks_it_is_kernel_pca(params, dtype, seed):
    K, between = kernel_values(X, X, params), kernel_values(NEW, X, params)
    theirs = KernelPCA(3, kernel="precomputed", eigen_solver="dense")
    expected = theirs.fit_transform(K)
    ours = recipe(seed=seed, **params)
    Z, new = ours.fit_transform(X.astype(dtype)), ours.transform(NEW.astype(dtype))
    assert Z.dtype == new.dtype == dtype
    pca = ours[-1]
    eigenvalues = theirs.eigenvalues_
    # Features carry the rounding of kernel values, magnified by the root of their matrix.
    slack = 1e6 if dtype == np.float64 else 5e3
    assert_close_to_scale((N - 1) * pca.explained_variance_, eigenvalues, dtype, slack)
    assert_close_to_scale(pca.singular_values_**2, eigenvalues, dtype, slack)
    assert_close_to_scale(with_signs_of(Z, expected), expected, dtype, slack)
    signs = np.sign(np.sum(Z * expected, axis=0))
    assert_close_to_scale(new * signs, theirs.transform(between), dtype, slack)


def test_parameters_of_the_same_name_mean_the_same():
    for kernel, name in (("rbf", "rbf"), ("poly", "polynomial"), ("linear", "linear")):
        theirs = KernelPCA(3, kernel=kernel, eigen_solver="dense").fit(X)
        ours = recipe(kernel=name).fit(X)
        eigenvalues = ours[-1].singular_values_ ** 2
        assert_close_to_scale(eigenvalues, theirs.eigenvalues_, float, 1e4)


@EACH_KERNEL
@pytest.mark.parametrize("m", [5, 40])
def test_eigenvalues_fall_short_by_at_most_the_trace_error(m, params, seed):
    K = kernel_values(X, X, params)
    exact = np.linalg.eigvalsh(centred(K))[::-1][:3]
    ours = recipe(m=m, seed=seed, **params).fit(X)
    short = exact - ours[-1].singular_values_ ** 2
    rounding = 1e4 * np.finfo(float).eps * np.trace(K)
    assert np.all(short >= -rounding)
    assert short.sum() <= ours[0].error_estimate_ * np.trace(K) + rounding


@EACH_KERNEL
def test_the_embedding_captures_all_but_the_trace_error(params, seed):
    K = kernel_values(X, X, params)
    exact = np.linalg.eigvalsh(centred(K))[::-1][:3].sum()
    ours = recipe(m=10, seed=seed, **params)
    Q = np.linalg.qr(ours.fit_transform(X))[0]
    captured = np.trace(Q.T @ centred(K) @ Q)
    claimed = np.sum(ours[-1].singular_values_ ** 2)
    rounding = 1e4 * np.finfo(float).eps * np.trace(K)
    assert exact - ours[0].error_estimate_ * np.trace(K) - rounding <= claimed
    assert claimed <= captured + rounding
    assert captured <= exact + rounding


@EACH_KERNEL
def test_components_are_orthonormal_in_the_feature_space_of_the_kernel(params, seed):
    # A component is a combination of the landmarks there, whatever their number. So its
    # variance is of the kernel as it is.
    kernel, pca = recipe(m=10, seed=seed, **params).fit(X)
    C = pca.components_ @ kernel.normalization_
    K = kernel_values(kernel.components_, kernel.components_, params)
    assert_close_to_scale(C @ K @ C.T, np.eye(3), float, 1e4)
    along = kernel_values(X, kernel.components_, params) @ C.T
    np.testing.assert_allclose(
        along.var(axis=0, ddof=1), pca.explained_variance_, rtol=1e-8
    )


@pytest.mark.parametrize("m", [5, 20, 60])
def test_the_share_of_the_kernels_variance_is_known_from_both_sides(m, seed):
    kernel, pca = recipe(m=m, seed=seed, gamma=0.1).fit(X)
    variance = pca.explained_variance_.sum()
    total = variance / pca.explained_variance_ratio_.sum()
    of_kernel = np.trace(centred(rbf_kernel(X, gamma=0.1))) / (N - 1)
    left = kernel.error_estimate_ * N / (N - 1)
    assert variance / (total + left) <= variance / of_kernel <= variance / total


@pytest.mark.parametrize("landmarks", ["uniform", "greedy", "kmeans", "leverage"])
def test_other_landmarks_obey_the_same_bound(landmarks, seed):
    exact = np.linalg.eigvalsh(centred(rbf_kernel(X, gamma=0.1)))[::-1][:3]
    ours = recipe(m=20, seed=seed, gamma=0.1, landmarks=landmarks).fit(X)
    short = exact - ours[-1].singular_values_ ** 2
    assert np.all(short >= 0)
    # Their error is estimated from 2000 samples: here, all.
    assert short.sum() <= ours[0].error_estimate_ * N


@pytest.mark.parametrize("algorithm", ["auto", "krylov", "subspace", "gram"])
def test_every_algorithm_is_within_the_tolerance_of_the_best(algorithm, seed):
    rows = np.random.default_rng(seed).standard_normal((1000, 6))
    ours = recipe(5, m=300, seed=seed, algorithm=algorithm, gamma=0.1).fit(rows)
    F = ours[0].transform(rows)
    assert excess(F, ours[-1].components_, 5, center=True) <= ours[-1].tol


def test_without_centring_it_is_the_spectrum_of_the_kernel_itself():
    ours = recipe(pca={"with_mean": False}, gamma=0.1).fit(X)
    exact = np.linalg.eigvalsh(rbf_kernel(X, gamma=0.1))[::-1][:3]
    assert_close_to_scale(ours[-1].singular_values_ ** 2, exact, float, 1e4)


def test_whitening_divides_by_the_root_of_eigenvalues_over_n_less_one():
    theirs = KernelPCA(3, kernel="rbf", gamma=0.1, eigen_solver="dense")
    expected = theirs.fit_transform(X) / np.sqrt(theirs.eigenvalues_ / (N - 1))
    Z = recipe(pca={"whiten": True}, gamma=0.1).fit_transform(X)
    assert_close_to_scale(with_signs_of(Z, expected), expected, float, 1e4)
    np.testing.assert_allclose(Z.std(axis=0, ddof=1), 1)


def test_the_whole_spectrum_ends_with_the_zero_that_centring_leaves():
    theirs = KernelPCA(kernel="rbf", gamma=0.1, eigen_solver="dense").fit(X)
    eigenvalues = recipe(None, gamma=0.1).fit(X)[-1].singular_values_ ** 2
    assert len(eigenvalues) == N == len(theirs.eigenvalues_) + 1
    assert_close_to_scale(eigenvalues[:-1], theirs.eigenvalues_, float, 1e4)
    assert eigenvalues[-1] <= 100 * np.finfo(float).eps * eigenvalues[0]


def test_a_precomputed_kernel_goes_through(seed):
    K, between = rbf_kernel(X, gamma=0.1), rbf_kernel(NEW, X, gamma=0.1)
    # What is drawn follows from the rows, and those of a kernel matrix are others.
    chosen = np.random.default_rng(seed).choice(N, 30, replace=False)
    ours = recipe(m=30, kernel="precomputed", landmarks=chosen).fit(K)
    same = recipe(m=30, gamma=0.1, landmarks=chosen).fit(X)
    assert_close_to_scale(ours.transform(between), same.transform(NEW), float, 1e6)


def test_sparse_rows_give_what_dense_ones_do(seed):
    rows = np.where(np.abs(X) > 1, X, 0.0)
    ours = recipe(m=30, seed=seed, gamma=0.1).fit(sp.csr_matrix(rows))
    same = recipe(m=30, seed=seed, gamma=0.1).fit(rows)
    Z, expected = ours.transform(sp.csr_matrix(NEW)), same.transform(NEW)
    assert_close_to_scale(with_signs_of(Z, expected), expected, float, 1e6)


def test_a_dask_array_is_embedded_lazily():
    rows = da.from_array(X, chunks=(50, -1))
    ours = recipe(m=30, gamma=0.1).fit(rows)
    Z, expected = ours.transform(rows), recipe(m=30, gamma=0.1).fit(X).transform(X)
    assert isinstance(Z, da.Array)
    assert_close_to_scale(with_signs_of(Z.compute(), expected), expected, float, 1e6)


def test_features_that_are_made_block_by_block_give_the_same_components():
    kernel = NystroemKernel(gamma=0.1, n_components=30, random_state=0).fit(X)
    blocks = (kernel.transform(X[i : i + 40]) for i in range(0, N, 40))
    pca = RandomizedPCA(3, algorithm="gram").fit(blocks)
    same = RandomizedPCA(3, algorithm="gram").fit(kernel.transform(X))
    assert_close_to_scale(pca.components_, same.components_, float, 1e4)
    assert_close_to_scale(pca.explained_variance_, same.explained_variance_, float, 1e3)


def test_a_grid_search_finds_the_width_that_separates_circles(seed):
    rows, y = make_circles(200, noise=0.05, factor=0.5, random_state=seed)
    search = GridSearchCV(
        make_pipeline(
            NystroemKernel(n_components=50, random_state=seed),
            RandomizedPCA(random_state=seed),
            LogisticRegression(C=100),
        ),
        {"nystroemkernel__gamma": [1e-3, 1.0], "randomizedpca__n_components": [1, 6]},
        cv=3,
    ).fit(rows, y)
    assert search.best_params_["nystroemkernel__gamma"] == 1.0
    linear = cross_val_score(LogisticRegression(), rows, y, cv=3).mean()
    assert search.best_score_ > 0.95 > linear


def test_there_is_no_inverse_but_ridge_regression_is_that_of_kernel_pca():
    theirs = KernelPCA(3, kernel="rbf", gamma=0.1, fit_inverse_transform=True, alpha=0.1)
    theirs.fit(X)
    ours = recipe(gamma=0.1).fit(X)
    assert not hasattr(ours, "inverse_transform")
    for exact in (False, True):
        back = NystroemRidge(0.1, gamma=0.1, n_landmarks=N, exact=exact, tol=1e-12)
        back.set_params(fit_intercept=False).fit(ours.transform(X), X)
        expected = theirs.inverse_transform(theirs.transform(NEW))
        assert_close_to_scale(back.predict(ours.transform(NEW)), expected, float, 1e6)


def test_more_components_than_landmarks_are_refused():
    copies = np.tile(X[:5], (20, 1))
    with pytest.raises(ValueError, match=r"n_components=10 .* n_features=5"):
        recipe(10, m=50).fit(copies)
    with pytest.raises(ValueError, match=r"n_components=10 .* n_features=8"):
        recipe(10, m=8).fit(X)


def test_equal_samples_are_all_at_the_origin():
    ours = recipe(1, m=20)
    Z = ours.fit_transform(np.ones((20, 3)))
    assert np.all(np.abs(Z) <= 100 * np.finfo(float).eps)
    assert ours[-1].singular_values_[0] <= 100 * np.finfo(float).eps
