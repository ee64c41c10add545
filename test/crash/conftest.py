import pytest

from points import Workshop


@pytest.fixture(scope="session")
def workshop():
    with Workshop() as made:
        yield made
