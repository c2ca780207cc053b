"""lora_init against PEFT's starts by singular vectors."""

import os
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import scipy.fft

from sklearn_rnla import lora_init

from .harness import compare, installed, race, rounds
from .matrices import power_law

OURS = "ours"
_SHAPES = ((4096, 4096), (1024, 4096))
_RANKS = (16, 64)

# What PEFT's fast start is given, until its error is no larger than ours.
_MOST_ITERATIONS = 32

# Layers of a transformer, and which activations are their inputs.
_LAYERS = {
    "encoder.layer.0.attention.self.query": "l0.attn_in",
    "encoder.layer.3.attention.self.value": "l3.attn_in",
    "encoder.layer.3.output.dense": "l3.ffn_hidden",
}


def spectrum_of(kind, n):
    """Return singular values: decaying, or nearly flat where they are large."""
    if kind == "decaying":
        return power_law(n, 0.7)
    # From 1 to nearly 0, and flat at the top: hardly any direction stands out.
    return np.cos(np.linspace(0, np.pi / 2, n, endpoint=False))


def weights(n_out, n_in, s, seed=0):
    """Return a float32 matrix of these singular values.

    Its singular vectors are those of cosine transforms between random signs.
    """
    rng = np.random.default_rng(seed)
    W = np.zeros((n_out, n_in))
    np.fill_diagonal(W, s)
    for axis in (0, 1):
        signs = rng.choice([-1.0, 1.0], W.shape[axis])
        W *= np.expand_dims(signs, 1 - axis)
        W = scipy.fft.dct(W, axis=axis, norm="ortho")
        order = rng.permutation(W.shape[axis])
        W = W.take(order, axis=axis)
    return W.astype(np.float32)


def principal(report, quick, *, shape, kind, rank):
    """Compare with PEFT's "pissa" and the fewest "pissa_niter_k" of the same error."""
    shape = tuple(n // 32 for n in shape) if quick else shape
    rank = rank // 8 if quick else rank
    s = spectrum_of(kind, min(shape))
    W = weights(*shape, s)
    best = np.sqrt(np.sum(s[rank:] ** 2))
    report.note(f"{shape[0]} x {shape[1]} float32, {kind}, rank {rank}")
    _against_peft(report, quick, W, rank, best)


def _against_peft(report, quick, W, rank, best):
    ours = partial(_ours, W, rank)
    error = _excess(ours(), best)
    methods = {OURS: ours, "PEFT pissa": None, "PEFT pissa_niter_k": None}
    start = _peft_start(W, rank)
    if start:
        fast, reached = _fewest(start, error, best)
        methods = {OURS: ours, "PEFT pissa": partial(start, "pissa")}
        title = f"PEFT {fast}" if reached else f"PEFT {fast}, larger error"
        methods[title] = partial(start, fast)
    runs = race(
        methods,
        rounds=rounds(quick, 7),
        patience=0 if quick else 5.0,
        memory=not quick,
    )
    columns = {"excess error": lambda residual: f"{_excess(residual, best):.2e}"}
    report.table(compare(runs, OURS, columns))


def _ours(W, rank, **params):
    return lora_init(W, rank, random_state=0, **params).W_residual


def _excess(residual, best):
    """Return the excess Frobenius norm over the best of this rank."""
    return float(np.linalg.norm(residual.astype(np.float64)) / best - 1)


def _fewest(start, error, best):
    """Return PEFT's start with the fewest iterations, and whether its error is met."""
    for n_iter in range(_MOST_ITERATIONS + 1):
        name = f"pissa_niter_{n_iter}"
        if _excess(start(name), best) <= error:
            return name, True
    return name, False


def _peft_start(W, rank):
    """Return PEFT's function from the name of a start to the residual weight, if any.

    The layer is made once: only the start is timed.
    """
    peft, torch = installed("peft"), installed("torch")
    if not (peft and torch):
        return None
    linear = torch.nn.Linear(W.shape[1], W.shape[0], bias=False)
    config = peft.LoraConfig(r=rank, lora_alpha=rank, target_modules=["0"])
    model = peft.get_peft_model(torch.nn.Sequential(linear), config)
    layer = model.base_model.model[0]
    weight = torch.from_numpy(W)

    def start(name):
        torch.manual_seed(0)
        layer.get_base_layer().weight.data = weight
        layer.pissa_init("default", name)
        return layer.get_base_layer().weight.data.numpy()

    return start


def minor(report, quick, *, shape):
    """Compare "residual" with the full decomposition that MiLoRA's authors take."""
    shape = tuple(n // 32 for n in shape) if quick else shape
    for kind, rank in product(("decaying", "flat"), _RANKS):
        rank = rank // 8 if quick else rank
        s = spectrum_of(kind, min(shape))
        W = weights(*shape, s)
        methods = {
            OURS: partial(_ours, W, rank, method="residual"),
            "torch.linalg.svd": _full_minor(W, rank),
        }
        runs = race(
            methods,
            rounds=rounds(quick, 3),
            patience=0 if quick else 5.0,
            memory=not quick,
        )
        best = np.linalg.norm(s[-rank:])
        columns = {
            "excess norm of the part": lambda residual, W=W, best=best: (
                f"{_excess(W - residual, best):.2e}"
            )
        }
        report.note(f"{shape[0]} x {shape[1]} float32, {kind}, rank {rank}")
        report.table(compare(runs, OURS, columns))


def _full_minor(W, rank):
    torch = installed("torch")
    if not torch:
        return None

    def start():
        U, s, Vt = torch.linalg.svd(torch.from_numpy(W), full_matrices=False)
        part = (U[:, -rank:] * s[-rank:]) @ Vt[-rank:]
        return W - part.numpy()

    return start


def transformer(report, quick):
    """Compare on layers of a transformer, and methods by outputs for new inputs."""
    rows = []
    for name, W, X in _layers(report, quick):
        train, test = X[::2], X[1::2]
        s = np.linalg.svd(W.astype(np.float64), compute_uv=False)
        for rank in (4,) if quick else _RANKS:
            best = np.sqrt(np.sum(s[rank:] ** 2))
            report.note(f"{name}: {W.shape[0]} x {W.shape[1]}, rank {rank}")
            _against_peft(report, quick, W, rank, best)
            outputs = np.linalg.norm(test @ W.T)
            row = {"layer": name, "rank": rank, "inputs": len(train)}
            for method in ("principal", "residual", "activation"):
                inputs = train if method == "activation" else None
                residual = _ours(W, rank, method=method, activations=inputs)
                row[method] = np.linalg.norm(test @ residual.T) / outputs
            rows.append(row)
    report.note("outputs of the frozen weight for new inputs, relative to those of W")
    report.table(rows)


def _layers(report, quick):
    """Yield names, weights and activations: of the folder, or generated."""
    folder = Path(os.environ.get("BENCHMARK_DATA", ""))
    files = folder / "minilm_l6_small.npz", folder / "minilm_act_small.npz"
    if quick or not all(file.exists() for file in files):
        report.note("generated: minilm_l6_small.npz or minilm_act_small.npz is not there")
        W = weights(64, 48, power_law(48, 0.3))
        yield "generated", W, weights(200, 48, power_law(48, 1.0), seed=1)
        return
    stored, inputs = (np.load(file) for file in files)
    for name, key in _LAYERS.items():
        W, X = stored[f"{name}.weight"], inputs[key]
        yield name, W.astype(np.float32), X.astype(np.float32)


TASKS = {
    **{
        f"lora-{shape[0]}x{shape[1]}-{kind}-{rank}": partial(
            principal, shape=shape, kind=kind, rank=rank
        )
        for shape, kind, rank in product(_SHAPES, ("decaying", "flat"), _RANKS)
    },
    **{f"lora-residual-{s[0]}x{s[1]}": partial(minor, shape=s) for s in _SHAPES},
    "lora-transformer": transformer,
}
