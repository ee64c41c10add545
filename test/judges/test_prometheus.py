"""Prometheus' own client for Python reads /metrics: the text is what a server would take, and the figures are those of what happened."""

from prometheus_client.parser import text_string_to_metric_families

from support.openai_judge import OpenAiJudge
from support.talaria import Gateway, free_port

KEY = "judge-key-0123456789"


def test_prometheus_reads_the_metrics(tmp_path):
    api = f"127.0.0.1:{free_port()}"
    config = f"""
[api]
listen = "{api}"
keys = ["env:JUDGE_KEY"]

[agent.default]
kind = "echo"

[channel.chat]
kind = "irc"
server = "127.0.0.1:{free_port()}"
tls = false
nick = "talaria"
"""
    with Gateway(tmp_path / "home", config, api=api, env={"JUDGE_KEY": KEY}) as gateway:
        gateway.start().wait_ready()
        judge = OpenAiJudge(api, KEY)
        for _ in range(3):
            judge.raw("POST", "/v1/chat/completions", '{"model": "default", "messages": [{"role": "user", "content": "hello"}]}',
                      {"Content-Type": "application/json"})
        _, headers, body = judge.raw("GET", "/metrics")
        families = {family.name: family for family in text_string_to_metric_families(body.decode())}
        resident = next(int(line.split()[1]) for line in open(f"/proc/{gateway.process.pid}/status", encoding="ascii") if line.startswith("VmRSS:"))
    assert headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert all(family.documentation and family.type in ("counter", "gauge") for family in families.values())
    # The parser takes "_total" off a counter's name.
    turns = {sample.labels["state"]: sample.value for sample in families["talaria_turns"].samples}
    assert turns == {"finished": 3, "failed": 0, "cancelled": 0}
    assert families["talaria_ready"].samples[0].value == 1
    assert abs(families["process_resident_memory_bytes"].samples[0].value / 1024 - resident) < 4096
    assert [(sample.labels, sample.value) for sample in families["talaria_channel_up"].samples] == [({"channel": "chat", "kind": "irc"}, 0)]
    assert {sample.labels["queue"] for sample in families["talaria_queue_depth"].samples} == {"inbound", "turns", "outbox", "dead"}
