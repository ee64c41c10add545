"""Load from all sides while the gateway is killed: each kind of traffic is a thread that goes on through every process, and judges at the
end what came of what it asked. How each platform behaves decides what it does about a death: IRC forgets, a client asks again under the
same key, a webhook's sender sends the same delivery again.
"""

import random
import threading
import traceback

from judge import Verdict, judge_chat
from world import World

PEOPLE = ("ann", "bob", "cleo", "dan")


class Traffic:
    def __init__(self, world: World, dice: random.Random):
        self.world, self.dice = world, dice
        self.ended = threading.Event()
        self.trouble = ""  # what ended the thread too early
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """No new message; what was begun is brought to its end, which needs a gateway that runs."""
        self.ended.set()
        self._thread.join(60)
        assert not self._thread.is_alive(), f"{type(self).__name__} does not come to an end"
        assert not self.trouble, self.trouble

    def _run(self) -> None:
        number = 0
        while not self.ended.wait(self.dice.random() * 0.03):
            number += 1
            try:
                self.one(number)
            except Exception:
                self.trouble = traceback.format_exc()
                return

    def one(self, number: int) -> None:
        raise NotImplementedError

    def judge(self) -> Verdict:
        raise NotImplementedError


class Chat(Traffic):
    """People on IRC."""
    def one(self, number: int) -> None:
        self.world.irc.say(self.dice.choice(PEOPLE), f"irc {number}", only_up=True)

    def judge(self) -> Verdict:
        accepted = {body for body, in self.world.rows("SELECT body FROM event WHERE channel = 'net'")}
        return judge_chat(self.world.history.entries, accepted)


class Requests(Traffic):
    """A client of the API. Cut off, it asks again under the same key; answered, now and then, too."""
    def __init__(self, world: World, dice: random.Random):
        super().__init__(world, dice)
        self.answers: dict[str, set[str]] = {}

    def one(self, number: int) -> None:
        key = f"key-{number}"
        stream = self.dice.random() < 0.5
        answers = self.answers.setdefault(key, set())
        times = 2 if self.dice.random() < 0.2 else 1
        while times > 0:
            told = self.world.ask(key, f"ask {number}", stream)
            if told is None:
                self.ended.wait(0.02)  # nobody is there at the moment
                continue
            answers.add(told)
            times -= 1

    def judge(self) -> Verdict:
        verdict = Verdict()
        deaths = len(self.world.exits)
        for key, answers in self.answers.items():
            prompt = f"ask {key.removeprefix('key-')}"
            verdict.answered += bool(answers)
            if len(answers) != 1:
                verdict.broken.append(f"{key} has {len(answers)} answers: {sorted(answers)}")
            elif not next(iter(answers)).startswith(prompt + " for the "):
                verdict.broken.append(f"{key} asked {prompt!r} and was told {answers}")
            if self.world.model.counts.get(prompt, 0) > 1 + deaths:
                verdict.broken.append(f"{key} ran {self.world.model.counts[prompt]} times, with {deaths} deaths")
            verdict.doubled += self.world.model.counts.get(prompt, 0) > 1
        return verdict

