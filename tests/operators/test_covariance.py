"""Covariances and their pullbacks against scikit-learn's kernels and gradients."""

import pickle

import numpy as np
import pytest
from sklearn.gaussian_process.kernels import (
    RBF,
    CompoundKernel,
    ConstantKernel,
    DotProduct,
    ExpSineSquared,
    Hyperparameter,
    Kernel,
    Matern,
    PairwiseKernel,
    RationalQuadratic,
    WhiteKernel,
)

from sklearn_rnla.operators.covariance import Covariance, covariance
from sklearn_rnla.operators.covariance import nodes as covariance_nodes
from sklearn_rnla.operators.covariance import stationary as covariance_stationary
from tests.invariants import assert_close_to_scale

SCALES = [0.7, 1.3, 2.0]
STATIONARY = [
    RBF(0.8),
    RBF(SCALES),
    RBF([1.1]),
    Matern(SCALES, nu=0.5),
    Matern(0.9, nu=1.5),
    Matern(SCALES, nu=1.5),
    Matern(SCALES, nu=2.5),
    Matern(SCALES, nu=np.inf),
    RationalQuadratic(0.7, 1.3),
    ExpSineSquared(0.9, 2.2),
]
FIXED = [
    RBF(SCALES, "fixed"),
    ConstantKernel(2.0, "fixed") * Matern(SCALES, nu=1.5),
    Matern(SCALES, "fixed", nu=0.5) * 3.0,
    RationalQuadratic(0.7, 1.3, alpha_bounds="fixed"),
    ConstantKernel(0.5) * RationalQuadratic(0.7, 1.3, length_scale_bounds="fixed"),
    ExpSineSquared(0.9, 2.2, periodicity_bounds="fixed"),
    DotProduct(1.0, "fixed") + WhiteKernel(0.1, "fixed"),
]
COMPOSED = [
    ConstantKernel(2.0) * RBF(SCALES) + WhiteKernel(0.1),
    WhiteKernel(0.1) + RBF(SCALES) * ConstantKernel(2.0) + ConstantKernel(0.3),
    ConstantKernel(0.7) * Matern(0.9, nu=0.5) * RBF(2.0) + DotProduct(0.4),
    ConstantKernel(0.7) * ConstantKernel(0.8) * DotProduct(0.4),
    (RBF(1.0) + WhiteKernel(0.1)) * (DotProduct(1.0) + WhiteKernel(0.2)),
    RBF(SCALES) * WhiteKernel(0.2) + DotProduct(0.3),
    (RBF(SCALES) + WhiteKernel(0.3)) ** 2,
    0.3 * (Matern(1.0, nu=2.5) + WhiteKernel(0.3) + 0.1) ** 1.7,
    ConstantKernel(0.0, "fixed") * RBF(1.0) + DotProduct(1.0),
]


class Overridden(RBF):
    """Of a class that has a node, with other values."""

    def __call__(self, X, Y=None, eval_gradient=False):
        values = super().__call__(X, Y, eval_gradient)
        return tuple(2 * part for part in values) if eval_gradient else 2 * values

    def diag(self, X):
        return np.full(len(X), 2.0)


class NoisyLinear(Kernel):
    """``scale x.y``, with noise where rows are compared with themselves."""

    def __init__(self, scale=1.0, level=0.5):
        self.scale = scale
        self.level = level

    @property
    def hyperparameter_level(self):
        return Hyperparameter("level", "numeric", (1e-3, 1e3))

    @property
    def hyperparameter_scale(self):
        return Hyperparameter("scale", "numeric", (1e-3, 1e3))

    def __call__(self, X, Y=None, eval_gradient=False):
        linear = self.scale * (X @ (X if Y is None else Y).T)
        noise = self.level * np.eye(len(X)) if Y is None else 0.0
        if eval_gradient:
            return linear + noise, np.dstack([noise, linear])
        return linear + noise

    def diag(self, X):
        return self.scale * np.einsum("ij,ij->i", X, X) + self.level

    def is_stationary(self):
        return False


OTHERS = [
    Overridden(0.9),
    NoisyLinear(0.6) + RBF(SCALES),
    NoisyLinear(0.6) * WhiteKernel(0.1) + ConstantKernel(0.2) * NoisyLinear(),
]
KERNELS = [*STATIONARY, DotProduct(1.3), *FIXED, *COMPOSED, *OTHERS]
# scikit-learn's own gradients of these are finite differences.
DIFFERENCED = [Matern(SCALES, nu=0.8), 2.0 * Matern(1.1, nu=3.2), PairwiseKernel(0.3)]

every_kernel = pytest.mark.parametrize("kernel", KERNELS, ids=repr)


def draw(seed, n=70, m=24):
    """Return rows and landmarks; some of these are rows, and some nearly are."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((n, 3))
    near = B[3:6] + 1e-7 * rng.standard_normal((3, 3))
    return B, np.vstack([B[:3], near, rng.standard_normal((m - 6, 3))]), rng


def assert_pulls_back_the_gradient(kernel, B, Z, rng, tolerance=1e-12):
    """Assert agreement with the block of scikit-learn's gradient on rows and landmarks."""
    K, pull = covariance(kernel).at(Z).forward(B)
    gradient = kernel(np.vstack([B, Z]), eval_gradient=True)[1][: len(B), len(B) :]
    W = rng.standard_normal(K.shape)
    scale = np.einsum("ij,ijp->p", np.abs(W), np.abs(gradient))
    error = np.abs(pull(W.copy()) - np.einsum("ij,ijp->p", W, gradient))
    assert error.shape == (kernel.n_dims,)
    assert np.all(error <= tolerance * scale)


def differences(kernel, function, step=1e-5):
    """Return the derivatives of a function of the node by central differences."""
    steps = step * np.eye(kernel.n_dims)
    values = [
        [function(covariance(kernel.clone_with_theta(kernel.theta + h))) for h in (s, -s)]
        for s in steps
    ]
    return np.array([(plus - minus) / (2 * step) for plus, minus in values])


@every_kernel
def test_values_are_those_of_scikit_learn(kernel, seed):
    B, Z, _ = draw(seed)
    columns = covariance(kernel).at(Z)
    expected = kernel(B, Z)
    for dtype in (np.float32, np.float64):
        values = columns(B, dtype)
        assert values.dtype == dtype
        assert_close_to_scale(values, expected, dtype)
    K, _ = columns.forward(B)
    assert K.dtype == np.float64
    assert_close_to_scale(K, expected, np.float64)
    with_floats = covariance(kernel).at(Z.astype(np.float32))(B.astype(np.float32), float)
    assert_close_to_scale(with_floats, expected, np.float32)


@every_kernel
def test_pull_contracts_the_gradient_of_scikit_learn(kernel, seed):
    B, Z, rng = draw(seed)
    assert covariance(kernel).n_params == kernel.n_dims
    assert_pulls_back_the_gradient(kernel, B, Z, rng)


@pytest.mark.parametrize(
    "kernel", [*STATIONARY, DotProduct(1.3), *FIXED, *COMPOSED], ids=repr
)
def test_points_get_their_derivatives(kernel, seed):
    B, Z, rng = draw(seed, n=20, m=12)
    Z = Z[6:]
    node = covariance(kernel)
    K, pull = node.at(Z).forward(B)
    assert node.has_point_slopes
    W, points = rng.standard_normal(K.shape), np.ones_like(Z)
    pull(W.copy(), points)
    expected = np.ones_like(Z)
    for place in np.ndindex(Z.shape):
        step = np.zeros_like(Z)
        step[place] = 1e-5
        ahead, behind = (np.vdot(W, node.at(Z + h)(B, float)) for h in (step, -step))
        expected[place] += (ahead - behind) / 2e-5
    np.testing.assert_allclose(points, expected, atol=1e-7 * np.abs(W).sum())


def test_points_close_to_rows_get_their_derivatives():
    # So far from the mean of the landmarks that a product would lose the distances.
    rng = np.random.default_rng(0)
    B = np.vstack([rng.standard_normal((5, 2)), 1e6 + rng.standard_normal((5, 2))])
    Z, W = B[[0, 5, 6]] + 0.25, rng.standard_normal((10, 3))
    for kernel in (RBF([0.7, 1.3]), Matern(0.9, "fixed", nu=0.5)):
        points, expected = np.zeros_like(Z), np.zeros_like(Z)
        covariance(kernel).at(Z).forward(B)[1](W.copy(), points)
        for place in np.ndindex(Z.shape):
            step = np.zeros_like(Z)
            step[place] = 2.0**-14
            ahead, behind = (np.vdot(W, kernel(B, Z + h)) for h in (step, -step))
            expected[place] = (ahead - behind) / 2.0**-13
        # The data have ten digits after the point, and a difference loses four.
        np.testing.assert_allclose(points, expected, atol=1e-5)


@pytest.mark.parametrize("kernel", DIFFERENCED, ids=repr)
def test_pull_agrees_with_differences_where_scikit_learn_has_no_formula(kernel, seed):
    B, Z, rng = draw(seed)
    K, pull = covariance(kernel).at(Z).forward(B)
    assert_close_to_scale(K, kernel(B, Z), np.float64)
    W = rng.standard_normal(K.shape)
    expected = differences(kernel, lambda node: np.vdot(W, node.at(Z)(B, np.float64)))
    # A difference over 1e-10, of which scikit-learn has one for PairwiseKernel.
    accuracy = 1e-5 if isinstance(kernel, PairwiseKernel) else 1e-8
    np.testing.assert_allclose(pull(W.copy()), expected, atol=accuracy * np.abs(W).sum())


@pytest.mark.parametrize("kernel", [*STATIONARY, COMPOSED[0], OTHERS[0]], ids=repr)
def test_tiles_change_no_more_than_rounding(kernel, monkeypatch):
    B, Z, rng = draw(0)
    W = rng.standard_normal((len(B), len(Z)))
    K, pull = covariance(kernel).at(Z).forward(B)
    slopes = pull(W.copy())
    monkeypatch.setattr(covariance_stationary, "tile_rows", lambda *_: 11)
    monkeypatch.setattr(covariance_stationary, "TILE_BYTES", 100)
    monkeypatch.setattr(covariance_nodes, "_GRADIENT_BYTES", 100)
    tiled, pull = covariance(kernel).at(Z).forward(B)
    assert_close_to_scale(tiled, K, np.float64)
    assert_close_to_scale(covariance(kernel).at(Z)(B, np.float64), K, np.float64)
    assert_close_to_scale(pull(W.copy()), slopes, np.float64)


@pytest.mark.parametrize("kernel", [*STATIONARY, COMPOSED[0]], ids=repr)
def test_an_offset_of_the_data_loses_what_its_digits_lose(kernel, seed):
    B, Z, rng = draw(seed)
    B, Z = B + 1e4, Z + 1e4
    values = covariance(kernel).at(Z)(B, np.float64)
    np.testing.assert_allclose(values, kernel(B, Z), atol=1e-10)
    assert_pulls_back_the_gradient(kernel, B, Z, rng, tolerance=1e-10)


@pytest.mark.parametrize("kernel", STATIONARY[:-1], ids=repr)
@pytest.mark.parametrize("layout", ["clusters", "outlier", "short"])
def test_distances_that_a_product_would_lose_are_exact(kernel, layout, seed):
    B, Z, rng = draw(seed)
    if layout == "clusters":
        far = np.array([[2.0**20], [-(2.0**20)]])
        B, Z = ((M + far[:, np.newaxis]).reshape(-1, 3) for M in (B, Z))
    elif layout == "outlier":
        B[0] *= 1e7
    else:
        kernel = kernel.clone_with_theta(kernel.theta - np.log(1e5))
        Z[6:12] = B[6:12] + 1e-5 * rng.standard_normal((6, 3))
    values = covariance(kernel).at(Z)(B, np.float64)
    np.testing.assert_allclose(values, kernel(B, Z), atol=1e-9)
    assert_pulls_back_the_gradient(kernel, B, Z, rng, tolerance=1e-9)


@pytest.mark.parametrize("kernel", STATIONARY, ids=repr)
def test_coincident_points_have_the_largest_value_and_no_slope(kernel):
    B = np.repeat(draw(0)[0][:3], 2, axis=0)
    K, pull = covariance(kernel).at(B).forward(B)
    same = np.kron(np.eye(3), np.ones((2, 2)))
    assert_close_to_scale(K[same > 0], np.ones(12), np.float64)
    np.testing.assert_allclose(pull(same.copy()), 0, atol=1e-13)


@every_kernel
def test_diagonal_and_noise_make_up_the_variances(kernel, seed):
    B, _, _ = draw(seed)
    node = covariance(kernel)
    diagonal, noise = node.diagonal(B), node.noise(B)
    assert_close_to_scale(diagonal + noise, kernel.diag(B), np.float64)
    assert_close_to_scale(diagonal, np.diagonal(kernel(B, B.copy())), np.float64)
    if not node.has_noise:
        assert not noise.any()


@pytest.mark.parametrize("part", ["diagonal", "noise"])
@pytest.mark.parametrize("kernel", [*KERNELS, *DIFFERENCED], ids=repr)
def test_pullbacks_of_diagonal_and_noise_agree_with_differences(kernel, part):
    B, _, rng = draw(0, n=40)
    w = rng.standard_normal(len(B))
    slopes = getattr(covariance(kernel), f"{part}_pullback")(B, w)
    expected = differences(kernel, lambda node: w @ getattr(node, part)(B))
    np.testing.assert_allclose(slopes, expected, atol=1e-7 * np.abs(w).sum())


@pytest.mark.parametrize("exponent", [0.5, 1, 3])
def test_a_power_of_noise_is_noise(exponent):
    B, Z, _ = draw(0)
    node = covariance((WhiteKernel(0.2) * RBF(1.0)) ** exponent)
    K, pull = node.at(Z).forward(B)
    assert not K.any()
    assert not node.at(B)(B, np.float64).any()
    assert not pull(np.ones_like(K)).any()
    np.testing.assert_allclose(node.noise(B), 0.2**exponent)
    by_level = exponent * 0.2**exponent * len(B)
    np.testing.assert_allclose(node.noise_pullback(B, np.ones(len(B))), [by_level, 0])


def test_noise_is_where_a_white_kernel_is():
    white, smooth = WhiteKernel(0.1), RBF(1.0)
    for noisy in (white, white + smooth, smooth * white, (smooth + white) ** 2):
        assert covariance(noisy).has_noise
    for exact in (smooth, smooth * 2.0, smooth + DotProduct(), PairwiseKernel()):
        assert not covariance(exact).has_noise


@every_kernel
def test_nodes_and_columns_travel_to_other_processes(kernel):
    B, Z, rng = draw(0)
    W = rng.standard_normal((len(B), len(Z)))
    node = covariance(kernel)
    other, columns = pickle.loads(pickle.dumps((node, node.at(Z))))
    K, pull = columns.forward(B)
    expected, pull_here = node.at(Z).forward(B)
    np.testing.assert_array_equal(K, expected)
    np.testing.assert_array_equal(pull(W.copy()), pull_here(W.copy()))
    np.testing.assert_array_equal(other.diagonal(B), node.diagonal(B))


def test_further_classes_can_be_registered():
    class Half(NoisyLinear):
        pass

    class HalfCovariance(Covariance):
        def diagonal(self, B):
            return np.full(len(B), 0.5)

    covariance.register(Half)(HalfCovariance)
    product = covariance(ConstantKernel(3.0) * Half())
    np.testing.assert_array_equal(product.diagonal(np.ones((2, 1))), [1.5, 1.5])


def test_kernels_of_several_outputs_are_refused():
    kernel = RBF(1.0) + CompoundKernel([RBF(1.0), WhiteKernel()])
    with pytest.raises(ValueError, match="CompoundKernel has several outputs"):
        covariance(kernel)
    with pytest.raises(TypeError, match="kernel='rbf' must be a kernel"):
        covariance("rbf")


def test_length_scales_are_as_many_as_the_features():
    with pytest.raises(ValueError, match=r"length_scale has 3 entries.*of the 2 features"):
        covariance(2.0 * RBF(SCALES)).at(np.ones((4, 2)))
