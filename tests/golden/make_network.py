#!/usr/bin/python3
"""Makes tests/golden/network_{beside,replace}/: two small Llama-type memory models with what PyTorch (float64, autograd) says about them.

config.json and model.safetensors are a model directory; reference.safetensors holds `reference.*` (ids, lengths, token weights, loss,
logits of every position) and `grad.*` (the gradient of every tensor).
`beside`: f32, grouped-query heads with a head_dim of its own, two memory layers on one pool, layer norms, biases, gate, tied head.
`replace`: bf16 (head in f16), two pools, l2-normalised queries, no bias, no gate, a temperature, head of its own.
Run with Debian's python3-torch: /usr/bin/python3 tests/golden/make_network.py"""
import json, math, os, struct
import numpy as np, torch
import torch.nn.functional as F
from split_reference import split

HERE = os.path.dirname(os.path.abspath(__file__))
NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64"}


def raw(t):
    return t.contiguous().view(torch.int16).numpy().tobytes() if t.dtype == torch.bfloat16 else t.contiguous().numpy().tobytes()


def write_safetensors(path, tensors, metadata=None):
    header, data, at = {"__metadata__": metadata} if metadata else {}, [], 0
    for name in sorted(tensors):
        piece = raw(tensors[name])
        header[name] = {"dtype": NAMES[tensors[name].dtype], "shape": list(tensors[name].shape), "data_offsets": [at, at + len(piece)]}
        at += len(piece)
        data.append(piece)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def tensor_shapes(c):
    d, hd, f, m = c["hidden_size"], c["head_dim"], c["intermediate_size"], c["memory"]
    q, kv = c["num_attention_heads"] * hd, c["num_key_value_heads"] * hd
    H, n, dk, dv = m["heads"], m["n_keys"], m["key_dim"], m["value_dim"]
    shapes = {"model.embed_tokens.weight": (c["vocab_size"], d), "model.norm.weight": (d,)}
    if not c["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (c["vocab_size"], d)
    for p in set(m["pools"]):
        shapes[f"model.memory_pools.{p}.values"] = (n * n, dv)
    for i in range(c["num_hidden_layers"]):
        b = f"model.layers.{i}."
        shapes.update({b + "input_layernorm.weight": (d,), b + "post_attention_layernorm.weight": (d,),
                       b + "self_attn.q_proj.weight": (q, d), b + "self_attn.k_proj.weight": (kv, d),
                       b + "self_attn.v_proj.weight": (kv, d), b + "self_attn.o_proj.weight": (d, q)})
        memory = i in m["layers"]
        if not memory or m["placement"] == "beside":
            shapes.update({b + "mlp.gate_proj.weight": (f, d), b + "mlp.up_proj.weight": (f, d), b + "mlp.down_proj.weight": (d, f)})
        if not memory:
            continue
        b += "memory."
        shapes.update({b + "query.weight": (H * dk, d), b + "keys": (H, 2, n, dk // 2), b + "out.weight": (d, dv)})
        if m["gate"]:
            shapes[b + "gate.weight"] = (dv, d)
        if m["bias"]:
            shapes.update({b + "query.bias": (H * dk,), b + "out.bias": (d,)})
            if m["gate"]:
                shapes[b + "gate.bias"] = (dv,)
        for norm in ("query_norm", "key_norm"):
            if m[norm] in ("layernorm", "rmsnorm"):
                shapes[b + norm + ".weight"] = (dk // 2,)
            if m[norm] == "layernorm":
                shapes[b + norm + ".bias"] = (dk // 2,)
        if m["placement"] == "beside":
            shapes[b + "alpha"] = (1,)
    return shapes


def random_weights(c, seed):
    torch.manual_seed(seed)
    weights = {}
    for name, shape in sorted(tensor_shapes(c).items()):
        if name.endswith("norm.weight"):
            w = 1 + 0.2 * torch.randn(shape, dtype=torch.float64)
        elif name.endswith("alpha"):
            w = torch.tensor([0.4], dtype=torch.float64)
        elif len(shape) == 1:
            w = 0.2 * torch.randn(shape, dtype=torch.float64)
        else:
            w = torch.randn(shape, dtype=torch.float64) * (1.0 if "keys" in name or "values" in name else 1.2 / math.sqrt(shape[-1]))
        weights[name] = w
    return weights


def rms(x, w, eps):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w


def half_norm(kind, x, w, prefix, eps):
    if kind == "layernorm":
        return F.layer_norm(x, x.shape[-1:], w[prefix + ".weight"], w[prefix + ".bias"], eps)
    if kind == "rmsnorm":
        return rms(x, w[prefix + ".weight"], eps)
    return x / torch.sqrt(x.pow(2).sum(-1, keepdim=True) + eps) if kind == "l2" else x


def memory(c, w, x, layer):
    m = c["memory"]
    b, T = f"model.layers.{layer}.memory.", x.shape[0]
    H, n, dk = m["heads"], m["n_keys"], m["key_dim"]
    values = w[f"model.memory_pools.{m['pools'][m['layers'].index(layer)]}.values"]
    q = F.linear(x, w[b + "query.weight"], w.get(b + "query.bias")).view(T, H, 2, dk // 2)
    q = half_norm(m["query_norm"], q, w, b + "query_norm", m["norm_eps"])
    keys = half_norm(m["key_norm"], w[b + "keys"], w, b + "key_norm", m["norm_eps"])
    s = torch.einsum("thsd,hsnd->thsn", q, keys) * m["temperature"]
    grid = (s[:, :, 0, :, None] + s[:, :, 1, None, :]).reshape(T, H, n * n)
    top, slots = torch.topk(grid, m["top_k"], -1)
    y = (torch.softmax(top, -1)[..., None] * values[slots]).sum((1, 2))
    if m["gate"]:
        y = y * F.silu(F.linear(x, w[b + "gate.weight"], w.get(b + "gate.bias")))
    return F.linear(y, w[b + "out.weight"], w.get(b + "out.bias"))


def rotate(x, theta):
    T, _, hd = x.shape
    angle = torch.arange(T, dtype=torch.float64)[:, None] * theta ** (-torch.arange(0, hd, 2, dtype=torch.float64) / hd)
    cos, sin = torch.cat([angle.cos()] * 2, -1)[:, None], torch.cat([angle.sin()] * 2, -1)[:, None]
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


def attention(c, w, x, layer):
    b, T, hd = f"model.layers.{layer}.self_attn.", x.shape[0], c["head_dim"]
    nh, nkv = c["num_attention_heads"], c["num_key_value_heads"]
    q = rotate((x @ w[b + "q_proj.weight"].T).view(T, nh, hd), c["rope_theta"])
    k = rotate((x @ w[b + "k_proj.weight"].T).view(T, nkv, hd), c["rope_theta"]).repeat_interleave(nh // nkv, 1)
    v = (x @ w[b + "v_proj.weight"].T).view(T, nkv, hd).repeat_interleave(nh // nkv, 1)
    s = torch.einsum("qhd,khd->hqk", q, k) / math.sqrt(hd)
    s = s.masked_fill(torch.triu(torch.ones(T, T, dtype=torch.bool), 1), -math.inf)
    return torch.einsum("hqk,khd->qhd", torch.softmax(s, -1), v).reshape(T, nh * hd) @ w[b + "o_proj.weight"].T


def logits_of(c, w, ids):
    m, eps = c["memory"], c["rms_norm_eps"]
    x = w["model.embed_tokens.weight"][ids]
    for i in range(c["num_hidden_layers"]):
        b = f"model.layers.{i}."
        x = x + attention(c, w, rms(x, w[b + "input_layernorm.weight"], eps), i)
        h = rms(x, w[b + "post_attention_layernorm.weight"], eps)
        out = 0
        if b + "mlp.gate_proj.weight" in w:
            out = (F.silu(h @ w[b + "mlp.gate_proj.weight"].T) * (h @ w[b + "mlp.up_proj.weight"].T)) @ w[b + "mlp.down_proj.weight"].T
        if i in m["layers"]:
            out = out + w.get(b + "memory.alpha", 1.0) * memory(c, w, h, i)
        x = x + out
    head = w["model.embed_tokens.weight" if c["tie_word_embeddings"] else "lm_head.weight"]
    return rms(x, w["model.norm.weight"], eps) @ head.T


def make(name, config, seed, cast):
    stored = {k: v.to(cast(k)) for k, v in random_weights(config, seed).items()}
    w = {k: v.double().requires_grad_(True) for k, v in stored.items()}
    rng = np.random.RandomState(seed)
    lengths = [9, 1, 14, 6]
    sequences = [torch.tensor(rng.randint(0, config["vocab_size"], n)) for n in lengths]
    token_weights = [torch.tensor(rng.choice([0, 1, 0.25, 2], n)) for n in lengths]
    logits = [logits_of(config, w, s) for s in sequences]
    total, weight = 0, 0
    for s, tw, l in zip(sequences, token_weights, logits):
        total = total + (F.cross_entropy(l[:-1], s[1:], reduction="none") * tw[1:]).sum()
        weight += tw[1:].sum()
    loss = total / weight
    loss.backward()
    tensors = dict(stored)
    tensors.update({"grad." + k: v.grad.float() for k, v in w.items()})
    tensors.update({"reference.ids": torch.cat(sequences), "reference.lengths": torch.tensor(lengths),
                    "reference.token_weights": torch.cat(token_weights).float(), "reference.loss": loss.detach().float().view(1),
                    "reference.logits": torch.cat(logits).detach().float()})
    folder = os.path.join(HERE, name)
    os.makedirs(folder, exist_ok=True)
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    split(folder)
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
        f.write("\n")
    print(name, float(loss), os.path.getsize(os.path.join(folder, "model.safetensors")), "bytes")


BASE = {"model_type": "llama", "hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8,
        "intermediate_size": 20, "vocab_size": 53, "rms_norm_eps": 1e-5, "rope_theta": 500.0, "hidden_act": "silu",
        "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": [2, 3], "attention_bias": False, "rope_scaling": None}
MEMORY = {"n_keys": 7, "heads": 3, "top_k": 4, "key_dim": 8, "value_dim": 18, "norm_eps": 1e-4}

if __name__ == "__main__":
    beside = dict(BASE, tie_word_embeddings=True, memory=dict(MEMORY, layers=[0, 2], pools=[0, 0], placement="beside", query_norm="rmsnorm",
                                                              key_norm="layernorm", temperature=1.0, gate=True, bias=True))
    replace = dict(BASE, tie_word_embeddings=False, memory=dict(MEMORY, layers=[1, 2], pools=[1, 0], placement="replace", query_norm="l2",
                                                                key_norm="none", temperature=2.5, gate=False, bias=False))
    make("network_beside", beside, 11, lambda name: torch.float32)
    make("network_replace", replace, 12, lambda name: torch.float16 if name == "lm_head.weight" else torch.bfloat16)
