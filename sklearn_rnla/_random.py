"""Random streams: one seed in, independent numpy generators out."""

from numbers import Integral

import numpy as np

_SEED_LIMIT = 2**63 - 1


def draw_seed(random_state) -> int:
    """Turn scikit-learn's ``random_state`` into one integer seed.

    Parameters
    ----------
    random_state : None, int, RandomState or Generator
        None draws from the operating system. An int is the seed itself. A generator
        is advanced by one draw.

    Returns
    -------
    int
        A non-negative seed.

    Raises
    ------
    ValueError
        When `random_state` is none of the above, or a negative int.
    """
    if random_state is None:
        return int(np.random.SeedSequence().entropy)
    if isinstance(random_state, Integral) and random_state >= 0:
        return int(random_state)
    if isinstance(random_state, np.random.RandomState):
        return int(random_state.randint(0, _SEED_LIMIT, dtype=np.int64))
    if isinstance(random_state, np.random.Generator):
        return int(random_state.integers(0, _SEED_LIMIT))
    raise ValueError(
        f"random_state={random_state!r} must be None, a non-negative int, a "
        "numpy.random.RandomState or a numpy.random.Generator."
    )


def generator(random_state) -> np.random.Generator:
    """Return a generator for scikit-learn's ``random_state``, see `draw_seed`."""
    return stream(draw_seed(random_state))


def stream(seed: int, *key: int) -> np.random.Generator:
    """Return the generator that belongs to `seed` and `key`.

    Two keys give independent streams; the same key always gives the same numbers,
    whichever thread or machine asks.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))
