"""Makes quickstart/: a small pretrained BERT, its tokenizer and four text tasks, all from this folder's grammar.

    python scripts/quickstart/make.py              # writes quickstart/{model,data,manifest.json}; about 12 minutes on one core
    python scripts/quickstart/make.py --data-only  # the data alone, and checks that the vocabulary still covers it

Made with Python 3.11, torch 2.13.0, transformers 5.23.0, tokenizers 0.23.3, safetensors 0.8.0, numpy 2.4.6. One thread and
fixed seeds: data, vocabulary and tokenizer come out the same anywhere; the weights bit for bit on the same processor type
and versions, within rounding elsewhere.
"""

import argparse
import collections
import hashlib
import json
import random
from pathlib import Path

from pretrain import draw_passages, encode, pretrain
from tasks import TASKS, task_rows
from vocabulary import build_tokenizer, build_vocabulary, tokenizer_config, write_json

SEED = 0
TRAIN_ROWS, VALIDATION_ROWS = 800, 300
HIDDEN, LAYERS, HEADS, POSITIONS = 96, 3, 4, 64
PRETRAINING = {"steps": 9000, "size": 16, "lr": 2e-3, "limit": POSITIONS, "seed": SEED}
VOCABULARY_SAMPLE = 30_000


def write_data(folder):
    """Writes data/<task>/{train,validation}.jsonl; returns the manifest's rows of the tasks."""
    described = []
    for name, make, share in TASKS:
        entry = {"name": name, "num_labels": 2, "splits": {}}
        splits = task_rows(name, make, share, TRAIN_ROWS, VALIDATION_ROWS, SEED)
        for split, rows in zip(("train", "validation"), splits):
            path = folder / "data" / name / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            ones = sum(row["label"] for row in rows)
            entry["splits"][split] = {"rows": len(rows), "labels": [len(rows) - ones, ones]}
        described.append(entry)
    return described


def sample_words():
    """The words of many generated passages: every word of the grammar is among them."""
    rng = random.Random(f"vocabulary-{SEED}")
    for _ in range(VOCABULARY_SAMPLE):
        for passage in draw_passages(rng, False):
            yield from passage.split()


def task_texts(folder):
    """Every text of the written data."""
    for path in sorted((folder / "data").glob("*/*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            yield row["text"], row.get("text2", "")


def check_tokenizer(tokenizer, vocabulary, folder):
    """The tokenizer must give the ids that pretraining used, without unknown words, within the position limit."""
    for first, second in task_texts(folder):
        expected = encode(vocabulary, first, second, POSITIONS)
        got = tokenizer.encode(first, second) if second else tokenizer.encode(first)
        if (got.ids, got.type_ids) != expected or vocabulary["[UNK]"] in got.ids or len(got.ids) > POSITIONS:
            raise SystemExit(f"tokenizer and pretraining disagree on {first!r} {second!r}: {got.ids} {expected}")


def write_model(folder, vocabulary, counts):
    """Pretrains the model and writes model/{config.json,model.safetensors} in float16, without pretraining heads."""
    import torch
    from safetensors.torch import save_file
    from transformers import BertConfig, BertForPreTraining

    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(SEED)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=HIDDEN, num_hidden_layers=LAYERS, num_attention_heads=HEADS,
        intermediate_size=4 * HIDDEN, max_position_embeddings=POSITIONS, pad_token_id=vocabulary["[PAD]"],
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.05,
    )
    model = BertForPreTraining(config)
    shares = torch.tensor([counts[token] / counts.total() for token in vocabulary])
    pretrain(model, vocabulary, shares, **PRETRAINING, log=lambda line: print(line, flush=True))
    tensors = {f"bert.{name}": value.to(torch.float16).contiguous() for name, value in model.bert.state_dict().items()}
    path = folder / "model" / "model.safetensors"
    save_file(tensors, path, metadata={"format": "pt"})
    path.chmod(0o644)
    fields = ["model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
              "hidden_act", "hidden_dropout_prob", "attention_probs_dropout_prob", "max_position_embeddings",
              "type_vocab_size", "initializer_range", "layer_norm_eps", "pad_token_id"]
    written = {"architectures": ["BertModel"], **{field: getattr(config, field) for field in fields}, "dtype": "float16"}
    write_json(folder / "model" / "config.json", written)


def write_manifest(folder, described):
    """manifest.json: the tasks in listed order, and size and SHA-256 of every file."""
    files = {}
    for path in sorted([*(folder / "model").iterdir(), *(folder / "data").glob("*/*.jsonl")]):
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        files[name] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    write_json(folder / "manifest.json", {"seed": SEED, "tasks": described, "files": files})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[2] / "quickstart")
    parser.add_argument("--data-only", action="store_true", help="keep the model that is there")
    options = parser.parse_args()
    folder = options.out
    (folder / "model").mkdir(parents=True, exist_ok=True)
    described = write_data(folder)
    counts = collections.Counter(sample_words())
    vocabulary = build_vocabulary(counts)
    tokenizer = build_tokenizer(vocabulary)
    check_tokenizer(tokenizer, vocabulary, folder)
    tokenizer.save(str(folder / "model" / "tokenizer.json"))
    write_json(folder / "model" / "tokenizer_config.json", tokenizer_config(POSITIONS))
    if not options.data_only:
        write_model(folder, vocabulary, counts)
    write_manifest(folder, described)


if __name__ == "__main__":
    main()
