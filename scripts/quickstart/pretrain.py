"""Pretraining of the quickstart's BERT on generated documents, by objectives that need no labels.

1. Masked words (BERT).
2. Next passage (BERT's next-sentence prediction): does the second passage continue the first?
3. Bags of words from the pooled [CLS]: the words of its own text (as in DupMAE, arXiv 2305.02564) and those of the
   passage that follows (as in paragraph vectors). In a model this small, [CLS] would otherwise take very long to
   stand for its text. Frequent words count less, as in word2vec.
"""

import random
import time

import torch
from torch import nn
from torch.nn import functional

from grammar import interview, review, talk
from words import DOMAINS, chance, pick

IGNORED = -100
LOG_EVERY = 500
# words with a larger share of all words count less, by the square root of the ratio
FREQUENT = 1e-3


def broken_review(rng, domain, polarity, sentences):
    """Sentences of a review that cannot be the one at hand: of the other opinion, or on something else."""
    if chance(rng, 0.5):
        return review(rng, domain, 1 - polarity, sentences)
    return review(rng, pick(rng, [other for other in DOMAINS if other != domain]), int(rng.random() * 2), sentences)


def review_passages(rng, broken):
    """Two passages of one review, or of two."""
    domain, polarity = pick(rng, list(DOMAINS)), int(rng.random() * 2)
    said = review(rng, domain, polarity, 4)
    cut, size = 1 + int(rng.random() * 2), 1 + int(rng.random() * 2)
    second = broken_review(rng, domain, polarity, size) if broken else said[cut:cut + size]
    return " ".join(said[:cut]), " ".join(second)


def interview_passages(rng, broken):
    """A question and its answer, or a statement that answers another."""
    return tuple(interview(rng, pick(rng, list(DOMAINS)), not broken))


def talk_passages(rng, broken):
    """An opinion and a reply that agrees, or a reply of another talk: of the other opinion, or about something else."""
    domain, polarity = pick(rng, list(DOMAINS)), int(rng.random() * 2)
    if broken and chance(rng, 0.6):
        return tuple(talk(rng, domain, polarity, False))
    first, second = talk(rng, domain, polarity, True)
    return first, talk(rng, domain, polarity, True)[1] if broken else second


# share of each kind among the pairs
PASSAGES = [(0.4, review_passages), (0.3, interview_passages), (0.3, talk_passages)]


def draw_passages(rng, broken):
    """Two passages of a document of any kind, or of two documents."""
    draw = rng.random()
    for share, passages in PASSAGES:
        if draw < share:
            break
        draw -= share
    return passages(rng, broken)


def encode(vocabulary, first, second, limit):
    """ids and type ids of [CLS] first [SEP] second [SEP]; generated words are all in the vocabulary."""
    a = [vocabulary["[CLS]"], *(vocabulary[word] for word in first.split()), vocabulary["[SEP]"]]
    b = [*(vocabulary[word] for word in second.split()), vocabulary["[SEP]"]] if second else []
    return (a + b)[:limit], ([0] * len(a) + [1] * len(b))[:limit]


def mask_words(rng, ids, vocabulary):
    """(masked ids, targets): 15 % of the words are predicted; of these 80 % hidden, 10 % replaced, 10 % kept."""
    hidden, targets = list(ids), [IGNORED] * len(ids)
    for position, token in enumerate(ids):
        if token < 5 or not chance(rng, 0.15):
            continue
        targets[position] = token
        form = rng.random()
        if form < 0.8:
            hidden[position] = vocabulary["[MASK]"]
        elif form < 0.9:
            hidden[position] = 5 + int(rng.random() * (len(vocabulary) - 5))
    return hidden, targets


def collate(rng, vocabulary, texts, limit):
    """(inputs of BertModel, targets): padded tensors of (first, second) texts with words masked."""
    rows = []
    for first, second in texts:
        ids, types = encode(vocabulary, first, second, limit)
        rows.append((*mask_words(rng, ids, vocabulary), types))
    width = max(len(row[0]) for row in rows)

    def padded(column, fill):
        return torch.tensor([row[column] + [fill] * (width - len(row[column])) for row in rows])

    return {
        "input_ids": padded(0, vocabulary["[PAD]"]),
        "token_type_ids": padded(2, 0),
        "attention_mask": torch.tensor([[1] * len(row[0]) + [0] * (width - len(row[0])) for row in rows]),
    }, padded(1, IGNORED)


def word_loss(model, states, targets):
    """Cross-entropy at the positions that have a target."""
    chosen = targets != IGNORED
    return functional.cross_entropy(model.cls.predictions(states[chosen]), targets[chosen])


class BagHeads(nn.Module):
    """Two linear heads on the pooled [CLS]: the words of its own text, and of the passage that follows."""

    def __init__(self, hidden, vocabulary, shares):
        super().__init__()
        self.vocabulary = vocabulary
        self.weights = torch.clamp(torch.sqrt(FREQUENT / shares.clamp(min=1e-9)), max=1.0)
        self.own, self.following = nn.Linear(hidden, len(vocabulary)), nn.Linear(hidden, len(vocabulary))
        # Starting at the words' shares keeps the first steps from saturating the pooler to express them.
        expected = (shares * self.weights).clamp(min=1e-6).log()
        for head in (self.own, self.following):
            head.bias.data.copy_(expected)

    def loss(self, head, pooled, texts):
        """Weighted cross-entropy of the bags of words of `texts` [batch] given `pooled` [batch, hidden]."""
        bags = torch.zeros(len(texts), len(self.vocabulary))
        for row, text in zip(bags, texts):
            for word in text.split():
                row[self.vocabulary[word]] += self.weights[self.vocabulary[word]]
        return -(bags * functional.log_softmax(head(pooled), dim=1)).sum() / bags.sum()


def pair_step(model, bags, rng, size, limit):
    """(loss, share of right next-passage answers) on `size` pairs."""
    texts, broken = [], []
    for _ in range(size):
        broken.append(int(chance(rng, 0.5)))
        texts.append(draw_passages(rng, broken[-1]))
    inputs, targets = collate(rng, bags.vocabulary, texts, limit)
    output = model.bert(**inputs)
    logits, labels = model.cls.seq_relationship(output.pooler_output), torch.tensor(broken)
    loss = word_loss(model, output.last_hidden_state, targets) + functional.cross_entropy(logits, labels)
    loss = loss + bags.loss(bags.own, output.pooler_output, [f"{first} {second}" for first, second in texts])
    return loss, (logits.argmax(1) == labels).float().mean().item()


def passage_step(model, bags, rng, size, limit):
    """Loss on `size` single passages of reviews."""
    pairs = [review_passages(rng, False) for _ in range(size)]
    inputs, targets = collate(rng, bags.vocabulary, [(first, "") for first, _ in pairs], limit)
    output = model.bert(**inputs)
    return (
        word_loss(model, output.last_hidden_state, targets)
        + bags.loss(bags.own, output.pooler_output, [first for first, _ in pairs])
        + bags.loss(bags.following, output.pooler_output, [second for _, second in pairs])
    )


def make_optimizer(modules, steps, lr):
    """AdamW, no decay on biases and norms; warm-up over a thirtieth of the steps, linear fall in the last half."""
    parameters = [p for module in modules for p in module.parameters()]
    groups = [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": 0.01},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=lr)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (steps / 30), 2 * (steps - step) / steps))


def pretrain(model, vocabulary, shares, *, steps, size, lr, limit, seed, log=print):
    """Trains `model` (BertForPreTraining) in place; each step takes `size` pairs and `size` single passages.

    `shares` [vocabulary] is each word's share of all words.
    """
    rng = random.Random(f"pretrain-{seed}")
    bags = BagHeads(model.config.hidden_size, vocabulary, shares)
    model.cls.predictions.bias.data.copy_(shares.clamp(min=1e-6).log())
    optimizer, schedule = make_optimizer((model, bags), steps, lr)
    model.train()
    started, sums = time.monotonic(), [0.0, 0.0]
    for step in range(1, steps + 1):
        pair_loss, right = pair_step(model, bags, rng, size, limit)
        loss = pair_loss + passage_step(model, bags, rng, size, limit)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        sums = [sums[0] + loss.item(), sums[1] + right]
        if step % LOG_EVERY == 0:
            log(f"step {step}/{steps}: loss {sums[0] / LOG_EVERY:.3f}, next passage {sums[1] / LOG_EVERY:.3f} right, "
                f"{time.monotonic() - started:.0f} s")
            sums = [0.0, 0.0]
    model.eval()
