import pytest


@pytest.fixture(params=[0, 1, 2])
def seed(request):
    """Facts about random algorithms are checked for several seeds."""
    return request.param
