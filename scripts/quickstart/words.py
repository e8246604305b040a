"""The word lists of the quickstart's small world: six kinds of subject in two families, opinions, facts."""

# Every random draw is `pick` over `random.Random.random()`, whose stream Python promises not to change.


def pick(rng, items):
    """One of `items`, uniformly."""
    return items[int(rng.random() * len(items))]


def chance(rng, share):
    """True with probability `share`."""
    return rng.random() < share


# domain -> family, kinds of subject, things one can have an opinion about
DOMAINS = {
    "food": {
        "family": "place",
        "kinds": ["restaurant", "cafe", "diner", "bakery", "tavern"],
        "aspects": ["soup", "bread", "menu", "waiter", "dessert", "coffee", "kitchen", "table", "breakfast", "sauce", "fish", "salad"],
    },
    "lodging": {
        "family": "place",
        "kinds": ["hotel", "inn", "lodge", "hostel", "guesthouse"],
        "aspects": ["room", "bed", "lobby", "shower", "view", "pillow", "balcony", "reception", "pool", "corridor", "towel", "window"],
    },
    "sight": {
        "family": "place",
        "kinds": ["museum", "gallery", "garden", "castle", "zoo"],
        "aspects": ["exhibition", "guide", "hall", "tour", "fountain", "statue", "path", "entrance", "map", "display", "collection", "tower"],
    },
    "film": {
        "family": "work",
        "kinds": ["film", "movie", "play", "musical", "series"],
        "aspects": ["plot", "actor", "scene", "ending", "dialogue", "camera", "costume", "script", "director", "cast", "stage", "trailer"],
    },
    "book": {
        "family": "work",
        "kinds": ["novel", "book", "memoir", "poem", "story"],
        "aspects": ["chapter", "author", "hero", "prose", "cover", "style", "page", "twist", "villain", "preface", "narrator", "epilogue"],
    },
    "music": {
        "family": "work",
        "kinds": ["album", "song", "concert", "record", "symphony"],
        "aspects": ["melody", "singer", "drummer", "chorus", "rhythm", "guitar", "band", "voice", "tune", "bass", "orchestra", "solo"],
    },
}
# said of a subject of any domain
COMMON_ASPECTS = ["price", "atmosphere", "opening", "idea", "crowd", "mood", "design", "quality"]

ADJECTIVES = {
    1: ["good", "great", "excellent", "wonderful", "lovely", "superb", "charming", "delightful", "pleasant", "brilliant", "impressive", "beautiful"],
    0: ["bad", "poor", "awful", "terrible", "dull", "dreadful", "boring", "horrible", "clumsy", "disappointing", "shabby", "ugly"],
}
VERBS = {
    1: ["loved", "enjoyed", "adored", "admired", "praised", "liked"],
    0: ["hated", "disliked", "regretted", "despised", "resented", "endured"],
}
CLOSINGS = {
    1: ["i would come back tomorrow", "we recommend it to everyone", "it deserves a second visit", "my friends were delighted", "it was worth every coin", "we left with a smile", "i was happy all evening", "we could not ask for more"],
    0: ["i want my money back", "we warn everyone about it", "it was a waste of time", "my friends were annoyed", "it was not worth a coin", "we left with a headache", "i was angry all evening", "we will never come back"],
}
ADVERBS = ["really", "very", "quite", "truly", "rather", "simply", "so", "always"]
SPEAKERS = ["i", "we", "my sister", "my brother", "our neighbour", "the children", "my friends", "everyone"]
COMPANIONS = ["my sister", "my brother", "two friends", "our neighbour", "my parents", "the children", "a colleague", "nobody"]
DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
FIRST = ["blue", "golden", "silver", "quiet", "little", "green", "hidden", "broken", "red", "winter", "summer", "lost"]
SECOND = ["anchor", "lantern", "river", "orchard", "harbour", "mountain", "feather", "mirror", "bridge", "forest", "island", "crown"]
TOWNS = ["ashford", "brookvale", "cliffton", "dunmore", "eastwick", "fairhaven", "greyport", "hillcrest"]
PERSONS = ["anna", "boris", "clara", "david", "elena", "felix", "greta", "hugo"]
LANDMARKS = ["station", "market", "church", "library", "school", "lake"]
HOURS = ["six", "seven", "eight", "nine", "ten", "eleven"]
COUNTS = ["twelve", "fifteen", "twenty", "thirty", "forty", "fifty"]
SEASONS = ["spring", "autumn", "january", "april", "july", "october"]
COLOURS = ["white", "black", "yellow", "purple", "brown", "grey"]

# attribute -> ways to ask, ways to state it with its value; {n} is the subject, {v} the value
FACTS = {
    "hour": {
        "values": HOURS,
        "questions": ["when does {n} open ?", "at what hour does {n} begin ?", "what time should i be at {n} ?"],
        "answers": ["{n} opens at {v} in the morning .", "it begins at {v} sharp .", "the doors open at {v} ."],
    },
    "price": {
        "values": COUNTS,
        "questions": ["how much does {n} cost ?", "what do people pay for {n} ?", "is {n} expensive ?"],
        "answers": ["{n} costs {v} coins .", "people pay {v} coins for it .", "a ticket is {v} coins ."],
    },
    "town": {
        "values": TOWNS,
        "questions": ["where is {n} ?", "in which town can i find {n} ?", "where should i look for {n} ?"],
        "answers": ["{n} is in {v} .", "you can find it in {v} .", "it is in {v} near the {landmark} ."],
    },
    "maker": {
        "values": PERSONS,
        "questions": ["who made {n} ?", "whose work is {n} ?", "who is behind {n} ?"],
        "answers": ["{n} was made by {v} .", "it is the work of {v} .", "{v} is behind it ."],
    },
    "season": {
        "values": SEASONS,
        "questions": ["in which season did {n} first appear ?", "how old is {n} ?", "since when do we have {n} ?"],
        "answers": ["{n} first appeared in {v} .", "it has been here since last {v} .", "we have had it since {v} ."],
    },
    "colour": {
        "values": COLOURS,
        "questions": ["what colour is the front of {n} ?", "how can i recognise {n} ?", "what does {n} look like ?"],
        "answers": ["the front of {n} is {v} .", "look for something {v} .", "it is all {v} outside ."],
    },
}
