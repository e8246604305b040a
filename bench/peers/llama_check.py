"""The peers of bench/llama-shape.mjs.

usage: llama_check.py peak THREADS DTYPE           the machine's best GEMM rate with torch, GFLOP/s
       llama_check.py gradient MODEL_FOLDER JOB.json   loss and gradients with transformers + PEFT in float32
Needs torch; for gradients also transformers, peft and safetensors. Prints one JSON line.
"""
import json, sys, time
import torch


def peak(threads, dtype):
    torch.set_num_threads(threads)
    best = 0.0
    for n in (1024, 2048, 4096):
        a, b = (torch.randn(n, n).to(getattr(torch, dtype)) for _ in range(2))
        # Weights laid out for oneDNN, as the engine has them: the fastest product this libtorch offers.
        packed = torch.ops.mkldnn._reorder_linear_weight(b, n)
        for _ in range(6):
            start = time.perf_counter()
            torch.ops.mkldnn._linear_pointwise(a, packed, None, "none", [], "")
            best = max(best, 2 * n**3 / (time.perf_counter() - start) / 1e9)
    return {"gflops": best}


def gradient(folder, job):
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(job["threads"])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = get_peft_model(model, LoraConfig(r=job["rank"], lora_alpha=16, target_modules=["q_proj", "v_proj"]))
    adapter, ours = load_file(job["adapter"]), load_file(job["gradient"])
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sorted(trained) == sorted(adapter), "the adapters have other tensors"
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(adapter[name])
    ids = torch.tensor(job["ids"]).view(job["batch"], job["length"])
    loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    relative = [((ours[n] - p.grad).norm() / p.grad.norm()).item() for n, p in trained.items()]
    return {"loss": loss.item(), "worstRelativeGradient": max(relative), "tensors": len(relative)}


if sys.argv[1] == "peak":
    print(json.dumps(peak(int(sys.argv[2]), sys.argv[3])))
else:
    print(json.dumps(gradient(sys.argv[2], json.load(open(sys.argv[3])))))
