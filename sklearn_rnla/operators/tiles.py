"""Tiles: so few rows at a time that what is made of them stays in cache."""

# Bytes of a tile of kernel values: it stays in cache between the product that makes it,
# the function applied to it, and the product that consumes it.
TILE_BYTES = 2 * 2**20


def tile_rows(n_columns, itemsize):
    """Return the rows of a tile of about `TILE_BYTES`."""
    return max(64, TILE_BYTES // max(1, n_columns * itemsize))


def consecutive(n_rows, size):
    """Yield slices of `size` consecutive rows; the last may be shorter."""
    for start in range(0, n_rows, size):
        yield slice(start, min(start + size, n_rows))
