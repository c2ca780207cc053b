import numpy as np
import pytest

import sklearn_rnla.neural.lora as lora
from sklearn_rnla import lora_init
from tests.invariants import (
    assert_close_to_scale,
    assert_decreasing,
    assert_orthonormal_rows,
)
from tests.matrices import SPECTRA, with_spectrum

METHODS = ["principal", "residual", "activation", "random"]


def weights(m=60, n=80, *, seed=0, dtype=np.float64, spectrum="square root"):
    return with_spectrum(SPECTRA[spectrum](min(m, n)), m, n, seed, dtype)


def inputs_for(W, n_samples=150, seed=0):
    """Return inputs whose covariance has a decaying spectrum of its own."""
    n_in = W.shape[1]
    spectrum = SPECTRA["harmonic"](min(n_samples, n_in))
    X = with_spectrum(spectrum, n_samples, n_in, seed + 1)
    return X.astype(np.float32 if W.dtype.itemsize < 8 else np.float64)


def start(W, rank, method, seed=0, **params):
    X = inputs_for(W) if method == "activation" else None
    return lora_init(
        W, rank, method=method, activations=X, random_state=seed, tol=1e-5, **params
    )


def product(found):
    """Return the part of the weights that the adapter holds."""
    A, B = np.asarray(found.A, dtype=float), np.asarray(found.B, dtype=float)
    return found.scale * B @ A


@pytest.fixture
def iterated(monkeypatch):
    """Small matrices by iteration too, as large ones."""
    monkeypatch.setattr(lora, "_DENSE_SIZE", 10)


def assert_rows_within(V, basis, tol=1e-4):
    """Assert that rows lie in the span of orthonormal ones, up to an angle of `tol`."""
    outside = np.linalg.norm(V - (V @ basis.T) @ basis, axis=1)
    assert np.all(outside <= tol * np.linalg.norm(V, axis=1))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16])
@pytest.mark.parametrize("shape", [(60, 80), (90, 40), (50, 50)])
def test_residual_and_adapter_add_up_to_the_weights(method, dtype, shape, seed):
    W = weights(*shape, seed=seed).astype(dtype)
    found = start(W, 7, method, seed, alpha=3)
    assert found.A.dtype == found.B.dtype == found.W_residual.dtype == dtype
    assert (found.A.shape, found.B.shape) == ((7, shape[1]), (shape[0], 7))
    assert found.scale == 3 / 7
    total = found.W_residual.astype(float) + product(found)
    # The factors' rounding is in the residual: what is left is that of the residual, and
    # that of the product in the precision computed in.
    assert_close_to_scale(total, W, dtype, slack=1 if dtype == np.float16 else 10)


@pytest.mark.parametrize("method", METHODS[:3])
def test_full_rank_takes_all(method):
    W = weights(12, 20)
    found = start(W, 12, method)
    assert_close_to_scale(product(found), W, np.float64)
    assert_close_to_scale(found.W_residual + W, W, np.float64)


@pytest.mark.parametrize("spectrum", list(SPECTRA))
@pytest.mark.parametrize("shape", [(400, 80), (80, 400)])
def test_principal_part_has_the_energy_it_can_have(spectrum, shape, seed, iterated):
    W = weights(*shape, spectrum=spectrum, seed=seed)
    found = lora_init(W, 10, random_state=seed)
    most = np.sum(np.linalg.svd(W, compute_uv=False)[:10] ** 2)
    captured = np.linalg.norm(W) ** 2 - np.linalg.norm(found.W_residual) ** 2
    assert (1 - 0.05) * most <= captured <= (1 + 1e-12) * most
    assert 1 - captured / most <= found.error_estimate + 1e-12
    assert found.error_estimate <= 0.05


def test_principal_part_of_less_than_full_rank_is_all(seed, iterated):
    W = with_spectrum(np.ones(5), 150, 500, seed)
    found = lora_init(W, 8, random_state=seed)
    assert np.linalg.norm(found.W_residual) <= 1e-6
    np.testing.assert_allclose(found.singular_values[5:], 0, atol=1e-6)


def test_principal_factors_span_the_leading_singular_subspaces(seed):
    W = weights(spectrum="exponential", seed=seed)
    found = start(W, 6, "principal", seed)
    U, s, Vt = np.linalg.svd(W)
    assert_decreasing(found.singular_values)
    np.testing.assert_allclose(found.singular_values, s[:6], rtol=1e-6)
    for factor, basis in ((found.A, Vt[:6]), (found.B.T, U.T[:6])):
        inside = factor @ basis.T
        np.testing.assert_allclose(
            np.linalg.norm(inside), np.linalg.norm(factor), rtol=1e-6
        )


@pytest.mark.parametrize("method", METHODS[:3])
def test_factors_are_balanced(method, seed):
    # A A^T = B^T B = diag(s) / scale: neither learns faster than the other.
    found = start(weights(seed=seed), 6, method, seed, alpha=12)
    expected = np.diag(found.singular_values) / found.scale
    assert_close_to_scale(found.A @ found.A.T, expected, np.float64, slack=1e4)
    assert_close_to_scale(found.B.T @ found.B, expected, np.float64, slack=1e4)


@pytest.mark.parametrize("n_samples", [30, 150])
@pytest.mark.parametrize("shape", [(60, 80), (90, 40)])
def test_activations_lose_no_more_than_they_must(n_samples, shape, seed):
    W = weights(*shape, seed=seed)
    X = inputs_for(W, n_samples, seed)
    found = lora_init(
        W, 8, method="activation", activations=X, ridge=0, tol=1e-4, random_state=seed
    )
    # The best outputs of rank 8 are outputs of weights of rank 8.
    best = np.sqrt(np.sum(np.linalg.svd(X @ W.T, compute_uv=False)[8:] ** 2))
    principal = lora_init(W, 8, tol=1e-4, random_state=seed)
    error = np.linalg.norm(X @ found.W_residual.T)
    assert error <= (1 + 1e-3) * best
    assert np.linalg.norm(X @ principal.W_residual.T) > 1.05 * error


def test_activations_of_few_directions_leave_the_rest_to_the_weights(seed):
    W = weights(seed=seed)
    X = np.random.default_rng(seed).standard_normal((3, 80))
    found = lora_init(
        W, 8, method="activation", activations=X, ridge=1e-8, tol=1e-6, random_state=seed
    )
    lost = np.linalg.norm(X @ found.W_residual.T)
    assert lost <= 1e-3 * np.linalg.norm(X @ W.T)
    Q = np.linalg.qr(W @ X.T)[0]
    s = np.linalg.svd(W - Q @ (Q.T @ W), compute_uv=False)
    best = np.sqrt(np.sum(s[5:] ** 2))
    assert np.linalg.norm(found.W_residual) <= (1 + 1e-4) * best


def test_a_large_ridge_gives_the_principal_part(seed):
    W = weights(seed=seed, spectrum="exponential")
    params = {"activations": inputs_for(W), "ridge": 1e12, "tol": 1e-6}
    found = lora_init(W, 4, method="activation", random_state=seed, **params)
    expected = lora_init(W, 4, tol=1e-6, random_state=seed)
    error = np.linalg.norm(product(found) - product(expected))
    assert error <= 1e-3 * np.linalg.norm(product(expected))


def test_leading_dimensions_of_activations_are_samples():
    W = weights()
    X = inputs_for(W)
    flat, batched = (
        lora_init(W, 4, method="activation", activations=given, random_state=0)
        for given in (X, X.reshape(10, 15, 80))
    )
    np.testing.assert_array_equal(flat.A, batched.A)


def test_activations_that_are_zero_give_the_principal_part(seed):
    W = weights(seed=seed)
    X = np.zeros((5, 80))
    found = lora_init(W, 4, method="activation", activations=X, tol=1e-5, random_state=seed)
    expected = start(W, 4, "principal", seed)
    assert_close_to_scale(product(found), product(expected), np.float64, slack=1e9)


@pytest.mark.parametrize("spectrum", list(SPECTRA))
@pytest.mark.parametrize("shape", [(60, 80), (90, 60), (60, 60)])
def test_residual_adapter_is_as_small_as_can_be(spectrum, shape, seed, iterated):
    W = weights(*shape, spectrum=spectrum, seed=seed)
    found = lora_init(W, 5, method="residual", random_state=seed)
    least = np.sum(np.linalg.svd(W, compute_uv=False)[-5:] ** 2)
    assert np.sum(product(found) ** 2) <= 1.06 * least
    assert found.error_estimate <= 0.05


def test_residual_adapter_of_an_ill_conditioned_matrix_is_small(seed):
    # A trace of the leading directions, which are 300 times as large, would show.
    W = weights(300, 400, spectrum="harmonic", seed=seed)
    found = lora_init(W, 8, method="residual", random_state=seed)
    least = np.sum(np.linalg.svd(W, compute_uv=False)[-8:] ** 2)
    assert np.sum(product(found) ** 2) <= 1.06 * least


def test_residual_adapter_spans_the_last_singular_subspaces(seed, iterated):
    # A gap before the last five: the subspaces are defined, and found.
    s = np.r_[np.linspace(2, 1, 55), np.linspace(0.1, 0.05, 5)]
    W = with_spectrum(s, 60, 80, seed)
    found = start(W, 5, "residual", seed)
    U, _, Vt = np.linalg.svd(W, full_matrices=False)
    np.testing.assert_allclose(found.singular_values, s[-5:], rtol=1e-6)
    for factor, basis in ((found.A, Vt[-5:]), (found.B.T, U.T[-5:])):
        inside = factor @ basis.T
        np.testing.assert_allclose(
            np.linalg.norm(inside), np.linalg.norm(factor), rtol=1e-5
        )


@pytest.mark.parametrize("missing", [2, 20])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_residual_adapter_takes_first_what_the_weights_lack(dtype, missing, seed, iterated):
    W = with_spectrum(np.ones(60 - missing), 60, 80, seed, dtype)
    found = start(W, 5, "residual", seed)
    least = np.sqrt(max(0, 5 - missing))
    assert np.linalg.norm(product(found)) <= least + 1e3 * np.finfo(dtype).eps
    assert found.A.shape == (5, 80)
    assert found.W_residual.dtype == dtype


@pytest.mark.parametrize("method", METHODS)
def test_zero_weights_have_a_start_of_zeros(method, iterated):
    found = start(np.zeros((30, 20)), 3, method)
    assert not found.W_residual.any()
    assert not product(found).any()
    assert not found.singular_values.any()


def test_random_start_is_that_of_lora(seed):
    W = weights(40, 500, seed=seed)
    found = start(W, 20, "random", seed)
    assert not found.B.any()
    np.testing.assert_array_equal(found.W_residual, W)
    assert found.W_residual is not W
    assert np.abs(found.A).max() <= 1 / np.sqrt(500)
    # The mean square of 10,000 uniform ones, within six standard deviations.
    np.testing.assert_allclose(np.mean(found.A**2), 1 / 1500, rtol=6 * np.sqrt(0.8 / 1e4))


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_gives_the_same_start(method):
    W = weights(600, 150)
    first, second = (start(W, 4, method, seed=3) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_directions_are_orthonormal(seed, iterated):
    for method in METHODS[:3]:
        found = start(weights(seed=seed), 5, method, seed)
        roots = np.sqrt(found.singular_values / found.scale)
        assert_orthonormal_rows(found.A / roots[:, np.newaxis], slack=1e4)
        assert_orthonormal_rows((found.B / roots).T, slack=1e4)


def test_integers_are_computed_in_double():
    W = np.arange(12).reshape(3, 4)
    found = lora_init(W, 2, random_state=0)
    assert found.W_residual.dtype == np.float64
    assert_close_to_scale(found.W_residual + product(found), W, np.float64)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rank": 0}, r"'rank' .* range \[1, inf\). Got 0"),
        ({"rank": 6}, r"rank=6 must be at most min\(n_rows=5, n_columns=7\)"),
        ({"W": np.ones(5)}, r"W has shape \(5,\), but 2 dimensions"),
        ({"W": np.ones((0, 5))}, r"W has shape \(0, 5\): it has no entry"),
        ({"W": np.full((5, 7), np.nan)}, "W contains NaN or infinity"),
        ({"alpha": 0.0}, r"'alpha' .* \(0.0, inf\) or None. Got 0.0"),
        ({"method": "minor"}, "'method' .* Got 'minor'"),
        ({"activations": np.ones((3, 7))}, "activations cannot be used with method='princ"),
        ({"method": "activation"}, "needs activations"),
        (
            {"method": "activation", "activations": np.ones((3, 5))},
            "activations has shape .* as the weights take 7",
        ),
        (
            {"method": "activation", "activations": np.full((3, 7), np.inf)},
            "activations contains NaN or infinity",
        ),
        ({"random_state": -1}, "random_state=-1"),
    ],
)
def test_bad_input_is_refused(change, message):
    params = {"W": np.ones((5, 7)), "rank": 2} | change
    with pytest.raises(ValueError, match=message):
        lora_init(params.pop("W"), params.pop("rank"), **params)


def test_other_than_numbers_are_refused():
    with pytest.raises(TypeError, match="W must hold real numbers, not complex128"):
        lora_init(np.ones((5, 7), complex), 2)


@pytest.mark.parametrize("shape", [(40, 30), (400, 300)])
@pytest.mark.parametrize("method", ["principal", "residual", "activation"])
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [(np.float64, 1e-200), (np.float64, 1e200), (np.float32, 1e-30), (np.float32, 1e30)],
)
def test_any_scale(shape, method, dtype, scale):
    rng = np.random.default_rng(0)
    W = rng.standard_normal(shape).astype(dtype)
    X = rng.standard_normal((50, shape[1])) if method == "activation" else None
    params = {"method": method, "activations": X, "random_state": 0}
    small, large = lora_init(W, 3, **params), lora_init(W * dtype(scale), 3, **params)
    np.testing.assert_allclose(large.singular_values / scale, small.singular_values, 1e-3)
    total = large.W_residual + large.scale * large.B @ large.A
    eps = 8 * np.finfo(dtype).eps
    assert np.abs(total / scale - W).max() <= eps * np.abs(W).max()


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("method", ["principal", "residual", "activation"])
def test_zero_weights(method, dtype):
    X = np.ones((5, 20)) if method == "activation" else None
    found = lora_init(np.zeros((30, 20), dtype), 3, method=method, activations=X)
    assert not found.W_residual.any()
    assert not (found.B @ found.A).any()


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_residual_that_overflows_is_refused(dtype):
    # Without its leading direction an entry of W is larger than it was.
    rng = np.random.default_rng(0)
    W = (rng.choice([-1.0, 1.0], (60, 40)) * 0.99 * float(np.finfo(dtype).max)).astype(
        dtype
    )
    with pytest.raises(ValueError, match="W is so large that W_residual overflows"):
        lora_init(W, 2, random_state=0)


def test_factors_that_overflow_are_refused():
    W = np.full((30, 20), 100, np.float16)
    with pytest.raises(ValueError, match="alpha=1e-10 is so small that A or B overflow"):
        lora_init(W, 2, alpha=1e-10, random_state=0)
