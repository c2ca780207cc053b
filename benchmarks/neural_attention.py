"""nystroem_attention against exact attention and other implementations of the method."""

import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from sklearn_rnla.neural import attention_error, nystroem_attention

from .harness import compare, installed, race, rounds

OURS = "ours, torch"
_LANDMARKS = ("segment-means", "kmeans", "rpcholesky")
_SET = "minilm_qkv_small.npz"
_LENGTHS = (512, 2048, 8192, 32768)

# What each row of the table of inverses passes.
_INVERSES = {
    "newton, tol=0.03": {},
    "newton, tol=0.01": {"tol": 0.01},
    "newton, tol=0.1": {"tol": 0.1},
    "six steps, as in the paper": {"pinv": "checkpoint"},
    "exact": {"pinv": "exact"},
    "exact, tol=0.03": {"pinv": "exact", "tol": 0.03},
}


def generated(n_heads, n, d, *, drift=True, seed=0):
    """Return float32 queries, keys and values of tokens that drift, or of independent ones.

    Drift is a slow random walk of few directions, and noise: tokens resemble their
    neighbours, and some that are far.
    """
    rng = np.random.default_rng(seed)
    if not drift:
        return list(rng.standard_normal((3, 1, n_heads, n, d), np.float32))
    walk = np.cumsum(rng.standard_normal((n_heads, n, 4)), axis=1) / np.sqrt(64)
    found = []
    for _ in "qkv":
        directions = rng.standard_normal((n_heads, 4, d))
        tokens = np.sin(walk) @ directions + 0.5 * rng.standard_normal((n_heads, n, d))
        found.append(tokens.astype(np.float32)[np.newaxis])
    return found


def layers(report, quick):
    """Return names and (q, k, v): of a trained model if its file is there."""
    path = Path(os.environ.get("BENCHMARK_DATA", "")) / _SET
    if quick or not path.exists():
        report.note(f"generated, not {_SET}")
        return {"generated": generated(2, 128 if quick else 512, 32)}
    stored = np.load(path)
    names = sorted({name.partition(".")[0] for name in stored.files})
    return {
        name: [stored[f"{name}.{part}"].astype(np.float32) for part in "qkv"]
        for name in names
    }


def errors(out, q, k, v):
    """Return the relative error of each head."""
    return attention_error(out, q, k, v, n_samples=q.shape[-2]).ravel()


def landmarks(report, quick):
    """Compare choices of landmarks, by error and time."""
    for name, (q, k, v) in layers(report, quick).items():
        rows = []
        for m in (16,) if quick else (32, 64, 128):
            methods = {
                kind: partial(
                    nystroem_attention,
                    q,
                    k,
                    v,
                    n_landmarks=m,
                    landmarks=kind,
                    random_state=0,
                )
                for kind in _LANDMARKS
            }
            runs = race(methods, rounds=rounds(quick, 3), memory=False)
            for kind, run in runs.items():
                rows.append(
                    {"n_landmarks": m, "landmarks": kind}
                    | _spread(errors(run.result, q, k, v))
                    | {"ms": 1e3 * run.seconds}
                )
        report.note(f"{name}: {q.shape}, relative errors of heads")
        report.table(rows)


def inverses(report, quick):
    """Compare ways to invert the landmarks' matrix, by error."""
    for name, (q, k, v) in layers(report, quick).items():
        rows = []
        for m in (16,) if quick else (32, 64, 128):
            for label, params in _INVERSES.items():
                row = {"n_landmarks": m, "inverse": label}
                for kind in ("segment-means", "kmeans"):
                    out = nystroem_attention(
                        q, k, v, n_landmarks=m, landmarks=kind, **params
                    )
                    spread = _spread(errors(out, q, k, v))
                    row |= {f"{kind}, {title}": value for title, value in spread.items()}
                rows.append(row)
        report.note(f"{name}: {q.shape}, relative errors of heads")
        report.table(rows)


def estimate(report, quick):
    """Compare the estimated error with the true one."""
    rows = []
    for name, (q, k, v) in layers(report, quick).items():
        out = nystroem_attention(q, k, v, n_landmarks=16 if quick else 64)
        true = errors(out, q, k, v)
        for size in (16, 64) if quick else (16, 64, 256):
            ratios = np.concatenate(
                [
                    attention_error(out, q, k, v, n_samples=size, random_state=seed).ravel()
                    / true
                    for seed in range(2 if quick else 20)
                ]
            )
            row = {"layer": name, "n_samples": size, "estimates": len(ratios)}
            for title, share in (("5 %", 0.05), ("median", 0.5), ("95 %", 0.95)):
                row[f"estimate / error, {title}"] = np.quantile(ratios, share)
            rows.append(row)
    report.table(rows)


def lengths(report, quick, *, drift):
    """Compare with exact attention and with other modules as sequences grow."""
    n_heads, d, m = (2, 16, 16) if quick else (4, 64, 64)
    for n in (64,) if quick else _LENGTHS:
        q, k, v = generated(n_heads, n, d, drift=drift)
        methods = {
            "ours, numpy": partial(nystroem_attention, q, k, v, n_landmarks=m),
            "exact, numpy": partial(nystroem_attention, q, k, v, n_landmarks=n),
        }
        methods |= _of_torch(q, k, v, m)
        base = OURS if methods[OURS] else "ours, numpy"
        runs = race(methods, rounds=rounds(quick, 5), patience=0 if quick else 5.0)
        report.note(f"{n_heads} heads of {n} x {d} float32, {m} landmarks")
        report.table(compare(runs, base, {"mean error": partial(_mean_error, q, k, v)}))


def modules(report, quick):
    """Compare errors and times of modules on the same queries, keys and values."""
    for name, (q, k, v) in layers(report, quick).items():
        for m in (16,) if quick else (64, 128):
            methods = {"ours, numpy": partial(nystroem_attention, q, k, v, n_landmarks=m)}
            methods |= _of_torch(q, k, v, m)
            base = OURS if methods[OURS] else "ours, numpy"
            runs = race(methods, rounds=rounds(quick, 5), memory=False)
            report.note(f"{name}: {q.shape}, {m} landmarks")
            columns = {
                "mean error": partial(_mean_error, q, k, v),
                "median error": lambda out, qkv=(q, k, v): np.median(errors(out, *qkv)),
            }
            report.table(compare(runs, base, columns))


def _of_torch(q, k, v, m):
    """Return names and callables, None where a package is not installed."""
    names = (OURS, "ours, kmeans, torch", "scaled_dot_product_attention")
    methods = dict.fromkeys((*names, "transformers", "nystrom-attention"))
    torch = installed("torch")
    if not torch:
        return methods
    tensors = [torch.as_tensor(x) for x in (q, k, v)]
    attend = torch.nn.functional.scaled_dot_product_attention
    ours = partial(nystroem_attention, *tensors, n_landmarks=m)
    found = {
        OURS: ours,
        "ours, kmeans, torch": partial(ours, landmarks="kmeans"),
        "scaled_dot_product_attention": partial(attend, *tensors),
        "transformers": _transformers(torch, *tensors, m),
        "nystrom-attention": _nystrom_attention(torch, *tensors, m),
    }
    return methods | {name: f and partial(_quiet, torch, f) for name, f in found.items()}


def _quiet(torch, function):
    with torch.no_grad():
        return function().numpy()


def _constant(torch, x):
    """Return a module whose output is x: a projection that takes no time."""

    class Constant(torch.nn.Module):
        def forward(self, _):
            return x

    return Constant()


def _joined(x):
    """Return (batch, n, heads x d) from (batch, heads, n, d)."""
    return x.transpose(1, 2).flatten(2).contiguous()


def _split(x, like):
    return x.unflatten(-1, (like.shape[1], -1)).transpose(1, 2)


def _transformers(torch, q, k, v, m):
    if not installed("transformers"):
        return None
    module = installed("transformers.models.nystromformer.modeling_nystromformer")
    n_heads, n, d = q.shape[1:]
    config = SimpleNamespace(
        hidden_size=n_heads * d,
        num_attention_heads=n_heads,
        num_landmarks=m,
        segment_means_seq_len=n,
        conv_kernel_size=None,
        inv_coeff_init_option=False,
        attention_probs_dropout_prob=0.0,
        position_embedding_type="absolute",
    )
    attention = module.NystromformerSelfAttention(config).eval()
    for name, x in zip(("query", "key", "value"), (q, k, v), strict=True):
        setattr(attention, name, _constant(torch, _joined(x)))
    return lambda: _split(attention(_joined(q))[0], q)


def _nystrom_attention(torch, q, k, v, m):
    module = installed("nystrom_attention")
    if not module:
        return None
    n_heads, _, d = q.shape[1:]
    attention = module.NystromAttention(
        n_heads * d, d, n_heads, num_landmarks=m, residual=False
    ).eval()
    joined = torch.cat([_joined(x) for x in (q, k, v)], dim=-1)
    attention.to_qkv = _constant(torch, joined)
    attention.to_out = torch.nn.Identity()
    x = _joined(q)
    return lambda: _split(attention(x), q)


def _spread(values):
    return {
        "mean": f"{np.mean(values):.3f}",
        "median": f"{np.median(values):.3f}",
        "largest": f"{np.max(values):.3f}",
    }


def _mean_error(q, k, v, out):
    """Return the mean over heads; of long sequences, an estimate."""
    return f"{attention_error(out, q, k, v, n_samples=512, random_state=0).mean():.3g}"


TASKS = {
    "attention-landmarks": landmarks,
    "attention-inverses": inverses,
    "attention-estimate": estimate,
    "attention-modules": modules,
    "attention-lengths": partial(lengths, drift=True),
    "attention-lengths-independent": partial(lengths, drift=False),
}
