"""
Low-rank factorisations as functions
====================================

The functions of :mod:`sklearn_rnla.linalg` take a matrix and return a named tuple. This
example compares what they make of the same matrix: singular vectors, or columns and rows of
the matrix itself. For a kernel matrix it compares a Cholesky factor, of which few columns
were computed, with eigenvectors.
"""

# %%
# A photograph as a matrix. :func:`~sklearn_rnla.linalg.randomized_svd` returns mixtures of
# all columns; :func:`~sklearn_rnla.linalg.interpolative` keeps some of the columns, and
# :func:`~sklearn_rnla.linalg.cur` columns and rows.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits, load_sample_image
from sklearn.metrics.pairwise import rbf_kernel

from sklearn_rnla.linalg import (
    cur,
    interpolative,
    nystroem_eigh,
    randomized_svd,
    rpcholesky,
)

photo = load_sample_image("china.jpg").mean(axis=2) / 255


def by_svd(A, k):
    """Return the product of k singular triplets."""
    U, s, Vt = randomized_svd(A, k, tol=1e-4, random_state=0)[:3]
    return U * s @ Vt


def by_columns(A, k):
    """Return the combinations of k columns that are nearest to all columns."""
    found = interpolative(A, k, of="columns", random_state=0)
    return A[:, found.column_indices] @ found.column_interpolation


def by_cur(A, k):
    """Return the product of k columns, a small matrix and 2 k rows."""
    found = cur(A, k, 2 * k, random_state=0)
    return found.C @ found.U @ found.R


methods = {
    "randomized_svd": (by_svd, "o"),
    "interpolative (columns)": (by_columns, "s"),
    "cur (columns and rows)": (by_cur, "D"),
}
ranks = [5, 10, 20, 40, 80]
size = np.linalg.norm(photo)

# %%
# The other matrix is a kernel matrix of 1797 digits.
# :func:`~sklearn_rnla.linalg.rpcholesky` reads its diagonal and k columns;
# :func:`~sklearn_rnla.linalg.nystroem_eigh` multiplies it once with a random matrix. The
# eigenvalues say what the best factor of rank k would miss of the trace.

K = rbf_kernel(load_digits().data / 16, gamma=0.02)
eigenvalues = np.linalg.eigvalsh(K)[::-1]
best = [eigenvalues[k:].sum() / np.trace(K) for k in ranks]
cholesky = [rpcholesky(K, k, random_state=0).relative_error for k in ranks]
nystroem = [nystroem_eigh(K, k, random_state=0).error_estimate for k in ranks]

fig, (left, right) = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
for name, (approximate, marker) in methods.items():
    errors = [np.linalg.norm(photo - approximate(photo, k)) / size for k in ranks]
    left.loglog(ranks, errors, marker=marker, label=name)
left.set(
    xlabel="rank",
    ylabel="relative Frobenius error",
    title="A photograph of 427 x 640 pixels",
)
left.set_yticks([0.1, 0.2, 0.4], labels=["0.1", "0.2", "0.4"])
right.loglog(ranks, cholesky, marker="o", label="rpcholesky: k columns")
right.loglog(ranks, nystroem, marker="s", label="nystroem_eigh: one product")
right.loglog(ranks, best, color="0.5", ls=":", label="least possible")
right.set(
    xlabel="rank", ylabel="share of the trace missed", title="A kernel matrix of digits"
)
for ax in (left, right):
    ax.set_xticks(ranks, labels=ranks)
    ax.minorticks_off()
    ax.legend()
plt.show()

# %%
# Singular vectors are the best possible at each rank. Columns, which are parts of the photo
# itself, need two to three times the rank for the same error. The product with rows loses a
# little more.

shown = {"original": photo}
shown |= {name: approximate(photo, 40) for name, (approximate, _) in methods.items()}
fig, axes = plt.subplots(1, 4, figsize=(12, 2.4), layout="constrained")
for ax, (name, image) in zip(axes, shown.items(), strict=True):
    ax.imshow(image, cmap="gray", vmin=0, vmax=1)
    ax.set(title=name, xticks=[], yticks=[])
fig.suptitle("The photograph at rank 40")
plt.show()
