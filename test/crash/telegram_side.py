"""Telegram as people see it across a crash: the fake Bot API of test/support, which outlives the gateway, beside a history."""

import random

from judge import Verdict, judge_chat
from platforms import Entry, History
from support.telegram_api import TelegramApi
from traffic import PEOPLE, Traffic
from world import World


class TelegramSide(TelegramApi):
    """People with private chats. What the bot sends or edits is an entry of the history, for those who wait; what is judged are the messages
    as they stand in the chats at the end."""

    def __init__(self, history: History):
        super().__init__()
        self.history = history
        self.people = {who: self.person(who) for who in PEOPLE}
        self.asked: list[tuple[str, str]] = []  # who, text

    @property
    def secrets(self) -> dict[str, str]:
        return {"TELEGRAM_TOKEN": self.token}

    def close(self) -> None:
        self.__exit__()

    def catch_up(self) -> None:
        """Polls wait for ever, so there is nothing to wait for; what a dead process had sent is carried out in a moment."""

    def config(self, agent: str) -> str:
        return f"""
[channel.tg]
kind = "telegram"
token = "env:TELEGRAM_TOKEN"
api_root = "{self.root}"
poll_timeout = "10s"
agent = "{agent}"
allow = ["*"]
messages_per_second = 30.0
"""

    def ask(self, who: str, text: str) -> None:
        self.asked.append((who, text))
        self.say(self.people[who], text)

    def until_told(self, *texts: str) -> None:
        self.history.until(lambda: all(any(text in told for told in self.texts()) for text in texts), 20, f"on Telegram: {texts}")

    def _locked(self, action, parameters, files):
        result = super()._locked(action, parameters, files)
        self.history.add("telegram", text=str(parameters.get("text", "")))
        return result

    def judge(self, answer=None) -> Verdict:
        """Telegram keeps an update until it is confirmed, so everything that was asked counts as accepted."""
        entries = [Entry("said", who, text) for who, text in self.asked]
        entries += [e for e in self.history.entries if e.kind in ("died", "fault")]
        names = {chat.id: who for who, chat in self.people.items()}
        entries += [Entry("reply", names[sent.chat], sent.text) for sent in sorted(self.sent(), key=lambda sent: sent.at)]
        entries.append(Entry("end"))
        return judge_chat(entries, {text for _, text in self.asked}, answer)


class TelegramTraffic(Traffic):
    """People on Telegram, whose server keeps what was not confirmed. It takes thirty messages a second of a bot, so they wait while many are
    open."""
    most_open = 200

    def __init__(self, world: World, dice: random.Random):
        super().__init__(world, dice)
        self.side = world.side(TelegramSide)

    def one(self, number: int) -> None:
        while len(self.side.asked) - len(self.side.texts()) > self.most_open and not self.ended.wait(0.1):
            pass
        self.side.ask(self.dice.choice(PEOPLE), f"tg {number}")

    def stop(self) -> None:
        super().stop()
        self.side.until_told(*(text for _, text in self.side.asked[-20:]))

    def judge(self) -> Verdict:
        return self.side.judge()
