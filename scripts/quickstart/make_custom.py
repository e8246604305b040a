"""Writes configs/custom_text/: the three small data sets of the example of custom tasks, in three file formats.

    python scripts/quickstart/make_custom.py     # the standard library is enough

Every sentence is made here from the quickstart's word lists, so that its model knows the words.
"""

import csv
import json
import random
from pathlib import Path

from words import ADJECTIVES, CLOSINGS, DAYS, DOMAINS, FIRST, SECOND, SPEAKERS, VERBS, chance, pick

OUT = Path(__file__).resolve().parents[2] / "configs/custom_text"


def opinion(rng, domain, good):
    """One sentence with an opinion about something of a domain."""
    aspect = pick(rng, DOMAINS[domain]["aspects"])
    if chance(rng, 0.5):
        return f"the {aspect} was {pick(rng, ADJECTIVES[good])} ."
    return f"{pick(rng, SPEAKERS)} {pick(rng, VERBS[good])} the {aspect} ."


def subject_row(rng):
    """What is the review about? Six classes, by name."""
    domain = pick(rng, list(DOMAINS))
    opening = f"we saw the {pick(rng, FIRST)} {pick(rng, SECOND)} on {pick(rng, DAYS)} ."
    good = int(chance(rng, 0.5))
    return {"review": f"{opening} {opinion(rng, domain, good)} {opinion(rng, domain, good)}", "about": domain}


def mood_row(rng):
    """Is the review favourable? Two classes, by number."""
    good = int(chance(rng, 0.5))
    domain = pick(rng, list(DOMAINS))
    return {"text": f"{opinion(rng, domain, good)} {pick(rng, CLOSINGS[good])} .", "mark": good}


def agree_row(rng):
    """Do two opinions about one kind of thing agree? A pair of texts, two classes by name."""
    domain, first = pick(rng, list(DOMAINS)), int(chance(rng, 0.5))
    agree = chance(rng, 0.5)
    second = first if agree else 1 - first
    return {"left": opinion(rng, domain, first), "right": opinion(rng, domain, second), "verdict": "yes" if agree else "no"}


def write_table(path, rows, separator):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=separator, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    rng = random.Random(7)
    write_table(OUT / "subject_train.csv", [subject_row(rng) for _ in range(480)], ",")
    write_table(OUT / "subject_validation.csv", [subject_row(rng) for _ in range(120)], ",")
    rows = [mood_row(rng) for _ in range(480)]
    (OUT / "mood.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    write_table(OUT / "agree.tsv", [agree_row(rng) for _ in range(600)], "\t")
