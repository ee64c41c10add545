"""What the tests of this folder share: one lab for a file of tests, and a gateway of its own for each test.

A profile is an instance of the unit with its own home, so a new profile for every test is a fresh state without a fresh boot.
TALARIA_BIN names the binary under test; the default is <repository>/build/release/talaria.
"""

import itertools
import os
import sys
from pathlib import Path

import pytest

pytest.register_assert_rewrite("gateway", "lab")  # so that a failed assertion in them tells its values, too

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # support.*

from gateway import INSTALLED, Gateway
from lab import SCOPES, Lab, why_no_lab

REPOSITORY = Path(__file__).resolve().parents[2]
_profiles = itertools.count(1)


def binary_under_test():
    path = Path(os.environ.get("TALARIA_BIN", REPOSITORY / "build/release/talaria"))
    if not os.access(path, os.X_OK):
        pytest.fail(f"there is no binary to test at {path}: build it, or name it in TALARIA_BIN", pytrace=False)
    return path


def skip_without_lab():
    reason = why_no_lab()
    if reason:
        pytest.skip(reason)


@pytest.fixture(scope="session")
def binary():
    return binary_under_test()


@pytest.fixture(params=SCOPES, scope="module")
def scope(request):
    return request.param


@pytest.fixture(scope="module")
def lab(binary, scope):
    """A lab with the binary in it, for one scope: a unit of the other scope would change what a command without --system means.
    Tests that harm their lab for good use fresh_lab."""
    skip_without_lab()
    with Lab(programs={INSTALLED: binary}) as booted:
        yield booted


@pytest.fixture
def fresh_lab(binary):
    skip_without_lab()
    with Lab(programs={INSTALLED: binary}) as booted:
        yield booted


def new_gateway(lab, scope):
    gateway = Gateway(lab, scope, f"t{next(_profiles)}")
    gateway.install()
    return gateway


@pytest.fixture
def gateway(lab, scope, request):
    """An installed gateway that does not run yet. If the test fails, what its journal says is printed."""
    each = new_gateway(lab, scope)
    yield each
    finish(each, request)


@pytest.fixture
def fresh_gateway(fresh_lab, scope, request):
    each = new_gateway(fresh_lab, scope)
    yield each
    finish(each, request)


def finish(gateway, request):
    report = getattr(request.node, "report_of_call", None)
    if report is None or report.failed:
        print(gateway.account())
    gateway.dispose()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    if call.when == "call":
        item.report_of_call = outcome.get_result()
