"""The peer of `fltac bench train`: local LoRA fine-tunes with transformers + PEFT + torch.optim.AdamW, one after another.

usage: peft_train.py JOB.json      (needs torch, transformers, peft)

JOB.json is PeerJob of src/bench/train-job.ts. Prints a line of JSON when ready, then one for each line read: "train" (every
adapter from the initial state through its steps, timed) or "losses" (of lossSteps, without dropout). Batches are tokenised
and padded before the clock starts. A library that cannot be imported is told as {"absent": why}.
"""
import json, resource, sys, time

try:
    import peft, torch, transformers
    from safetensors.torch import load_file
except ImportError as error:
    print(json.dumps({"absent": str(error)}))
    sys.exit(0)

job = json.load(open(sys.argv[1]))
spec, device = job["spec"], torch.device(job["device"])
torch.set_num_threads(job["threads"])
torch.manual_seed(job["seed"])
transformers.logging.set_verbosity_error()
model = transformers.AutoModelForSequenceClassification.from_pretrained(
    job["model"], num_labels=spec["numLabels"], dtype=torch.float32)
model = peft.get_peft_model(model, peft.LoraConfig(
    r=spec["rank"], lora_alpha=spec["loraAlpha"], lora_dropout=spec["loraDropout"], bias="none",
    target_modules=spec["targetModules"], task_type="SEQ_CLS")).to(device)
initial = load_file(job["initial"], device=str(device))
trained = {name: value for name, value in model.named_parameters() if value.requires_grad}
if trained.keys() != initial.keys():
    sys.exit(f"the peer trains {sorted(trained)[:3]}..., fltac {sorted(initial)[:3]}...")


def pad(step):
    width = job["maxLen"] if job["padding"] == "max_len" else max(map(len, step["ids"]))
    fill = lambda rows: torch.tensor([row + [0] * (width - len(row)) for row in rows])
    batch = {"input_ids": fill(step["ids"]), "attention_mask": fill([[1] * len(row) for row in step["ids"]]),
             "labels": torch.tensor(step["labels"])}
    if step["types"]:
        batch["token_type_ids"] = fill(step["types"])
    return {name: value.to(device) for name, value in batch.items()}


def fine_tune(batches):
    with torch.no_grad():
        for name, value in trained.items():
            value.copy_(initial[name])
    optimizer = torch.optim.AdamW(trained.values(), lr=job["lr"], weight_decay=job["weightDecay"])
    losses = []
    for batch in batches:
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=job["dtype"] == "bfloat16"):
            loss = model(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def peak_bytes():
    """VmHWM is of this program alone; getrusage tells its parent's too."""
    try:
        line = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    except OSError:
        return None


def train():
    model.train()
    cpu, start = resource.getrusage(resource.RUSAGE_SELF).ru_utime, time.perf_counter()
    for batches in adapters:
        fine_tune(batches)
    return {"seconds": time.perf_counter() - start,
            "cpuSeconds": resource.getrusage(resource.RUSAGE_SELF).ru_utime - cpu, "peakBytes": peak_bytes()}


def losses():
    model.eval()  # no dropout; gradients flow as ever
    return {"losses": fine_tune([pad(step) for step in job["lossSteps"]])}


adapters = [[pad(step) for step in steps] for steps in job["adapters"]]
print(json.dumps({
    "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__,
                 "python": sys.version.split()[0]},
    "computedTokens": sum(batch["input_ids"].numel() for batches in adapters for batch in batches)}), flush=True)
for line in sys.stdin:
    print(json.dumps(losses() if line.strip() == "losses" else train()), flush=True)
