"""The documents' shell examples are run as they stand."""

import pathlib
import re
import subprocess

import pytest

from support.talaria import REPO, Gateway, binary

CONFIG = """
[api]
listen = "127.0.0.1:0"
keys = ["env:KEY"]
[agent.default]
kind = "echo"
"""


def examples():
    for document in ("api.md", "promises.md"):
        blocks = re.findall(r"```sh\n(.*?)```", (REPO / "docs" / document).read_text(), re.S)
        assert blocks, f"{document} has no examples any more"
        yield from (pytest.param(block, id=f"{document}-{n}") for n, block in enumerate(blocks, 1))


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with Gateway(tmp_path_factory.mktemp("docs"), CONFIG, env={"KEY": "k"}).start().wait_ready() as gateway:
        yield gateway


@pytest.mark.parametrize("block", examples())
def test_example(gateway, block, tmp_path):
    (tmp_path / "talaria").symlink_to(pathlib.Path(binary()))
    environment = {**gateway.env, "API": gateway.status()["api"], "PATH": f"{tmp_path}:{gateway.env['PATH']}"}
    script = block.replace("curl -s", "curl --fail-with-body -sS")
    done = subprocess.run(["/bin/sh", "-euc", script], env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.strip(), "an example that prints nothing shows nothing"
