"""Vocabulary and tokenizer.json: a WordPiece tokenizer whose vocabulary is built by counting, so that it is reproducible."""

import json
import string

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SUFFIXES = ["s", "ed", "ing", "ly", "er", "est", "ness", "less", "ful", "en", "al", "ion"]


def build_vocabulary(counts):
    """token -> id: special tokens, characters, continuations, then the words of `counts`, most frequent first."""
    characters = string.ascii_lowercase + string.digits + ".,?!'-"
    tokens = SPECIAL + list(characters) + [f"##{c}" for c in string.ascii_lowercase + string.digits]
    tokens += [f"##{suffix}" for suffix in SUFFIXES if len(suffix) > 1]
    known = set(tokens)
    words = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    tokens += [word for word, _ in words if word not in known]
    return {token: index for index, token in enumerate(tokens)}


def build_tokenizer(vocabulary):
    """The `tokenizers` object of a BERT tokenizer over `vocabulary`: lower case, [CLS] a [SEP] b [SEP]."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[(token, vocabulary[token]) for token in ("[CLS]", "[SEP]")],
    )
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def tokenizer_config(max_positions):
    """tokenizer_config.json as transformers reads it."""
    return {
        "tokenizer_class": "BertTokenizer",
        "do_lower_case": True,
        "model_max_length": max_positions,
        "unk_token": "[UNK]", "sep_token": "[SEP]", "pad_token": "[PAD]", "cls_token": "[CLS]", "mask_token": "[MASK]",
    }


def write_json(path, value):
    """`value` as JSON text that does not depend on the machine."""
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
