"""The API under load: each combination of connections and streaming, gateway and model in turns within one run of bench_load."""

import json
import os
import pathlib
import subprocess

from process_figures import KEY, BenchError, Gateway, cpu_seconds

CONNECTIONS = (1, 16, 64)
ANSWER = "Hello from the mock model."  # mock_script.h: every single answer is compared with it


def measure_api(load: pathlib.Path, model_port: int, gateway: Gateway, seconds: int) -> list[dict]:
    """bench_load's document for each cell, with the gateway's CPU seconds per request added. `seconds`: per target and cell."""
    address = gateway.api_address()
    cells = []
    for stream in (False, True):
        for n in CONNECTIONS:
            before = cpu_seconds(gateway.pid)
            cell = _cell(load, model_port, address, n, stream, seconds)
            through = cell["targets"]["gateway"]
            through["cpu_s_per_request"] = (cpu_seconds(gateway.pid) - before) / max(through["completed"], 1)
            cells.append(cell)
    return cells


def _cell(load: pathlib.Path, model_port: int, address: str, connections: int, stream: bool, seconds: int) -> dict:
    command = [load, "--target", f"direct=127.0.0.1:{model_port}", "--target", f"gateway={address}", "--connections", str(connections),
               "--seconds", str(seconds), "--model", "default", "--expect", ANSWER, "--key-env", "BENCH_KEY"]
    if stream:
        command.append("--stream")
    done = subprocess.run(command, env={**os.environ, "BENCH_KEY": KEY}, capture_output=True, text=True, timeout=seconds * 2 + 120)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise BenchError(f"bench_load: exit {done.returncode}: {done.stdout}{done.stderr}") from None
