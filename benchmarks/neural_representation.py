"""Spectra of representations and CKA against numpy, scikit-learn and the n x n formula."""

import os
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.decomposition import PCA

from sklearn_rnla import linear_cka, representation_spectrum

from .harness import MEGABYTE, compare, installed, race, rounds
from .matrices import file_of_rows, power_law, with_spectrum

OURS = "representation_spectrum"
CKA = "linear_cka"


def spectrum(report, quick):
    """Compare all eigenvalues with the covariance of numpy and the PCA of scikit-learn."""
    for name, X in _representations(quick).items():
        truth = _dense_eigenvalues(X)
        methods = {
            OURS: lambda X=X: representation_spectrum(X).eigenvalues,
            "numpy cov, eigvalsh": lambda X=X: _by_numpy(X),
            "PCA, covariance_eigh": _by_pca(X, "covariance_eigh"),
            "PCA, full": _by_pca(X, "full") if len(X) <= 5000 else None,
        }
        methods = {key: method for key, method in methods.items() if method}
        runs = race(methods, rounds=rounds(quick, 3), patience=20.0)
        report.note(f"{name}: {X.shape[0]} x {X.shape[1]} {X.dtype}")
        columns = {
            "worst error / largest": partial(_worst, truth),
            "effective rank": lambda values: f"{_effective_rank(values):.2f}",
        }
        report.table(compare(runs, OURS, columns))


def _by_numpy(X):
    return np.linalg.eigvalsh(np.cov(X, rowvar=False))[::-1]


def _by_pca(X, solver):
    return lambda: PCA(svd_solver=solver).fit(X).explained_variance_


def _dense_eigenvalues(X):
    """Return the eigenvalues of the covariance, summed in float64 by blocks."""
    mean = X.mean(axis=0, dtype=np.float64)
    C = np.zeros((X.shape[1],) * 2)
    for start in range(0, len(X), 8192):
        part = X[start : start + 8192] - mean
        C += part.T @ part
    return np.linalg.eigvalsh(C / (len(X) - 1))[::-1]


def _worst(truth, values):
    n = min(len(truth), len(values))
    return float(np.abs(values[:n] - truth[:n]).max() / truth[0])


def _effective_rank(values):
    p = values[values > 0] / values[values > 0].sum()
    return np.exp(-np.sum(p * np.log(p)))


def leading(report, quick):
    """Show what leading eigenvalues leave open, and what they save."""
    m, n = (1000, 200) if quick else (6000, 4200)
    for exponent in (0.5, 1.0):
        X = with_spectrum(m, n, power_law(n // 2, exponent), np.float32)
        sizes = (10, 40) if quick else (64, 256)
        methods = {
            f"{OURS}, k={k}": partial(representation_spectrum, X, k, random_state=0)
            for k in sizes
        }
        methods[OURS] = partial(representation_spectrum, X, n)
        runs = race(methods, rounds=rounds(quick, 1), patience=5.0)
        report.note(f"{m} x {n} float32, half of the singular values i^-{exponent}")
        columns = {
            f"{name}, bounds": partial(_with_bounds, name=name)
            for name in ("effective_rank", "participation_ratio", "stable_rank")
        }
        report.table(compare(runs, OURS, columns))


def _with_bounds(found, name):
    low, value, high = (getattr(r, name) for r in (found.lower, found, found.upper))
    return f"{value:.1f} ({low:.1f}, {high:.1f})"


def cka(report, quick):
    """Compare CKA with the formula on kernels of all samples."""
    sizes = ((300, 60, 40),) if quick else ((2048, 384, 384), (5000, 1024, 512))
    for n, p, q in sizes:
        X, Y = _pair(n, p, q)
        methods = {CKA: partial(linear_cka, X, Y), "n x n kernels": partial(_naive, X, Y)}
        runs = race(methods, rounds=rounds(quick, 3), patience=20.0)
        report.note(f"{n} x {p} and {n} x {q} float32")
        report.table(compare(runs, CKA, {"CKA": lambda found: f"{found[0]:.6f}"}))


def _naive(X, Y):
    """Return CKA of centred kernels of n x n numbers."""
    K, L = (_centred(A @ A.T) for A in (X.astype(float), Y.astype(float)))
    return (np.vdot(K, L) / np.sqrt(np.vdot(K, K) * np.vdot(L, L)),)


def _centred(K):
    K -= K.mean(axis=0)
    K -= K.mean(axis=1, keepdims=True)
    return K


def sketched(report, quick):
    """Compare sketches of wide layers with the exact CKA, over seeds."""
    n, p, q = (500, 300, 200) if quick else (10_000, 4500, 4200)
    X, Y = _pair(n, p, q)
    exact = partial(linear_cka, X, Y, method="exact")
    methods = {"exact": exact}
    for size in (16,) if quick else (64, 128, 256):
        methods[f"sketch_size={size}"] = partial(
            linear_cka, X, Y, method="sketched", sketch_size=size, random_state=0
        )
    runs = race(methods, rounds=rounds(quick, 1), patience=5.0)
    truth = runs["exact"].result.similarity
    report.note(f"{n} x {p} and {n} x {q} float32")
    columns = {
        "CKA": lambda found: f"{found.similarity:.5f}",
        "error": lambda found: f"{abs(found.similarity - truth):.1e}",
        "estimate": lambda found: f"{found.error_estimate:.1e}",
    }
    report.table(compare(runs, "exact", columns))


def memmap(report, quick):
    """Read millions of rows from a file: time and memory."""
    m, n = (20_000, 64) if quick else (2_000_000, 128)
    with tempfile.TemporaryDirectory(prefix="sklearn-rnla-") as folder:
        X = file_of_rows(Path(folder) / "rows.f32", m, n)
        methods = {
            OURS: partial(representation_spectrum, X),
            f"{OURS}, n_jobs=2": partial(representation_spectrum, X, n_jobs=2),
            f"{OURS}, k=32": partial(representation_spectrum, X, 32, random_state=0),
            f"{CKA} with itself": partial(linear_cka, X, X),
        }
        runs = race(methods, rounds=rounds(quick, 2), patience=60.0)
        report.note(f"{m} x {n} float32, {X.nbytes / 1e9:.2g} GB")
        rows = compare(runs, OURS, {})
        for row, run in zip(rows, runs.values(), strict=True):
            row["peak / file"] = None if run.peak is None else f"{run.peak / X.nbytes:.2%}"
        report.table(rows)


def recorder(report, quick):
    """Compare recording while a model runs with keeping its activations."""
    torch = installed("torch")
    if torch is None:
        report.note("torch: not installed")
        return
    from sklearn_rnla.neural.torch import ActivationRecorder

    n, width, depth = (1000, 32, 2) if quick else (20_000, 512, 4)
    torch.manual_seed(0)
    layers = []
    for _ in range(depth):
        layers += [torch.nn.Linear(width, width), torch.nn.GELU()]
    model, x = torch.nn.Sequential(*layers), torch.randn(n, width)
    names = [str(2 * i + 1) for i in range(depth)]

    def run():
        with torch.no_grad():
            for batch in x.split(2000):
                model(batch)

    def recorded(**parameters):
        with ActivationRecorder(model, names, **parameters) as found:
            run()
        return found.spectra()

    def kept():
        outputs = {name: [] for name in names}
        hooks = [
            model.get_submodule(name).register_forward_hook(
                lambda module, inputs, out, name=name: outputs[name].append(out)
            )
            for name in names
        ]
        run()
        for hook in hooks:
            hook.remove()
        return {
            name: representation_spectrum(torch.cat(parts))
            for name, parts in outputs.items()
        }

    methods = {
        "ActivationRecorder": recorded,
        "ActivationRecorder, similarity=True": partial(recorded, similarity=True),
        "ActivationRecorder, n_components=16": partial(recorded, n_components=16),
        "outputs kept, then spectra": kept,
        "no recording": run,
    }
    runs = race(methods, rounds=rounds(quick, 2), patience=20.0)
    report.note(
        f"{depth} layers of {width}, {n} rows in batches of 2000, {MEGABYTE} B = 1 MB"
    )
    report.table(compare(runs, "ActivationRecorder", {}))


def _representations(quick):
    """Return names and arrays: generated ones, and activations of a folder if there."""
    m, n = (1000, 50) if quick else (100_000, 1024)
    rows = np.random.default_rng(0).standard_normal((m, n), np.float32)
    found = {"generated": rows * np.float32(power_law(n, 0.7)) + np.float32(1)}
    path = Path(os.environ.get("BENCHMARK_DATA", "")) / "minilm_act_small.npz"
    if path.exists() and not quick:
        with np.load(path) as stored:
            for name in stored.files:
                found[f"minilm {name}"] = stored[name].astype(np.float32)
    return found


def _pair(n, p, q, seed=0):
    """Return two representations with common directions and their own, decaying."""
    rng = np.random.default_rng(seed)
    r = min(p, q) // 2
    common = rng.standard_normal((n, r), np.float32) * np.float32(power_law(r, 0.6))
    pair = []
    for width in (p, q):
        own = rng.standard_normal((n, width), np.float32) * np.float32(
            power_law(width, 0.6)
        )
        mixing = rng.standard_normal((r, width), np.float32) / np.float32(np.sqrt(width))
        pair.append(own + common @ mixing + np.float32(1))
    return pair


TASKS = {
    "neural-representation-spectrum": spectrum,
    "neural-representation-leading": leading,
    "neural-representation-cka": cka,
    "neural-representation-sketched": sketched,
    "neural-representation-memmap": memmap,
    "neural-representation-recorder": recorder,
}
