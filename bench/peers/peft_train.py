"""The peer of bench/train-vs-peft.mjs: one local LoRA fine-tune with transformers + PEFT + torch.optim.AdamW.

usage: peft_train.py MODEL_FOLDER JOB.json      (needs torch, transformers, peft)

JOB.json: {"steps": [{"ids": [[...]], "types": [[...]], "labels": [...]}], "rank", "alpha", "dropout", "lr", "threads",
"padding": "longest" or a length}. Prints one JSON line: seconds of all steps, user CPU seconds, the loss of each step.
Batches are padded before the clock starts; the model is in training mode, with its own dropout unless dropout is null.
"""
import json, resource, sys, time
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification

folder, job = sys.argv[1], json.load(open(sys.argv[2]))
torch.set_num_threads(job["threads"])
torch.manual_seed(0)
model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2, dtype=torch.float32)
config = LoraConfig(r=job["rank"], lora_alpha=job["alpha"], lora_dropout=job["dropout"] or 0.0, bias="none",
                    target_modules=["query", "value"], task_type="SEQ_CLS")
model = get_peft_model(model, config)
model.train(job["dropout"] is not None)


def pad(step):
    width = max(map(len, step["ids"])) if job["padding"] == "longest" else job["padding"]
    fill = lambda rows: torch.tensor([row + [0] * (width - len(row)) for row in rows])
    return {"input_ids": fill(step["ids"]), "token_type_ids": fill(step["types"]),
            "attention_mask": fill([[1] * len(row) for row in step["ids"]]), "labels": torch.tensor(step["labels"])}


batches = [pad(step) for step in job["steps"]]
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=job["lr"])


def train(some):
    losses = []
    for batch in some:
        loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


train(batches[:2])  # warm up
cpu, start = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
losses = train(batches)
print(json.dumps({"seconds": time.perf_counter() - start, "userSeconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu,
                  "peakBytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024, "losses": losses}))
