"""Functions of linear algebra: traces and diagonals of matrices known by products."""

import numpy as np

from sklearn_rnla.linalg import diagonal, trace

SPECTRA = {
    "flat, 1 to 3": lambda n: np.linspace(1, 3, n),
    "1 / i": lambda n: 1 / np.arange(1.0, n + 1),
    "1 / i^2": lambda n: np.arange(1.0, n + 1) ** -2,
    "0.9^i": lambda n: 0.9 ** np.arange(n),
    "50 ones, then 1e-3": lambda n: np.where(np.arange(n) < 50, 1.0, 1e-3),
}


def _symmetric(spectrum, n):
    Q = np.linalg.qr(np.random.default_rng(0).standard_normal((n, n)))[0]
    return (Q * spectrum(n)) @ Q.T


def _signs(A, m, seed):
    return np.random.default_rng(seed).choice([-1.0, 1.0], size=(len(A), m))


def _hutchinson(A, m, seed):
    W = _signs(A, m, seed)
    return np.sum(W * (A @ W)) / m


def _hutch_pp(A, m, seed):
    """Meyer, Musco, Musco & Woodruff (2021), algorithm 1."""
    S, G = np.split(_signs(A, 2 * (m // 3), seed), 2, axis=1)
    Q = np.linalg.qr(A @ S)[0]
    G = G - Q @ (Q.T @ G)
    return np.trace(Q.T @ A @ Q) + np.sum(G * (A @ G)) / G.shape[1]


def traces(report, quick):
    """Errors of the trace at equal products, and how often ours is covered."""
    n, runs = (200, 5) if quick else (1000, 100)
    report.note(f"Relative error of the trace, n = {n}, {runs} seeds")
    rows = []
    for name, spectrum in SPECTRA.items():
        A = _symmetric(spectrum, n)
        exact = np.trace(A)
        for m in (30, 90):
            row = {"spectrum": name, "products": m}
            for title, peer in (("Hutchinson", _hutchinson), ("Hutch++", _hutch_pp)):
                wrong = [peer(A, m, seed) - exact for seed in range(runs)]
                row[title] = _relative(wrong, exact)
            for kind in ("gen", "pos"):
                found = [trace(A, m, assume_a=kind, random_state=s) for s in range(runs)]
                wrong = np.array([each.value - exact for each in found])
                bounds = np.array([each.error_estimate for each in found])
                row[f"trace, {kind}"] = _relative(wrong, exact)
                covered = np.abs(wrong) <= bounds + 1e-12 * exact
                row[f"covered, {kind}"] = float(np.mean(covered))
            rows.append(row)
    report.table(rows)


def diagonals(report, quick):
    """Errors of the diagonal at equal products, and how often ours are covered."""
    n, runs = (200, 3) if quick else (1000, 20)
    report.note(f"Relative error of the diagonal, n = {n}, {runs} seeds")
    rows = []
    for name, spectrum in SPECTRA.items():
        A = _symmetric(spectrum, n)
        exact = np.diag(A)
        scale = np.linalg.norm(exact)
        for m in (30, 90):
            plain, ours, covered = [], [], []
            for seed in range(runs):
                W = _signs(A, m, seed)
                plain.append(np.linalg.norm(np.mean(W * (A @ W), axis=1) - exact))
                found = diagonal(A, m, random_state=seed)
                ours.append(np.linalg.norm(found.values - exact))
                covered.append(np.mean(np.abs(found.values - exact) <= found.errors))
            row = {"spectrum": name, "products": m, "covered": float(np.mean(covered))}
            row |= {"Bekas et al.": _relative(plain, scale)}
            rows.append(row | {"diagonal": _relative(ours, scale)})
    report.table(rows)


def _relative(wrong, scale):
    return float(np.sqrt(np.mean(np.square(wrong))) / scale)


TASKS = {"traces": traces, "diagonals": diagonals}
