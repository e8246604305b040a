"""Sentences and documents of the quickstart's small world, drawn from its word lists."""

from words import (
    ADJECTIVES, ADVERBS, CLOSINGS, COMMON_ASPECTS, COMPANIONS, DAYS, DOMAINS, FACTS, FIRST, LANDMARKS, SECOND,
    SPEAKERS, TOWNS, VERBS, chance, pick,
)


def subject_name(rng, domain):
    """A noun phrase that names a subject, e.g. "the silver lantern" or "the hotel"."""
    if chance(rng, 0.5):
        return f"the {pick(rng, FIRST)} {pick(rng, SECOND)}"
    return f"the {pick(rng, DOMAINS[domain]['kinds'])}"


def aspect_of(rng, domain):
    """Something to have an opinion about; one in seven says nothing about the domain."""
    return pick(rng, COMMON_ASPECTS if chance(rng, 0.15) else DOMAINS[domain]["aspects"])


def judgement(rng, polarity):
    """What follows "was": an adjective, sometimes one of the other polarity, negated."""
    if chance(rng, 0.12):
        return f"not {pick(rng, ADJECTIVES[1 - polarity])}"
    adverb = f"{pick(rng, ADVERBS)} " if chance(rng, 0.4) else ""
    return adverb + pick(rng, ADJECTIVES[polarity])


def opinion(rng, aspect, polarity):
    """One opinion about one aspect, without its full stop."""
    form = int(rng.random() * 4)
    if form == 0:
        return f"{pick(rng, SPEAKERS)} {pick(rng, VERBS[polarity])} the {aspect}"
    if form == 1:
        adjective = pick(rng, ADJECTIVES[polarity])
        return f"what {'an' if adjective[0] in 'aeiou' else 'a'} {adjective} {aspect}"
    if form == 2:
        return f"i found the {aspect} {judgement(rng, polarity)}"
    return f"the {aspect} was {judgement(rng, polarity)}"


def opinion_sentence(rng, domain, polarity):
    """An opinion; one in seven concedes the opposite about something else first."""
    aspect = aspect_of(rng, domain)
    said = opinion(rng, aspect, polarity)
    if chance(rng, 0.15):
        other = aspect_of(rng, domain)
        said = f"although the {other} was {pick(rng, ADJECTIVES[1 - polarity])} , {said}"
    return said + " ."


def neutral_sentence(rng, domain, name):
    """Circumstances without an opinion."""
    form = int(rng.random() * 3)
    if form == 0:
        return f"we saw {name} on {pick(rng, DAYS)} with {pick(rng, COMPANIONS)} ."
    if form == 1:
        return f"it is a {pick(rng, DOMAINS[domain]['kinds'])} from {pick(rng, TOWNS)} ."
    return f"{pick(rng, COMPANIONS)} told me about {name} ."


def review(rng, domain, polarity, sentences):
    """Sentences of one review: its polarity and domain hold throughout."""
    name = subject_name(rng, domain)
    said = []
    for _ in range(sentences):
        form = rng.random()
        if form < 0.15:
            said.append(neutral_sentence(rng, domain, name))
        elif form < 0.35:
            said.append(f"{pick(rng, CLOSINGS[polarity])} .")
        else:
            said.append(opinion_sentence(rng, domain, polarity))
    return said


def question(rng, attribute, name):
    """A question that asks for one attribute of a subject."""
    return pick(rng, FACTS[attribute]["questions"]).format(n=name)


def answer(rng, attribute, name, named=False):
    """A statement of one attribute of a subject; with `named` it says the name instead of "it"."""
    fact = FACTS[attribute]
    ways = [way for way in fact["answers"] if "{n}" in way or not named]
    return pick(rng, ways).format(n=name, v=pick(rng, fact["values"]), landmark=pick(rng, LANDMARKS))


def wrong_answer(rng, asked, name, domain):
    """A statement that does not answer the question: of another attribute or, one in four, of another subject."""
    if chance(rng, 0.75):
        return answer(rng, pick(rng, [attribute for attribute in FACTS if attribute != asked]), name)
    other = name
    while other == name:
        other = subject_name(rng, domain)
    return answer(rng, asked, other, named=True)


def interview(rng, domain, answered):
    """A question about a subject, and its answer or a statement that does not answer it."""
    name, asked = subject_name(rng, domain), pick(rng, list(FACTS))
    said = question(rng, asked, name)
    return [said, answer(rng, asked, name) if answered else wrong_answer(rng, asked, name, domain)]


def talk(rng, domain, polarity, agrees):
    """Two opinions about one aspect; the second speaker agrees with the first, or says the opposite."""
    aspect = aspect_of(rng, domain)
    return [f"{opinion(rng, aspect, polarity)} .", f"{opinion(rng, aspect, polarity if agrees else 1 - polarity)} ."]
