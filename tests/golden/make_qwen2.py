#!/usr/bin/env python3
"""Makes tests/golden/network_qwen2/ and tests/golden/lora_qwen2/: a tiny Qwen2ForCausalLM as
transformers saves it, an adapter on it as peft saves it, and what those two say about them.

network_qwen2/model.safetensors also holds, as make_network.py's fixtures do, `reference.*` (ids,
lengths, token weights, loss, logits of every position) and `grad.*` (the gradient of every
parameter), which the loader does not look at.  lora_qwen2/expected.safetensors holds, as
make_lora.py's, loss and logits with the adapter, the gradient of every A and B, and A and B after
three AdamW steps.  network_qwen2/config_older.json is the same model's config.json in the words of
transformers 4.41: "rope_theta" of its own, a "sliding_window" that "use_sliding_window" turns off,
no "layer_types".

config.json and adapter_config.json stand as the libraries wrote them.  The numbers come from
transformers' and peft's own modules with eager attention, and are float64 throughout (see
Float64).  Before anything is written, formulas in numpy that share no code with either must agree
to 1e-10.

    python3 -m venv VENV && VENV/bin/pip install torch transformers peft safetensors
    VENV/bin/python tests/golden/make_qwen2.py

The files were made with Python 3.11, torch 2.15.0, transformers 5.24.0, peft 0.21.2, safetensors
0.8.0 and numpy 2.4.6, on a CPU."""
import json
import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here is looked up anywhere

import numpy as np
import peft
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from torch.utils._python_dispatch import TorchDispatchMode

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTHS = [11, 7, 1, 24]
SETTINGS = {"lr": 1e-2, "weight_decay": 0.1, "eps": 1e-6, "clip": 0.5, "steps": 3}  # test_lora.c's
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
# Six heads of six: no instruction set's vectors fit, and three of them share keys and values.
SHAPE = {"hidden_size": 36, "num_hidden_layers": 3, "num_attention_heads": 6,
         "num_key_value_heads": 2, "intermediate_size": 44, "vocab_size": 96,
         "max_position_embeddings": 128, "rms_norm_eps": 1e-6, "tie_word_embeddings": False,
         "bos_token_id": 1, "eos_token_id": 2,
         "rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}


class Float64(TorchDispatchMode):
    """Of a model in float64, transformers still computes norms, rotary angles and the softmax in
    float32: whatever asks for float32 is given float64 here."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


# ---- the fixtures' weights -----------------------------------------------------------------------

def random_model(kind, config, seed):
    torch.manual_seed(seed)
    model = kind(config).eval()
    for name, p in model.named_parameters():
        if name.endswith("norm.weight"):
            p.data = 1 + 0.2 * torch.randn(p.shape)
        elif name.endswith(".bias"):
            p.data = 0.5 * torch.randn(p.shape)
        else:
            p.data = torch.randn(p.shape) * 1.2 / p.shape[-1] ** 0.5
    return model


def random_adapter(model, seed):
    """Factors at random: peft's own start has B = 0, where most gradients vanish."""
    torch.manual_seed(seed)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules=EVERY, task_type="CAUSAL_LM")
    adapted = peft.get_peft_model(model, config)
    for name, p in adapted.named_parameters():
        if "lora_" in name:
            scale = 0.3 if "lora_B" in name else p.shape[-1] ** -0.5
            p.data = scale * torch.randn(p.shape)
    return adapted


def make_batch(vocab, seed):
    rng = np.random.RandomState(seed)
    return [(torch.tensor(rng.randint(0, vocab, n)), torch.tensor(rng.choice([0, 1, 0.25, 2], n)))
            for n in LENGTHS]


# ---- what transformers says ----------------------------------------------------------------------

def widen(model):
    """In float64, with rotary frequencies that never were rounded to float32."""
    model = model.double()
    for module in model.modules():
        if hasattr(module, "inv_freq"):
            with Float64():
                exact, _ = module.compute_default_rope_parameters(module.config)
            assert exact.dtype == torch.float64
            assert torch.allclose(exact, module.inv_freq.double(), rtol=1e-6, atol=0)
            module.inv_freq = exact
    return model


def loss_of(model, batch):
    logits = [model(ids[None]).logits[0] for ids, _ in batch]
    total = sum((F.cross_entropy(l[:-1], ids[1:], reduction="none") * tw[1:]).sum()
                for l, (ids, tw) in zip(logits, batch))
    return total / sum(tw[1:].sum() for _, tw in batch), torch.cat(logits)


def differentiate(model, batch):
    with Float64():
        loss, logits = loss_of(model, batch)
        assert logits.dtype == torch.float64
        loss.backward()
    return loss.detach(), logits.detach()


def three_steps(model, batch):
    factors = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.AdamW(factors, lr=SETTINGS["lr"], weight_decay=SETTINGS["weight_decay"],
                             eps=SETTINGS["eps"])
    for _ in range(SETTINGS["steps"]):
        adam.zero_grad()
        differentiate(model, batch)
        norm = torch.nn.utils.clip_grad_norm_(factors, SETTINGS["clip"])
        assert norm > SETTINGS["clip"], norm  # clipping is to be seen
        adam.step()


# ---- the same from the formulas, in numpy --------------------------------------------------------

def formula_logits(shape, w, ids):
    """w: name -> float64; a layer's bias counts where w has one."""
    heads, kv, eps = (shape[k] for k in ("num_attention_heads", "num_key_value_heads",
                                         "rms_norm_eps"))
    size, theta = shape["hidden_size"] // heads, shape["rope_parameters"]["rope_theta"]

    def norm(x, name):
        return x / np.sqrt((x * x).mean(1, keepdims=True) + eps) * w[name + ".weight"]

    def linear(x, name):
        return x @ w[name + ".weight"].T + w.get(name + ".bias", 0)

    def turned(x, at):  # of one head at one position: pairs (i, i + size / 2) as complex numbers
        z = x[:size // 2] + 1j * x[size // 2:]
        z = z * np.exp(1j * at * theta ** (-2.0 * np.arange(size // 2) / size))
        return np.concatenate([z.real, z.imag])

    x = w["model.embed_tokens.weight"][ids]
    for layer in range(shape["num_hidden_layers"]):
        b = f"model.layers.{layer}."
        h = norm(x, b + "input_layernorm")
        q, k, v = (linear(h, b + f"self_attn.{p}_proj") for p in "qkv")
        mixed = np.zeros_like(q)
        for head in range(heads):
            mine = slice(head * size, (head + 1) * size)
            shared = slice(head // (heads // kv) * size, (head // (heads // kv) + 1) * size)
            for t in range(len(ids)):
                scores = np.array([turned(q[t, mine], t) @ turned(k[s, shared], s)
                                   for s in range(t + 1)]) / np.sqrt(size)
                p = np.exp(scores - scores.max())
                mixed[t, mine] = p / p.sum() @ v[:t + 1, shared]
        x = x + linear(mixed, b + "self_attn.o_proj")
        h = norm(x, b + "post_attention_layernorm")
        gate = linear(h, b + "mlp.gate_proj")
        gate = gate / (1 + np.exp(-gate))
        x = x + linear(gate * linear(h, b + "mlp.up_proj"), b + "mlp.down_proj")
    return norm(x, "model.norm") @ w["lm_head.weight"].T


def formula_loss(shape, w, batch):
    total, weight, every = 0, 0, []
    for ids, tw in batch:
        ids, tw, l = ids.numpy(), tw.numpy(), formula_logits(shape, w, ids.numpy())
        every.append(l)
        top = l.max(1)
        nll = top + np.log(np.exp(l - top[:, None]).sum(1))
        total += ((nll[:-1] - l[np.arange(len(ids) - 1), ids[1:]]) * tw[1:]).sum()
        weight += tw[1:].sum()
    return total / weight, np.concatenate(every)


def check_by_formulas(shape, weights, gradients, batch, loss, logits):
    """Loss and logits; and of every gradient, its product with a random direction, by differences.
    gradients: name -> that of the weight of this name."""
    w = {k: v.detach().double().numpy() for k, v in weights.items()}
    got, every = formula_loss(shape, w, batch)
    assert abs(got - float(loss)) < 1e-10, (got, float(loss))
    assert np.abs(every - logits.numpy()).max() < 1e-10, np.abs(every - logits.numpy()).max()
    rng, step = np.random.RandomState(5), 1e-5
    for name, gradient in gradients.items():
        along = rng.randn(*w[name].shape)
        up, down = (formula_loss(shape, dict(w, **{name: w[name] + s * along}), batch)[0]
                    for s in (step, -step))
        wanted, slope = float((gradient.numpy() * along).sum()), (up - down) / (2 * step)
        room = 1e-6 * float(gradient.norm()) * along.size ** 0.5 + 1e-8
        assert abs(slope - wanted) < room, (name, slope, wanted)


def merged_weights(adapted):
    """Of the base as the formulas know it, with the adapters added by hand."""
    got, scale = {}, 8 / 4
    for name, p in adapted.named_parameters():
        if "lora_" not in name:
            got[name.replace("base_model.model.", "", 1).replace(".base_layer", "")] = p
    for name, p in adapted.named_parameters():
        if "lora_A" in name:
            b = adapted.get_parameter(name.replace("lora_A", "lora_B"))
            plain = name.replace("base_model.model.", "", 1).replace(".lora_A.default", "")
            got[plain] = got[plain] + scale * b @ p
    return got


# ---- files ---------------------------------------------------------------------------------------

def stored(tensors):
    return {k: v.float().contiguous() if v.is_floating_point() else v for k, v in tensors.items()}


def reference_of(batch, loss, logits):
    return {"reference.ids": torch.cat([ids for ids, _ in batch]),
            "reference.lengths": torch.tensor(LENGTHS),
            "reference.token_weights": torch.cat([tw for _, tw in batch]),
            "reference.loss": loss.view(1), "reference.logits": logits}


def make_network(kind, config, folder, seed):
    shutil.rmtree(folder, ignore_errors=True)
    model, batch = random_model(kind, config, seed), make_batch(config.vocab_size, seed)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    assert sorted(tensors) == sorted(name for name, _ in model.named_parameters())
    loss, logits = differentiate(widen(model), batch)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    check_by_formulas(SHAPE, dict(model.named_parameters()), gradients, batch, loss, logits)
    tensors.update({"grad." + k: v for k, v in gradients.items()})
    tensors.update(reference_of(batch, loss, logits))
    save_file(stored(tensors), path, {"format": "pt"})
    print("loss", float(loss), "largest logit", float(logits.abs().max()))


def make_lora(kind, base, folder, seed):
    shutil.rmtree(folder, ignore_errors=True)
    model = kind.from_pretrained(base, attn_implementation="eager", dtype=torch.float32)
    batch = make_batch(model.config.vocab_size, seed)
    assert torch.equal(torch.cat([i for i, _ in batch]),
                       load_file(os.path.join(base, "model.safetensors"))["reference.ids"])
    adapted = random_adapter(model, seed + 1).eval()
    config = adapted.peft_config["default"]
    config.base_model_name_or_path = os.path.basename(base)
    config.target_modules = sorted(EVERY)  # peft's own set would be in another order each time
    adapted.save_pretrained(folder, save_embedding_layers=False)
    os.remove(os.path.join(folder, "README.md"))
    names = load_file(os.path.join(folder, "adapter_model.safetensors")).keys()
    widen(adapted)
    factors = {n.replace(".default", ""): p for n, p in adapted.named_parameters()
               if p.requires_grad}
    assert sorted(names) == sorted(factors)
    loss, logits = differentiate(adapted, batch)
    check_by_formulas(SHAPE, merged_weights(adapted), {}, batch, loss, logits)
    expected = {"grad." + n: p.grad.clone() for n, p in factors.items()}
    three_steps(adapted, batch)
    expected.update({"step." + n: p.detach() for n, p in factors.items()})
    expected.update({"loss": loss.view(1), "logits": logits})
    save_file(stored(expected), os.path.join(folder, "expected.safetensors"), {"format": "pt"})
    print("loss with the adapter", float(loss), "largest logit", float(logits.abs().max()))


def make_older_config(folder):
    """What Qwen2Config.save_pretrained of transformers 4.41.2 writes for the shape, to the byte
    (compared once; 4.37.2's differs in the version only): it keeps the size of a window that is
    off, where 4.43.1 already writes null."""
    rope = SHAPE["rope_parameters"]
    older = dict(SHAPE, architectures=["Qwen2ForCausalLM"], attention_dropout=0.0,
                 hidden_act="silu", initializer_range=0.02, max_window_layers=3,
                 model_type="qwen2", rope_theta=rope["rope_theta"], sliding_window=32768,
                 torch_dtype="float32", transformers_version="4.41.2", use_cache=True,
                 use_sliding_window=False)
    del older["rope_parameters"]
    with open(os.path.join(folder, "config_older.json"), "w") as f:
        f.write(json.dumps(older, indent=2, sort_keys=True) + "\n")


def main():
    base, lora = (os.path.join(HERE, name) for name in ("network_qwen2", "lora_qwen2"))
    config = transformers.Qwen2Config(**SHAPE, attn_implementation="eager")
    transformers.logging.set_verbosity_error()  # reference.* and grad.* are no parameters
    make_network(transformers.Qwen2ForCausalLM, config, base, 31)
    make_older_config(base)
    make_lora(transformers.Qwen2ForCausalLM, base, lora, 31)
    for folder in (base, lora):
        for name in sorted(os.listdir(folder)):
            path = os.path.join(folder, name)
            os.chmod(path, 0o644)
            print(os.path.relpath(path, HERE), os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main()
