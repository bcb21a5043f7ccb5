"""peer_model: bench_model.c's and bench_learn.c's work in PyTorch: a Llama as a user writes it, with the same weights, from the same files.

Run: OMP_NUM_THREADS=MOST /usr/bin/python3 tests/bench/peers/peer_model.py MODEL_DIRECTORY, with questions on standard input (peer.py):
  forward T   prefill N T   decode T   train T (AdamW)   lora T   opened T   logits T   losses T   losses_lora DIR T      T: threads
decode of a bf16 directory runs in bf16, as .bfloat16() makes it.
"""
import json
import math
import os
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

import peer
import tensors

SEQUENCE, LONGEST, PROMPT, DECODED, SAMPLES, RANK, CHECKED_STEPS = 256, 2048, 16, 64, 32, 8, 3
MATRICES = {"self_attn.q_proj": "q", "self_attn.k_proj": "k", "self_attn.v_proj": "v", "self_attn.o_proj": "o", "mlp.gate_proj": "gate",
            "mlp.up_proj": "up", "mlp.down_proj": "down"}
NORMS = {"input_layernorm": "norm_attention", "post_attention_layernorm": "norm_ffn"}


# ---- the model ----

class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * self.weight


class Adapted(nn.Module):
    """A linear layer with a LoRA adapter beside it, as PEFT computes it."""

    def __init__(self, linear, a, b, scale):
        super().__init__()
        self.linear, self.scale = linear, scale
        self.a, self.b = nn.Parameter(a), nn.Parameter(b)

    def forward(self, x):
        return self.linear(x) + F.linear(F.linear(x, self.a), self.b) * self.scale


def rotate(x, cos, sin):  # x (heads, tokens, head_dim)
    a, b = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-b, a), dim=-1) * sin


class Block(nn.Module):
    def __init__(self, d, heads, ffn):
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_ffn = RMSNorm(d), RMSNorm(d)
        self.q, self.k, self.v, self.o = (nn.Linear(d, d, bias=False) for _ in range(4))
        self.gate, self.up = nn.Linear(d, ffn, bias=False), nn.Linear(d, ffn, bias=False)
        self.down = nn.Linear(ffn, d, bias=False)

    def attend(self, x, cos, sin, mask, cache, start):
        n, d = x.shape
        q, k, v = (f(x).view(n, self.heads, -1).transpose(0, 1) for f in (self.q, self.k, self.v))
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        if cache is not None:
            cache[0][:, start:start + n] = k
            cache[1][:, start:start + n] = v
            k, v = cache[0][:, :start + n], cache[1][:, :start + n]
        scores = q @ k.transpose(1, 2) / (d // self.heads) ** 0.5
        if mask is not None:
            scores = scores + mask
        return self.o((scores.softmax(-1) @ v).transpose(0, 1).reshape(n, d))

    def forward(self, x, cos, sin, mask, cache, start):
        x = x + self.attend(self.norm_attention(x), cos, sin, mask, cache, start)
        h = self.norm_ffn(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Llama(nn.Module):
    def __init__(self, config):
        super().__init__()
        layers, d, heads = config["num_hidden_layers"], config["hidden_size"], config["num_attention_heads"]
        self.embed = nn.Embedding(config["vocab_size"], d)
        self.blocks = nn.ModuleList(Block(d, heads, config["intermediate_size"]) for _ in range(layers))
        self.norm = RMSNorm(d)
        half = torch.arange(0, d // heads, 2).float() / (d // heads)
        angles = torch.outer(torch.arange(LONGEST).float(), 10000.0 ** -half).repeat(1, 2)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())
        self.register_buffer("mask", torch.full((LONGEST, LONGEST), float("-inf")).triu(1))
        self.cache_shape = (layers, 2, heads, SEQUENCE, d // heads)

    def forward(self, ids, caches=None, start=0, last_only=False):
        n = len(ids)
        x = self.embed(ids)
        mask = self.mask[:n, :n] if n > 1 else None
        for i, block in enumerate(self.blocks):
            x = block(x, self.cos[start:start + n], self.sin[start:start + n], mask, caches[i] if caches is not None else None, start)
        return F.linear(self.norm(x[-1:] if last_only else x), self.embed.weight)  # tied


# ---- weights ----

def to_torch(tensor):
    dtype = {"F32": torch.float32, "BF16": torch.bfloat16}[tensor.dtype]
    return torch.frombuffer(bytearray(tensor.data), dtype=dtype).view(tensor.shape)


def own_name(name):
    whole = {"model.embed_tokens.weight": "embed.weight", "model.norm.weight": "norm.weight"}
    if name in whole:
        return whole[name]
    index, part = name.removeprefix("model.layers.").split(".", 1)
    part = part.removesuffix(".weight")
    return "blocks.%s.%s.weight" % (index, MATRICES.get(part) or NORMS[part])


def load(directory):
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
        config = json.load(file)
    torch.set_default_dtype(torch.float32)
    weights = {own_name(name): to_torch(tensor) for name, tensor in tensors.read(os.path.join(directory, "model.safetensors")).items()}
    model = Llama(config)
    if weights["embed.weight"].dtype == torch.bfloat16:
        model = model.bfloat16()
    model.load_state_dict(weights, strict=False)
    missing = {name for name, _ in model.named_parameters()} ^ set(weights)
    if missing:
        raise ValueError("not the same tensors: %s" % sorted(missing))
    return model


def token_ids(vocab, n):
    ids, seed = [], 1
    for _ in range(n):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        ids.append((seed >> 33) % vocab)
    return torch.tensor(ids)


def adapt(model, factors):
    """The model, frozen, with an adapter on every matrix.  factors(block, part, linear) -> a, b."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for i, block in enumerate(model.blocks):
        for part, name in MATRICES.items():
            linear = getattr(block, name)
            setattr(block, name, Adapted(linear, *factors(i, part, linear), 2.0))
    return model


def new_factors(_block, _part, linear):
    rows, columns = linear.weight.shape
    bound = 1 / math.sqrt(columns)
    return torch.empty(RANK, columns).uniform_(-bound, bound), torch.zeros(rows, RANK)


def saved_factors(directory):
    saved = tensors.read(os.path.join(directory, "adapter_model.safetensors"))

    def factors(block, part, _linear):
        stem = "base_model.model.model.layers.%d.%s.lora_" % (block, part)
        return to_torch(saved[stem + "A.weight"]), to_torch(saved[stem + "B.weight"])
    return factors


# ---- tasks ----

class Tasks:
    def __init__(self, directory):
        self.directory = directory
        begin = time.perf_counter()
        self.loaded = load(directory)
        self.open_ms = 1e3 * (time.perf_counter() - begin)
        self.ids = token_ids(self.loaded.embed.num_embeddings, LONGEST)

    @property
    def model(self):
        if self.loaded is None:
            self.loaded = load(self.directory)
        return self.loaded

    def fresh(self):  # training changes weights: it takes the model with it, and the next task reads another
        model, self.loaded = self.model, None
        return model

    def opened(self):
        return {"ms": self.open_ms}

    def forward(self):
        ids = self.ids[:SEQUENCE]

        def work():
            with torch.inference_mode():
                self.model(ids)
            return SEQUENCE
        return work

    def prefill(self, n):
        ids = self.ids[:int(n)]

        def work():
            with torch.inference_mode():
                self.model(ids, last_only=True)
            return len(ids)
        return work

    def decode(self):
        caches = torch.zeros(self.model.cache_shape, dtype=self.model.embed.weight.dtype)
        with torch.inference_mode():
            self.model(self.ids[:PROMPT], caches, 0)

        def work():
            with torch.inference_mode():
                for i in range(PROMPT, PROMPT + DECODED):
                    self.model(self.ids[i:i + 1], caches, i)
            return DECODED
        return work

    def stepper(self, model, lr):
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=lr, weight_decay=0.01)
        ids = self.ids[:SEQUENCE]

        def step():
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(ids)[:-1], ids[1:])
            loss.backward()
            optimizer.step()
            return loss
        return step

    def steps(self, model):
        step = self.stepper(model, 1e-5)

        def work():
            step()
            return SEQUENCE
        return work

    def train(self):
        return self.steps(self.fresh())

    def lora(self):
        return self.steps(adapt(self.fresh(), new_factors))

    def logits(self):
        vocab = self.model.embed.num_embeddings
        with torch.inference_mode():
            out = self.model(self.ids[:SEQUENCE])
            nll = F.cross_entropy(out[:-1].float(), self.ids[1:SEQUENCE]).item()
        return {"numbers": [out[-1, i * vocab // SAMPLES].item() for i in range(SAMPLES)], "next": out[-1].argmax().item(), "nll": nll}

    def losses(self):
        step = self.stepper(self.fresh(), 1e-3)
        return {"numbers": [step().item() for _ in range(CHECKED_STEPS + 1)]}

    def losses_lora(self, directory):
        step = self.stepper(adapt(self.fresh(), saved_factors(directory)), 1e-2)
        return {"numbers": [step().item() for _ in range(CHECKED_STEPS + 1)]}


def main():
    tasks = Tasks(sys.argv[1])
    peer.serve(lambda name, words: getattr(tasks, name)(*words))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    peer.run(main)
