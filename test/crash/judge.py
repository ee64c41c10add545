"""The judge of a history: what may a gateway that was killed have done, seen from outside?

Messages have unique texts, so every reply can be traced to its message. What IRC can't promise is not asked for: a message that was read
from the socket and not yet journalled goes with the process, since IRC has no acknowledgement that could hold it back. A message
counts as accepted from the moment it is journalled; those that were not are counted and reported, and must be the last of what was said
before a death, never one between two accepted ones.
"""

import collections
import dataclasses

from platforms import REPEAT, Entry

MOST_DEATHS = 3  # a turn that was cut off as often as this is put aside, and its chat is told
APOLOGY = f"Sorry, I was interrupted {MOST_DEATHS} times"


@dataclasses.dataclass
class Verdict:
    broken: list[str] = dataclasses.field(default_factory=list)
    answered: int = 0
    marked: int = 0  # replies with a mark: the only copy, or a second one
    doubled: int = 0  # messages with more than one copy, all but one marked
    unheard: int = 0  # said, and gone with the process before the journal


def judge_chat(entries: list[Entry], accepted: set[str], answer=None) -> Verdict:
    """`accepted`: the texts that the journal holds at the end. `answer`: is this reply an answer to that text? (default: it is that text)"""
    verdict = Verdict()
    said = {e.text: e for e in entries if e.kind == "said"}
    deaths = sum(e.kind == "died" for e in entries[:-1])
    replies: dict[str, list[tuple[int, Entry]]] = collections.defaultdict(list)
    apologies: list[tuple[int, Entry]] = []
    for at, entry in enumerate(entries):
        if entry.kind != "reply":
            continue
        plain = entry.text.removeprefix(REPEAT)
        if plain.startswith(APOLOGY) and deaths >= MOST_DEATHS:
            apologies.append((at, entry))
            continue
        asked = next((text for text in said if answer(text, plain)), None) if answer else plain if plain in said else None
        if asked is None:
            verdict.broken.append(f"{entry.who} was told {entry.text!r}, which answers nothing")
        elif said[asked].who != entry.who:
            verdict.broken.append(f"{entry.who} was told {entry.text!r}, which {said[asked].who} asked")
        else:
            replies[asked].append((at, entry))
    for at, entry in apologies:
        # It does not say which message it is about: the oldest of that person that has no answer.
        about = next((text for text, asked in said.items() if asked.who == entry.who and text in accepted and not replies[text]), None)
        if about is None:
            verdict.broken.append(f"{entry.who} was told {entry.text!r} about nothing")
        else:
            replies[about].append((at, entry))
    for text in said:
        copies = replies[text]
        if text not in accepted:
            verdict.unheard += 1
            if copies:
                verdict.broken.append(f"{text!r} was answered and is not in the journal")
            continue
        verdict.answered += bool(copies)
        if not copies:
            verdict.broken.append(f"{text!r} was accepted and never answered")
        unmarked = [at for at, entry in copies if not entry.text.startswith(REPEAT)]
        if len(unmarked) > 1:
            verdict.broken.append(f"{text!r} was answered {len(unmarked)} times without a mark")
        if unmarked and unmarked[0] != copies[0][0]:
            verdict.broken.append(f"{text!r}: the copy without a mark came after one with a mark")
        if len(copies) > 1 + deaths + sum(e.kind == "fault" for e in entries):
            verdict.broken.append(f"{text!r} was answered {len(copies)} times, with {deaths} deaths")
        verdict.marked += len(copies) - len(unmarked)
        verdict.doubled += len(copies) > 1
    verdict.broken += order(said, replies) + gaps(said, accepted)
    return verdict


def order(said: dict[str, Entry], replies) -> list[str]:
    """First copies of one conversation come in the order in which they were asked for."""
    broken = []
    last: dict[str, tuple[int, str]] = {}
    for text, entry in said.items():
        if not replies[text]:
            continue
        first = replies[text][0][0]
        if entry.who in last and last[entry.who][0] > first:
            broken.append(f"{entry.who}: {text!r} was answered before {last[entry.who][1]!r}")
        last[entry.who] = (first, text)
    return broken


def gaps(said: dict[str, Entry], accepted: set[str]) -> list[str]:
    """On one connection the journal keeps a beginning of what was said: nothing is skipped."""
    broken = []
    missing: dict[int, str] = {}
    for text, entry in said.items():
        if text not in accepted:
            missing.setdefault(entry.link, text)
        elif entry.link in missing:
            broken.append(f"{missing[entry.link]!r} was lost, although {text!r}, said after it, was journalled")
    return broken


def judge_requests(entries: list[Entry], keys: dict[str, str], runs: dict[str, int]) -> Verdict:
    """`keys`: idempotency key → prompt. `runs`: prompt → how often a turn of it reached the model."""
    verdict = Verdict()
    deaths = sum(e.kind == "died" for e in entries[:-1])
    for key, prompt in keys.items():
        answers = [e.text for e in entries if e.kind == "answer" and e.who == key]
        if not answers:
            verdict.broken.append(f"{key} was never answered")
            continue
        verdict.answered += 1
        if len(set(answers)) > 1:
            verdict.broken.append(f"{key} has several answers: {sorted(set(answers))}")
        if not answers[0].startswith(prompt + " for the "):
            verdict.broken.append(f"{key} asked {prompt!r} and was told {answers[0]!r}")
        if runs.get(prompt, 0) > 1 + deaths:
            verdict.broken.append(f"{key} ran {runs[prompt]} times, with {deaths} deaths")
        first = next(i for i, e in enumerate(entries) if e.kind == "answer" and e.who == key)
        if any(e.kind == "model" and e.text == prompt for e in entries[first:]):
            verdict.broken.append(f"{key} ran again after it had been answered")
        verdict.doubled += runs.get(prompt, 0) > 1
    return verdict


def judge_ledger(rows: list[tuple], exits: list[tuple[int, int]], restarts: int = 0, told: bool = False) -> list[str]:
    """How each process's end must stand in the ledger.

    `rows`: (pid, verdict, cause, exit_code) of every run, oldest first. `exits`: (pid, code) of every process, oldest first; a death by
    signal is negative. `restarts`: how often a process may have executed itself again, which makes one more row each. `told`: they were told
    to end before they were killed, and may have written that down.
    """
    broken = [f"run of PID {pid} has no end in the ledger" for pid, verdict, _, _ in rows if not verdict]
    broken += [f"run of PID {pid}: {verdict} without a cause" for pid, verdict, cause, _ in rows if verdict and not cause]
    if len(rows) > len(exits) + restarts:
        broken.append(f"{len(rows)} runs in the ledger for {len(exits)} processes")
    codes = dict(exits)
    for pid, verdict, cause, code in rows:
        if pid not in codes:
            broken.append(f"a run of PID {pid}, which never was")
        elif codes[pid] < 0 and verdict != "crash" and not told:
            broken.append(f"PID {pid} was killed and the ledger says {verdict}: {cause}")
        elif codes[pid] >= 0 and verdict == "crash":
            broken.append(f"PID {pid} ended with {codes[pid]} and the ledger says crash: {cause}")
        elif codes[pid] >= 0 and code != codes[pid] and not told:
            broken.append(f"PID {pid} ended with {codes[pid]}, the ledger says {code}")
    if exits and (not rows or rows[-1][0] != exits[-1][0]):
        broken.append(f"the last process, PID {exits[-1][0]}, is not the last in the ledger")
    return broken
