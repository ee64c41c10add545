#!/usr/bin/env python3
"""Does a channel program keep to the protocol (docs/channel-programs.md)? Plays the gateway, and tries what happens to one.

    conformance.py [--talk COMMAND] [--conversation NAME] -- PROGRAM ARGUMENT…

Without --talk only what the gateway says is tried. --talk is a shell command that makes one message arrive on the
platform: then the program must bring it, bring it again after "hold", and bring it no more once it is accepted.
--conversation names one where a reply can really be delivered, at that time. Exit status 0: all kept.
"""

import argparse
import json
import queue
import signal
import subprocess
import sys
import threading
import time

TYPES = {"hello", "state", "message", "receipt", "failed", "alive", "log"}


class Failure(Exception):
    pass


class Program:
    """One life of it; `lines` are those that it said, parsed."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8")
        self.lines = queue.Queue()
        self.put_back = []
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        try:
            for line in self.process.stdout:
                self.lines.put(line)
        except UnicodeDecodeError as error:
            self.lines.put(f"not UTF-8: {error}")
        self.lines.put(None)

    def say(self, line):
        self.raw(json.dumps(line) + "\n")

    def raw(self, text):
        try:
            self.process.stdin.write(text)
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failure("it has closed its standard input, or ended") from None

    def next(self, *types, within=10.0, what=""):
        """The next line of one of these types; others are kept for later."""
        end = time.monotonic() + within
        for index, line in enumerate(self.put_back):
            if line["type"] in types:
                return self.put_back.pop(index)
        while True:
            try:
                text = self.lines.get(timeout=max(0.01, end - time.monotonic()))
            except queue.Empty:
                raise Failure(f"no {' or '.join(types)} within {within:g} s{what}") from None
            if text is None:
                raise Failure(f"it ended (exit {self.process.wait()}) instead of saying {' or '.join(types)}{what}")
            line = self._parse(text)
            if line["type"] in types:
                return line
            self.put_back.append(line)

    def _parse(self, text):
        try:
            line = json.loads(text)
        except ValueError:
            raise Failure(f"standard output is for the protocol alone, but it wrote {text!r}") from None
        if not isinstance(line, dict) or line.get("type") not in TYPES:
            raise Failure(f"this is no line of the protocol: {text!r}")
        if len(text.encode()) > 1024 * 1024:
            raise Failure("a line has more than 1 MiB")
        return line

    def start(self):
        hello = self.next("hello", within=30, what=" after its start")
        if any(line["type"] != "log" for line in self.put_back):
            raise Failure("hello comes first")
        if hello.get("protocol") != 1:
            raise Failure(f"hello has protocol {hello.get('protocol')!r}, not 1")
        self.say({"type": "welcome", "protocol": 1, "channel": "test", "gateway": "conformance test", "max_line": 1048576,
                  "of_tomorrow": {"x": [1]}})
        if hello.get("state") == "connecting":
            self.next("state", within=60, what=" although it is connecting")
        return hello

    def ended(self, within, what):
        try:
            return self.process.wait(within)
        except subprocess.TimeoutExpired:
            raise Failure(f"it still runs {within:g} s after {what}") from None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def accounted(program, number, within=60):
    """The receipt or failure of a delivery; exactly that one."""
    line = program.next("receipt", "failed", within=within, what=f" for outbox_id {number}")
    if line.get("outbox_id") != number:
        raise Failure(f"it accounts for outbox_id {line.get('outbox_id')!r}, asked was {number}")
    if line["type"] == "failed" and line.get("fate") not in ("retry", "unknown", "dead"):
        raise Failure(f"failed has the fate {line.get('fate')!r}")
    return line


def delivery(number, conversation, **more):
    return {"type": "deliver", "outbox_id": number, "conversation": conversation, "thread": "", "reply_to": "",
            "text": "conformance \"test\"\nüñí 👋", "may_be_repeat": False, **more}


def check_greeting(program, _):
    program.start()


def check_ping(program, _):
    program.start()
    for _ in range(3):
        program.say({"type": "ping"})
        program.next("alive", what=" after ping")


def check_future(program, _):
    program.start()
    program.say({"type": "of_tomorrow", "what": [None, 1e9]})
    program.say({"type": "typing", "conversation": "nowhere", "thread": ""})
    program.say({"type": "error", "what": "nothing is wrong, this is a test"})
    program.say({"type": "ping", "more": 1})
    program.next("alive", what=" after lines that it may not know")


def check_deliver(program, options):
    program.start()
    for number, more in ((101, {}), (102, {"may_be_repeat": True, "more": 1})):
        program.say(delivery(number, options.conversation or "nobody-of-this-name", **more))
        line = accounted(program, number)
        if options.conversation and not options.talk and line["type"] != "receipt":
            raise Failure(f"the reply to {options.conversation} failed: {line}")
    program.say(delivery(103, ""))
    accounted(program, 103)


def check_message(program, options):
    program.start()
    talk = subprocess.Popen(options.talk, shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        message = program.next("message", within=30, what=" after --talk")
        for member, kind in (("id", str), ("conversation", str), ("text", str), ("sender", dict)):
            if not isinstance(message.get(member), kind) or not message[member]:
                raise Failure(f"the message has no good {member}: {message}")
        if not isinstance(message["sender"].get("id"), str) or not message["sender"]["id"]:
            raise Failure(f"the message's sender has no id: {message}")
        told = {"id": message["id"], "conversation": message["conversation"]}
        program.say({"type": "hold", **told, "retry_after": 1})
        again = program.next("message", within=15, what=" again after hold")
        if again["id"] != message["id"] or again["text"] != message["text"]:
            raise Failure(f"after hold it brought another message: {again}")
        program.say({"type": "accepted", **told, "duplicate": False})
        try:
            raise Failure(f"after accepted it brings the message again: {program.next('message', within=3)}")
        except Failure as failure:
            if not str(failure).startswith("no message within"):
                raise
        if options.conversation:
            program.say(delivery(104, options.conversation))
            line = accounted(program, 104)
            if line["type"] != "receipt":
                raise Failure(f"the reply to {options.conversation} failed: {line}")
    finally:
        talk.kill()
        talk.wait()


def check_stop(program, _):
    program.start()
    program.say({"type": "stop"})
    program.process.stdin.close()
    if code := program.ended(5, "stop"):
        raise Failure(f"after stop it ends with {code}, not 0")


def check_end_of_input(program, _):
    program.start()
    program.process.stdin.close()
    program.ended(5, "the end of its input: the gateway may be gone without a word")


def check_term(program, _):
    program.start()
    program.process.send_signal(signal.SIGTERM)
    program.ended(5, "SIGTERM")


CHECKS = {"says hello first": check_greeting, "answers pings": check_ping, "bears with what it does not know": check_future,
          "accounts for each delivery": check_deliver, "brings a message until it is accepted": check_message,
          "ends when it is told to": check_stop, "ends with the gateway": check_end_of_input, "ends on SIGTERM": check_term}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--talk", help="shell command that makes one message arrive")
    parser.add_argument("--conversation", help="where a reply can be delivered (while --talk runs, if that is given)")
    parser.add_argument("--only", default="", help="the checks whose names have these words")
    parser.add_argument("program", nargs="+")
    options = parser.parse_args()
    failed = 0
    for name, check in CHECKS.items():
        if options.only not in name:
            continue
        if check is check_message and not options.talk:
            print(f"skip  {name} (no --talk)")
            continue
        program = Program(options.program)
        try:
            check(program, options)
            print(f"ok    {name}", flush=True)
        except Failure as failure:
            failed += 1
            print(f"FAIL  {name}: {failure}", flush=True)
            if check is check_greeting:
                break  # without it there is nothing to talk about
        finally:
            program.kill()
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
