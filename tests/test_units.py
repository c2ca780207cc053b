"""Data in small and in large units: what is found has the unit of the data."""

import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose

from sklearn_rnla import RandomizedPCA
from sklearn_rnla.linalg import one_view_svd, projection_error, randomized_svd, range_finder
from sklearn_rnla.operators.scaling import is_in_range
from tests.sources import Lazy, on_disk

UNITS = [
    *((np.float32, unit) for unit in (1e-30, 1e-25, 1e-22, 1e-17, 1e17)),
    *((np.float64, unit) for unit in (1e-290, 1e-170, 1e-120, 1e-82, 1e77, 1e120, 1e150)),
]

SOURCES = {
    "ndarray": lambda X, path: X,
    "csr": lambda X, path: sp.csr_array(X),
    "memmap": on_disk,
    "lazy": lambda X, path: Lazy(X),
    "iterator": lambda X, path: iter(np.array_split(X, 3)),
}


def data(dtype=np.float64):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 30)) * np.linspace(3, 0.1, 30) + np.linspace(0, 2, 30)
    return X.astype(dtype)


def assert_same_model(found, expected, unit, X):
    """Assert that a model of X is that of ``X / unit``, but for the unit."""
    s = found.singular_values_.astype(np.float64) / unit
    assert_allclose(s, expected.singular_values_, rtol=2e-3)
    ratios = found.explained_variance_ratio_
    assert_allclose(ratios, expected.explained_variance_ratio_, rtol=2e-3)
    assert_allclose(found.mean_.astype(np.float64) / unit, expected.mean_, atol=1e-3)
    if 1e-150 < unit < 1e150:
        variances = found.explained_variance_.astype(np.float64) / unit / unit
        assert_allclose(variances, expected.explained_variance_, rtol=2e-3)
    spread = np.asarray(found.transform(X)).std(axis=0)
    assert_allclose(spread, np.asarray(expected.transform(data())).std(axis=0), rtol=1e-2)
    scores = np.asarray(found.score_samples(X)) + X.shape[1] * np.log(unit)
    assert_allclose(scores, expected.score_samples(data()), rtol=1e-2)


@pytest.mark.parametrize(("dtype", "unit"), UNITS)
@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("algorithm", ["auto", "krylov", "gram", "one-view"])
def test_components_and_variances(algorithm, name, dtype, unit, tmp_path):
    if name == "iterator" and algorithm == "krylov":
        pytest.skip("An iterator is read once.")
    X = data(dtype) if dtype == np.float64 else data()
    scaled = (X * unit).astype(dtype)

    def fitted(X):
        pca = RandomizedPCA(5, algorithm=algorithm, whiten=True, random_state=0)
        with np.errstate(over="ignore"):
            return pca.fit(SOURCES[name](X, tmp_path))

    assert_same_model(fitted(scaled), fitted(data(dtype)), unit, scaled)


@pytest.mark.parametrize(("dtype", "unit"), UNITS)
def test_partial_fit_keeps_the_unit_of_the_first_batch(dtype, unit):
    def fitted(X, first):
        pca = getattr(RandomizedPCA(5, random_state=0), first)(X[:150])
        return pca.partial_fit(X[150:])

    for first in ("partial_fit", "fit"):
        with np.errstate(over="ignore"):
            found = fitted((data() * unit).astype(dtype), first)
        s = found.singular_values_.astype(np.float64) / unit
        assert_allclose(s, fitted(data(), first).singular_values_, rtol=2e-3)


@pytest.mark.parametrize(("dtype", "unit"), UNITS)
@pytest.mark.parametrize("name", ["ndarray", "csr", "memmap"])
def test_drivers(name, dtype, unit, tmp_path):
    (tmp_path / "plain").mkdir()
    plain = SOURCES[name](data(dtype), tmp_path / "plain")
    scaled = SOURCES[name]((data() * unit).astype(dtype), tmp_path)
    for driver in (randomized_svd, one_view_svd):
        found, expected = (driver(A, 5, random_state=0) for A in (scaled, plain))
        s = found.singular_values.astype(np.float64) / unit
        assert_allclose(s, expected.singular_values, rtol=2e-3)
    found, expected = (range_finder(A, 5, random_state=0) for A in (scaled, plain))
    assert_allclose(np.array(found[1:]) / unit, expected[1:], rtol=2e-3)
    found, expected = (projection_error(A, np.eye(30)[:3]) for A in (scaled, plain))
    assert_allclose([found.frobenius / unit, found.relative], expected, rtol=2e-3)


@pytest.mark.parametrize("name", ["ndarray", "csr", "memmap"])
@pytest.mark.parametrize("algorithm", ["krylov", "gram"])
@pytest.mark.parametrize("unit", [1e-30, 1e12])
def test_first_rows_that_are_not_like_the_others(algorithm, name, unit, tmp_path):
    X = np.zeros((2000, 30), np.float32)
    X[1600:] = data() * unit
    expected = np.linalg.svd(X.astype(np.float64), compute_uv=False)[:5]
    source = SOURCES[name](X, tmp_path)
    pca = RandomizedPCA(5, algorithm=algorithm, with_mean=False, random_state=0).fit(source)
    assert_allclose(pca.singular_values_, expected, rtol=2e-3)
    found = randomized_svd(source, 5, random_state=0).singular_values
    assert_allclose(found, expected, rtol=2e-3)


def test_ordinary_data_are_read_as_they_are():
    # Grey levels of a million pictures, and fluxes that need another unit.
    assert is_in_range(1e6 * 784 * 255.0**2, np.float32)
    assert is_in_range(1e-6, np.float32)
    assert not is_in_range(1e-34, np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert RandomizedPCA(2).fit(data())._exponent == 0


@pytest.mark.parametrize("exponent", [-1060, -1000, -480, 480, 1000, 1018])
def test_the_gaussian_of_principal_components_is_right_in_any_unit(exponent):
    X = np.random.default_rng(0).standard_normal((60, 4)) * [1, 2, 3, 4]
    usual = RandomizedPCA(2, random_state=0).fit(X)
    with np.errstate(over="ignore"):
        # Out of range they are zero or infinite, as variances are.
        scaled = RandomizedPCA(2, random_state=0).fit(np.ldexp(X, exponent))
        covariance = np.ldexp(usual.get_covariance(), 2 * exponent)
        precision = np.ldexp(usual.get_precision(), -2 * exponent)
    rtol = 1e-12 if exponent > -1000 else 1e-2
    np.testing.assert_allclose(scaled.get_covariance(), covariance, rtol=rtol)
    np.testing.assert_allclose(scaled.get_precision(), precision, rtol=rtol)
    expected = usual.score(X) - 4 * exponent * np.log(2)
    assert scaled.score(np.ldexp(X, exponent)) == pytest.approx(expected, rel=1e-3)
