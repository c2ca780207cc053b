"""Spectra of representations against dense ones, and bounds that hold."""

import dask.array as da
import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_rnla import representation_spectrum
from sklearn_rnla.neural.representation import activations
from sklearn_rnla.neural.representation import spectrum as representation
from tests.matrices import SPECTRA, with_spectrum
from tests.sources import Lazy, on_disk, sparse_chunks

COUNTS = ("effective_rank", "participation_ratio", "stable_rank")


def expected_counts(eigenvalues):
    p = eigenvalues[eigenvalues > 0] / eigenvalues.sum()
    directions = [
        1 + np.argmax(np.cumsum(p) >= share - 1e-12) for share in (0.9, 0.95, 0.99)
    ]
    return np.exp(-(p * np.log(p)).sum()), 1 / (p**2).sum(), 1 / p.max(), directions


def assert_within_bounds(spectrum, truth, slack=1e-9):
    for name, true in zip(COUNTS, truth, strict=False):
        lower, upper = getattr(spectrum.lower, name), getattr(spectrum.upper, name)
        assert lower * (1 - slack) <= true <= upper * (1 + slack), name
        assert lower * (1 - slack) <= getattr(spectrum, name) <= upper * (1 + slack), name
    assert np.all(spectrum.lower.n_directions <= truth[3])
    assert np.all(truth[3] <= spectrum.upper.n_directions)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("shape", [(300, 20), (20, 90), (30, 30)])
def test_it_is_that_of_the_dense_covariance(dtype, center, shape, seed):
    X = np.random.default_rng(seed).standard_normal(shape) * np.arange(1, shape[1] + 1)
    X = (X + 3).astype(dtype)
    found = representation_spectrum(X, center=center)
    C = np.cov(X.T.astype(float)) if center else X.T.astype(float) @ X / len(X)
    truth = np.linalg.eigvalsh(C)[::-1][: min(shape)]
    np.testing.assert_allclose(
        found.eigenvalues, truth, atol=50 * np.finfo(dtype).eps * truth[0]
    )
    assert found.total_variance == pytest.approx(np.trace(C), rel=1e-5)
    assert found.n_samples == len(X)
    counts = expected_counts(np.maximum(truth, 0))
    for name, true in zip(COUNTS, counts, strict=False):
        assert getattr(found, name) == pytest.approx(true, rel=1e-3)
        assert getattr(found.lower, name) == getattr(found.upper, name)
    np.testing.assert_array_equal(found.n_directions, counts[3])


def test_equal_variances_count_one_dimension_each():
    X = np.concatenate([np.eye(12), -np.eye(12)])
    found = representation_spectrum(X)
    assert [getattr(found, name) for name in COUNTS] == pytest.approx([12] * 3)
    # 0.9 * 12 = 10.8, 0.95 * 12 = 11.4
    assert found.n_directions.tolist() == [11, 12, 12]
    ten = representation_spectrum(np.concatenate([np.eye(10), -np.eye(10)]))
    assert ten.n_directions.tolist() == [9, 10, 10]


def test_one_direction_counts_one(seed):
    rng = np.random.default_rng(seed)
    X = np.outer(rng.standard_normal(50), rng.standard_normal(9)) + rng.standard_normal(9)
    found = representation_spectrum(X)
    assert [getattr(found, name) for name in COUNTS] == pytest.approx([1] * 3)
    assert found.n_directions.tolist() == [1, 1, 1]


def test_scale_and_rotation_change_no_count(seed):
    X = with_spectrum(SPECTRA["harmonic"](15), 80, 15, seed)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((15, 15)))[0]
    one, two = representation_spectrum(X), representation_spectrum(7 * X @ Q + 5)
    for name in COUNTS:
        assert getattr(one, name) == pytest.approx(getattr(two, name))
    np.testing.assert_array_equal(one.n_directions, two.n_directions)


def test_a_large_mean_is_taken_away(seed):
    X = np.random.default_rng(seed).standard_normal((400, 10))
    offset = (X + 1e4).astype(np.float32)
    found = representation_spectrum(offset)
    truth = representation_spectrum(offset.astype(float) - 1e4)
    np.testing.assert_allclose(found.eigenvalues, truth.eigenvalues, rtol=1e-4)
    # What is not taken away is one direction that dwarfs all others.
    raw = representation_spectrum(offset, center=False)
    assert raw.effective_rank == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("spectrum", SPECTRA)
@pytest.mark.parametrize("k", [3, 20])
def test_bounds_from_leading_eigenvalues_hold_the_truth(spectrum, k, seed):
    X = with_spectrum(SPECTRA[spectrum](60), 400, 60, seed)
    truth = expected_counts(representation_spectrum(X).eigenvalues)
    found = representation_spectrum(X, k, random_state=seed)
    assert found.eigenvalues.shape == (k,)
    assert_within_bounds(found, truth)
    streamed = representation_spectrum((X[i : i + 70] for i in range(0, 400, 70)), k)
    assert_within_bounds(streamed, truth)


def test_bounds_hold_where_few_passes_leave_the_iteration_inexact(seed):
    s = np.arange(1.0, 601) ** -0.7
    X = with_spectrum(s, 1200, 700, seed)
    truth = expected_counts(representation_spectrum(X).eigenvalues)
    found = representation_spectrum(X, 10, tol=0.05, random_state=seed)
    assert_within_bounds(found, truth)


def test_more_eigenvalues_make_narrower_bounds():
    X = with_spectrum(SPECTRA["harmonic"](80), 300, 80)
    widths = []
    for k in (5, 20, 60, 80):
        found = representation_spectrum(X, k)
        widths.append(found.upper.effective_rank - found.lower.effective_rank)
    assert np.all(np.diff(widths) < 0)
    assert widths[-1] == 0


def test_a_power_law_tail_is_guessed_well():
    s = np.arange(1.0, 301) ** -0.8
    X = with_spectrum(s, 900, 300)
    whole, part = representation_spectrum(X), representation_spectrum(X, 40)
    assert part.effective_rank == pytest.approx(whole.effective_rank, rel=0.02)
    assert part.participation_ratio == pytest.approx(whole.participation_ratio, rel=0.01)
    assert np.all(np.abs(part.n_directions / whole.n_directions - 1) <= 0.03)


def dead_neurons(seed):
    X = np.maximum(np.random.default_rng(seed).standard_normal((400, 60)), 0)
    X[:, 10:] = 0
    return X, 24


def one_hot(seed):
    return np.eye(12)[np.random.default_rng(seed).integers(0, 12, 300)], 12 - 1


def twice(seed):
    return np.tile(np.random.default_rng(seed).standard_normal((300, 6)), 9), 8


def product(seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((300, 7)) @ rng.standard_normal((7, 90)), 7


# Whether what is known and the total differ, and which way, is rounding.
@pytest.mark.parametrize("make", [dead_neurons, one_hot, twice, product])
@pytest.mark.parametrize("in_blocks", [False, True])
def test_data_of_low_rank_are_counted_where_all_their_directions_are_known(make, in_blocks):
    for seed in range(8):
        X, k = make(seed)
        truth = expected_counts(np.linalg.svd(X - X.mean(axis=0))[1] ** 2)
        source = iter(np.array_split(X, 4)) if in_blocks else X
        found = representation_spectrum(source, k, random_state=seed)
        assert found[2:5] == pytest.approx(truth[:3])
        assert_within_bounds(found, truth)


def test_eigenvalues_that_vanish_beside_the_largest_count_nothing():
    found = representation.dimensionality(np.array([1e3, 1e3, 5e-324]))
    assert found[:3] == pytest.approx((2, 2, 2))


def test_wide_data_are_sketched(monkeypatch, seed):
    X = with_spectrum(SPECTRA["harmonic"](60), 300, 60, seed)
    truth = expected_counts(representation_spectrum(X).eigenvalues)
    monkeypatch.setattr(representation, "WIDEST", 50)
    monkeypatch.setattr(representation, "_LEADING", 15)
    found = representation_spectrum(X, random_state=seed)
    assert len(found.eigenvalues) == 15
    assert_within_bounds(found, truth)
    # Few rows: all eigenvalues, from the Gram matrix of the samples.
    assert len(representation_spectrum(X[:40]).eigenvalues) == 40
    # Of a stream they are not known to be few.
    assert_within_bounds(representation_spectrum(iter([X])), truth)


SOURCES = {
    "list": lambda X, _: X.tolist(),
    "csr_matrix": lambda X, _: sp.csr_matrix(X),
    "csc_array": lambda X, _: sp.csc_array(X),
    "memmap": on_disk,
    "lazy": lambda X, _: Lazy(X),
    "dask": lambda X, _: da.from_array(X, chunks=(170, 7)),
    "dask sparse": lambda X, _: sparse_chunks(X, 170),
    "iterator": lambda X, _: (X[i : i + 90] for i in range(0, len(X), 90)),
}
SPARSE = np.random.default_rng(0).standard_normal((400, 12))
SPARSE *= np.random.default_rng(1).random(SPARSE.shape) < 0.5


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
def test_every_source_gives_the_same(make, tmp_path):
    expected = representation_spectrum(SPARSE)
    found = representation_spectrum(make(SPARSE, tmp_path))
    np.testing.assert_allclose(found.eigenvalues, expected.eigenvalues)
    assert found[2:5] == pytest.approx(expected[2:5])
    assert found.n_samples == 400
    small = representation_spectrum(make(SPARSE, tmp_path), block_size=64, n_jobs=2)
    np.testing.assert_allclose(small.eigenvalues, expected.eigenvalues)
    leading = representation_spectrum(make(SPARSE, tmp_path), 3, random_state=0)
    assert_within_bounds(leading, expected_counts(expected.eigenvalues))


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_samples_are_taken_by_slices_of_columns(make, monkeypatch):
    X = SPARSE[:9].copy()
    expected = representation_spectrum(X).eigenvalues
    monkeypatch.setattr(activations, "_SLICE", 5)
    found = representation_spectrum(make(X)).eigenvalues
    np.testing.assert_allclose(found, expected, atol=1e-14)


CONSTANT = {
    "zero": np.zeros((30, 4)),
    "0.1": np.full((300, 4), 0.1),
    "single": np.full((300, 4), 0.1, np.float32),
    "sparse": sp.csr_array(np.full((300, 4), 0.1)),
    "wide": np.full((30, 400), 0.1),
    "one row": np.ones((1, 4)),
}


@pytest.mark.parametrize("X", CONSTANT.values(), ids=CONSTANT)
@pytest.mark.parametrize("k", [None, 1])
def test_what_does_not_vary_has_no_dimensions(X, k):
    found = representation_spectrum(X, k)
    assert not found.eigenvalues.any()
    assert found.total_variance == 0
    for counts in (found[2:6], found.lower, found.upper):
        assert [*counts[:3], *counts[3]] == [0] * 6


@pytest.mark.parametrize("rows", [7, 100, 333])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_stream_that_does_not_vary_has_no_dimensions(rows, dtype, seed):
    row = 1000 * np.random.default_rng(seed).standard_normal(30)
    X = np.tile(row, (1000, 1)).astype(dtype)
    found = representation_spectrum((X[i : i + rows] for i in range(0, 1000, rows)), 5)
    assert not found.eigenvalues.any()
    assert found.total_variance == 0
    for counts in (found[2:6], found.lower, found.upper):
        assert [*counts[:3], *counts[3]] == [0] * 6
    # A mean is a direction, where it is not taken away.
    raw = representation_spectrum(iter(np.array_split(X, 9)), 5, center=False)
    assert raw.effective_rank == pytest.approx(1)


def test_one_row_has_a_second_moment():
    found = representation_spectrum(np.array([[3.0, 4.0]]), center=False)
    assert found.eigenvalues.tolist() == pytest.approx([25.0])
    assert found.effective_rank == pytest.approx(1)


NAN = np.where(np.eye(40, 5), np.nan, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: representation_spectrum(NAN), "Input X contains NaN"),
        (lambda: representation_spectrum(Lazy(NAN)), "NaN|infinity"),
        (lambda: representation_spectrum(Lazy(NAN), 2), "NaN|infinity"),
        (lambda: representation_spectrum(Lazy(NAN[:4])), "NaN|infinity"),
        (lambda: representation_spectrum(iter([NAN]), 2), "NaN|infinity"),
        (lambda: representation_spectrum(SPARSE[0]), "Expected 2D array"),
        (lambda: representation_spectrum(SPARSE, 0), "'n_components' parameter"),
        (lambda: representation_spectrum(SPARSE[:0]), "0 sample"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


UNITS = [(np.float32, 1e-37), (np.float32, 1e-23), (np.float32, 1e30)]
UNITS += [(np.float64, 1e-300), (np.float64, 1e-170), (np.float64, 1e170)]


@pytest.mark.parametrize(("dtype", "unit"), UNITS)
@pytest.mark.parametrize("first", [0, 40])
@pytest.mark.parametrize("center", [True, False])
def test_units_do_not_matter(dtype, unit, first, center):
    """Even where the first rows tell nothing of the others."""
    X = np.random.default_rng(0).standard_normal((300, 20)) * np.arange(1, 21)
    X[:first] = 0
    plain, inputs = X.astype(dtype), (X * unit).astype(dtype)
    calls = {
        "features": lambda A: representation_spectrum(A, center=center),
        "samples": lambda A: representation_spectrum(A[:60].repeat(5, 1), center=center),
        "leading": lambda A: representation_spectrum(A, 5, center=center, random_state=0),
        "lazy": lambda A: representation_spectrum(Lazy(A), center=center),
        "sparse": lambda A: representation_spectrum(sp.csr_array(A), center=center),
    }
    if not first:
        calls["stream"] = lambda A: representation_spectrum(
            iter(np.array_split(A, 3)), 5, center=center
        )
    for name, call in calls.items():
        expected, found = call(plain), call(inputs)
        for count in COUNTS:
            np.testing.assert_allclose(
                getattr(found, count), getattr(expected, count), rtol=1e-4, err_msg=name
            )
        if 1e-100 < unit < 1e100:
            values = found.eigenvalues / unit**2
            np.testing.assert_allclose(
                values, expected.eigenvalues, rtol=1e-4, atol=1e-5, err_msg=name
            )
