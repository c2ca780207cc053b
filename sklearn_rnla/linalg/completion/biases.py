"""An offset and a bias of each row and of each column."""

from typing import NamedTuple

import numpy as np


class Biases(NamedTuple):
    """Additive model ``offset + rows[i] + columns[j]``.

    Attributes
    ----------
    offset : float
    rows : ndarray of float64 of shape (m,)
        0 where a row has no entry.
    columns : ndarray of float64 of shape (n,)
    row_penalty, column_penalty : float
        Variance of the noise over that of the biases; infinite where there are none.
    """

    offset: float
    rows: np.ndarray
    columns: np.ndarray
    row_penalty: float = np.inf
    column_penalty: float = np.inf

    def residual(self, observed):
        """Return the entries less the model, as an `Observed`."""
        from ..._kernels.als import subtract

        out = np.empty_like(observed.values)
        rows = self.rows + self.offset
        observed.over_rows(subtract, observed.values, rows, self.columns, out)
        return observed.with_values(out)


def without_biases(observed, center):
    """Return biases of entries, all zero unless `center`, and the entries less these."""
    if center:
        biases = fit_biases(observed)
        return biases, biases.residual(observed)
    rows, columns = (np.zeros(size) for size in observed.shape)
    return Biases(offset=0.0, rows=rows, columns=columns), observed


def fit_biases(observed, *, max_iter=100, tol=1e-3):
    """Fit an additive model whose penalties come from the data.

    Rows' and columns' biases and noise are independent and normal, with variances of
    maximal marginal likelihood in the mean field approximation: given the others, each
    bias has a known variance, and the fixed point iteration for their prior variance is
    MacKay's (1992), from the moments of Gao & Owen (2017). A sweep costs O(nnz).

    Parameters
    ----------
    observed : Observed
    max_iter : int, default=100
        Most sweeps.
    tol : float, default=1e-3
        Largest change of a bias in a sweep, and of a variance, relative to the standard
        deviation of the entries, and to their variance.

    Returns
    -------
    Biases
    """
    from ..._kernels.als import sums

    sides = observed, observed.T
    nnz = observed.nnz
    counts = [side.counts.astype(np.float64) for side in sides]
    biases = [np.zeros(len(count)) for count in counts]
    total, squares = ([np.empty(len(count)) for count in counts] for _ in range(2))
    offset = float(observed.values.mean(dtype=np.float64)) if nnz else 0.0

    def sweep(s):
        other = biases[1 - s] + offset
        sides[s].over_rows(sums, sides[s].values, other, total[s], squares[s])

    for s in (0, 1):
        sweep(s)
    scale = float(squares[0].sum()) / max(nnz, 1)
    # What is below is rounding.
    floor = float(np.square(np.finfo(observed.dtype).eps * np.abs(observed.values)).sum())
    if scale * nnz <= floor:
        return Biases(offset=offset, rows=biases[0], columns=biases[1])
    noise, priors = _moments(total, squares, counts, scale)
    dof = [0.0, 0.0]
    for _ in range(max_iter):
        before = np.concatenate(biases), np.array([noise, *priors])
        for s in (0, 1):
            sweep(s)
            penalty = noise / priors[s] if priors[s] > 0 else np.inf
            # The mean of a row's entries shrinks by c / (c + penalty), as in Bell & Koren's
            # model. Their penalty is given; here it is the ratio of two variances.
            # No penalty and no entry: no bias.
            kept = counts[s] / np.maximum(counts[s] + penalty, np.finfo(float).tiny)
            # The offset is the best for the biases that follow: alternating with them is
            # slow where they are hardly penalised.
            weight = counts[s] @ (1 - kept)
            shift = total[s] @ (1 - kept) / weight if weight > 0 else 0.0
            offset += shift
            total[s] -= shift * counts[s]
            squares[s] -= shift * (2 * total[s] + shift * counts[s])
            biases[s] = kept * total[s] / np.maximum(counts[s], 1)
            dof[s] = float(kept.sum())
            priors[s] = float(np.square(biases[s]).sum()) / dof[s] if dof[s] > 0 else 0.0
        left = squares[1] + biases[1] * (counts[1] * biases[1] - 2 * total[1])
        # As in EM: it stays positive, however few the entries.
        noise = max(float(left.sum()) + noise * sum(dof), floor) / nnz
        moved = np.abs(np.concatenate(biases) - before[0]).max() / np.sqrt(scale)
        turned = np.abs([noise, *priors] - before[1]).max() / scale
        if max(moved, turned) <= tol:
            break
    row_penalty, column_penalty = (
        noise / prior if prior > 0 else np.inf for prior in priors
    )
    return Biases(
        offset=offset,
        rows=biases[0],
        columns=biases[1],
        row_penalty=row_penalty,
        column_penalty=column_penalty,
    )


def _moments(total, squares, counts, scale):
    """Return the variance of the noise, and those of biases, unbiased but made positive."""
    within = []
    for one, two, count in zip(total, squares, counts, strict=True):
        around = two.sum() - (np.square(one) / np.maximum(count, 1)).sum()
        within.append(float(around) / max(count.sum() - np.count_nonzero(count), 1))
    # Within rows, noise remains and what columns differ by, and the other way round.
    noise = min(max(sum(within) - scale, 0.1 * min(within), 0.01 * scale), scale)
    return noise, [max(scale - part, 0.01 * scale) for part in within]
