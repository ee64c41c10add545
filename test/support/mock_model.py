"""The mock model (bench/mock_model.cpp) for tests. The model's name chooses its fault; bench/mock_script.h lists them.

Environment: TALARIA_MOCK_MODEL names the program (default: bench/bench_mock_model beside the binary under test).
"""

import json
import os
import pathlib
import subprocess
import urllib.request

from support.talaria import binary

# Every error text of the mock holds this; no user may ever read it.
PROVIDER_TEXT = "PROVIDER-TEXT-4711"
ANSWER = "Hello from the mock model."


def mock_program() -> pathlib.Path:
    path = pathlib.Path(os.environ.get("TALARIA_MOCK_MODEL", binary().parent / "bench" / "bench_mock_model"))
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: ninja -C {binary().parent} bench_mock_model, or set TALARIA_MOCK_MODEL")
    return path


class MockModel:
    """One mock model on a port of its own. `tls`: (certificate file, key file)."""

    def __init__(self, tls: tuple | None = None):
        arguments = ["--die-with-parent"] + (["--tls-cert", str(tls[0]), "--tls-key", str(tls[1])] if tls else [])
        self.process = subprocess.Popen([mock_program(), *arguments], stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), line
        self.port = int(line.rsplit(":", 1)[1])
        self.base_url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> "MockModel":
        return self

    def __exit__(self, *_) -> None:
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def stats(self) -> dict:
        """connections (accepted so far), open (ours that asks not counted), requests (chat completions so far)."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/stats", timeout=5) as answer:
            stats = json.load(answer)
        stats["open"] -= 1
        return stats
