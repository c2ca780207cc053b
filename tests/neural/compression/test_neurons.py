"""Neurons that stand for others, against dense least squares."""

import numpy as np
import pytest

from sklearn_rnla import select_neurons
from tests.invariants import assert_close_to_scale
from tests.matrices import with_spectrum

CRITERIA = pytest.mark.parametrize("criterion", ["outputs", "activations"])


def hidden(h=20, n_samples=300, n_in=12, n_out=6, decay=0.7, seed=0):
    """Return two layers, their biases, and what is between them."""
    rng = np.random.default_rng(seed)
    H = 1 + with_spectrum(decay ** np.arange(h), n_samples, h, seed) * np.sqrt(n_samples)
    W_in, W_out = rng.standard_normal((h, n_in)), rng.standard_normal((n_out, h))
    return W_in, W_out, H, rng.standard_normal(h), rng.standard_normal(n_out)


@CRITERIA
@pytest.mark.parametrize("biased", [False, True])
def test_all_neurons_are_exact(criterion, biased, seed):
    W_in, W_out, H, b, c = hidden(decay=1.0, seed=seed)
    biases = {"bias_in": b, "bias_out": c} if biased else {}
    found = select_neurons(W_in, W_out, H, 20, criterion=criterion, **biases)
    np.testing.assert_array_equal(found.indices, np.arange(20))
    np.testing.assert_array_equal(found.W_in, W_in)
    assert_close_to_scale(found.W_out, W_out, np.float64)
    assert found.error < 1e-12
    if biased:
        assert_close_to_scale(found.bias_out, c, np.float64)


@CRITERIA
def test_the_next_layer_is_the_least_squares_one(criterion, seed):
    W_in, W_out, H, b, c = hidden(seed=seed)
    found = select_neurons(
        W_in, W_out, H, 7, bias_in=b, bias_out=c, criterion=criterion, ridge=0
    )
    Y = H @ W_out.T + c
    J = found.indices
    design = np.column_stack([H[:, J], np.ones(len(H))])
    best = np.linalg.lstsq(design, Y, rcond=None)[0]
    assert_close_to_scale(found.W_out, best[:-1].T, np.float64, slack=1e8)
    assert_close_to_scale(found.bias_out, best[-1], np.float64, slack=1e8)
    error = np.linalg.norm(Y - H[:, J] @ found.W_out.T - found.bias_out)
    norm = np.linalg.norm(Y - Y.mean(axis=0))
    np.testing.assert_allclose(found.error, error / norm, rtol=1e-6)
    np.testing.assert_array_equal(found.W_in, W_in[J])
    np.testing.assert_array_equal(found.bias_in, b[J])
    assert len(J) == 7
    assert np.all(np.diff(J) > 0)


def test_without_a_bias_nothing_is_left_to_it(seed):
    W_in, W_out, H, _, _ = hidden(seed=seed)
    found = select_neurons(W_in, W_out, H, 7, ridge=0)
    best = np.linalg.lstsq(H[:, found.indices], H @ W_out.T, rcond=None)[0].T
    assert_close_to_scale(found.W_out, best, np.float64, slack=1e8)
    assert found.bias_in is None
    assert found.bias_out is None


@CRITERIA
def test_errors_fall_with_the_neurons(criterion, seed):
    W_in, W_out, H, _, c = hidden(seed=seed)
    errors = [
        select_neurons(W_in, W_out, H, n, bias_out=c, criterion=criterion, ridge=0).error
        for n in range(1, 21)
    ]
    assert np.all(np.diff(errors) <= 1e-7)


def test_neurons_chosen_for_outputs_beat_random_ones(seed):
    W_in, W_out, H, _, _ = hidden(decay=0.9, seed=seed)
    rng = np.random.default_rng(seed)
    Y = H @ W_out.T
    chosen = select_neurons(W_in, W_out, H, 6, ridge=0).error
    for _ in range(20):
        J = rng.choice(20, 6, replace=False)
        rest = Y - H[:, J] @ np.linalg.lstsq(H[:, J], Y, rcond=None)[0]
        assert chosen <= np.linalg.norm(rest) / np.linalg.norm(Y)


def test_neurons_that_outputs_ignore_are_not_kept(seed):
    rng = np.random.default_rng(seed)
    H = rng.standard_normal((200, 10)) * ([10.0] * 5 + [1.0] * 5)
    W_out = rng.standard_normal((4, 10)) * ([0.0] * 5 + [1.0] * 5)
    found = select_neurons(np.eye(10), W_out, H, 5)
    assert set(found.indices) == set(range(5, 10))
    assert found.error < 1e-7
    wide = select_neurons(np.eye(10), W_out, H, 5, criterion="activations")
    assert set(wide.indices) == set(range(5))


@CRITERIA
def test_neurons_that_others_determine_are_dropped_without_error(criterion, seed):
    rng = np.random.default_rng(seed)
    W_in, W_out, H, b, c = hidden(seed=seed)
    H = rng.standard_normal((300, 5)) @ rng.standard_normal((5, 20))
    H[:, 3], H[:, 4] = 2.0, 0.0
    found = select_neurons(
        W_in, W_out, H, 20, bias_in=b, bias_out=c, criterion=criterion, ridge=0
    )
    assert len(found.indices) == 5
    new = H[:, found.indices] @ found.W_out.T + found.bias_out
    assert_close_to_scale(new, H @ W_out.T + c, np.float32)


def test_a_ridge_helps_on_new_samples_where_there_are_few(seed):
    rng = np.random.default_rng(seed)
    mix = rng.standard_normal((30, 40)) / 5
    H = rng.standard_normal((2000, 30)) @ mix + 0.3 * rng.standard_normal((2000, 40))
    W_out = rng.standard_normal((6, 40))
    lost = {}
    for ridge in (None, 0.0):
        found = select_neurons(np.eye(40), W_out, H[:45], 30, ridge=ridge)
        new = H[45:, found.indices] @ found.W_out.T
        lost[ridge] = np.linalg.norm(new - H[45:] @ W_out.T)
    assert lost[None] < lost[0.0]


@CRITERIA
@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e150, 1e300])
def test_the_scale_of_activations_and_weights_changes_nothing(criterion, scale):
    W_in, W_out, H, _, c = hidden()
    plain = select_neurons(W_in, W_out, H, 5, bias_out=c, criterion=criterion)
    for outward, between in ((W_out, H * scale), (W_out * scale, H)):
        found = select_neurons(
            W_in, outward, between, 5, bias_out=c * scale, criterion=criterion
        )
        np.testing.assert_array_equal(found.indices, plain.indices)
        np.testing.assert_allclose(found.error, plain.error)
        np.testing.assert_allclose(found.bias_out / scale, plain.bias_out, rtol=1e-6)


def test_constant_neurons_leave_one():
    H = np.full((10, 4), 3.0)
    W_out, c = np.ones((2, 4)), np.zeros(2)
    found = select_neurons(np.eye(4), W_out, H, 3, bias_out=c, ridge=0)
    assert len(found.indices) == 1
    new = H[:, found.indices] @ found.W_out.T + found.bias_out
    np.testing.assert_allclose(new, H @ W_out.T)


def test_filters_keep_their_places(seed):
    """A convolution reads channels at several places, and all are mixed alike."""
    rng = np.random.default_rng(seed)
    first, second = rng.standard_normal((8, 3, 3, 3)), rng.standard_normal((5, 8, 3, 3))
    H = rng.standard_normal((400, 4)) @ rng.standard_normal((4, 8))
    found = select_neurons(
        first, second, H.reshape(20, 20, 8), 4, bias_out=np.zeros(5), ridge=0
    )
    assert found.W_in.shape == (4, 3, 3, 3)
    assert found.W_out.shape == (5, 4, 3, 3)
    new = np.einsum("nc,ocij->noij", H[:, found.indices], found.W_out)
    old = np.einsum("nc,ocij->noij", H, second)
    shift = (new - old).mean(axis=0)
    assert_close_to_scale(new - shift, old, np.float32)
    np.testing.assert_allclose(found.bias_out, -shift.sum(axis=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_precision_is_kept(dtype):
    W_in, W_out, H, b, c = (part.astype(dtype) for part in hidden())
    found = select_neurons(W_in, W_out, H, 0.5, bias_in=b, bias_out=c)
    assert len(found.indices) == 10
    parts = (found.W_in, found.W_out, found.bias_in, found.bias_out)
    assert {part.dtype for part in parts} == {np.dtype(dtype)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 0}, "'n' parameter"),
        ({"n": 1.5}, "'n' parameter"),
        ({"n": 21}, "n=21 must be at most n_neurons=20"),
        ({"W_out": np.ones((6, 19))}, "W_out reads 19 neurons, but W_in makes 20"),
        ({"W_in": np.ones(20)}, r"W_in has shape \(20,\)"),
        ({"activations": np.ones((5, 19))}, "as the weights take 20"),
        ({"activations": np.full((5, 20), np.inf)}, "activations contains NaN"),
        ({"bias_in": np.ones(3)}, "bias_in has length 3, but 20"),
        ({"bias_out": np.ones(3)}, "bias_out has length 3, but 6"),
        ({"ridge": -0.1}, "'ridge' parameter"),
        ({"criterion": "size"}, "'criterion' parameter"),
    ],
)
def test_bad_arguments_are_named(change, message):
    W_in, W_out, H, _, _ = hidden()
    arguments = {"W_in": W_in, "W_out": W_out, "activations": H, "n": 3} | change
    with pytest.raises(ValueError, match=message):
        select_neurons(**arguments)
