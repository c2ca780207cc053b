"""Blocks of rows, dense or sparse, stacked to one."""

import numpy as np
import scipy.sparse as sp

from .._typing import Array, SparseMatrix


def stack_rows(parts: SparseMatrix | list[Array]) -> Array | SparseMatrix:
    """Return blocks of rows as one array; a single block is not copied.

    Parameters
    ----------
    parts : list of ndarray or of csr_array
        At least one, all with as many columns.

    Returns
    -------
    ndarray or csr_array
        Indices have 32 bits where they fit: scipy widens them, and goes on with wide ones.
    """
    if isinstance(parts[0], np.ndarray):
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    canonical = all(part.has_canonical_format for part in parts)
    stacked = sp.csr_array(sp.vstack(parts, format="csr") if parts[1:] else parts[0])
    if max(stacked.nnz, *stacked.shape) <= np.iinfo(np.int32).max:
        stacked.indptr = stacked.indptr.astype(np.int32, copy=False)
        stacked.indices = stacked.indices.astype(np.int32, copy=False)
    stacked.has_canonical_format = canonical
    return stacked
