"""Similarities of representations and subspaces, against the formulas on all pairs."""

import dask.array as da
import numpy as np
import pytest
import scipy.linalg
import scipy.sparse as sp

from sklearn_rnla import linear_cka, principal_angles, subspace_overlap
from sklearn_rnla.neural.representation import activations, similarity
from tests.sources import Lazy, on_disk, sparse_chunks


def related(n, p, q, seed, dtype=np.float64):
    """Return two representations with something in common, and means of their own."""
    rng = np.random.default_rng(seed)
    common = rng.standard_normal((n, 4))
    X = common @ rng.standard_normal((4, p)) + rng.standard_normal((n, p)) + 2
    Y = common @ rng.standard_normal((4, q)) + 2 * rng.standard_normal((n, q)) - 3
    return X.astype(dtype), Y.astype(dtype)


def dense_cka(X, Y):
    """Return CKA from centred kernels, and the debiased one from U-centred kernels."""
    X, Y = X.astype(float), Y.astype(float)
    n = len(X)
    K, L = X @ X.T, Y @ Y.T
    H = np.eye(n) - 1 / n
    plain = [np.vdot(H @ A @ H, B) for A, B in ((K, L), (K, K), (L, L))]
    K, L = u_centred(K), u_centred(L)
    debiased = [np.vdot(A, B) for A, B in ((K, L), (K, K), (L, L))]
    return [a / np.sqrt(b * c) for a, b, c in (plain, debiased)]


def u_centred(K):
    # Szekely & Rizzo (2014), definition 2.
    n = len(K)
    K = K - np.diag(np.diag(K))
    rows = K.sum(axis=0) / (n - 2)
    K = K - rows - rows[:, None] + K.sum() / ((n - 1) * (n - 2))
    return K - np.diag(np.diag(K))


@pytest.mark.parametrize("shape", [(60, 12, 5), (200, 30, 3), (25, 30, 50), (25, 8, 40)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cka_is_that_of_the_kernels(shape, dtype, seed):
    X, Y = related(*shape, seed, dtype)
    tolerance = 1e4 * float(np.finfo(dtype).eps)
    found = linear_cka(X, Y)
    assert found[:2] == pytest.approx(dense_cka(X, Y), rel=tolerance)
    # Whichever side is taken.
    for block_size in (7, 1000):
        lazily = linear_cka(iter([X]), Y, block_size=block_size)
        assert lazily[:2] == pytest.approx(found[:2], rel=tolerance)
    assert linear_cka(Y, X)[:2] == pytest.approx(found[:2], rel=tolerance)


def test_cka_does_not_see_rotations_scales_and_offsets(seed):
    X, Y = related(80, 10, 6, seed)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((10, 10)))[0]
    expected = linear_cka(X, Y)
    moved = linear_cka(3 * X @ Q + np.arange(10), -Y / 7)
    assert moved[:2] == pytest.approx(expected[:2])
    assert linear_cka(X, 5 * X @ Q)[:2] == pytest.approx((1, 1))
    # It does see other linear maps.
    assert linear_cka(X, X * np.arange(1, 11)).similarity < 0.99


@pytest.mark.parametrize("shape", [(100, 5), (30, 40)])
@pytest.mark.parametrize("scale", [1e80, 1e150, 1e-85, 1e-150])
def test_cka_does_not_see_how_large_the_numbers_are(shape, scale, seed):
    X = np.random.default_rng(seed).standard_normal(shape)
    Y = X * np.arange(1, shape[1] + 1)
    expected = linear_cka(X, Y)[:2]
    assert linear_cka(X * scale, Y)[:2] == pytest.approx(expected)
    assert linear_cka(X * scale, X * scale)[:2] == pytest.approx((1, 1))
    settings = {"method": "sketched", "sketch_size": 1, "random_state": seed}
    wide, other = np.tile(X, 20), np.tile(Y, 20)
    expected = linear_cka(wide, other, **settings)
    assert linear_cka(wide * scale, other, **settings) == pytest.approx(expected)


@pytest.mark.parametrize("scale", [1e12, 1e15, 1e-15, 1e-18])
@pytest.mark.parametrize("method", ["exact", "sketched"])
def test_cka_does_not_see_how_large_single_numbers_are(scale, method, seed):
    X = np.random.default_rng(seed).standard_normal((200, 60)).astype(np.float32)
    settings = {"method": method, "sketch_size": 2, "random_state": seed}
    expected = linear_cka(X, X, **settings)
    found = linear_cka(X * np.float32(scale), X, **settings)
    assert found[:2] == pytest.approx(expected[:2], rel=1e-5)


def test_cka_of_a_large_mean_in_single_precision(seed):
    X, Y = related(500, 100, 60, seed)
    X, Y = (X + 1e4).astype(np.float32), (Y - 1e4).astype(np.float32)
    exact = dense_cka(X.astype(float) - 1e4, Y.astype(float) + 1e4)
    assert linear_cka(X, Y)[:2] == pytest.approx(exact, rel=1e-4)
    found = linear_cka(X, Y, method="sketched", sketch_size=20, random_state=seed)
    for value, true in zip(found[:2], exact, strict=True):
        assert abs(value - true) <= 6 * found.error_estimate


def test_debiased_cka_of_unrelated_noise_is_near_zero(seed):
    # The plain one of 40 samples in 400 dimensions is near one.
    X, Y = np.random.default_rng(seed).standard_normal((2, 40, 400))
    found = linear_cka(X, Y)
    assert found.similarity > 0.85
    # Of n samples, by chance: some 1 / n.
    assert abs(found.debiased) <= 0.2


def decaying(n, p, q, seed):
    X, Y = related(n, p, q, seed)
    return X * np.arange(1, p + 1) ** -0.7, Y * np.arange(1, q + 1) ** -0.5


@pytest.mark.parametrize("make", [np.asarray, sp.csr_array])
def test_sketched_cka_is_within_its_error(make):
    # 20 seeds: a standard error of which 4 are exceeded is a failure in 1e4 of a normal.
    X, Y = decaying(300, 150, 120, 0)
    exact = linear_cka(X, Y)
    for seed in range(20):
        found = linear_cka(
            make(X), make(Y), method="sketched", sketch_size=20, random_state=seed
        )
        assert abs(found.similarity - exact.similarity) <= 4 * found.error_estimate
        assert abs(found.debiased - exact.debiased) <= 8 * found.error_estimate
        assert 0 < found.error_estimate <= 0.05


def test_the_error_of_a_sketch_is_no_less_than_rounding(seed):
    # Where leading directions hold everything, probes have no spread.
    X, Y = decaying(300, 150, 120, seed)
    X, Y = (Z[:, :7] @ np.eye(7, 90, seed) for Z in (X, Y))
    settings = {"method": "sketched", "sketch_size": 20, "random_state": seed}
    for dtype in (np.float32, np.float64):
        found = linear_cka(X.astype(dtype), Y.astype(dtype), **settings)
        assert found.error_estimate >= np.finfo(dtype).eps


def test_a_larger_sketch_is_more_accurate():
    X, Y = decaying(300, 150, 120, 0)
    errors = [
        linear_cka(X, Y, method="sketched", sketch_size=size, random_state=0).error_estimate
        for size in (5, 20, 60)
    ]
    assert errors[0] > errors[1] > errors[2]
    # As wide as the data it is none.
    whole = linear_cka(X, Y, method="sketched", sketch_size=100)
    assert whole == linear_cka(X, Y)


def test_wide_data_are_sketched(monkeypatch, seed):
    X, Y = decaying(300, 150, 120, seed)
    exact = linear_cka(X, Y)
    for module in (similarity, activations):
        monkeypatch.setattr(module, "WIDEST", 100)
    found = linear_cka(X, Y, sketch_size=20, random_state=seed)
    assert found.error_estimate > 1e-6
    assert found.similarity == pytest.approx(exact.similarity, abs=0.05)
    # One of them narrower than a sketch.
    narrow = linear_cka(X, Y[:, :7], sketch_size=20, random_state=seed)
    exact = linear_cka(X, Y[:, :7], method="exact")
    assert abs(narrow.similarity - exact.similarity) <= 4 * narrow.error_estimate
    # Few samples: exact by their kernels.
    few = linear_cka(X[:90], Y[:90])
    assert few[:2] == pytest.approx(dense_cka(X[:90], Y[:90]))
    with pytest.raises(ValueError, match="can be read once"):
        linear_cka(iter([X]), Y, sketch_size=20)


SOURCES = {
    "list": lambda X, _: X.tolist(),
    "csr_matrix": lambda X, _: sp.csr_matrix(X),
    "csc_array": lambda X, _: sp.csc_array(X),
    "memmap": on_disk,
    "lazy": lambda X, _: Lazy(X),
    "dask": lambda X, _: da.from_array(X, chunks=(130, 7)),
    "dask sparse": lambda X, _: sparse_chunks(X, 130),
    "iterator": lambda X, _: (X[i : i + 90] for i in range(0, len(X), 90)),
}
LEFT, RIGHT = related(200, 9, 6, 0)
LEFT *= np.random.default_rng(1).random(LEFT.shape) < 0.5
CSR = sp.csr_array(RIGHT * (RIGHT > 0))


@pytest.mark.parametrize("make", SOURCES.values(), ids=SOURCES)
@pytest.mark.parametrize("other", [RIGHT, CSR], ids=["dense", "sparse"])
def test_every_source_gives_the_same(make, other, tmp_path):
    dense = other if isinstance(other, np.ndarray) else other.toarray()
    expected = linear_cka(LEFT, dense)
    for pair in ((make(LEFT, tmp_path), other), (other, make(LEFT, tmp_path))):
        assert linear_cka(*pair, n_jobs=2)[:2] == pytest.approx(expected[:2])
    angles = principal_angles(LEFT, dense)
    for pair in ((make(LEFT, tmp_path), other), (other, make(LEFT, tmp_path))):
        np.testing.assert_allclose(principal_angles(*pair), angles)


def test_one_matrix_on_both_sides():
    assert linear_cka(LEFT, LEFT)[:2] == pytest.approx((1, 1))
    assert linear_cka(CSR, CSR, block_size=30)[:2] == pytest.approx((1, 1))


CONSTANT = {
    "zero": np.zeros((200, 3)),
    "0.1": np.full((200, 3), 0.1),
    "single": np.full((200, 3), 0.1, np.float32),
    "wide": np.full((200, 300), 0.1),
}


@pytest.mark.parametrize("X", CONSTANT.values(), ids=CONSTANT)
def test_a_constant_representation_has_no_similarity(X):
    assert linear_cka(X, RIGHT)[:2] == (0, 0)
    assert linear_cka(X, X)[:2] == (0, 0)
    wide = np.tile(RIGHT, 20)
    found = linear_cka(wide, np.tile(X, 40), method="sketched", sketch_size=2)
    assert found[:2] == (0, 0)
    assert found.error_estimate > 0
    assert linear_cka(RIGHT[:1], RIGHT[:1])[:2] == (0, 0)


@pytest.mark.parametrize("n", [2, 3])
def test_three_samples_tell_nothing_without_bias(n):
    assert linear_cka(LEFT[:n], RIGHT[:n]).similarity > 0
    assert linear_cka(LEFT[:n], RIGHT[:n]).debiased == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_of_no_relation_tell_nothing_without_bias(dtype):
    """The kernel without its diagonal is constant: its unbiased norm is zero."""
    X = (3.3 * np.eye(20)).astype(dtype)
    assert linear_cka(X, X).similarity == pytest.approx(1)
    assert linear_cka(X, X).debiased == 0
    assert linear_cka(X, LEFT[:20]).debiased == 0


UNITS = [(np.float32, 1e-37), (np.float32, 1e-23), (np.float32, 1e30)]
UNITS += [(np.float64, 1e-300), (np.float64, 1e-170), (np.float64, 1e170)]


@pytest.mark.parametrize(("dtype", "unit"), UNITS)
@pytest.mark.parametrize("first", [0, 40])
def test_units_do_not_matter(dtype, unit, first):
    """Even where the first rows tell nothing of the others."""
    X, Y = related(300, 60, 50, 0)
    X[:first] = 0
    inputs = (X * unit).astype(dtype), Y.astype(dtype)
    few = {"method": "sketched", "sketch_size": 5, "random_state": 0}
    calls = {
        "features": lambda A, B: linear_cka(A[:, :9], B[:, :9]),
        "samples": lambda A, B: linear_cka(A[:90], B[:90]),
        "sketch": lambda A, B: linear_cka(A, B, **few),
        "lazy": lambda A, B: linear_cka(Lazy(A), Lazy(B)),
        "sparse": lambda A, B: linear_cka(sp.csr_array(A), sp.csr_array(B)),
        "angles": lambda A, B: principal_angles(A[:, :3], B[:, :2], center=True),
        "overlap": lambda A, B: subspace_overlap(A[50:53], B[:2, :10].repeat(6, axis=1)),
    }
    for name, call in calls.items():
        expected, found = call(X.astype(dtype), inputs[1]), call(*inputs)
        np.testing.assert_allclose(found, expected, rtol=1e-4, err_msg=name)


def rotated(n, angles, seed):
    """Return orthonormal bases of two subspaces with the given principal angles."""
    k = len(angles)
    Q = np.linalg.qr(np.random.default_rng(seed).standard_normal((n, 2 * k)))[0]
    U, W = Q[:, :k], Q[:, k:]
    return U, U * np.cos(angles) + W * np.sin(angles)


ANGLES = np.array([1e-12, 1e-9, 1e-5, 0.1, np.pi / 4, 1.0, np.pi / 2 - 1e-9, np.pi / 2])


def test_angles_are_found_small_and_large(seed):
    U, V = rotated(60, ANGLES, seed)
    rng = np.random.default_rng(seed + 1)
    # Any bases of these, of whatever scale.
    X, Y = (B @ rng.uniform(-1, 1, (8, 8)) * 10.0 ** rng.uniform(-5, 5, 8) for B in (U, V))
    for found in (principal_angles(U, V), principal_angles(V, U)):
        np.testing.assert_allclose(found, ANGLES, atol=1e-14)
    np.testing.assert_allclose(principal_angles(X, Y), ANGLES, atol=1e-12)
    np.testing.assert_allclose(
        principal_angles(iter([X[:7], X[7:]]), Y, block_size=16), ANGLES, atol=1e-12
    )


def test_angles_are_those_of_scipy(seed):
    X, Y = related(50, 7, 4, seed)
    expected = scipy.linalg.subspace_angles(X, Y)[::-1]
    np.testing.assert_allclose(principal_angles(X, Y), expected, atol=1e-12)
    centred = principal_angles(X, Y, center=True)
    expected = scipy.linalg.subspace_angles(X - X.mean(axis=0), Y - Y.mean(axis=0))[::-1]
    np.testing.assert_allclose(centred, expected, atol=1e-12)


def test_dependent_columns_span_no_more(seed):
    X, Y = related(50, 5, 3, seed)
    expected = principal_angles(X, Y)
    twice = np.concatenate([X, X @ np.ones((5, 2)), np.zeros((50, 1))], axis=1)
    np.testing.assert_allclose(principal_angles(twice, Y), expected, atol=1e-12)
    single = twice.astype(np.float32)
    np.testing.assert_allclose(principal_angles(single, Y), expected, atol=1e-5)
    assert principal_angles(np.zeros((50, 2)), Y).shape == (0,)
    # More columns than rows span everything.
    np.testing.assert_allclose(
        principal_angles(np.eye(3, 9), np.ones((3, 1))), 0, atol=1e-15
    )


@pytest.mark.parametrize("constant", [0.1, 1.0, -1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_column_is_no_direction_about_the_mean(constant, dtype, seed):
    X, Y = related(500, 3, 2, seed, dtype)
    column = np.full((500, 1), constant, dtype)
    expected = principal_angles(X, Y, center=True)
    beside = np.concatenate([column, X], axis=1)
    found = principal_angles(beside, Y, center=True)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    # On both sides it is not a direction that they share.
    found = principal_angles(beside, np.concatenate([Y, column], axis=1), center=True)
    np.testing.assert_allclose(found, expected, atol=1e-10)
    assert principal_angles(column, Y, center=True).shape == (0,)


def test_a_copy_with_another_mean_spans_no_more_about_the_mean(seed):
    X, Y = related(500, 2, 4, seed)
    expected = principal_angles(X, Y, center=True)
    for offset in (1e3, 1e6):
        copied = np.concatenate([X, X[:, :1] + offset], axis=1)
        found = principal_angles(copied, Y, center=True)
        np.testing.assert_allclose(found, expected, atol=1e-8)
    # What varies little about a large mean is still a direction.
    np.testing.assert_allclose(
        principal_angles(X + 1e6, Y, center=True), expected, atol=1e-8
    )


@pytest.mark.parametrize("center", [False, True])
def test_angles_do_not_depend_on_how_large_the_numbers_are(center, seed):
    X, Y = related(60, 4, 3, seed)
    expected = principal_angles(X, Y, center=center)
    for scale in (1e200, 1e-200, 10.0 ** np.arange(-250, 300, 150)):
        found = principal_angles(X * scale, Y, center=center)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    scaled = X * 1e200
    assert subspace_overlap(scaled.T, X.T) == pytest.approx(1)


def test_overlap_is_the_mean_squared_cosine(seed):
    U, V = rotated(40, ANGLES, seed)
    mixed = np.random.default_rng(seed).standard_normal((8, 8)) @ V.T
    expected = np.mean(np.cos(ANGLES) ** 2)
    assert subspace_overlap(U.T, mixed) == pytest.approx(expected)
    assert subspace_overlap(U.T[:3], U.T) == pytest.approx(1)
    # Random subspaces of l and k of n dimensions have max(k, l) / n in the mean; the 8 * 4
    # squared cosines vary like squares of normals: a deviation of sqrt(2 / 32).
    rng = np.random.default_rng(seed)
    found = subspace_overlap(rng.standard_normal((8, 40)), rng.standard_normal((4, 40)))
    assert found == pytest.approx(8 / 40, rel=4 * np.sqrt(2 / 32))


def test_nothing_has_no_overlap():
    with pytest.raises(ValueError, match=r"U of shape \(2, 5\) is zero"):
        subspace_overlap(np.zeros((2, 5)), np.eye(5))
    with pytest.raises(ValueError, match=r"V of shape \(2, 5\) is zero"):
        subspace_overlap(np.eye(5), np.zeros((2, 5)))
    # More vectors than dimensions span all.
    assert subspace_overlap(np.ones((9, 2)), np.eye(2)) == pytest.approx(1)


NAN = np.where(np.eye(200, 5), np.nan, 1.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: linear_cka(LEFT[1:], RIGHT), "X has 199 rows, but Y has 200"),
        (lambda: linear_cka(iter([LEFT[1:]]), RIGHT), "Y has more rows"),
        (lambda: linear_cka(iter([LEFT]), RIGHT[1:]), "Y has fewer rows"),
        (lambda: linear_cka(iter([LEFT]), iter([RIGHT, RIGHT])), "Y has more rows"),
        (lambda: linear_cka(*[iter([LEFT])] * 2), "X and Y are the same iterator"),
        (lambda: principal_angles(*[iter([LEFT])] * 2), "X and Y are the same iterator"),
        (lambda: linear_cka(LEFT, NAN), "Input Y contains NaN"),
        (lambda: linear_cka(Lazy(NAN), LEFT), "NaN|infinity"),
        (lambda: linear_cka(Lazy(NAN[:7]), LEFT[:7]), "NaN|infinity"),
        (lambda: linear_cka(LEFT, RIGHT, method="x"), "'method' parameter"),
        (lambda: linear_cka(LEFT, RIGHT[0]), "Expected 2D array"),
        (lambda: principal_angles(LEFT[1:], RIGHT), "X has 199 rows, but Y has 200"),
        (lambda: principal_angles(Lazy(NAN), RIGHT), "NaN|infinity"),
        (lambda: subspace_overlap(LEFT, RIGHT), "U has 9 columns, but V has 6"),
        (lambda: subspace_overlap(NAN, NAN), "U contains NaN"),
    ],
)
def test_bad_input_is_refused_with_the_reason(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("method", ["exact", "sketched"])
def test_sparse_columns_far_from_zero_are_as_good_as_dense_ones(method):
    rng = np.random.default_rng(0)
    X = sp.random(3000, 60, density=0.2, random_state=0).toarray()
    X[:, 0] = rng.normal(1e4, 3, 3000)
    Y = np.maximum(X @ rng.standard_normal((60, 80)) / 100, 0)
    Y[:, 0] = rng.normal(2020, 1, 3000)
    X, Y = X.astype(np.float32), Y.astype(np.float32)
    kinds = [
        linear_cka(a(X), b(Y), method=method, sketch_size=8, random_state=0)
        for a, b in ((np.asarray, np.asarray), (sp.csr_array, sp.csr_array))
    ]
    assert kinds[0].similarity == pytest.approx(kinds[1].similarity, rel=1e-3)
    assert kinds[0].debiased == pytest.approx(kinds[1].debiased, rel=1e-3)


def test_masked_entries_are_refused():
    X = np.ma.masked_array(np.eye(5), mask=np.eye(5) > 0)
    with pytest.raises(ValueError, match="X is a masked array"):
        linear_cka(X, np.eye(5))
    with pytest.raises(ValueError, match="U is a masked array"):
        subspace_overlap(X, np.eye(5))
