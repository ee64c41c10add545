#!/usr/bin/python3
"""A channel program that floods: COUNT messages over SESSIONS people, as fast as they are taken, and a judge of what comes back. The agent must
be an echo. Writes {"sent", "answered", "doubled", "wrong"} to the file REPORT whenever 10 000 more are answered, and at the end.

    flood_channel.py COUNT SESSIONS REPORT
"""

import json
import os
import sys
import threading

WINDOW = 500  # messages that are not answered yet


def main() -> None:
    count, sessions, report = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    room = threading.Semaphore(WINDOW)
    lock = threading.Lock()
    answered, doubled, wrong = set(), 0, []

    def say(*objects) -> None:
        data = "".join(json.dumps(o, separators=(",", ":")) + "\n" for o in objects).encode()
        with lock:
            while data:
                data = data[os.write(1, data):]

    def tell(sent: int) -> None:
        with open(report + ".new", "w", encoding="utf-8") as file:
            json.dump({"sent": sent, "answered": len(answered), "doubled": doubled, "wrong": wrong[:5]}, file)
        os.replace(report + ".new", report)

    say({"type": "hello", "protocol": 1})
    begun = threading.Event()

    def flood() -> None:
        begun.wait()
        for number in range(count):
            room.acquire()
            who = f"p{number % sessions}"
            say({"type": "message", "id": str(number), "conversation": who, "sender": {"id": who}, "direct": True, "text": f"{who} {number}"})

    threading.Thread(target=flood, daemon=True).start()
    for raw in sys.stdin.buffer:
        line = json.loads(raw)
        if line["type"] == "welcome":
            begun.set()
        elif line["type"] == "ping":
            say({"type": "alive"})
        elif line["type"] in ("refused", "hold", "error"):
            wrong.append(str(line))
            tell(count)
        elif line["type"] == "deliver":
            who, _, number = line["text"].partition(" ")
            if who != line["conversation"]:
                wrong.append(str(line))
            if number in answered:
                doubled += 1
            answered.add(number)
            room.release()
            say({"type": "receipt", "outbox_id": line["outbox_id"], "platform_id": number})
            if len(answered) % 1000 == 0 or len(answered) == count:
                tell(count)


main()
