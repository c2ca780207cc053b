"""partial_fit and streams."""

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.decomposition import IncrementalPCA

from sklearn_rnla import RandomizedPCA
from tests.invariants import assert_close_to_scale, assert_orthonormal_rows, excess
from tests.matrices import gallery, with_spectrum


def captured(X, V):
    X = X - X.mean(axis=0)
    return np.sum((X @ V.T.astype(float)) ** 2)


@pytest.mark.parametrize("batch", [60, 150])
def test_it_captures_no_less_than_incremental_pca(batch, seed):
    for name, X in gallery(600, 50, seed=seed):
        ours, theirs = RandomizedPCA(5), IncrementalPCA(5)
        for start in range(0, 600, batch):
            ours.partial_fit(X[start : start + batch])
            theirs.partial_fit(X[start : start + batch])
        floor = captured(X, theirs.components_)
        assert captured(X, ours.components_) >= floor * (1 - 1e-12), name
        assert excess(X, ours.components_, 5, True) <= ours.error_estimate_ + 1e-10
        assert_close_to_scale(ours.mean_, theirs.mean_, float, 1e4)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, sp.csc_matrix])
@pytest.mark.parametrize("cuts", [range(1, 200), [1, 2, 50, 51, 199], [100]])
def test_batches_of_any_size_give_the_same_answer(container, cuts):
    X = with_spectrum(0.5 ** np.arange(15), 200, 15) + 1
    pca = RandomizedPCA(4)
    for batch in np.split(X, list(cuts)):
        pca.partial_fit(container(batch))
    reference = RandomizedPCA(4).fit(X)
    for name in ("components_", "explained_variance_", "singular_values_", "mean_"):
        assert_close_to_scale(getattr(pca, name), getattr(reference, name), float, 1e7)
    assert pca.noise_variance_ == pytest.approx(reference.noise_variance_, rel=1e-6)
    assert pca.n_samples_seen_ == 200


def test_weights_of_a_batch_equal_repeated_rows(seed):
    X = np.random.default_rng(seed).standard_normal((60, 8))
    w = np.random.default_rng(seed).integers(0, 3, 60)
    weighted, repeated = RandomizedPCA(3), RandomizedPCA(3)
    for rows in (slice(0, 30), slice(30, 60)):
        weighted.partial_fit(X[rows], sample_weight=w[rows])
        repeated.partial_fit(np.repeat(X[rows], w[rows], axis=0))
    assert_close_to_scale(weighted.components_, repeated.components_, float, 1e5)
    assert_close_to_scale(
        weighted.explained_variance_, repeated.explained_variance_, float, 1e5
    )


def test_first_batches_smaller_than_the_rank_are_defined():
    X = np.random.default_rng(0).standard_normal((40, 10)).astype(np.float32)
    pca = RandomizedPCA(6)
    for n, row in enumerate(X, start=1):
        pca.partial_fit(row[np.newaxis])
        assert pca.components_.shape == (6, 10)
        assert pca.components_.dtype == np.float32
        assert_orthonormal_rows(pca.components_)
        assert np.count_nonzero(pca.singular_values_ > 1e-6) == min(n - 1, 6)
        assert np.isfinite(pca.explained_variance_).all()


def test_it_goes_on_from_a_fit():
    X = with_spectrum(0.3 ** np.arange(12), 300, 12)
    pca = RandomizedPCA(5).fit(X[:200]).partial_fit(X[200:])
    reference = RandomizedPCA(5).fit(X)
    np.testing.assert_allclose(pca.singular_values_, reference.singular_values_, rtol=1e-2)
    assert_close_to_scale(pca.mean_, reference.mean_, float, 1e5)
    assert excess(X, pca.components_, 5, True) <= pca.error_estimate_


def test_a_fraction_of_variance_may_change_its_rank_as_data_come():
    X = np.random.default_rng(0).standard_normal((100, 10))
    X[:50, 1:] *= 1e-3
    pca = RandomizedPCA(0.9).partial_fit(X[:50])
    assert pca.n_components_ == 1
    assert pca.partial_fit(X[50:]).n_components_ > 5


def test_a_failed_batch_leaves_the_state_before_it():
    X = np.random.default_rng(0).standard_normal((50, 6))
    pca = RandomizedPCA(2).partial_fit(X)
    before = vars(pca).copy()
    for bad in (np.full((3, 6), np.nan), X[:, :3], [["a"] * 6]):
        with pytest.raises(ValueError, match=r"NaN|features|convert"):
            pca.partial_fit(bad)
        assert all(vars(pca)[key] is before[key] for key in before)
    assert pca.partial_fit(X).n_samples_seen_ == 100


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_features", [30, 700])
@pytest.mark.parametrize("with_mean", [True, False])
@pytest.mark.parametrize("far", [0, 2020, 1.7e9])
def test_batches_below_full_rank_keep_components_apart(
    container, n_features, with_mean, far, seed
):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((240, 6)) @ rng.standard_normal((6, n_features))
    X *= rng.random(n_features) < 0.5
    X[:, 0] += far
    pca = RandomizedPCA(9, with_mean=with_mean, whiten=True)
    for batch in np.split(X, 4):
        pca.partial_fit(container(batch))
    s = np.linalg.svd(X - X.mean(axis=0) * with_mean, compute_uv=False)[:9]
    # The mean is rounded, and so are the data about it.
    assert_close_to_scale(pca.singular_values_, s, float, max(1e4, far))
    assert_orthonormal_rows(pca.components_)
    # Of whitened coordinates the mean square is one: none is rounding.
    assert np.abs(pca.transform(container(X))).max() < 10


def fitted(how, n_components, X, **params):
    return getattr(RandomizedPCA(n_components, **params), how)(X)


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("more", [20, None, 0.999])
def test_components_that_were_dropped_do_not_come_back(how, more):
    X = np.random.default_rng(0).standard_normal((300, 80))
    pca = fitted(how, 5, X)
    before = vars(pca.set_params(n_components=more)).copy()
    with pytest.raises(ValueError, match=f"n_components={more} .*=5 .* fit"):
        pca.partial_fit(X)
    assert vars(pca) == before


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("n_components", [None, 0.5, 8, 3])
def test_fewer_components_than_before_are_those_of_all_the_rows(how, n_components):
    X = np.random.default_rng(0).standard_normal((300, 8))
    pca = fitted(how, None, X[:150]).set_params(n_components=n_components)
    pca.partial_fit(X[150:])
    reference = RandomizedPCA(n_components).fit(X)
    for name in ("singular_values_", "explained_variance_ratio_"):
        assert_close_to_scale(getattr(pca, name), getattr(reference, name), float, 1e5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_more_components_come_where_none_was_dropped(dtype):
    X = np.random.default_rng(0).standard_normal((300, 8)).astype(dtype)
    pca = RandomizedPCA(3).partial_fit(X[:150])
    reference = RandomizedPCA(8).fit(X)
    pca.set_params(n_components=8).partial_fit(X[150:])
    assert_close_to_scale(pca.singular_values_, reference.singular_values_, dtype, 1e4)
    whole = RandomizedPCA().fit(X[:5]).partial_fit(X[5:])
    assert_close_to_scale(whole.singular_values_, reference.singular_values_, dtype, 1e4)


def test_the_bound_holds_when_a_fraction_goes_on_from_a_fit():
    X = with_spectrum(np.arange(1.0, 41) ** -0.5, 600, 40)
    pca = RandomizedPCA(0.6).fit(X[:400]).partial_fit(X[400:])
    k = pca.n_components_
    assert excess(X, pca.components_, k, True) <= pca.error_estimate_


@pytest.mark.parametrize("how", ["fit", "partial_fit"])
@pytest.mark.parametrize("with_mean", [True, False])
def test_centring_cannot_change_between_batches(how, with_mean):
    X = np.random.default_rng(0).standard_normal((100, 5)) + 2
    pca = fitted(how, 3, X, with_mean=with_mean).set_params(with_mean=not with_mean)
    with pytest.raises(ValueError, match=f"={not with_mean} .*={with_mean}: call fit"):
        pca.partial_fit(X)
    assert pca.fit(X).partial_fit(X).n_samples_ == 200


@pytest.mark.parametrize("n", [7, 49, 100])
@pytest.mark.parametrize("how", ["fit", "partial_fit"])
def test_weights_that_sum_to_one_have_no_variance(how, n):
    X = np.random.default_rng(0).standard_normal((n, 5))
    with pytest.raises(ValueError, match="sample_weight sums to 1"):
        getattr(RandomizedPCA(3), how)(X, sample_weight=np.full(n, 1 / n))
    one = np.zeros(n)
    one[0] = 1
    first = RandomizedPCA(3).partial_fit(X, sample_weight=one)
    assert not first.explained_variance_.any()
    first.partial_fit(X, sample_weight=np.full(n, 1 / n))
    assert np.isfinite(first.explained_variance_).all()
    RandomizedPCA(3, with_mean=False).partial_fit(X, sample_weight=np.full(n, 1 / n))


@pytest.mark.parametrize("algorithm", ["auto", "gram"])
def test_a_short_stream_has_as_many_components_as_rows(algorithm):
    X = np.random.default_rng(0).standard_normal((6, 20))
    pca = RandomizedPCA(algorithm=algorithm).fit(iter([X[:3], X[3:]]))
    assert pca.n_components_ == len(pca.components_) == len(pca.singular_values_) == 6


def test_batches_far_from_the_origin_keep_their_variance():
    X = 1.7e9 + 3600 * np.random.default_rng(0).standard_normal((500, 6))
    pca = RandomizedPCA(2, with_mean=False).partial_fit(X[:200]).partial_fit(X[200:])
    variances = (X @ pca.components_.T).var(axis=0)
    np.testing.assert_allclose(pca.explained_variance_, variances, rtol=1e-3)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
@pytest.mark.parametrize("n_features", [8, 900])
def test_the_variances_of_the_features_are_those_of_incremental_pca(container, n_features):
    X = sp.random(200, n_features, density=0.3, random_state=0).toarray() + 0.0
    X[:, 0] += 1e4
    ours, theirs = RandomizedPCA(4), IncrementalPCA(4)
    for batch in np.split(X, 4):
        ours.partial_fit(container(batch))
        theirs.partial_fit(batch)
    assert_close_to_scale(ours.var_, X.var(axis=0), float, 1e6)
    assert_close_to_scale(ours.var_, theirs.var_, float, 1e8)
    assert not hasattr(RandomizedPCA(4).fit(X).partial_fit(X), "var_")
    assert not hasattr(ours.fit(X), "var_")


def test_the_size_of_a_batch_is_that_of_the_blocks_read():
    X = np.random.default_rng(0).standard_normal((60, 4))
    assert RandomizedPCA(2, block_size=25).fit(X).batch_size_ == 25
    assert RandomizedPCA(2).fit(X).batch_size_ == 60
    assert RandomizedPCA(2).fit(iter([X[:10], X[10:50], X[50:]])).batch_size_ == 40
    assert RandomizedPCA(2).fit(X).partial_fit(X[:7]).batch_size_ == 7


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_whitening_of_single_precision_leaves_out_what_is_rounding(container):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 4)) @ rng.standard_normal((4, 500))
    X = container(X.astype(np.float32))
    pca = RandomizedPCA(8, whiten=True).partial_fit(X[:100]).partial_fit(X[100:])
    assert np.abs(pca.transform(X)).max() < 10
