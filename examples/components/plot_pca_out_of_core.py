"""
Data larger than memory: a file, a stream, batches
==================================================

:class:`~sklearn_rnla.RandomizedPCA` reads rows in blocks, so that they need not be in
memory. This example fits the same data four ways, compares the components and shows what
each fit allocated.
"""

# %%
# The data: 20 000 noisy spectra of 400 channels, mixtures of four peaks. They are written
# to a temporary file, which stands for one that does not fit in memory.

import tempfile
import tracemalloc
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from sklearn_rnla import RandomizedPCA

n_samples, n_features, k = 20_000, 400, 4
rng = np.random.default_rng(0)
channel = np.arange(n_features)
peaks = np.exp(
    -0.5 * ((channel - [[60], [150], [170], [300]]) / [[15], [25], [40], [30]]) ** 2
)
X = rng.gamma(1.0, [4, 3, 2, 1], size=(n_samples, 4)) @ peaks
X = (X + 0.3 * rng.standard_normal(X.shape)).astype(np.float32)

folder = tempfile.TemporaryDirectory()
path = Path(folder.name) / "spectra.dat"
X.tofile(path)
file_size = path.stat().st_size

# %%
# Four ways to read it. An array and a memory-mapped file can be read several times: both
# give the same numbers. zarr and h5py arrays, which have a shape, a dtype and row slicing,
# are read like the file.
#
# A stream is read once: an iterator of blocks is handed to ``fit``; or ``partial_fit`` is
# called with each batch as it comes. Both update the same summary, the leading directions
# of what has been seen.


def batches():
    """Yield the file's rows, 500 at a time."""
    rows = np.memmap(path, np.float32, "r", shape=(n_samples, n_features))
    for start in range(0, n_samples, 500):
        yield rows[start : start + 500]


def fit_array():
    """Read all the data into memory first."""
    X = np.fromfile(path, np.float32).reshape(n_samples, n_features)
    return RandomizedPCA(k, random_state=0).fit(X)


def fit_memmap():
    """Let the estimator read the file, a block at a time."""
    X = np.memmap(path, np.float32, "r", shape=(n_samples, n_features))
    return RandomizedPCA(k, random_state=0).fit(X)


def fit_iterator():
    """Hand over an iterator of blocks."""
    return RandomizedPCA(k, random_state=0).fit(batches())


def fit_batches():
    """Hand over one batch after another."""
    pca = RandomizedPCA(k, random_state=0)
    for batch in batches():
        pca.partial_fit(batch)
    return pca


fits, peak_bytes = {}, {}
for fit in (fit_array, fit_memmap, fit_iterator, fit_batches):
    name = fit.__name__.removeprefix("fit_").replace("batches", "partial_fit")
    tracemalloc.start()
    fits[name] = fit()
    peak_bytes[name] = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

print(f"{'':14}{'passes':>8}{'error estimate':>17}{'smallest cosine with the array':>33}")
for name, pca in fits.items():
    cosines = np.sum(pca.components_ * fits["array"].components_, axis=1)
    print(f"{name:14}{pca.n_passes_:8}{pca.error_estimate_:17.1e}{cosines.min():33.7f}")

# %%
# On the left, the components of the four fits, drawn on top of each other. On the right,
# what each allocated at most: the file is read a block at a time, and a stream costs a few
# copies of a batch in double precision.

fig, (left, right) = plt.subplots(
    1, 2, figsize=(10, 4), width_ratios=[3, 2], layout="constrained"
)
styles = {
    "array": {"color": "C5", "lw": 6, "alpha": 0.5},
    "memmap": {"color": "C0", "lw": 2},
    "iterator": {"color": "C1", "ls": "", "marker": "o", "markevery": 20},
    "partial_fit": {"color": "k", "ls": "", "marker": "x", "markevery": (10, 20)},
}
for name, pca in fits.items():
    curves = pca.components_ + 0.35 * np.arange(k)[::-1, np.newaxis]
    lines = left.plot(channel, curves.T, ms=4, **styles[name])
    lines[0].set_label(name)
left.set(
    xlabel="channel",
    yticks=0.35 * np.arange(k)[::-1],
    yticklabels=[f"component {j + 1}" for j in range(k)],
    title="Four fits of the same data: their components",
)
left.set_ylim(-0.25, 1.6)
left.legend(loc="upper center", ncols=4)

megabytes = [size / 1e6 for size in peak_bytes.values()]
bars = right.barh(list(peak_bytes), megabytes, color="C0")
right.bar_label(bars, fmt="%.0f MB", padding=3)
right.axvline(file_size / 1e6, color="0.4", ls="--", lw=1)
right.annotate(
    "size of the file",
    (file_size / 1e6, 1.5),
    xytext=(-6, 0),
    textcoords="offset points",
    rotation=90,
    ha="right",
    va="center",
)
right.set(
    xlabel="largest allocation during fit (MB)",
    xlim=(0, 1.5 * max(megabytes)),
    title="Memory of each fit",
)
right.invert_yaxis()
plt.show()

folder.cleanup()
