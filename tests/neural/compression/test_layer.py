"""Low-rank factors of layers, and budgets for several, against dense references."""

from itertools import pairwise

import numpy as np
import pytest

from sklearn_rnla import compress_layers, low_rank_factorize
from sklearn_rnla.neural.compression.budget import Options, allot
from tests.invariants import assert_close_to_scale, assert_orthonormal_rows
from tests.matrices import with_spectrum

SHAPES = [(12, 30), (30, 12), (20, 20), (1, 7), (7, 1)]


def layer(m=30, n=20, n_samples=200, seed=0):
    """Return a matrix and inputs that do not fill all directions alike."""
    rng = np.random.default_rng(seed)
    W = with_spectrum(np.arange(1, min(m, n) + 1) ** -0.5, m, n, seed)
    X = 1 + with_spectrum(0.8 ** np.arange(n), n_samples, n, seed) * np.sqrt(n_samples)
    return W, X, rng.standard_normal(m)


def optimal_error(W, X, rank):
    """Return the least relative error of ``X W^T`` at a rank: that of its own SVD."""
    s = np.linalg.svd(X @ W.T, compute_uv=False)
    return np.sqrt(np.sum(s[rank:] ** 2) / np.sum(s**2))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("activated", [False, True])
def test_full_rank_is_exact(shape, activated, seed):
    W, X, bias = layer(*shape, seed=seed)
    X = X if activated else None
    found = low_rank_factorize(W, rank=min(shape), activations=X, bias=bias)
    assert_close_to_scale(found.left @ found.right, W, np.float64)
    assert_close_to_scale(found.bias, bias, np.float64)
    assert not found.worthwhile
    assert found.weight_error < 1e-14


def test_without_activations_it_is_the_truncated_svd(seed):
    W, _, _ = layer(seed=seed)
    found = low_rank_factorize(W, rank=5)
    U, s, Vt = np.linalg.svd(W, full_matrices=False)
    assert_close_to_scale(found.left @ found.right, (U[:, :5] * s[:5]) @ Vt[:5], float)
    best = np.linalg.norm(s[5:]) / np.linalg.norm(s)
    np.testing.assert_allclose(found.weight_error, best)
    assert found.output_error is None


@pytest.mark.parametrize("n_samples", [200, 15, 1])
def test_with_activations_outputs_have_the_least_error_of_that_rank(n_samples, seed):
    """Also with fewer samples than inputs, whose second moments are singular."""
    W, X, _ = layer(n_samples=200, seed=seed)
    X = X[:n_samples]
    for rank in (1, 3, 8):
        found = low_rank_factorize(W, rank=rank, activations=X, ridge=0)
        Y = X @ W.T
        error = np.linalg.norm(Y - X @ found.right.T @ found.left.T) / np.linalg.norm(Y)
        np.testing.assert_allclose(error, optimal_error(W, X, rank), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(found.output_error, error, rtol=1e-6, atol=1e-7)
        plain = low_rank_factorize(W, rank=rank)
        assert found.weight_error >= plain.weight_error


def test_with_a_bias_outputs_about_their_mean_have_the_least_error(seed):
    W, X, bias = layer(seed=seed)
    found = low_rank_factorize(W, rank=4, activations=X, bias=bias, ridge=0)
    Y = X @ W.T + bias
    D = Y - X @ found.right.T @ found.left.T - found.bias
    assert_close_to_scale(D.mean(axis=0) + 1, np.ones(len(W)), np.float64)
    C = X - X.mean(axis=0)
    least = optimal_error(W, C, 4)
    np.testing.assert_allclose(np.linalg.norm(D) / np.linalg.norm(C @ W.T), least)
    np.testing.assert_allclose(found.output_error, least)


def test_a_ridge_helps_on_new_samples_where_there_are_few(seed):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((40, 60))
    X = rng.standard_normal((2000, 60)) * np.linspace(1.5, 0.5, 60)
    few, new = X[:50], X[50:]
    lost = {}
    for ridge in (None, 0.0):
        found = low_rank_factorize(W, rank=10, activations=few, ridge=ridge)
        lost[ridge] = np.linalg.norm(new @ (W - found.left @ found.right).T)
    assert lost[None] < lost[0.0]


def test_a_large_ridge_leaves_the_weights_alone():
    W, X, _ = layer()
    found = low_rank_factorize(W, rank=5, activations=X, ridge=1e9)
    plain = low_rank_factorize(W, rank=5)
    np.testing.assert_allclose(found.weight_error, plain.weight_error, rtol=1e-6)


@pytest.mark.parametrize("activated", [False, True])
def test_criteria_are_met_by_the_least_rank(activated, seed):
    W, X, _ = layer(seed=seed)
    X = X if activated else None

    def error(rank):
        found = low_rank_factorize(W, rank=rank, activations=X, ridge=0)
        return found.output_error if activated else found.weight_error

    for limit in (0.8, 0.3, 0.05):
        found = low_rank_factorize(W, error=limit, activations=X, ridge=0)
        assert error(found.rank) <= limit
        assert found.rank == 1 or error(found.rank - 1) > limit
        same = low_rank_factorize(W, energy=1 - limit**2, activations=X, ridge=0)
        assert same.rank == found.rank


def test_compression_gives_the_largest_rank_within_it():
    W, _, _ = layer(30, 20)
    for compression in (1, 1.5, 2, 5, 12):
        found = low_rank_factorize(W, compression=compression)
        assert found.n_parameters * compression <= W.size
        assert (found.n_parameters + 50) * compression > W.size
        assert found.n_parameters == found.left.size + found.right.size
        assert found.n_parameters_before == W.size


def test_break_even_is_where_factors_are_as_large_as_the_matrix():
    W = np.eye(30, 20)
    assert low_rank_factorize(W, rank=1).break_even == 12
    assert low_rank_factorize(W, rank=11).worthwhile
    assert not low_rank_factorize(W, rank=12).worthwhile


def test_errors_fall_with_the_rank(seed):
    W, X, _ = layer(seed=seed)
    found = [low_rank_factorize(W, rank=k, activations=X, ridge=0) for k in range(1, 21)]
    assert np.all(np.diff([each.output_error for each in found]) <= 1e-12)
    for each in found:
        assert_orthonormal_rows(each.left.T)


def test_energy_of_a_rank_deficient_matrix_is_all_at_its_rank(seed):
    W = with_spectrum([3.0, 2.0, 1.0], 30, 20, seed)
    assert low_rank_factorize(W, energy=1.0).rank == 3
    assert low_rank_factorize(W, error=0.0).rank == 3
    assert low_rank_factorize(np.zeros((4, 3)), energy=0.5).rank == 1


def test_a_few_factors_of_a_large_matrix_are_nearly_optimal():
    W = with_spectrum(0.9 ** np.arange(100), 700, 520, dtype=np.float32)
    found = low_rank_factorize(W, rank=20, random_state=0)
    s = 0.9 ** np.arange(100)
    assert found.weight_error <= 1.01 * np.linalg.norm(s[20:]) / np.linalg.norm(s)


def test_compression_at_its_own_boundary_keeps_that_rank():
    for m, n, ranks in ((7, 10, (1, 2, 3, 4)), (96, 384, (3, 6, 12, 13, 24))):
        for rank in ranks:
            found = low_rank_factorize(np.eye(m, n), compression=m * n / (rank * (m + n)))
            assert found.rank == rank


SCALES = [1e-300, 1e-150, 1e150, 1e300]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("activated", [False, True])
def test_the_scale_of_weights_and_activations_changes_nothing(scale, activated):
    W, X, bias = layer()
    X = X if activated else None
    plain = low_rank_factorize(W, error=0.2, activations=X, bias=bias)
    found = [low_rank_factorize(W * scale, error=0.2, activations=X, bias=bias * scale)]
    if activated:
        small = X * scale
        found.append(low_rank_factorize(W, error=0.2, activations=small, bias=bias * scale))
    for each in found:
        assert each.rank == plain.rank
        np.testing.assert_allclose(each.weight_error, plain.weight_error)
        if activated:
            np.testing.assert_allclose(each.output_error, plain.output_error)
        assert_close_to_scale(each.bias / scale, plain.bias, np.float64, slack=100)
    right = found[0].right / scale
    assert_close_to_scale(found[0].left @ right, plain.left @ plain.right, np.float64)


@pytest.mark.parametrize("scale", SCALES)
def test_the_scale_of_all_layers_changes_no_rank(scale, seed):
    weights = network(seed)
    scaled = {name: W * scale for name, W in weights.items()}
    for relative in (False, True):
        plain = compress_layers(weights, 0.4, relative=relative).table
        found = compress_layers(scaled, 0.4, relative=relative).table
        assert found["rank"] == plain["rank"]
    # Relative errors of one layer do not depend on the scale of another.
    scaled = weights | {"wide": weights["wide"] * scale}
    assert compress_layers(scaled, 0.4).table["rank"] == plain["rank"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_precision_is_kept(dtype):
    W, X, bias = (part.astype(dtype) for part in layer())
    found = low_rank_factorize(W, rank=15, activations=X, bias=bias)
    assert {part.dtype for part in (found.left, found.right, found.bias)} == {
        np.dtype(dtype)
    }
    product = found.left.astype(float) @ found.right.astype(float)
    error = np.linalg.norm(W - product) / np.linalg.norm(W)
    assert abs(error - found.weight_error) <= 10 * np.finfo(dtype).eps
    layers = compress_layers({"a": W}, 0.5, activations={"a": X})
    assert layers.factors["a"].left.dtype == dtype


def test_leading_dimensions_of_activations_are_samples():
    W, X, _ = layer()
    folded = low_rank_factorize(W, rank=3, activations=X.reshape(20, 10, -1))
    flat = low_rank_factorize(W, rank=3, activations=X)
    np.testing.assert_array_equal(folded.left, flat.left)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Exactly one of .* got none"),
        ({"rank": 2, "error": 0.1}, "Exactly one of .* got rank=2, error=0.1"),
        ({"rank": 0}, "'rank' parameter .* Got 0"),
        ({"rank": 21}, r"rank=21 must be at most min\(n_rows=30, n_columns=20\)"),
        ({"rank": 2.0}, "'rank' parameter"),
        ({"energy": 0.0}, r"'energy' parameter .* \(0.0, 1.0\]"),
        ({"energy": 1.5}, r"'energy' parameter .* \(0.0, 1.0\]"),
        ({"error": 1.0}, r"'error' parameter .* \[0.0, 1.0\)"),
        ({"compression": 0.5}, r"'compression' parameter .* \[1.0, inf\)"),
        ({"compression": 13}, "compression=13 must be at most 12,"),
        ({"rank": 1, "ridge": -1.0}, "'ridge' parameter"),
        ({"rank": 1, "activations": np.ones((5, 19))}, "as the weights take 20"),
        ({"rank": 1, "activations": np.ones(20)}, r"shape \(20,\)"),
        ({"rank": 1, "activations": np.full((5, 20), np.nan)}, "activations .* NaN"),
        ({"rank": 1, "bias": np.ones(29)}, "bias of W has length 29, but 30 is expected"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        low_rank_factorize(np.ones((30, 20)), **options)


def test_bad_weights_are_named():
    with pytest.raises(ValueError, match="W contains NaN or infinity"):
        low_rank_factorize([[1.0, np.inf]], rank=1)
    with pytest.raises(ValueError, match=r"W has shape \(3,\)"):
        low_rank_factorize(np.ones(3), rank=1)
    with pytest.raises(TypeError, match="W must hold real numbers"):
        low_rank_factorize(np.ones((3, 3), dtype=complex), rank=1)


def network(seed=0):
    """Return layers of different size and spectrum."""
    sizes = {"wide": (20, 60), "square": (40, 40), "flat": (30, 30), "row": (1, 50)}
    decays = {"wide": 1.5, "square": 0.7, "flat": 0.0, "row": 0.0}
    return {
        name: with_spectrum(np.arange(1, min(m, n) + 1) ** -decays[name], m, n, seed)
        for name, (m, n) in sizes.items()
    }


@pytest.mark.parametrize("budget", [0.15, 0.3, 0.5, 0.8, 0.99, 1.0, 700, 10_000])
@pytest.mark.parametrize("relative", [False, True])
def test_a_budget_is_never_exceeded(budget, relative, seed):
    weights = network(seed)
    found = compress_layers(weights, budget, relative=relative)
    total = sum(W.size for W in weights.values())
    limit = budget if isinstance(budget, int) else budget * total
    used = 0
    for name, W in weights.items():
        factors = found.factors[name]
        used += W.size if factors is None else factors.left.size + factors.right.size
        assert factors is None or factors.worthwhile
    assert used == found.n_parameters == sum(found.table["n_parameters"]) <= limit
    assert found.n_parameters_before == total
    # Not by more than the dearest step.
    assert used >= min(total, limit - 100)


def test_error_falls_as_the_budget_grows(seed):
    weights = network(seed)
    errors = [
        np.sum(np.square(compress_layers(weights, b).table["weight_error"]))
        for b in np.linspace(0.2, 1.0, 9)
    ]
    assert np.all(np.diff(errors) <= 1e-12)
    assert errors[-1] == 0


def test_a_budget_is_spent_nearly_as_well_as_by_trying_all_ranks(seed):
    weights = {name: W for name, W in network(seed).items() if name in ("wide", "flat")}
    spectra = {k: np.linalg.svd(W, compute_uv=False) ** 2 for k, W in weights.items()}

    def cost_and_error(name, rank):
        W, s = weights[name], spectra[name]
        if rank is None:
            return W.size, 0.0
        return rank * sum(W.shape), s[rank:].sum() / s.sum()

    choices = {name: [None, *range(1, 15)] for name in weights}
    for budget in (0.15, 0.3, 0.5, 0.7, 0.9):
        limit = budget * sum(W.size for W in weights.values())
        found = compress_layers(weights, budget)
        error = sum(
            cost_and_error(name, rank)[1]
            for name, rank in zip(weights, found.table["rank"], strict=True)
        )
        best = min(
            e + f
            for c, e in (cost_and_error("wide", r) for r in choices["wide"])
            for d, f in (cost_and_error("flat", r) for r in choices["flat"])
            if c + d <= limit
        )
        # Of the flat one, a rank removes a thirtieth.
        assert error <= best + 2 / 30


def test_allotment_is_optimal_where_the_budget_ends_at_a_step(seed):
    rng = np.random.default_rng(seed)
    options = {}
    for name in "abc":
        errors = np.sort(rng.random(8))[::-1]
        options[name] = Options(np.arange(1, 10) * 3, np.append(errors, 0.0))
    hulls = {name: [0, *found.hull(0, 27)] for name, found in options.items()}
    gains = sorted(
        (found.gain(i, j), found.costs[j] - found.costs[i])
        for name, found in options.items()
        for i, j in pairwise(hulls[name])
    )[::-1]
    limit = 9 + int(sum(cost for _, cost in gains[:5]))
    ranks = allot(options, limit)
    chosen = {name: 8 if rank is None else rank - 1 for name, rank in ranks.items()}
    error = sum(options[name].errors[i] for name, i in chosen.items())
    brute = min(
        sum(options[name].errors[i] for name, i in zip("abc", (i, j, k), strict=True))
        for i in range(9)
        for j in range(9)
        for k in range(9)
        if 3 * (i + j + k + 3) <= limit
    )
    np.testing.assert_allclose(error, brute)


def test_no_budget_is_spent_worse_than_by_the_same_compression_everywhere(seed):
    rng = np.random.default_rng(seed)
    for _ in range(20):
        shapes = rng.integers(6, 25, (3, 2))
        weights = {i: rng.standard_normal(shape) for i, shape in enumerate(shapes)}
        compression = rng.uniform(1.1, 2.5)
        alike = [low_rank_factorize(W, compression=compression) for W in weights.values()]
        budget = sum(found.n_parameters for found in alike)
        table = compress_layers(weights, budget).table
        error = np.sum(np.square([found.weight_error for found in alike]))
        assert np.sum(np.square(table["weight_error"])) <= error * (1 + 1e-12)


def test_layers_whose_factors_would_be_larger_stay():
    found = compress_layers(network(), 0.5)
    assert found.factors["row"] is None
    assert found.table["rank"][found.table["layer"].index("row")] is None
    flat = {"flat": np.eye(10)}
    assert compress_layers(flat, 0.99).factors["flat"].rank == 4
    assert compress_layers(flat, 1.0).factors["flat"] is None


def test_activations_of_some_layers_are_enough(seed):
    W, X, bias = layer(seed=seed)
    weights = {"a": W, "b": W}
    found = compress_layers(weights, 0.5, activations={"a": X}, biases={"a": bias})
    assert found.table["output_error"][1] is None
    assert found.factors["a"].bias is not None
    assert found.factors["b"].bias is None
    rank = found.factors["a"].rank
    alone = low_rank_factorize(W, rank=rank, activations=X, bias=bias)
    np.testing.assert_allclose(found.factors["a"].left, alone.left)
    assert len({len(column) for column in found.table.values()}) == 1


@pytest.mark.parametrize(
    ("weights", "budget", "options", "message"),
    [
        ({}, 0.5, {}, "at least one layer"),
        ({"a": np.eye(4)}, 0.1, {}, "budget=1 must be at least 8"),
        ({"a": np.eye(4)}, 7, {}, "budget=7 must be at least 8"),
        ({"a": np.eye(4)}, 1.5, {}, "'budget' parameter"),
        ({"a": np.eye(4)}, 0, {}, "'budget' parameter"),
        ({"a": np.eye(4)}, 0.9, {"activations": {"b": np.eye(4)}}, "names 'b'"),
        ({"a": np.eye(4)}, 0.9, {"biases": {"b": np.ones(4)}}, "names 'b'"),
        ({"a": np.eye(4) * np.nan}, 0.9, {}, "a contains NaN"),
    ],
)
def test_bad_budgets_and_layers_are_named(weights, budget, options, message):
    with pytest.raises(ValueError, match=message):
        compress_layers(weights, budget, **options)
