"""RandomizedPCA of data with missing entries."""

import pickle

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.exceptions import ConvergenceWarning

from sklearn_rnla import RandomizedPCA
from tests.invariants import assert_orthonormal_rows
from tests.sources import Lazy, on_disk

FITTED = ["components_", "explained_variance_", "mean_", "noise_variance_"]


def factors(n, p=20, k=3, seed=0, size=3.0):
    """Return rows of k factors and noise of variance one, and the loadings."""
    rng = np.random.default_rng(seed)
    W = size * rng.standard_normal((p, k)) * np.linspace(1, 0.4, k)
    X = rng.standard_normal((n, k)) @ W.T + rng.standard_normal((n, p))
    return X + 3 * rng.standard_normal(p), W


def with_gaps(X, share, seed=0, *, runs=False):
    """Return the rows with a share of the entries missing: any, or a run of each column."""
    n, p = X.shape
    rng = np.random.default_rng(seed)
    missing = rng.random((n, p)) < share
    if runs:
        starts = rng.integers(n, size=p)
        missing = (np.arange(n)[:, np.newaxis] - starts) % n < share * n
    missing[missing.all(axis=1), 0] = False
    return np.where(missing, np.nan, X)


def pca(k=3, **options):
    return RandomizedPCA(k, missing="em", random_state=0, **options)


def sine(V, W):
    """Return the sine of the largest angle between the rows V and the columns W."""
    cosines = np.linalg.svd(V @ np.linalg.qr(W)[0])[1]
    return np.sqrt(max(0.0, 1 - cosines.min() ** 2))


def assert_same(ours, theirs, rtol=1e-8):
    for name in FITTED:
        value = getattr(theirs, name)
        scale = np.abs(value).max()
        np.testing.assert_allclose(
            getattr(ours, name), value, rtol, rtol * scale, err_msg=name
        )


def test_complete_data_are_solved_as_without_the_option():
    X, _ = factors(300)
    for options in ({}, {"algorithm": "krylov"}, {"with_mean": False}):
        ours = pca(**options).fit(X)
        theirs = RandomizedPCA(3, random_state=0, **options).fit(X)
        assert_same(ours, theirs, rtol=0)
        assert ours.n_passes_ == theirs.n_passes_
        assert np.array_equal(ours.transform(X), theirs.transform(X))


@pytest.mark.parametrize("with_mean", [True, False])
def test_with_one_gap_the_components_are_those_of_complete_data(with_mean):
    X, _ = factors(2000)
    Y = X.copy()
    Y[5, 7] = np.nan
    ours = pca(with_mean=with_mean, tol=1e-10).fit(Y)
    theirs = PCA(3).fit(X) if with_mean else TruncatedSVD(3, random_state=0).fit(X)
    assert sine(ours.components_, theirs.components_.T) < 1e-3
    for name in ("explained_variance_", "singular_values_", "explained_variance_ratio_"):
        np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=2e-3)
    if with_mean:
        assert ours.noise_variance_ == pytest.approx(theirs.noise_variance_, rel=1e-3)


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.3, 0.6])
def test_the_subspace_and_the_noise_are_found_within_their_spread(share, runs, seed):
    n = 1500
    X, W = factors(n, seed=seed)
    fitted = pca().fit(with_gaps(X, share, seed, runs=runs))
    # Of the weakest direction, each of 17 angles has this variance or so, with noise of 1.
    # Pairs of columns that are known at the same time are fewer in runs.
    weakest = np.linalg.svd(W)[1][-1] ** 2
    spread = np.sqrt(17 * (1 / weakest + 1 / weakest**2) / n / (1 - share))
    assert sine(fitted.components_, W) < (4 if runs else 2) * spread
    # Four standard deviations.
    n_free = n * ((1 - share) * 20 - 3)
    assert abs(fitted.noise_variance_ - 1) < 4 * np.sqrt(2 / n_free)
    assert fitted.error_estimate_ <= 1e-3


def test_the_noise_is_unbiased_in_few_rows():
    """Mean of 25 data sets of 100 rows, of which 60 % are missing."""
    noises = []
    for seed in range(25):
        X, _ = factors(100, seed=seed)
        noises.append(pca().fit(with_gaps(X, 0.6, seed)).noise_variance_)
    # As small as that of complete data, whose bias is k / n.
    assert abs(np.mean(noises) - 0.97) < 4 * np.std(noises) / np.sqrt(25)


def test_the_likelihood_is_at_a_maximum_and_is_that_of_what_is_known():
    X, _ = factors(400)
    Y = with_gaps(X, 0.3)
    Y[3] = np.nan
    with pytest.warns(UserWarning, match="1 row.s. without any known entry"):
        fitted = pca(tol=1e-9).fit(Y)
    assert fitted.n_samples_ == 399
    C, mean = fitted.get_covariance(), fitted.mean_
    with pytest.warns(UserWarning, match="no known entry"):
        scores = fitted.score_samples(Y)
    for y, score in zip(Y[:20], scores, strict=False):
        o = ~np.isnan(y)
        expected = 0.0
        if o.any():
            expected = multivariate_normal(mean[o], C[np.ix_(o, o)]).logpdf(y[o])
        assert score == pytest.approx(expected, abs=1e-9)
    best = fitted.score(Y[4:])
    for direction in np.random.default_rng(0).standard_normal((5, 3, 20)):
        for step in (-1e-2, 1e-2):
            moved = pickle.loads(pickle.dumps(fitted))
            moved.components_ = np.linalg.qr((moved.components_ + step * direction).T)[0].T
            assert moved.score(Y[4:]) < best


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("k", [3, None])
def test_rows_with_gaps_are_transformed_to_posterior_means(k, whiten):
    X, _ = factors(500)
    fitted = pca(k, whiten=whiten).fit(X)
    Y = with_gaps(X, 0.4)[:30]
    Y[0] = X[0]
    Y[1] = np.nan
    with pytest.warns(UserWarning, match="lie at the mean"):
        Z, std = fitted.transform(Y, return_std=True)
    V = fitted.components_
    if whiten:
        V = V / np.sqrt(fitted.explained_variance_)[:, np.newaxis]
    C, mean = fitted.get_covariance(), fitted.mean_
    for y, z, s in zip(Y, Z, std, strict=True):
        o, m = ~np.isnan(y), np.isnan(y)
        gain = np.linalg.solve(C[np.ix_(o, o)], C[np.ix_(o, m)]).T
        full = y.copy()
        full[m] = mean[m] + gain @ (y[o] - mean[o])
        rest = C[np.ix_(m, m)] - gain @ C[np.ix_(o, m)]
        np.testing.assert_allclose(z, V @ (full - mean), atol=1e-8)
        variances = np.einsum("ki,ij,kj->k", V[:, m], rest, V[:, m])
        np.testing.assert_allclose(s, np.sqrt(np.maximum(variances, 0)), atol=1e-6)
    assert not std[0].any()
    assert not Z[1].any()
    frame = fitted.set_output(transform="pandas").transform(Y[2:])
    np.testing.assert_allclose(frame, Z[2:], atol=1e-12)


def test_the_way_back_fills_in_nearly_as_well_as_the_true_loadings():
    X, _ = factors(1000)
    Y = with_gaps(X, 0.3)
    fitted = pca().fit(Y)
    filled = fitted.inverse_transform(fitted.transform(Y))
    hidden = np.isnan(Y)
    assert np.sqrt(np.mean((filled - X)[hidden] ** 2)) < 1.25
    standard = (fitted.transform(X) - fitted.transform(Y))[hidden.any(axis=1)]
    _, std = fitted.transform(Y, return_std=True)
    standard /= std[hidden.any(axis=1)]
    np.testing.assert_allclose(standard.std(axis=0), 1.0, rtol=0.1)


def test_sources_of_the_same_rows_give_the_same_components(tmp_path):
    X, _ = factors(700)
    Y = with_gaps(X, 0.3)
    expected = pca().fit(Y)
    chunks = da.from_array(Y, chunks=(150, 20))
    for source in (on_disk(Y, tmp_path), Lazy(Y), chunks, sp.csr_array(Y)):
        fitted = pca().fit(source)
        assert_same(fitted, expected)
        np.testing.assert_allclose(
            fitted.transform(source), expected.transform(Y), atol=1e-8
        )
    _, std = pca().fit(chunks).transform(chunks, return_std=True)
    assert isinstance(std, da.Array)
    single = pca().fit(Y.astype(np.float32))
    assert single.transform(Y.astype(np.float32)).dtype == np.float32
    assert_same(single, expected, rtol=1e-4)


def test_weights_count_repetitions():
    X, _ = factors(300)
    Y = with_gaps(X, 0.3)
    weight = np.random.default_rng(0).integers(3, size=300)
    weighted = pca(tol=1e-10).fit(Y, sample_weight=weight)
    repeated = pca(tol=1e-10).fit(np.repeat(Y, weight, axis=0))
    assert_same(weighted, repeated, rtol=1e-6)


@pytest.mark.parametrize("unit", [2.0**-200, 2.0**-57, 2.0**300])
def test_any_unit_gives_the_same_components(unit):
    X, _ = factors(300)
    Y = with_gaps(X, 0.3)
    ours, scaled = pca().fit(Y), pca().fit(Y * unit)
    np.testing.assert_allclose(scaled.components_, ours.components_, atol=1e-10)
    assert scaled.noise_variance_ == pytest.approx(ours.noise_variance_ * unit**2)
    np.testing.assert_allclose(
        scaled.transform(Y * unit) / unit, ours.transform(Y), atol=1e-8
    )


def test_numbers_that_are_not_given_are_those_of_complete_data():
    X, _ = factors(1000)
    Y = with_gaps(X, 0.2)
    for k in (0.8, 0.9, "gavish-donoho"):
        fitted = pca(k).fit(Y)
        assert fitted.n_components_ == RandomizedPCA(k, random_state=0).fit(X).n_components_
        assert_same(fitted, pca(fitted.n_components_).fit(Y), rtol=0.02)
    whole = pca(None).fit(Y)
    assert_orthonormal_rows(whole.components_)
    assert whole.explained_variance_ratio_.sum() == pytest.approx(1)
    assert pca(0).fit(Y).noise_variance_ == pytest.approx(X.var(axis=0).mean(), rel=0.05)


def test_batches_and_streams_come_near_to_a_fit_on_all_rows():
    X, W = factors(2000)
    Y = with_gaps(X, 0.3)
    expected = pca().fit(Y)
    batches = np.split(Y, 10)
    by_batch = pca()
    for batch in batches:
        by_batch.partial_fit(batch)
    by_stream = pca().fit(iter(batches))
    continued = pca().fit(Y[:1000]).partial_fit(Y[1000:])
    for fitted in (by_batch, by_stream, continued):
        assert sine(fitted.components_, expected.components_.T) < 0.02
        np.testing.assert_allclose(
            fitted.explained_variance_, expected.explained_variance_, rtol=0.05
        )
        assert fitted.noise_variance_ == pytest.approx(expected.noise_variance_, rel=0.02)
        assert fitted.n_samples_ == 2000
    first = sine(by_batch.components_, expected.components_.T)
    for batch in batches:
        by_batch.partial_fit(batch)
    assert sine(by_batch.components_, expected.components_.T) < first
    # Complete batches first are those of partial_fit without gaps.
    mixed = pca().fit(iter([X[:500], X[500:1000]]))
    assert_same(mixed, RandomizedPCA(3).fit(iter([X[:500], X[500:1000]])), rtol=0)
    mixed.partial_fit(Y[1000:])
    assert sine(mixed.components_, W) < 1.5 * sine(expected.components_, W)


def test_data_of_exact_rank_are_completed():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300, 3)) @ rng.standard_normal((3, 20)) + 5
    Y = with_gaps(X, 0.3)
    fitted = pca().fit(Y)
    assert np.abs(fitted.inverse_transform(fitted.transform(Y)) - X).max() < 1e-3


def test_what_cannot_be_told_is_refused_by_name():
    X, _ = factors(60)
    Y = with_gaps(X, 0.3)
    with pytest.raises(ValueError, match="missing='em'"):
        RandomizedPCA(3).fit(Y)
    fitted = RandomizedPCA(3).fit(X)
    for method in (fitted.transform, fitted.score_samples):
        with pytest.raises(ValueError, match="missing='em'"):
            method(Y)
    column = np.where(np.arange(20) == 4, np.nan, X)
    with pytest.raises(
        ValueError, match=r"no known entry in 1 of its 20 features .columns 4"
    ):
        pca().fit(column)
    for values in (np.where(np.isnan(Y), np.inf, X), np.where(np.isnan(Y), Y, np.inf)):
        with pytest.raises(ValueError, match="infinity"):
            pca().fit(values)
    Y[0, 0] = np.inf
    with pytest.raises(ValueError, match="infinity"):
        pca().fit(X).transform(Y)
    Y[0, 0] = 0.0
    with pytest.raises(ValueError, match=r"n_components=15 .* at most"):
        pca(15).fit(with_gaps(X, 0.6))
    with pytest.raises(ValueError, match="'mle' needs rows without"):
        pca("mle").fit(Y)
    with pytest.raises(ValueError, match="must be an int where rows"):
        pca(0.5).partial_fit(Y)
    with pytest.raises(ValueError, match="Begin with a larger one"):
        pca().partial_fit(X[:4]).partial_fit(Y)
    with pytest.raises(ValueError, match="read once"):
        pca(algorithm="krylov").fit(iter([Y]))
    with pytest.warns(ConvergenceWarning, match="Increase max_passes"):
        pca(max_passes=1, tol=0).fit(Y)


def test_nan_is_allowed_where_it_is_taken():
    for missing in ("error", "em"):
        tags = RandomizedPCA(missing=missing).__sklearn_tags__()
        assert tags.input_tags.allow_nan is (missing == "em")


def test_with_little_noise_the_subspace_is_that_of_filling_in_until_nothing_changes():
    """What statsmodels' PCA(missing="fill-em") converges to."""
    X, W = factors(300, size=300.0)
    Y = with_gaps(X, 0.2)
    hidden = np.isnan(Y)
    filled = np.where(hidden, np.nanmean(Y, axis=0), Y)
    for _ in range(100):
        theirs = PCA(3, svd_solver="full").fit(filled)
        filled[hidden] = theirs.inverse_transform(theirs.transform(filled))[hidden]
    ours = pca(tol=1e-8).fit(Y)
    assert sine(ours.components_, theirs.components_.T) < 0.002 * sine(ours.components_, W)
    again = ours.inverse_transform(ours.transform(Y))
    spread = np.std((filled - X)[hidden])
    assert np.abs((again - filled)[hidden]).max() < 0.02 * spread
