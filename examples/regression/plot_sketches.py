"""
Four sketches: distortion and cost
==================================

A sketch ``S`` is a random matrix with few rows that keeps the geometry of a subspace: the
singular values of ``S Q`` are close to one for an orthonormal basis ``Q``. This example
measures the distortion of the four in :mod:`sklearn_rnla.sketching` and the time that it
takes to apply them.
"""

# %%
# Distortion is the largest change of a squared length in the subspace,
# ``max |sigma(S Q)^2 - 1|``. There are two subspaces of dimension 20. One is random: all
# rows of ``Q`` are about as long. The other is *coherent*: ten rows of ``Q`` carry nearly
# all of ten directions, as happens in data with outliers or rare features.

from time import perf_counter

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.ticker import ScalarFormatter

from sklearn_rnla.linalg import orth
from sklearn_rnla.sketching import SRTT, Gaussian, RowSampling, SparseSign

n, d = 4096, 20
rng = np.random.default_rng(0)
incoherent = orth(rng.standard_normal((n, d)))
coherent = rng.standard_normal((n, d)) / np.sqrt(n)
coherent[:10, :10] += 10 * np.eye(10)
coherent = orth(coherent)


def distortion(S, Q):
    """Return the largest change of a squared length in the span of Q."""
    return np.abs(np.linalg.svd(S @ Q, compute_uv=False) ** 2 - 1).max()


# %%
# Row sampling, alone of the four, depends on the coordinates. Sampled uniformly, it misses
# the rows that matter in the coherent subspace; probabilities proportional to the leverage
# scores, the squared row lengths of ``Q``, mend that where they are known.

sketches = {
    "Gaussian": Gaussian,
    "SparseSign, nnz=8": SparseSign,
    "SRTT": SRTT,
    "RowSampling": RowSampling,
}
sizes = [40, 80, 160, 320, 640]
seeds = range(9)

fig, axes = plt.subplots(1, 2, figsize=(11, 4), sharey=True, layout="constrained")
for ax, Q, name in zip(
    axes,
    (incoherent, coherent),
    ("Distortion of a random subspace", "Distortion of a coherent subspace"),
    strict=True,
):
    leverage = tuple(np.sum(Q**2, axis=1) / d)
    families = sketches | {
        "RowSampling, leverage": lambda a, b, p=leverage: RowSampling(a, b, p)
    }
    for marker, (label, family) in zip("os^Dv", families.items(), strict=True):
        found = [
            [distortion(family(size, n).sample(seed), Q) for seed in seeds]
            for size in sizes
        ]
        ax.loglog(sizes, np.median(found, axis=1), marker + "-", label=label, ms=5)
    ax.loglog(
        sizes,
        2 * np.sqrt(d / np.array(sizes)),
        color="0.5",
        ls=":",
        label=r"$2\sqrt{d/\ell}$",
    )
    ax.set(title=name, xlabel=r"sketch size $\ell$, for dimension $d = 20$")
    ax.set_xticks(sizes, labels=sizes)
    ax.minorticks_off()
axes[0].set(ylabel="distortion, median of 9 seeds", yticks=[0.2, 0.5, 1, 2, 5])
axes[0].yaxis.set_major_formatter(ScalarFormatter())
handles, labels = axes[0].get_legend_handles_labels()
fig.legend(handles, labels, loc="outside right center")
plt.show()

# %%
# Below one, no direction is lost. The first three get there with about five times ``d``
# rows, whatever the subspace. Row sampling of the coherent one loses a direction where it
# misses its row, and stretches it where it draws the row.
#
# They differ in their cost. The product with a Gaussian sketch grows with the sketch size;
# that with a sparse sign sketch does not, and that with an SRTT hardly. Times include
# drawing the sketch.

A = rng.standard_normal((n, 128))
fig, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for marker, (label, family) in zip("os^D", sketches.items(), strict=True):
    times = []
    for size in sizes:
        runs = []
        for seed in range(7):
            start = perf_counter()
            family(size, n).sample(seed) @ A
            runs.append(perf_counter() - start)
        times.append(1e3 * min(runs))
    ax.loglog(sizes, times, marker + "-", label=label, ms=5)
ax.set(
    xlabel=r"sketch size $\ell$",
    ylabel="time to draw and apply (ms)",
    title=f"Time to sketch a matrix of {n} x {A.shape[1]}",
)
ax.set_xticks(sizes, labels=sizes)
ax.minorticks_off()
ax.set_ylim(top=10 * ax.get_ylim()[1])
ax.legend(ncols=2, loc="upper center")
plt.show()
