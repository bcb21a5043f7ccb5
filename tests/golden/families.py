"""What every make_<family>.py shares: a tiny model as transformers saves it, an adapter on it as
peft saves it, and what those two say about them.

network_<family>/reference.safetensors holds, as make_network.py's fixtures do, `reference.*` (ids,
lengths, token weights, loss, logits of every position) and `grad.*` (the gradient of every
parameter).  lora_<family>/expected.safetensors holds, as
make_lora.py's, loss and logits with the adapter, the gradient of every A and B, and A and B after
three AdamW steps.

config.json and adapter_config.json stand as the libraries wrote them.  The numbers come from
transformers' and peft's own modules with eager attention, and are float64 throughout (see
Float64).  Before anything is written, formulas in numpy that share no code with either (Formulas)
must agree to 1e-10.

    python3 -m venv VENV && VENV/bin/pip install torch transformers peft safetensors
    VENV/bin/python tests/golden/make_qwen2.py

The files were made with Python 3.11, torch 2.15.0, transformers 5.24.0, peft 0.21.2, safetensors
0.8.0 and numpy 2.4.6, on a CPU."""
import os
import shutil

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing here is looked up anywhere

import numpy as np
import peft
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from split_reference import split
from torch.utils._python_dispatch import TorchDispatchMode
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

HERE = os.path.dirname(os.path.abspath(__file__))
LENGTHS = [11, 7, 1, 24]
SETTINGS = {"lr": 1e-2, "weight_decay": 0.1, "eps": 1e-6, "clip": 0.5, "steps": 3}  # test_lora.c's
EVERY = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Float64(TorchDispatchMode):
    """Of a model in float64, transformers still computes norms, rotary angles and the softmax in
    float32: whatever asks for float32 is given float64 here."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if kwargs.get("dtype") is torch.float32:
            kwargs["dtype"] = torch.float64
        return func(*args, **kwargs)


# ---- the fixtures' weights -----------------------------------------------------------------------

def random_model(kind, config, seed, norm=1):
    """norm: about what the weights of norms are."""
    torch.manual_seed(seed)
    model = kind(config).eval()
    for name, p in model.named_parameters():
        if name.endswith("norm.weight"):
            p.data = norm + 0.2 * torch.randn(p.shape)
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

def exact_frequencies(module, layer_type):
    """layer_type: of a module that keeps frequencies for each; None: it keeps one set."""
    kind = module.rope_type[layer_type] if layer_type else module.rope_type
    make = module.compute_default_rope_parameters if kind == "default" else ROPE_INIT_FUNCTIONS[kind]
    with Float64():
        exact, _ = make(module.config, **({"layer_type": layer_type} if layer_type else {}))
    assert exact.dtype == torch.float64
    return exact


def widen(model):
    """In float64, with rotary frequencies that never were rounded to float32."""
    model = model.double()
    for module in model.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if name.endswith("inv_freq") and "original" not in name:
                exact = exact_frequencies(module, name[:-len("inv_freq")].rstrip("_") or None)
                assert torch.allclose(exact, buffer.double(), rtol=1e-6, atol=0)
                setattr(module, name, exact)
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

class Formulas:
    """Logits of a Llama of this shape; a family overrides what is otherwise in it.  w: name ->
    float64; a layer's bias counts where w has one."""

    def __init__(self, shape):
        self.shape = shape
        self.heads, self.kv = shape["num_attention_heads"], shape["num_key_value_heads"]
        self.size = shape.get("head_dim") or shape["hidden_size"] // self.heads

    def norm(self, w, name, x):
        squares = (x * x).mean(-1, keepdims=True)
        return x / np.sqrt(squares + self.shape["rms_norm_eps"]) * w[name + ".weight"]

    def linear(self, w, name, x):
        return x @ w[name + ".weight"].T + w.get(name + ".bias", 0)

    def turns(self, layer):
        """(size / 2): radians a position; None: the layer has no positions."""
        theta = self.shape["rope_parameters"]["rope_theta"]
        return theta ** (-2.0 * np.arange(self.size // 2) / self.size)

    def magnitude(self, layer):
        """What rotated queries and keys are multiplied with."""
        return 1.0

    def window(self, layer):
        """How many keys a query sees, its own with them; None: all before it."""
        return None

    def scale(self, layer):
        return self.size ** -0.5

    def head(self, w, name, x):
        """x (size) of one head as it comes from the projection `name`, before rotation."""
        return x

    def activation(self, x):
        return x / (1 + np.exp(-x))

    def turned(self, w, name, x, layer, at):
        """Of one head at one position: pairs (i, i + size / 2) as complex numbers."""
        x, turns = self.head(w, name, x), self.turns(layer)
        if turns is None:
            return x
        z = x[:self.size // 2] + 1j * x[self.size // 2:]
        z = z * np.exp(1j * at * turns) * self.magnitude(layer)
        return np.concatenate([z.real, z.imag])

    def attention(self, w, layer, h):
        b, n, size = f"model.layers.{layer}.self_attn.", len(h), self.size
        window = self.window(layer) or n
        q, k, v = (self.linear(w, b + p + "_proj", h).reshape(n, -1, size) for p in "qkv")
        mixed = np.zeros_like(q)
        for head in range(self.heads):
            shared = head // (self.heads // self.kv)
            turned_k = [self.turned(w, b + "k_proj", k[s, shared], layer, s) for s in range(n)]
            for t in range(n):
                first = max(0, t + 1 - window)
                turned_q = self.turned(w, b + "q_proj", q[t, head], layer, t)
                scores = np.array([turned_q @ turned_k[s] for s in range(first, t + 1)])
                p = np.exp((scores - scores.max()) * self.scale(layer))
                mixed[t, head] = p / p.sum() @ v[first:t + 1, shared]
        return self.linear(w, b + "o_proj", mixed.reshape(n, -1))

    def ffn(self, w, layer, h):
        b = f"model.layers.{layer}.mlp."
        gate = self.activation(self.linear(w, b + "gate_proj", h))
        return self.linear(w, b + "down_proj", gate * self.linear(w, b + "up_proj", h))

    def block(self, w, layer, x):
        b = f"model.layers.{layer}."
        x = x + self.attention(w, layer, self.norm(w, b + "input_layernorm", x))
        return x + self.ffn(w, layer, self.norm(w, b + "post_attention_layernorm", x))

    def embed(self, w, ids):
        return w["model.embed_tokens.weight"][ids]

    def logits(self, w, ids):
        x = self.embed(w, ids)
        for layer in range(self.shape["num_hidden_layers"]):
            x = self.block(w, layer, x)
        head = "model.embed_tokens" if self.shape["tie_word_embeddings"] else "lm_head"
        return self.linear(w, head, self.norm(w, "model.norm", x))

    def loss(self, w, batch):
        total, weight, every = 0, 0, []
        for ids, tw in batch:
            ids, tw, l = ids.numpy(), tw.numpy(), self.logits(w, ids.numpy())
            every.append(l)
            top = l.max(1)
            nll = top + np.log(np.exp(l - top[:, None]).sum(1))
            total += ((nll[:-1] - l[np.arange(len(ids) - 1), ids[1:]]) * tw[1:]).sum()
            weight += tw[1:].sum()
        return total / weight, np.concatenate(every)


def check_by_formulas(formulas, weights, gradients, batch, loss, logits):
    """Loss and logits; and of every gradient, its product with a random direction, by differences.
    gradients: name -> that of the weight of this name."""
    w = {k: v.detach().double().numpy() for k, v in weights.items()}
    got, every = formulas.loss(w, batch)
    assert abs(got - float(loss)) < 1e-10, (got, float(loss))
    assert np.abs(every - logits.numpy()).max() < 1e-10, np.abs(every - logits.numpy()).max()
    rng, step = np.random.RandomState(5), 1e-5
    for name, gradient in gradients.items():
        along = rng.randn(*w[name].shape)
        up, down = (formulas.loss(dict(w, **{name: w[name] + s * along}), batch)[0]
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

def folder_of(name):
    return os.path.join(HERE, name)


def stored(tensors):
    return {k: v.float().contiguous() if v.is_floating_point() else v for k, v in tensors.items()}


def reference_of(batch, loss, logits):
    return {"reference.ids": torch.cat([ids for ids, _ in batch]),
            "reference.lengths": torch.tensor(LENGTHS),
            "reference.token_weights": torch.cat([tw for _, tw in batch]),
            "reference.loss": loss.view(1), "reference.logits": logits}


def make_network(kind, config, formulas, name, seed, norm=1):
    """kind: a class of transformers; config: its configuration, with eager attention."""
    folder = folder_of(name)
    shutil.rmtree(folder, ignore_errors=True)
    model, batch = random_model(kind, config, seed, norm), make_batch(config.vocab_size, seed)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "generation_config.json"))
    path = os.path.join(folder, "model.safetensors")
    tensors = load_file(path)
    assert sorted(tensors) == sorted(name for name, _ in model.named_parameters())
    loss, logits = differentiate(widen(model), batch)
    gradients = {name: p.grad for name, p in model.named_parameters()}
    check_by_formulas(formulas, dict(model.named_parameters()), gradients, batch, loss, logits)
    tensors.update({"grad." + k: v for k, v in gradients.items()})
    tensors.update(reference_of(batch, loss, logits))
    save_file(stored(tensors), path, {"format": "pt"})
    split(folder)
    print("loss", float(loss), "largest logit", float(logits.abs().max()))


def make_lora(kind, formulas, base_name, name, seed):
    """An adapter on make_network's `base_name` of the same seed."""
    base, folder = folder_of(base_name), folder_of(name)
    shutil.rmtree(folder, ignore_errors=True)
    model = kind.from_pretrained(base, attn_implementation="eager", dtype=torch.float32)
    batch = make_batch(model.config.vocab_size, seed)
    assert torch.equal(torch.cat([i for i, _ in batch]),
                       load_file(os.path.join(base, "reference.safetensors"))["reference.ids"])
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
    check_by_formulas(formulas, merged_weights(adapted), {}, batch, loss, logits)
    expected = {"grad." + n: p.grad.clone() for n, p in factors.items()}
    three_steps(adapted, batch)
    expected.update({"step." + n: p.detach() for n, p in factors.items()})
    expected.update({"loss": loss.view(1), "logits": logits})
    save_file(stored(expected), os.path.join(folder, "expected.safetensors"), {"format": "pt"})
    print("loss with the adapter", float(loss), "largest logit", float(logits.abs().max()))


def begin():
    transformers.logging.set_verbosity_error()


def finish(*names):
    """As a checkout has them."""
    for name in names:
        for file in sorted(os.listdir(folder_of(name))):
            path = os.path.join(folder_of(name), file)
            os.chmod(path, 0o644)
            print(os.path.relpath(path, HERE), os.path.getsize(path), "bytes")
