"""Attention on landmarks: facts about the numpy functions."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from sklearn_rnla.neural import attention_error, nystroem_attention
from sklearn_rnla.neural.attention.landmarks import Segments
from sklearn_rnla.neural.attention.pseudo_inverse import newton_pinv
from sklearn_rnla.neural.attention.softmax import NumpyArrays
from tests.invariants import assert_close_to_scale

METHODS = ["segment-means", "kmeans", "rpcholesky"]


def heads(seed, *shape, dtype=np.float64):
    """Return queries, keys and values of tokens near centres that repeat."""
    rng = np.random.default_rng(seed)
    centers = rng.standard_normal((3, 8, shape[-1]))
    which = rng.integers(8, size=shape[-2])
    noise = rng.standard_normal((3, *shape))
    return [(c[which] + 0.3 * e).astype(dtype) for c, e in zip(centers, noise, strict=True)]


def exact(q, k, v):
    S = np.exp(q @ np.swapaxes(k, -1, -2) / np.sqrt(q.shape[-1]))
    return S @ v / S.sum(axis=-1, keepdims=True)


def relative(a, b):
    return np.linalg.norm(a - b) / np.linalg.norm(b)


@pytest.mark.parametrize("n_landmarks", [24, 30])
@pytest.mark.parametrize("landmarks", METHODS)
def test_as_many_landmarks_as_tokens_give_exact_attention(seed, landmarks, n_landmarks):
    q, k, v = heads(seed, 2, 3, 24, 5)
    out = nystroem_attention(q, k, v, n_landmarks=n_landmarks, landmarks=landmarks)
    assert_close_to_scale(out, exact(q, k, v), np.float64)


def test_all_tokens_as_landmarks_give_exact_attention(seed):
    q, k, v = heads(seed, 2, 3, 24, 5)
    order = np.random.default_rng(seed).permutation(24)
    out = nystroem_attention(q, k, v, landmarks=order, pinv="exact")
    assert_allclose(out, exact(q, k, v), rtol=0, atol=1e-8)


def test_queries_that_are_landmarks_get_exact_attention(seed):
    q, k, v = heads(seed, 2, 40, 6)
    chosen = np.random.default_rng(seed).choice(40, 8, replace=False)
    out = nystroem_attention(q, k, v, landmarks=chosen, pinv="exact")
    assert_allclose(out[:, chosen], exact(q, k, v)[:, chosen], rtol=0, atol=1e-8)


def test_exact_rows_are_convex_combinations_of_values(seed):
    q, k, v = heads(seed, 3, 20, 4)
    out = nystroem_attention(q, k, v, n_landmarks=20)
    assert np.all(out <= v.max(axis=-2, keepdims=True) + 1e-12)
    assert np.all(out >= v.min(axis=-2, keepdims=True) - 1e-12)


def test_weights_sum_to_one(seed):
    q, k, v = heads(seed, 2, 45, 6)
    out = nystroem_attention(q, k, np.ones_like(v), n_landmarks=7, pinv="exact")
    assert_allclose(out, 1, rtol=0, atol=1e-8)


def test_order_of_tokens_does_not_matter_to_given_landmarks(seed):
    q, k, v = heads(seed, 2, 30, 5)
    order = np.random.default_rng(seed).permutation(30)
    chosen = np.arange(0, 30, 4)
    out = nystroem_attention(q, k, v, landmarks=chosen)
    places = np.argsort(order)[chosen]
    permuted = nystroem_attention(*(x[:, order] for x in (q, k, v)), landmarks=places)
    assert_allclose(permuted, out[:, order], rtol=0, atol=1e-10)


@pytest.mark.parametrize("landmarks", METHODS)
def test_more_landmarks_come_closer(seed, landmarks):
    q, k, v = heads(seed, 2, 200, 8)
    few, many = (
        relative(
            nystroem_attention(
                q, k, v, n_landmarks=m, landmarks=landmarks, random_state=seed
            ),
            exact(q, k, v),
        )
        for m in (2, 150)
    )
    assert many < few


def test_means_of_what_is_alike_are_better_than_of_neighbours(seed):
    q, k, v = heads(seed, 2, 200, 8)
    errors = [
        relative(
            nystroem_attention(
                q, k, v, n_landmarks=16, landmarks=landmarks, random_state=seed
            ),
            exact(q, k, v),
        )
        for landmarks in METHODS
    ]
    assert max(errors[1:]) < errors[0]


@pytest.mark.parametrize("n", [10, 11, 13, 19])
def test_segments_differ_by_at_most_one_token(n):
    x = np.arange(n, dtype=float)[:, np.newaxis]
    means = Segments(None, n, 5, NumpyArrays(), x).means(x)
    # Of consecutive numbers, means lie half a length from both ends.
    edges = np.concatenate([[-0.5], [0.0] * 5])
    for i, mean in enumerate(means[:, 0]):
        edges[i + 1] = 2 * mean - edges[i]
    lengths = np.diff(edges)
    assert lengths.sum() == n
    assert lengths.max() - lengths.min() <= 1


def padded(rng, n, kept):
    """Return a mask of `kept` tokens of n, in any places."""
    mask = np.zeros(n, dtype=bool)
    mask[rng.choice(n, kept, replace=False)] = True
    return mask


@pytest.mark.parametrize("kept", [1, 5, 6, 7, 22])
@pytest.mark.parametrize("pinv", ["newton", "exact"])
@pytest.mark.parametrize("landmarks", METHODS)
def test_padding_changes_nothing(landmarks, pinv, kept):
    rng = np.random.default_rng(kept)
    q, k, v = heads(kept, 2, 3, 31, 5)
    mask = np.stack([padded(rng, 31, kept), np.arange(31) < 20])
    weights = rng.standard_normal((3, 3))
    params = {"n_landmarks": 6, "landmarks": landmarks, "pinv": pinv, "random_state": 0}
    out = nystroem_attention(q, k, v, mask=mask, **params)
    for i in range(2):
        q_i, k_i, v_i = (x[i][:, mask[i]] for x in (q, k, v))
        alone = nystroem_attention(q_i, k_i, v_i, **params)
        assert_allclose(out[i][:, mask[i]], alone, rtol=0, atol=1e-7)
        assert_array_equal(out[i][:, ~mask[i]], 0)
    # Padding at the end stays so in a convolution.
    out = nystroem_attention(q, k, v, mask=mask, residual_conv=weights, **params)
    alone = nystroem_attention(
        *(x[1][:, :20] for x in (q, k, v)), residual_conv=weights, **params
    )
    assert_allclose(out[1][:, :20], alone, rtol=0, atol=1e-7)
    assert_array_equal(out[1][:, 20:], 0)


@pytest.mark.parametrize("landmarks", [*METHODS, np.arange(6)])
def test_a_sequence_of_padding_is_zero(landmarks):
    q, k, v = heads(0, 2, 3, 31, 5)
    mask = np.ones((2, 31), dtype=int)
    mask[0] = 0
    out = nystroem_attention(q, k, v, n_landmarks=6, landmarks=landmarks, mask=mask)
    assert_array_equal(out[0], 0)
    assert np.isfinite(out).all()
    assert np.abs(out[1]).max() > 0


def test_given_landmarks_that_are_padding_are_left_out():
    q, k, v = heads(0, 1, 2, 20, 4)
    mask = np.arange(20)[np.newaxis] < 15
    out = nystroem_attention(q, k, v, landmarks=[1, 16, 7, 19], mask=mask)
    short = [x[:, :, :15] for x in (q, k, v)]
    assert_allclose(
        out[:, :, :15], nystroem_attention(*short, landmarks=[1, 7]), rtol=0, atol=1e-10
    )


def test_sums_that_overflow_are_no_infinity():
    torch = pytest.importorskip("torch")
    large = torch.full((8, 1, 4), torch.finfo(torch.float32).max / 4)
    q = torch.zeros(8, 1, 4)
    assert torch.equal(nystroem_attention(q, q, large), large)


@pytest.mark.parametrize("pinv", ["newton", "exact", "checkpoint"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products_that_overflow_are_refused(dtype, pinv):
    q, k, v = (x.astype(dtype) for x in heads(0, 2, 2, 20, 4))
    huge = np.finfo(dtype).max / 8
    with pytest.raises(ValueError, match=r"q and k are as large as .* overflow"):
        nystroem_attention(q, huge * k / np.abs(k).max(), v, n_landmarks=5, pinv=pinv)


@pytest.mark.parametrize("unit", [1e-300, 1e300])
def test_the_error_has_no_unit(unit):
    q, k, v = heads(0, 2, 2, 20, 4)
    error = attention_error(0.9 * v, q, k, v)
    assert_allclose(attention_error(0.9 * unit * v, q, k, unit * v), error, rtol=1e-12)


def test_given_landmarks_that_are_all_padding_are_refused():
    q, k, v = heads(0, 2, 2, 20, 4)
    mask = np.arange(20) < np.array([[20], [15]])
    with pytest.raises(ValueError, match="one of the sequences are all padding"):
        nystroem_attention(q, k, v, landmarks=[16, 19], mask=mask)


@pytest.mark.parametrize("landmarks", METHODS)
@pytest.mark.parametrize("kept", [1, 2, 7, 15, 16])
def test_few_tokens_beside_padding_get_exact_attention(landmarks, kept, seed):
    q, k, v = heads(seed, 1, 2, 40, 5)
    mask = padded(np.random.default_rng(seed), 40, kept)[np.newaxis]
    settings = {"n_landmarks": 16, "landmarks": landmarks, "random_state": seed}
    out = nystroem_attention(q, k, v, mask=mask, **settings)[:, :, mask[0]]
    q, k, v = (x[:, :, mask[0]] for x in (q, k, v))
    assert_allclose(out, exact(q, k, v), rtol=0, atol=1e-10)


def test_a_mask_of_ones_is_none():
    q, k, v = heads(0, 2, 30, 4)
    out = nystroem_attention(q, k, v, n_landmarks=7, mask=np.ones((2, 30), dtype=bool))
    assert_array_equal(out, nystroem_attention(q, k, v, n_landmarks=7))


@pytest.mark.parametrize("landmarks", [*METHODS, np.arange(9)])
def test_heads_do_not_depend_on_each_other(seed, landmarks):
    q, k, v = heads(seed, 2, 2, 50, 5)
    q[0, 0] *= 5
    params = {"n_landmarks": 9, "landmarks": landmarks, "random_state": seed}
    out = nystroem_attention(q, k, v, **params)
    for i in np.ndindex(2, 2):
        alone = nystroem_attention(q[i], k[i], v[i], **params)
        assert_allclose(out[i], alone, rtol=0, atol=1e-9)


def test_landmarks_may_differ_between_heads():
    q, k, v = heads(0, 2, 3, 30, 4)
    chosen = np.random.default_rng(0).integers(30, size=(2, 3, 5))
    out = nystroem_attention(q, k, v, landmarks=chosen)
    for i in np.ndindex(2, 3):
        alone = nystroem_attention(q[i], k[i], v[i], landmarks=chosen[i])
        assert_allclose(out[i], alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize(("n", "m"), [(20_000, 40), (50, 20_000)])
def test_attention_by_tiles_is_that_of_all_weights(n, m):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, rows, 4)) for rows in (n, m, m))
    assert_close_to_scale(
        NumpyArrays().attend(q, k, v, scale=0.5), exact(q, k, v), np.float64
    )


def test_half_precision_is_computed_in_single(seed):
    q, k, v = heads(seed, 2, 60, 8, dtype=np.float16)
    out = nystroem_attention(q, k, v, n_landmarks=11)
    single = nystroem_attention(*(x.astype(np.float32) for x in (q, k, v)), n_landmarks=11)
    assert out.dtype == np.float16
    assert_array_equal(out, single.astype(np.float16))


def test_scores_beyond_the_range_of_exponentials_are_no_harm():
    q, k, v = (x.astype(np.float32) for x in heads(0, 2, 60, 8))
    for m in (7, 60):
        assert np.isfinite(nystroem_attention(300 * q, k, v, n_landmarks=m)).all()


def test_convolution_is_that_of_each_channel(seed):
    q, k, v = heads(seed, 2, 3, 25, 4)
    weights = np.random.default_rng(seed).standard_normal((3, 7))
    plain = nystroem_attention(q, k, v, n_landmarks=6)
    added = nystroem_attention(q, k, v, n_landmarks=6, residual_conv=weights) - plain
    for b, h, c in np.ndindex(2, 3, 4):
        # numpy's reverses one of the two.
        expected = np.convolve(v[b, h, :, c], weights[h, ::-1], mode="same")
        assert_allclose(added[b, h, :, c], expected, rtol=0, atol=1e-12)


def test_scale_is_the_factor_of_the_products():
    q, k, v = heads(0, 40, 4)
    out = nystroem_attention(q, k, v, n_landmarks=7, scale=0.25)
    assert_allclose(
        out, nystroem_attention(q / 2, k, v, n_landmarks=7, scale=0.5), atol=1e-12
    )
    assert_array_equal(out, nystroem_attention(q, k, v, n_landmarks=7, scale=1 / 4))


class TestNewton:
    """The iteration for pseudo-inverses."""

    space = NumpyArrays()

    def stochastic(self, seed, sharpness, m=20, batch=4):
        S = sharpness * np.random.default_rng(seed).standard_normal((batch, m, m))
        return self.space.softmax(S)

    @pytest.mark.parametrize("sharpness", [0.1, 1, 10])
    @pytest.mark.parametrize("tol", [0.03, 1e-5, 1e-9])
    def test_remainder_is_below_the_tolerance(self, seed, sharpness, tol):
        A = self.stochastic(seed, sharpness)
        Z = newton_pinv(self.space, A, tol)
        norms = np.linalg.norm(A @ Z @ A - A, axis=(1, 2)) / np.linalg.norm(A, axis=(1, 2))
        assert np.all(norms <= np.sqrt(A.shape[-1]) * tol)

    def test_inverse_is_found(self, seed):
        A = self.stochastic(seed, 5)
        Z = newton_pinv(self.space, A, 1e-13)
        condition = np.linalg.cond(A).max()
        error = np.linalg.norm(Z @ A - np.eye(20), axis=(1, 2)).max()
        assert error <= 1e-12 * condition

    def test_singular_matrices_fall_back(self, seed):
        A = self.stochastic(seed, 3).astype(np.float32)
        A[1, :10] = A[1, 10:]  # Of rank 10.
        A[2] = 1 / 20  # Of rank 1.
        Z = newton_pinv(self.space, A, 1e-7)
        assert np.isfinite(Z).all()
        for i in (1, 2):
            assert_allclose(A[i] @ Z[i] @ A[i], A[i], rtol=0, atol=1e-4)

    def test_matrices_do_not_depend_on_each_other(self, seed):
        A = np.concatenate([self.stochastic(seed, 10), self.stochastic(seed, 0.1)])
        Z = newton_pinv(self.space, A, 0.03)
        for A_i, Z_i in zip(A, Z, strict=True):
            assert_array_equal(Z_i, newton_pinv(self.space, A_i, 0.03))

    def test_zero_has_the_inverse_zero(self):
        assert_array_equal(newton_pinv(self.space, np.zeros((2, 3, 3)), 0.1), 0)


def test_error_of_all_tokens_is_exact(seed):
    q, k, v = heads(seed, 2, 3, 50, 5)
    mask = np.arange(50) < np.array([[50], [20]])
    out = nystroem_attention(q, k, v, n_landmarks=5, mask=mask)
    error = attention_error(out, q, k, v, n_samples=50, mask=mask, random_state=seed)
    assert error.shape == (2, 3)
    for i in np.ndindex(2, 3):
        kept = mask[i[0]]
        expected = exact(q[i][kept], k[i][kept], v[i][kept])
        assert_allclose(error[i], relative(out[i][kept], expected), rtol=1e-8)


def test_error_estimate_is_near_the_error(seed):
    q, k, v = heads(seed, 4, 400, 6)
    out = nystroem_attention(q, k, v, n_landmarks=10)
    true = attention_error(out, q, k, v, n_samples=400)
    estimate = attention_error(out, q, k, v, random_state=seed)
    assert np.all(estimate < 1.5 * true)
    assert np.all(estimate > true / 1.5)


def test_error_of_a_sequence_of_padding_is_zero():
    q, k, v = heads(0, 2, 30, 4)
    mask = np.zeros((2, 30), dtype=bool)
    mask[0] = True
    out = nystroem_attention(q, k, v, n_landmarks=4, mask=mask)
    error = attention_error(out, q, k, v, mask=mask)
    assert error[1] == 0
    assert error[0] > 0


def test_error_on_request_is_that_of_the_output_without_convolution(seed):
    q, k, v = heads(seed, 2, 3, 50, 5)
    mask = np.arange(50) < np.array([[50], [20]])
    weights = np.random.default_rng(seed).standard_normal((3, 5))
    settings = {"n_landmarks": 5, "mask": mask, "random_state": seed}
    plain, error = nystroem_attention(q, k, v, return_error=True, **settings)
    assert_array_equal(plain, nystroem_attention(q, k, v, **settings))
    assert_array_equal(error, attention_error(plain, q, k, v, mask=mask, random_state=seed))
    _, same = nystroem_attention(
        q, k, v, residual_conv=weights, return_error=True, **settings
    )
    assert_array_equal(same, error)


Q, K, V = heads(0, 2, 3, 20, 4)
CAUSAL = np.tri(20, dtype=bool)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"n_landmarks": 0}, "n_landmarks"),
        ({"pinv": "qr"}, "pinv"),
        ({"tol": -1.0}, "tol"),
        ({"scale": 0.0}, "scale"),
        ({"landmarks": "tokens"}, "segment-means"),
        ({"landmarks": [0.5, 1]}, "integers"),
        ({"landmarks": [3, 20]}, "from 0 to n - 1 = 19"),
        ({"landmarks": [-1, 3]}, "from 0"),
        ({"landmarks": [1, 3], "n_landmarks": 3}, "n_landmarks=3"),
        ({"landmarks": np.zeros((4, 3, 2), dtype=int)}, "fit"),
        ({"landmarks": np.zeros(0, dtype=int)}, "fit"),
        ({"mask": CAUSAL}, "causal"),
        ({"mask": CAUSAL[np.newaxis, np.newaxis]}, "causal"),
        ({"mask": np.ones((2, 19), dtype=bool)}, r"\(2, 20\)"),
        ({"mask": np.ones((3, 20), dtype=bool)}, r"\(2, 20\)"),
        ({"mask": np.zeros((2, 20))}, "booleans"),
        ({"mask": np.full((2, 20), 2)}, "booleans"),
        ({"mask": np.full((2, 20), -1)}, "booleans"),
        ({"residual_conv": np.ones((3, 4))}, "odd"),
        ({"residual_conv": np.ones((2, 3))}, "n_heads"),
        ({"q": Q[:, :, :19]}, "one shape"),
        ({"k": K[..., :3]}, "one shape"),
        ({"v": V[:1]}, "one shape"),
        ({"q": Q[0, 0, 0], "k": K[0, 0, 0], "v": V[0, 0, 0]}, "expected"),
        ({"q": np.where(Q > 1, np.nan, Q)}, "q contains NaN"),
        ({"v": np.where(V > 1, np.inf, V)}, "v contains NaN or infinity"),
        ({"q": Q[..., :0], "k": K[..., :0]}, "no entry"),
    ],
)
def test_bad_input_is_refused(changed, match):
    params = {"q": Q, "k": K, "v": V} | changed
    with pytest.raises(ValueError, match=match):
        nystroem_attention(**params)


def test_what_are_no_numbers_is_refused():
    with pytest.raises(TypeError, match="real numbers"):
        nystroem_attention(Q + 1j, K, V)


def test_error_refuses_an_output_of_another_shape():
    with pytest.raises(ValueError, match="out has shape"):
        attention_error(V[..., :1], Q, K, V)


def test_lists_are_arrays():
    q, k, v = (x[0, 0] for x in (Q, K, V))
    out = nystroem_attention(q.tolist(), k.tolist(), v.tolist(), n_landmarks=5)
    assert_array_equal(out, nystroem_attention(q, k, v, n_landmarks=5))
