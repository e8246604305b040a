"""The quickstart's four tasks: rows {"text", ["text2",] "label"} from the small world's grammar."""

import random

from grammar import interview, neutral_sentence, opinion_sentence, subject_name, talk
from words import CLOSINGS, DOMAINS, chance, pick

PLACES = [domain for domain, row in DOMAINS.items() if row["family"] == "place"]
WORKS = [domain for domain, row in DOMAINS.items() if row["family"] == "work"]


def short_review(rng, domain, polarity):
    """An opinion with, sometimes, a sentence before or after it."""
    name = subject_name(rng, domain)
    said = [opinion_sentence(rng, domain, polarity)]
    if chance(rng, 0.4):
        said.insert(0, neutral_sentence(rng, domain, name))
    if chance(rng, 0.3):
        said.append(f"{pick(rng, CLOSINGS[polarity])} .")
    return " ".join(said)


def sentiment_row(rng, label):
    """Is the review favourable (1) or not (0)?"""
    return {"text": short_review(rng, pick(rng, list(DOMAINS)), label)}


def topic_row(rng, label):
    """Is the review about a work to read, watch or hear (1) or about a place to go to (0)? Same reviews as sentiment."""
    return {"text": short_review(rng, pick(rng, WORKS if label else PLACES), int(rng.random() * 2))}


def answer_row(rng, label):
    """Does the second text answer the question in the first (1) or not (0)?"""
    first, second = interview(rng, pick(rng, list(DOMAINS)), bool(label))
    return {"text": first, "text2": second}


def contradiction_row(rng, label):
    """Do two opinions about one aspect contradict each other (1) or agree (0)?"""
    first, second = talk(rng, pick(rng, list(DOMAINS)), int(rng.random() * 2), not label)
    return {"text": first, "text2": second}


# name, maker of a row, share of label 1: in the order in which the scenario lists the tasks
TASKS = [
    ("sentiment", sentiment_row, 0.50),
    ("topic", topic_row, 0.45),
    ("answer", answer_row, 0.50),
    ("contradiction", contradiction_row, 0.40),
]


# share of rows whose label is wrong, in training and validation alike, as careless annotators would have it
LABEL_NOISE = 0.04


def draw_row(rng, make, label):
    """One labelled row: its text is of the other label with probability LABEL_NOISE."""
    return {**make(rng, 1 - label if chance(rng, LABEL_NOISE) else label), "label": label}


def task_rows(name, make, share, train, validation, seed):
    """(train rows, validation rows): all texts of a task differ, each split has exactly `share` of label 1."""
    rng = random.Random(f"{name}-{seed}")
    seen, splits = set(), []
    for size in (train, validation):
        ones = round(size * share)
        labels = [1] * ones + [0] * (size - ones)
        rows = []
        for index in sorted(range(size), key=lambda _: rng.random()):
            row = draw_row(rng, make, labels[index])
            while (key := (row["text"], row.get("text2"))) in seen:
                row = draw_row(rng, make, labels[index])
            seen.add(key)
            rows.append(row)
        splits.append(rows)
    return splits
