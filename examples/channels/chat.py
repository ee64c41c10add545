#!/usr/bin/env python3
"""A channel program for Talaria: a chat over plain TCP lines, for `nc 127.0.0.1 7777`.

Who connects writes a name, then one message per line; "* ok" says that a message is safe with the gateway. An answer comes
as "bot: …". No packages are needed. The protocol is told in docs/channel-programs.md.

    [channel.lines]
    kind    = "program"
    command = ["/usr/bin/python3", "/path/to/chat.py", "127.0.0.1:7777"]
    allow   = ["*"]
"""

import asyncio
import json
import os
import sys
import uuid

people: dict[str, set[asyncio.StreamWriter]] = {}  # by name
unaccepted: dict[str, dict] = {}  # our messages that the gateway has not taken yet, by id


def say(line: dict) -> None:
    """To the gateway: one object per line. Standard output is for nothing else."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def tell(name: str, text: str) -> bool:
    """To a person; False: not here."""
    for writer in people.get(name, ()):
        writer.write(f"{text}\n".encode())
    return bool(people.get(name))


async def person(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    name = ""
    try:
        while line := (await reader.readline()).decode(errors="replace").strip():
            if not name:
                name = line[:64]
                people.setdefault(name, set()).add(writer)
                continue
            # The id stays the same however often the message is said: it is how the gateway knows a repeat.
            message = {"type": "message", "id": str(uuid.uuid4()), "conversation": name, "direct": True,
                       "sender": {"id": name, "name": name}, "text": line}
            unaccepted[message["id"]] = message
            say(message)
    except (ConnectionError, ValueError):
        pass
    finally:
        people.get(name, set()).discard(writer)
        writer.close()


def deliver(line: dict) -> None:
    repeat = "(may be a repeat) " if line["may_be_repeat"] else ""
    if tell(line["conversation"], f"bot: {repeat}{line['text']}"):
        say({"type": "receipt", "outbox_id": line["outbox_id"]})
    else:
        say({"type": "failed", "outbox_id": line["outbox_id"], "fate": "retry", "what": "nobody of that name is here",
             "retry_after": 2})


async def gateway(stop: asyncio.Event) -> None:
    """What the gateway says. The end of our input is its end: then we go, too."""
    reader = asyncio.StreamReader(limit=2 * 1024 * 1024)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while raw := await reader.readline():
        line = json.loads(raw)
        kind = line.get("type")
        if kind == "accepted" or kind == "refused":
            message = unaccepted.pop(line["id"], None)
            if message:
                tell(message["conversation"], "* ok" if kind == "accepted" else f"* no: {line['what']}")
        elif kind == "hold" and line["id"] in unaccepted:
            asyncio.get_running_loop().call_later(line["retry_after"], say_again, line["id"])
        elif kind == "deliver":
            deliver(line)
        elif kind == "ping":
            say({"type": "alive"})
        elif kind == "error":
            print(f"the gateway complains: {line['what']}", file=sys.stderr)
        elif kind == "stop":
            break
        # What we don't know is for others.
    stop.set()


def say_again(message_id: str) -> None:
    if message_id in unaccepted:
        say(unaccepted[message_id])


async def main() -> None:
    host, port = sys.argv[1].rsplit(":", 1)
    stop = asyncio.Event()
    server = await asyncio.start_server(person, host, int(port), limit=64 * 1024)
    say({"type": "hello", "protocol": 1, "account": sys.argv[1]})
    listening = asyncio.create_task(gateway(stop))
    await stop.wait()
    server.close()
    listening.cancel()
    sys.stdout.flush()
    os._exit(0)  # whoever is still connected is cut off


asyncio.run(main())
