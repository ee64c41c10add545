import pytest

from support.webhooks import Receiver


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver
