"""The judge itself: a history that breaks a promise is called broken, one for each promise."""

import pytest

from judge import APOLOGY, judge_chat, judge_ledger, judge_requests
from platforms import REPEAT, Entry


def chat(*told) -> list[Entry]:
    """("ann", "x") said on the first connection, (">ann", "x") replied, "died"."""
    return [Entry("died") if one == "died" else Entry("reply", one[0][1:], one[1]) if one[0].startswith(">") else
            Entry("said", one[0], one[1], link=1) for one in told]


END = ["died"]  # of the process that healed


def test_a_good_history():
    good = chat(("ann", "x"), ("bob", "y"), (">ann", "x"), "died", (">ann", REPEAT + "x"), (">bob", "y"), *END)
    verdict = judge_chat(good, {"x", "y"})
    assert verdict.broken == [] and (verdict.answered, verdict.marked, verdict.doubled, verdict.unheard) == (2, 1, 1, 0)


@pytest.mark.parametrize("what, told, accepted", [
    ("never answered", [("ann", "x"), "died"], {"x"}),
    ("2 times without a mark", [("ann", "x"), (">ann", "x"), "died", (">ann", "x")], {"x"}),
    ("which ann asked", [("ann", "x"), "died", (">bob", "x")], {"x"}),
    ("answers nothing", [("ann", "x"), (">ann", "x"), "died", (">ann", "z")], {"x"}),
    ("before", [("ann", "x"), ("ann", "y"), "died", (">ann", "y"), (">ann", "x")], {"x", "y"}),
    ("not in the journal", [("ann", "x"), (">ann", "x"), "died"], set()),
    ("was lost, although", [("ann", "x"), ("bob", "y"), "died", (">bob", "y")], {"y"}),
    ("after one with a mark", [("ann", "x"), "died", (">ann", REPEAT + "x"), (">ann", "x")], {"x"}),
    ("3 times, with 1 deaths", [("ann", "x"), (">ann", "x"), "died", (">ann", REPEAT + "x"), (">ann", REPEAT + "x")], {"x"}),
])
def test_a_broken_history(what, told, accepted):
    assert any(what in broken for broken in judge_chat(chat(*told, *END), accepted).broken)


def test_what_was_not_journalled_is_counted_and_not_held_against_it():
    verdict = judge_chat(chat(("ann", "x"), (">ann", "x"), ("ann", "y"), "died", *END), {"x"})
    assert verdict.broken == [] and verdict.unheard == 1


def test_what_was_cut_off_three_times_may_be_put_aside_with_an_apology():
    asked = [("ann", "x"), "died", "died", "died"]
    assert judge_chat(chat(*asked, (">ann", APOLOGY + " ..."), *END), {"x"}).broken == []
    assert judge_chat(chat(*asked, (">bob", APOLOGY + " ..."), *END), {"x"}).broken
    assert judge_chat(chat(*asked[:-1], (">ann", APOLOGY + " ..."), *END), {"x"}).broken


@pytest.mark.parametrize("what, entries, runs", [
    ("several answers", [("answer", "k", "p for the 1. time"), ("answer", "k", "p for the 2. time")], 1),
    ("never answered", [("cut", "k", "")], 1),
    ("ran 3 times", [("answer", "k", "p for the 3. time")], 3),
    ("again after", [("answer", "k", "p for the 1. time"), ("model", "", "p")], 1),
])
def test_a_broken_request(what, entries, runs):
    history = [Entry(*one) for one in entries] + [Entry("died"), Entry("died")]
    assert any(what in broken for broken in judge_requests(history, {"k": "p"}, {"p": runs}).broken)


@pytest.mark.parametrize("what, rows, exits", [
    ("no end", [(1, None, None, None)], [(1, -9)]),
    ("was killed and", [(1, "planned", "x", 0)], [(1, -9)]),
    ("says crash", [(1, "crash", "x", 0)], [(1, 0)]),
    ("without a cause", [(1, "planned", "", 0)], [(1, 0)]),
    ("the ledger says 0", [(1, "planned", "x", 0)], [(1, 1)]),
    ("for 1 processes", [(1, "planned", "x", 0), (1, "planned", "x", 0)], [(1, 0)]),
    ("never was", [(2, "planned", "x", 0)], [(1, 0)]),
])
def test_a_broken_ledger(what, rows, exits):
    assert any(what in broken for broken in judge_ledger(rows, exits))
