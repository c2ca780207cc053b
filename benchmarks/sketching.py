"""Sketching a tall matrix: cost as the sketch grows."""

import numpy as np

from sklearn_rnla.sketching import SRTT, Gaussian, SparseSign

from .harness import race, rounds

KINDS = (SRTT, Gaussian, SparseSign)


def scaling(report, quick):
    """Show O(m n log l) of the trigonometric sketch against O(m n l) of the Gaussian."""
    m, n, largest = (4096, 16, 64) if quick else (65_536, 256, 1024)
    A = np.random.default_rng(0).standard_normal((m, n))
    report.note(f"S @ A in ms, A of {m} x {n} float64, S of l rows")
    sizes = [2**i for i in range(4, 11) if 2**i <= largest]
    times = {}
    for size in sizes:
        S = {
            kind.__name__: kind(size, m).sample(0) for kind in (SRTT, Gaussian, SparseSign)
        }
        # The product alone: a Gaussian sketch is mostly drawing it.
        S["Gaussian, drawn before"] = S["Gaussian"].to_dense()
        methods = {name: (lambda sketch=sketch: sketch @ A) for name, sketch in S.items()}
        runs = race(methods, rounds=rounds(quick), memory=False)
        times[size] = {name: 1e3 * run.seconds for name, run in runs.items()}
    report.table([{"l": size} | row for size, row in times.items()])
    growth = {
        name: times[sizes[-1]][name] / times[sizes[0]][name] for name in times[sizes[0]]
    }
    text = ", ".join(f"{name} {ratio:.1f}" for name, ratio in growth.items())
    report.note(
        f"time at l={sizes[-1]} over l={sizes[0]}, a factor of {sizes[-1] // sizes[0]} "
        f"in l and {np.log2(sizes[-1]) / np.log2(sizes[0]):.2g} in log l: {text}"
    )
