"""What the tests of the Telegram channel share: a gateway that talks to the fake Bot API."""

from support.talaria import Gateway, wait_until
from support.telegram_api import TelegramApi

REPEAT = "(may be a repeat) "
POLL = 2  # seconds


def gateway(home, telegram: TelegramApi, agent: str = 'kind = "echo"', channel: str = "", allow: str = '"*"', api: str = "127.0.0.1:0",
            pace: float | None = 30.0, **secrets) -> Gateway:
    """The channel is "tg"; its pace is fast enough not to be in a test's way. None: the default."""
    return Gateway(home / "gateway", f"""
[api]
listen = "{api}"
keys = ["env:KEY"]
[agent.default]
{agent}
[channel.tg]
kind = "telegram"
token = "env:TOKEN"
api_root = "{telegram.root}"
poll_timeout = "{POLL}s"
allow = [{allow}]
{f"messages_per_second = {pace}" if pace else ""}
{"group_messages_per_minute = 1000" if pace else ""}
{channel}
""", env={"KEY": "test-key", "TOKEN": telegram.token, **secrets})


def command_agent(shell: str) -> str:
    escaped = shell.replace("\\", "\\\\").replace('"', '\\"')
    return f'kind = "command"\ncommand = ["/bin/sh", "-c", "{escaped}"]'


def outbox(gateway: Gateway) -> dict:
    return (gateway.try_status() or {}).get("queues", {})


def wait_down(gateway: Gateway, words: str, seconds: float = 20) -> dict:
    """Waits until the status says why the channel is down."""
    return wait_until(lambda: (c := gateway.channel("tg")) and c["state"] == "down" and words in (c.get("error") or "") and c,
                      seconds, f"channel down because of {words!r}", interval=0.05)
