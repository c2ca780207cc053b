"""Compressed layers and networks against plain ways of equal size."""

import os
import warnings
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.utils.extmath import randomized_svd

from sklearn_rnla import compress_layers, compress_mlp, low_rank_factorize, select_neurons

from .harness import compare, installed, race, rounds
from .matrices import power_law

OURS = "low_rank_factorize"

# Layers of a transformer, and which activations are their inputs.
_LAYERS = {
    f"encoder.layer.{i}.attention.self.{kind}": f"l{i}.attn_in"
    for i in (0, 3)
    for kind in ("query", "key", "value")
} | {"encoder.layer.3.output.dense": "l3.ffn_hidden"}

_COMPRESSIONS = (2, 3, 5)


def transformer(report, quick):
    """Return names and (W, bias, seen inputs, new inputs), real ones if there are."""
    folder = Path(os.environ.get("BENCHMARK_DATA", ""))
    files = [folder / f"minilm_{part}_small.npz" for part in ("l6", "act")]
    if quick or not all(path.exists() for path in files):
        report.note("generated layers")
        return {f"generated {i}": _generated(quick, seed=i) for i in range(2)}
    weights, activations = map(np.load, files)
    found = {}
    for name, inputs in _LAYERS.items():
        X = activations[inputs].astype(np.float32)
        half = len(X) // 2
        parts = [weights[f"{name}.{part}"].astype("f4") for part in ("weight", "bias")]
        found[name] = (*parts, X[:half], X[half:])
    return found


def _generated(quick, seed):
    n_out, n_in, n = (24, 32, 64) if quick else (384, 384, 2048)
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, n_in)) * power_law(n_in, 0.7)
    X = 0.1 + X @ np.linalg.qr(rng.standard_normal((n_in, n_in)))[0]
    W = rng.standard_normal((n_out, n_in))
    return W, rng.standard_normal(n_out), X[: n // 2], X[n // 2 :]


def _low_rank(W, bias, X, compression, **options):
    found = low_rank_factorize(W, compression=compression, bias=bias, **options)
    return found.left @ found.right, found.bias


def _pruned(W, bias, X, compression, *, scale=None):
    """Keep the largest entries, times the size of their inputs with `scale`."""
    sizes = np.abs(W) if scale is None else np.abs(W) * np.linalg.norm(X, axis=0)
    kept = np.argsort(-sizes, axis=None)[: int(W.size / compression)]
    new = np.zeros_like(W)
    new.flat[kept] = W.flat[kept]
    return new, bias


def _selected(W, bias, X, compression):
    """Keep some inputs, all others folded into them."""
    k = int(W.shape[1] / compression)
    found = select_neurons(np.eye(W.shape[1]), W, X, k, bias_out=bias)
    new = np.zeros_like(W)
    new[:, found.indices] = found.W_out
    return new, found.bias_out


def _random(W, bias, X, compression):
    """Keep random inputs."""
    k = int(W.shape[1] / compression)
    kept = np.random.default_rng(0).choice(W.shape[1], k, replace=False)
    new = np.zeros_like(W)
    new[:, kept] = W[:, kept]
    return new, bias


_WAYS = {
    "low_rank_factorize, activations": lambda W, b, X, c: _low_rank(
        W, b, X, c, activations=X
    ),
    "the same, ridge=0 (SVD-LLM)": lambda W, b, X, c: _low_rank(
        W, b, X, c, activations=X, ridge=0
    ),
    "select_neurons": _selected,
    "truncated SVD": _low_rank,
    "largest entries (sparse)": _pruned,
    "largest entries by input (sparse)": partial(_pruned, scale=True),
    "random inputs": _random,
}


def _error(W, bias, X, new):
    """Return the error of outputs, relative, about their mean."""
    Y = X @ W.T + bias
    D = X @ new[0].T + new[1] - Y
    return float(np.linalg.norm(D) / np.linalg.norm(Y - Y.mean(axis=0)))


def layers(report, quick):
    """Compare errors of outputs on inputs that were not seen, layer by layer."""
    found = transformer(report, quick)
    for compression in _COMPRESSIONS:
        rows = []
        for name, (W, bias, seen, new) in found.items():
            row = {"layer": name.removeprefix("encoder.")}
            for way, compress in _WAYS.items():
                row[way] = _error(W, bias, new, compress(W, bias, seen, compression))
            rows.append(row)
        titles = list(rows[0])[1:]
        rows.append({"layer": "mean"} | {t: mean(row[t] for row in rows) for t in titles})
        report.note(f"{compression} times fewer entries; error of outputs of new inputs")
        report.table(rows)


def samples(report, quick):
    """Show what the ridge is for: fewer inputs seen."""
    found = transformer(report, quick)
    rows = []
    for share in (1, 4, 16):
        row = {"of the inputs": f"1/{share}"}
        for ridge in (None, 0.0, 1e-4, 1.0):
            row[f"ridge={ridge}"] = mean(
                _error(
                    W,
                    b,
                    new,
                    _low_rank(W, b, X, 3, activations=X[::share], ridge=ridge),
                )
                for W, b, X, new in found.values()
            )
        row["truncated SVD"] = mean(
            _error(W, b, new, _low_rank(W, b, X, 3)) for W, b, X, new in found.values()
        )
        rows.append(row)
    report.note("3 times fewer entries; mean error of outputs of new inputs")
    report.table(rows)


def budget(report, quick):
    """Compare one budget for all layers with the same compression of each."""
    found = transformer(report, quick)
    weights = {name: layer[0] for name, layer in found.items()}
    biases = {name: layer[1] for name, layer in found.items()}
    inputs = {name: layer[2] for name, layer in found.items()}
    rows = []
    for compression in _COMPRESSIONS:
        spread = compress_layers(
            weights, 1 / compression, activations=inputs, biases=biases
        )
        errors = {"one budget": [], "each alike": []}
        for name, (W, bias, X, new) in found.items():
            alike = _low_rank(W, bias, X, compression, activations=X)
            own, mine = spread.factors[name], (W, bias)
            if own is not None:
                mine = own.left @ own.right, own.bias
            errors["one budget"].append(_error(W, bias, new, mine))
            errors["each alike"].append(_error(W, bias, new, alike))
        row = {"compression": compression}
        for way, values in errors.items():
            row[f"{way}, root mean square"] = float(np.sqrt(np.mean(np.square(values))))
            row[f"{way}, largest"] = max(values)
        row["least rank"] = min(r for r in [*spread.table["rank"], 10**6] if r)
        row["stay as they are"] = spread.table["rank"].count(None)
        rows.append(row)
    report.table(rows)


def digits(report, quick):
    """Compare the accuracy of networks on digits, compressed and not trained again."""
    seeds = range(1 if quick else 5)
    X, y = load_digits(return_X_y=True)
    X = X / 16
    hidden = (16, 12) if quick else (256, 128)
    scores = {}
    for seed in seeds:
        train, test, labels, truth = train_test_split(
            X, y, test_size=0.3, random_state=seed
        )
        network = MLPClassifier(hidden, max_iter=3 if quick else 100, random_state=seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network.fit(train, labels)
        full = network.score(test, truth)
        for compression in (*_COMPRESSIONS, 8):
            for way, compress in _NETWORKS.items():
                small = compress(network, 1 / compression, train)
                scores.setdefault((compression, way), []).append(
                    (full, small.score(test, truth))
                )
    rows = []
    for compression in (*_COMPRESSIONS, 8):
        row = {"compression": compression}
        row["before"] = mean(full for full, _ in scores[compression, "neurons"])
        for way in _NETWORKS:
            row[way] = f"{mean(score for _, score in scores[compression, way]):.4f}"
        rows.append(row)
    report.note(
        f"64-{hidden[0]}-{hidden[1]}-10, {len(seeds)} splits, accuracy on test rows"
    )
    report.table(rows)


def _with_coefs(network, coefs, intercepts, sizes):
    new = clone(network).set_params(hidden_layer_sizes=sizes)
    vars(new).update({k: v for k, v in vars(network).items() if k not in new.get_params()})
    new.coefs_, new.intercepts_ = coefs, intercepts
    return new


def _sparse_network(network, budget, X):
    coefs = [_pruned(W, None, None, 1 / budget)[0] for W in network.coefs_]
    return _with_coefs(network, coefs, network.intercepts_, network.hidden_layer_sizes)


def _kept_neurons(network, budget, X, *, score):
    """Keep the neurons of the best score, as many as `compress_mlp` does."""
    sizes = compress_mlp(network, budget, X, method="neurons").hidden_layer_sizes
    coefs = [W.copy() for W in network.coefs_]
    intercepts = list(network.intercepts_)
    for i, size in enumerate(sizes):
        kept = np.argsort(-score(coefs[i], coefs[i + 1]))[:size]
        coefs[i], intercepts[i] = coefs[i][:, kept], intercepts[i][kept]
        coefs[i + 1] = coefs[i + 1][kept]
    return _with_coefs(network, coefs, intercepts, sizes)


def _largest(before, after):
    return np.linalg.norm(before, axis=0) * np.linalg.norm(after, axis=1)


def _any(before, after):
    return np.random.default_rng(0).random(len(after))


_NETWORKS = {
    "low rank, activations": compress_mlp,
    "truncated SVD": lambda network, budget, X: compress_mlp(network, budget),
    "neurons": partial(compress_mlp, method="neurons"),
    "largest neurons": partial(_kept_neurons, score=_largest),
    "random neurons": partial(_kept_neurons, score=_any),
    "largest entries (sparse)": _sparse_network,
}


def time(report, quick):
    """Compare the time of a few factors of a large matrix."""
    n, rank = (64, 4) if quick else (2048, 128)
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((n, n)))[0]
    W = ((Q * power_law(n, 0.5)) @ np.linalg.qr(rng.standard_normal((n, n)))[0]).astype(
        "f4"
    )
    X = rng.standard_normal((2 * n, n)).astype("f4")
    torch = installed("torch")
    methods = {
        OURS: partial(low_rank_factorize, W, rank=rank, random_state=0),
        f"{OURS}, activations": partial(
            low_rank_factorize, W, rank=rank, activations=X, random_state=0
        ),
        "numpy.linalg.svd": lambda: np.linalg.svd(W, full_matrices=False)[0][:, :rank],
        "sklearn randomized_svd": lambda: randomized_svd(W, rank, random_state=0)[0],
        "torch.svd_lowrank, niter=4": torch
        and (lambda: torch.svd_lowrank(torch.from_numpy(W), rank, niter=4)[0].numpy()),
    }

    def error(found):
        U = getattr(found, "left", found)
        return float(np.linalg.norm(W - U @ (U.T @ W)) / np.linalg.norm(W))

    runs = race(methods, rounds=rounds(quick, 3), patience=10.0)
    report.note(f"{n} x {n} float32, rank {rank}")
    report.table(compare(runs, OURS, {"error of weights": error}))


TASKS = {
    "compression-layers": layers,
    "compression-samples": samples,
    "compression-budget": budget,
    "compression-digits": digits,
    "compression-time": time,
}
