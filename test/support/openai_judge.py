"""Calls test/judges/openai_judge.mjs, the npm `openai` client, and raw HTTP for what that client refuses to send."""

import http.client
import json
import os
import subprocess

from support.talaria import JUDGES, node


class OpenAiJudge:
    def __init__(self, api: str, key: str):
        self.api, self.key = api, key

    def _command(self, scenario: str, asked: dict):
        if not (JUDGES / "node_modules" / "openai").exists():
            raise FileNotFoundError("the npm client openai is missing: npm ci --prefix test/judges")
        return [node(), str(JUDGES / "openai_judge.mjs"), scenario, json.dumps(asked)]

    def _environment(self, key: str | None) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "OPENAI_BASE_URL": f"http://{self.api}/v1", "OPENAI_API_KEY": key or self.key}

    def __call__(self, scenario: str, *, with_key: str | None = None, **asked):
        """Runs one scenario and returns what the client understood. `with_key`: another API key than the right one."""
        done = subprocess.run(self._command(scenario, asked), env=self._environment(with_key), capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, f"{scenario}: the client failed:\n{done.stderr}"
        return json.loads(done.stdout)

    def begin(self, scenario: str, **asked) -> subprocess.Popen:
        """Starts a scenario and does not wait."""
        return subprocess.Popen(self._command(scenario, asked), env=self._environment(None), stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True)

    def raw(self, method: str, path: str, body: bytes | str | None = None, headers: dict | None = None):
        """(status, headers, body bytes) of one request with the right key."""
        connection = http.client.HTTPConnection(self.api, timeout=60)
        try:
            connection.request(method, path, body, {"Authorization": f"Bearer {self.key}", **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def metric(self, line: str) -> float:
        """Value of one sample of /metrics, "talaria_turns_total{state=\\"cancelled\\"}"."""
        _, _, body = self.raw("GET", "/metrics")
        for sample in body.decode().splitlines():
            if sample.startswith(line + " "):
                return float(sample.rsplit(" ", 1)[1])
        raise AssertionError(f"/metrics has no {line}:\n{body.decode()}")
