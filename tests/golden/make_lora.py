#!/usr/bin/python3
"""Makes tests/golden/lora_peft/ and tests/golden/lora_peft_rs/: LoRA adapters as PEFT saves them (adapter_config.json and
adapter_model.safetensors: names, shapes, key order, metadata), for the models of make_network.py, and expected.safetensors beside them:
what PyTorch (float64, autograd, torch.optim.AdamW) says: loss and logits, the gradient of every A and B, and A and B after three AdamW
steps with weight decay and gradient clipping.

`lora_peft`: network_beside, all seven kinds of matrices, f32, alpha / r.
`lora_peft_rs`: network_replace (bf16 base), rsLoRA, bf16 factors, q, v and down only, and of layers 0 and 2 only.
Run with Debian's python3-torch: /usr/bin/python3 tests/golden/make_lora.py"""
import json, math, os
import numpy as np, torch
import torch.nn.functional as F
from make_network import HERE, NAMES, logits_of, write_safetensors
from split_reference import read

TORCH = {name: dtype for dtype, name in NAMES.items()}
SETTINGS = {"lr": 1e-2, "weight_decay": 0.1, "eps": 1e-6, "clip": 0.5, "steps": 3}


def read_tensors(path):
    header, data = read(path)
    return {name: torch.frombuffer(bytearray(data[slice(*entry["data_offsets"])]), dtype=TORCH[entry["dtype"]]).view(entry["shape"])
            for name, entry in header.items()}


def read_model(folder):
    with open(os.path.join(HERE, folder, "config.json")) as f:
        config = json.load(f)
    weights, about = (read_tensors(os.path.join(HERE, folder, name)) for name in ("model.safetensors", "reference.safetensors"))
    return config, {k: v.double() for k, v in weights.items()}, about


def peft_config(base, r, alpha, rslora, modules, layers):
    """The keys and defaults of PEFT 0.15's LoraConfig, sorted, as its save_pretrained writes them."""
    return {"alpha_pattern": {}, "auto_mapping": None, "base_model_name_or_path": base, "bias": "none", "corda_config": None,
            "eva_config": None, "exclude_modules": None, "fan_in_fan_out": False, "inference_mode": True, "init_lora_weights": True,
            "layer_replication": None, "layers_pattern": None, "layers_to_transform": layers, "loftq_config": {}, "lora_alpha": alpha,
            "lora_bias": False, "lora_dropout": 0.05, "megatron_config": None, "megatron_core": "megatron.core", "modules_to_save": None,
            "peft_type": "LORA", "r": r, "rank_pattern": {}, "revision": None, "target_modules": modules, "task_type": "CAUSAL_LM",
            "trainable_token_indices": None, "use_dora": False, "use_rslora": rslora}


def loss_of(config, base, factors, scale, batch):
    w = dict(base)
    for name, (a, b) in factors.items():
        w[name] = base[name] + scale * (b @ a)
    logits = [logits_of(config, w, ids) for ids, _ in batch]
    total = sum((F.cross_entropy(l[:-1], ids[1:], reduction="none") * tw[1:]).sum() for l, (ids, tw) in zip(logits, batch))
    return total / sum(tw[1:].sum() for _, tw in batch), torch.cat(logits)


def make(folder, model, r, alpha, rslora, modules, layers, dtype, seed):
    config, base, about = read_model(model)
    torch.manual_seed(seed)
    peft_name = lambda name, factor: f"base_model.model.{name[:-len('.weight')]}.lora_{factor}.weight"
    factors, saved = {}, {}
    for name in sorted(base):
        if not name.endswith("_proj.weight") or name.split(".")[-2] not in modules or (layers and int(name.split(".")[2]) not in layers):
            continue
        rows, columns = base[name].shape
        a, b = torch.randn(r, columns) / math.sqrt(columns), torch.randn(rows, r) * 0.3
        saved[peft_name(name, "A")], saved[peft_name(name, "B")] = a.to(dtype), b.to(dtype)
        factors[name] = [f.to(dtype).double().requires_grad_(True) for f in (a, b)]
    scale = alpha / (math.sqrt(r) if rslora else r)
    lengths = [int(n) for n in about["reference.lengths"]]
    batch = list(zip(torch.split(about["reference.ids"], lengths), torch.split(about["reference.token_weights"].double(), lengths)))
    parameters = [f for pair in factors.values() for f in pair]
    loss, logits = loss_of(config, base, factors, scale, batch)
    loss.backward()
    expected = {"loss": loss.detach().view(1).float(), "logits": logits.detach().float()}
    for name, pair in factors.items():
        for factor, f in zip("AB", pair):
            expected["grad." + peft_name(name, factor)] = f.grad.float()
    adam = torch.optim.AdamW(parameters, lr=SETTINGS["lr"], weight_decay=SETTINGS["weight_decay"], eps=SETTINGS["eps"])
    for _ in range(SETTINGS["steps"]):
        adam.zero_grad()
        loss_of(config, base, factors, scale, batch)[0].backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, SETTINGS["clip"])
        assert norm > SETTINGS["clip"], norm  # clipping is to be seen
        adam.step()
    for name, pair in factors.items():
        for factor, f in zip("AB", pair):
            expected["step." + peft_name(name, factor)] = f.detach().float()
    path = os.path.join(HERE, folder)
    os.makedirs(path, exist_ok=True)
    with open(os.path.join(path, "adapter_config.json"), "w") as f:
        f.write(json.dumps(peft_config(model, r, alpha, rslora, modules, layers), indent=2, sort_keys=True))
    write_safetensors(os.path.join(path, "adapter_model.safetensors"), saved, {"format": "pt"})
    write_safetensors(os.path.join(path, "expected.safetensors"), expected, {"format": "pt"})
    print(folder, float(loss), len(factors), "adapters,", sum(os.path.getsize(os.path.join(path, n)) for n in os.listdir(path)), "bytes")


if __name__ == "__main__":
    every = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    make("lora_peft", "network_beside", 5, 12, False, sorted(every), None, torch.float32, 21)
    make("lora_peft_rs", "network_replace", 3, 2, True, ["v_proj", "q_proj", "down_proj"], [0, 2], torch.bfloat16, 22)
