"""How long a long test runs: bounded as a part of ./check, in full with ./torture. What it measured is printed and kept."""

import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FULL = os.environ.get("TALARIA_TORTURE") == "full"


def rounds(bounded, full):
    """The number of rounds, or of seconds, for this run."""
    return full if FULL else bounded


def report(name, **figures):
    """Prints the figures of a run; a full one's are kept in build/torture/figures.jsonl."""
    line = json.dumps({"name": name, "full": FULL, **figures})
    print(line, flush=True)
    if FULL:
        kept = ROOT / "build" / "torture" / "figures.jsonl"
        kept.parent.mkdir(parents=True, exist_ok=True)
        with kept.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def keep(name, text):
    """Writes what a failure left to build/torture/NAME, and says where that is."""
    kept = ROOT / "build" / "torture" / name
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(text, encoding="utf-8")
    return kept
