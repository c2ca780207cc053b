import os

# One worker a core: the threads of several BLAS would wait for one another. Before numpy
# is imported.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest


@pytest.fixture(params=[0, 1, 2])
def seed(request):
    """Facts about random algorithms are checked for several seeds."""
    return request.param
