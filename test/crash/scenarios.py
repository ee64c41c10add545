"""What is cut at every point: each scenario acts until all is quiet, is brought back after a death, and is judged.

`act` runs beside a gateway under the tracer and may be left at any point by Gone; `heal` runs beside the next process, which nobody
kills, and must end with nothing open; `judge` looks at the whole history.
"""

import re
import signal
import sqlite3
import threading
import time

from hook_side import HookSide
from judge import MOST_DEATHS, Verdict, judge_chat, judge_ledger, judge_requests
from mail_side import MailSide
from platforms import REPEAT, Gone
from program_side import ProgramSide
from support.talaria import REPO
from telegram_side import TelegramSide
from world import World


class Scenario:
    name = ""
    agent = "default"
    sides: tuple = ()  # further platforms
    from_signal = True  # counting begins in act(); else with the first call of the process
    ends = False        # act() itself leads to the end of the process
    restarts = 0        # times that the process executes itself again
    keeps_home = True   # begins with a home that has been used before

    def prepare(self, world: World) -> None:
        """Before the process is started."""

    def settle_in(self, world: World) -> None:
        """After it was started and before counting begins."""
        world.until_up()

    def act(self, world: World) -> None:
        raise NotImplementedError

    def heal(self, world: World) -> None:
        """The gateway must be of use again: it answers, and everything that was open is closed."""
        world.until_up()
        text = f"hello, number {world.history.run}"
        world.irc.say("ann", text)
        world.until_replied(text)
        world.until_settled()

    def judge(self, world: World) -> Verdict:
        accepted = {body for body, in world.rows("SELECT body FROM event")}
        verdict = judge_chat(world.history.entries, accepted, self.is_answer)
        verdict.broken += self.judge_store(world)
        return verdict

    def is_answer(self, text: str, reply: str) -> bool:
        return reply == text if self.agent == "default" else reply.startswith(text + " for the ")

    def judge_store(self, world: World) -> list[str]:
        rows = world.rows("SELECT pid, verdict, cause, exit_code FROM run WHERE id > (SELECT coalesce(min(id), 0) FROM run) ORDER BY id"
                          if self.keeps_home else "SELECT pid, verdict, cause, exit_code FROM run ORDER BY id")
        broken = judge_ledger(rows, world.exits, self.restarts, told=self.ends or self.restarts > 0)
        broken += [what for what, in world.rows("SELECT 'reply ' || id || ' is ' || state FROM outbox WHERE state <> 'sent' UNION ALL "
                                                "SELECT 'turn ' || id || ' is ' || state FROM turn WHERE state <> 'finished'")
                   if "parked" not in what or len(world.exits) <= MOST_DEATHS]
        return broken + [f"integrity: {what}" for what, in world.rows("PRAGMA integrity_check") if what != "ok"]


class Chat(Scenario):
    """IRC: receive, answer, receipt; two people, one of whom asks twice."""
    name = "chat"

    def act(self, world: World) -> None:
        world.irc.say("ann", "one")
        world.irc.say("bob", "two")
        world.irc.say("ann", "three")
        world.until_replied("one", "two", "three")
        world.irc.say("bob", "four")
        world.until_replied("four")


class Requests(Scenario):
    """The HTTP API with Idempotency-Key: whole and streamed. A client whose connection broke asks again under the same key."""
    name = "requests"
    keys = {"key-1": "pay", "key-2": "count", "key-3": "pay more"}
    streamed = ("key-2",)

    def act(self, world: World) -> None:
        for key, prompt in self.keys.items():
            if world.ask(key, prompt, key in self.streamed) is None:
                world.history.until(lambda: False, 1, "the death that cut the connection")

    def heal(self, world: World) -> None:
        world.until_ready()
        for _ in range(2):
            for key, prompt in self.keys.items():
                if world.ask(key, prompt, key in self.streamed) is None:
                    raise AssertionError(f"{key}: no answer from a gateway that is ready")
        world.until_settled()

    def judge(self, world: World) -> Verdict:
        verdict = judge_requests(world.history.entries, self.keys, world.model.counts)
        verdict.broken += self.judge_store(world)
        return verdict


class Drain(Scenario):
    """SIGTERM while two turns run: one ends within the drain's time, the other is cut off and runs again at the next start."""
    name = "drain"
    agent = "model"
    ends = True

    def prepare(self, world: World) -> None:
        world.model.hold("quick", "slow")

    def settle_in(self, world: World) -> None:
        world.until_up()
        for who, text in (("ann", "quick"), ("bob", "slow")):
            world.irc.say(who, text)
            world.history.until(lambda: any(e.text == text for e in world.history.of("model")), 20, f"a turn of {text}")

    def act(self, world: World) -> None:
        run = world.history.run
        world.signal(signal.SIGTERM)
        world.history.until(lambda: any(" ending (" in e.text for e in world.history.of("log", run)), 20, "the drain")
        world.irc.say("ann", "late")
        world.model.release("quick")
        world.history.until(lambda: False, 20, "the end")

    def heal(self, world: World) -> None:
        world.model.release()
        super().heal(world)


class Unsure(Scenario):
    """IRC takes a reply and the connection breaks before it says so: the reply is sent once more, with a mark."""
    name = "unsure"

    def prepare(self, world: World) -> None:
        world.irc.faults = ["deaf"]

    def act(self, world: World) -> None:
        world.irc.say("ann", "one")
        world.until_replied("one")
        world.history.add("fault")
        world.until_repeated("one")

    def heal(self, world: World) -> None:
        world.irc.faults = []
        super().heal(world)


class Life(Scenario):
    """An empty home: start, restart in place, stop. Every run and every end stand in the ledger."""
    name = "life"
    from_signal = False
    ends = True
    restarts = 1
    keeps_home = False

    def settle_in(self, world: World) -> None:
        pass

    def act(self, world: World) -> None:
        run = world.history.run
        def ready():
            return sum(" ready: " in e.text for e in world.history.of("log", run))
        world.history.until(lambda: ready() > 0, 20, "ready")
        world.control("/control/restart")
        world.history.until(lambda: ready() > 1, 20, "ready again")
        world.control("/control/stop")
        world.history.until(lambda: False, 20, "the end")


class Recovery(Scenario):
    """The start after a crash, which is itself cut. The home is one that died with a turn running, one queued and a reply on its way."""
    name = "recovery"
    agent = "model"
    from_signal = False

    def settle_in(self, world: World) -> None:
        pass

    def prepare(self, world: World) -> None:
        """The first death, in a process that nobody traces."""
        world.model.hold("two", "three")
        world.irc.faults = ["mute"]
        world.start()
        world.until_up()
        world.irc.say("ann", "one")
        world.until_replied("one")
        world.irc.say("bob", "two")
        world.history.until(lambda: any(e.text == "two" for e in world.history.of("model")), 20, "a turn of two")
        world.irc.say("bob", "three")
        end = time.monotonic() + 20
        while len(world.rows("SELECT 1 FROM event")) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        world.kill9()
        world.irc.faults = []
        world.model.release()

    def act(self, world: World) -> None:
        world.until_up()
        world.until_replied("two", "three")
        world.until_repeated("one")


class Migration(Scenario):
    """A home that the first version left, killed: a turn is queued, a reply waits, an older exchange is told. The start brings its store to
    today's schema."""
    name = "migration"
    from_signal = False
    keeps_home = False

    def prepare(self, world: World) -> None:
        # Steps that were released are never edited, so the first one is the first version's schema.
        first_step = re.search(r'R"sql\((.*?)\)sql"', (REPO / "src/store/schema.cpp").read_text(), re.DOTALL).group(1)
        state = world.home / "state"
        state.mkdir(mode=0o700)
        now = int(time.time() * 1000)
        with sqlite3.connect(state / "talaria.db") as db:
            db.executescript(f"PRAGMA journal_mode = WAL; {first_step} PRAGMA application_id = {0x54414C41}; PRAGMA user_version = 1;")
            db.execute("INSERT INTO session VALUES (1, 'direct/net/ann', 'default', ?1, ?1, 0)", (now,))
            for number, (text, turn, reply) in enumerate((("done", "finished", "sent"), ("waiting", "finished", "pending"), ("asked", "queued", "")), 1):
                db.execute("INSERT INTO event VALUES (?, 'net', 'ann', ?, '', 'nick:ann', 'ann', ?, ?, NULL)", (number, f"old-{number}", text, now))
                db.execute("INSERT INTO turn(id, session_id, event_id, direct, agent, state, prompt, channel, conversation, thread, reply_to, queued_at)"
                           " VALUES (?1, 1, ?1, 0, 'default', ?2, ?3, 'net', 'ann', '', '', ?4)", (number, turn, text, now))
                if reply:
                    db.execute("INSERT INTO outbox(turn_id, channel, conversation, thread, reply_to, body, state, created_at)"
                               " VALUES (?, 'net', 'ann', '', '', ?, ?, ?)", (number, text, reply, now))
                world.history.add("said", "ann", text)
        db.close()
        (state / "talaria.db").chmod(0o600)
        world.history.add("reply", "ann", "done")

    def settle_in(self, world: World) -> None:
        pass

    def act(self, world: World) -> None:
        world.until_up()
        world.until_replied("waiting", "asked")

    def judge_store(self, world: World) -> list[str]:
        kept = world.rows("SELECT count(*) FROM event WHERE message_id LIKE 'old-%'")[0][0]
        return super().judge_store(world) + ([] if kept == 3 else [f"{kept} of 3 messages of the old store are left"])


class ByHand(Scenario):
    """The operator's hand: a dead reply is sent again, another is discarded, and a message is sent that waits for its receipt. Who is not told
    that it was done does it again, as long as there is something to do."""
    name = "by hand"
    dead = {"fetched": 9001, "dropped": 9002}

    def prepare(self, world: World) -> None:
        with sqlite3.connect(world.home / "state" / "talaria.db") as db:
            for text, number in self.dead.items():
                db.execute("INSERT INTO event(channel, conversation, message_id, thread, sender_id, sender_name, body, received_at)"
                           " VALUES ('net', 'ann', ?1, '', 'nick:ann', 'ann', ?1, 1)", (text,))
                db.execute("INSERT INTO outbox(id, channel, conversation, thread, reply_to, body, state, created_at, ended_at)"
                           " VALUES (?, 'net', 'ann', '', '', ?, 'dead', ?, ?)", (number, text, int(time.time() * 1000), int(time.time() * 1000)))
        db.close()
        world.history.add("said", "ann", "fetched")

    def act(self, world: World) -> None:
        self.do(world)

    def do(self, world: World) -> None:
        world.control("/control/outbox/retry", {"id": self.dead["fetched"]})
        world.control("/control/outbox/discard", {"id": self.dead["dropped"]})
        world.until_replied("fetched")
        status = world.control("/control/send", {"channel": "net", "conversation": "ann", "text": "told", "wait_ms": 10_000})
        if status == 200:
            world.history.add("receipt", "ann", "told")

    def heal(self, world: World) -> None:
        world.until_up()
        for text, verb in (("fetched", "retry"), ("dropped", "discard")):
            if world.rows(f"SELECT 1 FROM outbox WHERE body = '{text}' AND state = 'dead'"):
                world.control(f"/control/outbox/{verb}", {"id": self.dead[text]})
        super().heal(world)

    def judge(self, world: World) -> Verdict:
        entries = world.history.entries
        told = [at for at, e in enumerate(entries) if e.kind == "reply" and e.text.endswith("told")]
        promised = [at for at, e in enumerate(entries) if e.kind == "receipt"]
        unmarked = [at for at in told if not entries[at].text.startswith(REPEAT)]
        accepted = {body for body, in world.rows("SELECT body FROM event WHERE body <> 'dropped'")}
        verdict = judge_chat([e for at, e in enumerate(entries) if at not in told], accepted, self.is_answer)
        if promised and (not told or told[0] > promised[0]):
            verdict.broken.append("a receipt was given for a message that had not arrived")
        if len(unmarked) > 1:
            verdict.broken.append(f"one message was sent {len(unmarked)} times without a mark")
        kept = world.rows("SELECT count(*) FROM outbox WHERE body = 'told'")[0][0]
        if kept and not told:
            verdict.broken.append("a message that was stored was never sent")
        if world.rows("SELECT 1 FROM outbox WHERE body = 'dropped'"):
            verdict.broken.append("what was discarded is there again")
        verdict.broken += self.judge_store(world)
        return verdict


class Telegram(Scenario):
    """Telegram: receive, answer, receipt; one who asks twice, and an answer that is shown while it is written."""
    name = "telegram"
    agent = "model"
    sides = (TelegramSide,)

    def prepare(self, world: World) -> None:
        world.model.stall("slow")

    def settle_in(self, world: World) -> None:
        world.until_up()
        side = world.side(TelegramSide)
        side.wait(lambda: side.of("getUpdates"), what="a poll")

    def act(self, world: World) -> None:
        side = world.side(TelegramSide)
        side.ask("ann", "one")
        side.ask("bob", "two")
        side.ask("ann", "three")
        side.until_told("one", "two", "three")
        side.ask("bob", "slow")
        side.until_told("slow for")  # its beginning
        world.model.release("slow")
        side.until_told("slow for the 1. time")

    def heal(self, world: World) -> None:
        world.model.release()
        super().heal(world)
        side = world.side(TelegramSide)
        side.ask("ann", "last")
        side.until_told(*(text for _, text in side.asked))
        world.until_settled()

    def judge(self, world: World) -> Verdict:
        # Killed between a beginning and its receipt, nobody knows that message any more: it stays as it is, and counts as the copy that the
        # marked answer repeats. No one may be left with a beginning alone.
        side = world.side(TelegramSide)
        verdict = side.judge(lambda text, reply: self.is_answer(text, reply) or reply == f"{text} for")
        verdict.broken += [f"{text!r} was only begun to be answered" for _, text in side.asked
                           if not any(self.is_answer(text, told.removeprefix(REPEAT)) for told in side.texts())]
        verdict.broken += self.judge_store(world)
        return verdict


class Hooked(Scenario):
    """Webhooks: a signed report comes in, its answer leaves as a signed webhook. Senders go on until they are told 2xx."""
    name = "webhook"
    sides = (HookSide,)
    texts = ("one", "two", "three")

    def settle_in(self, world: World) -> None:
        world.until_ready()

    def act(self, world: World) -> None:
        side = world.side(HookSide)
        for text in self.texts:
            if not side.send(world, text):
                world.history.until(lambda: False, 1, "the death that cut the connection")
        side.until_hooked(*self.texts)

    def heal(self, world: World) -> None:
        world.until_ready()
        side = world.side(HookSide)
        for text in self.texts:
            if not side.send(world, text):
                raise AssertionError(f"{text!r} is not taken by a gateway that is ready: {side.told[text]}")
        side.until_hooked(*self.texts)
        world.until_settled()

    def judge(self, world: World) -> Verdict:
        verdict = world.side(HookSide).judge()
        verdict.broken += self.judge_store(world)
        return verdict


class Email(Scenario):
    """E-mail: receive, answer, receipt; two people, one of whom goes on in her thread."""
    name = "email"
    sides = (MailSide,)

    def settle_in(self, world: World) -> None:
        world.until_up()
        world.side(MailSide).until_waited_for()

    def act(self, world: World) -> None:
        side = world.side(MailSide)
        one, two = side.ask("ann", "one"), side.ask("bob", "two")
        side.until_told(one, two)
        side.until_told(side.ask("ann", "three", one))

    def heal(self, world: World) -> None:
        super().heal(world)
        side = world.side(MailSide)
        side.ask("ann", "last", side.asked[0] if side.asked else None)
        side.until_told(*side.asked)
        world.until_settled()

    def judge(self, world: World) -> Verdict:
        side = world.side(MailSide)
        verdict = side.judge()
        threads = len({(mail.thread or [mail.message_id])[0] for mail in side.asked})
        sessions = world.rows("SELECT count(DISTINCT session_id) FROM turn WHERE channel = 'mail'")[0][0]
        if sessions != threads:
            verdict.broken.append(f"{threads} threads have {sessions} sessions")
        verdict.broken += self.judge_store(world)
        return verdict


class Program(Scenario):
    """A channel program: receive, answer, receipt. It dies with the gateway, and the next one says again what was not accepted."""
    name = "program"
    sides = (ProgramSide,)

    def settle_in(self, world: World) -> None:
        world.until_up()
        world.side(ProgramSide).until_welcome()

    def act(self, world: World) -> None:
        side = world.side(ProgramSide)
        side.ask("ann", "one")
        side.ask("bob", "two")
        side.ask("ann", "three")
        side.until_told("one", "two", "three")
        side.ask("bob", "four")
        side.until_told("four")

    def heal(self, world: World) -> None:
        super().heal(world)
        side = world.side(ProgramSide)
        side.ask("ann", "last")
        side.until_told(*(text for _, text in side.asked))
        world.until_settled()

    def judge(self, world: World) -> Verdict:
        verdict = world.side(ProgramSide).judge()
        verdict.broken += self.judge_store(world)
        return verdict


class Retry(Hooked):
    """A receiver refuses an answer twice and takes it then: the answer waits after each refusal, and the one behind it waits with it."""
    name = "retry"
    texts = ("one", "two")

    def prepare(self, world: World) -> None:
        world.side(HookSide).refusals = 2

    def act(self, world: World) -> None:
        side = world.side(HookSide)
        for text in self.texts:
            if not side.send(world, text):
                world.history.until(lambda: False, 1, "the death that cut the connection")
            world.history.until(lambda: world.history.of("refused"), 20, "a refusal")
        side.until_hooked(*self.texts)

    def judge(self, world: World) -> Verdict:
        side = world.side(HookSide)
        verdict = super().judge(world)
        if side.refusals:
            verdict.broken.append(f"{side.refusals} refusals were not needed")
        if hasty := [late - early for run, early in side.refused for again, late in side.attempts if again == run and 0 < late - early < 0.9]:
            verdict.broken.append(f"tried again {hasty} seconds after a refusal")
        taken = list(dict.fromkeys(text for _, text in side.taken))
        stored = [text for text, in world.rows("SELECT body FROM outbox WHERE channel = 'out' ORDER BY id")]
        if taken != stored:
            verdict.broken.append(f"{stored} left as {taken}")
        return verdict


class Upgrade(Scenario):
    """Upgrade in place, with an exchange under way that the old version brings to its end, and people who write before, meanwhile and after."""
    name = "upgrade"
    restarts = 1
    keys = {"key-1": "pay"}
    asking: threading.Thread | None = None

    def prepare(self, world: World) -> None:
        world.model.hold("pay")

    def act(self, world: World) -> None:
        run = world.history.run
        self.asking = threading.Thread(target=world.ask, args=("key-1", "pay", False), daemon=True)
        self.asking.start()
        world.irc.say("ann", "one")
        world.until_replied("one")
        world.history.until(lambda: world.history.of("model"), 20, "a turn of pay")
        world.control("/control/upgrade")
        world.irc.say("bob", "two")
        world.model.release()
        world.history.until(lambda: len(world.history.of("up", run)) > 1, 20, "login on IRC again")
        world.history.until(lambda: world.history.of("answer"), 20, "the answer that was under way")
        world.irc.say("ann", "three")
        world.until_replied("three")

    def heal(self, world: World) -> None:
        world.model.release()
        super().heal(world)
        if self.asking:
            self.asking.join(20)
        if world.ask("key-1", "pay", False) is None:
            raise AssertionError("no answer from a gateway that is ready")
        world.until_settled()

    def judge(self, world: World) -> Verdict:
        verdict = super().judge(world)
        request = judge_requests(world.history.entries, self.keys, world.model.counts)
        verdict.answered += request.answered
        verdict.broken += request.broken
        return verdict


def run_to_death(world: World, scenario: Scenario, quiet: float) -> None:
    """Lets the scenario act beside the traced process; one that nobody killed in it is killed when all was quiet for `quiet` seconds."""
    try:
        scenario.settle_in(world)
        if scenario.from_signal:
            world.count(True)
        scenario.act(world)
        if not world.history.until_dead(quiet):
            world.kill9()
    except Gone:
        pass


ALL = {scenario.name: scenario for scenario in (Chat, Requests, Drain, Unsure, ByHand, Life, Upgrade, Recovery, Migration, Telegram, Hooked, Retry,
                                                Email, Program)}
