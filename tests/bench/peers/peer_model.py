"""peer_model: bench_model.c's and bench_learn.c's work in PyTorch: the same weights from the same
directory, by transformers, adapters by PEFT.

Run: python peer_model.py MODEL_DIRECTORY MODE, with questions on standard input (peer.py):
  prefill N T   decode T   train S L T (AdamW)   lora S L M T   opened T   logits N T
  losses N S L T   losses_lora N S L M DIR T                     T: threads, M: SMFT_LORA_*
MODE: eager      the weights as they are in the directory
      compiled   the same with torch.compile of every block, the way that compiles in seconds
      autocast   f32 weights, products in bf16 (torch.autocast)
"""
import contextlib
import os
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # nothing here asks anybody for anything

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM, DynamicCache

import peer

LONGEST, PROMPT, DECODED, SHARE, SAMPLES, RANK = 2048, 16, 128, 16, 32, 8
TARGETS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")  # by bit
MODES = ("eager", "compiled", "autocast")


def token_ids(vocab, n, seed=1):
    ids = []
    for _ in range(n):
        seed = (seed * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        ids.append((seed >> 33) % vocab)
    return torch.tensor(ids)


def casting(mode):
    return torch.autocast("cpu", dtype=torch.bfloat16) if mode == "autocast" else \
        contextlib.nullcontext()


def compile_blocks(blocks):
    for block in blocks:
        block.compile(dynamic=False)


def load(directory, mode):
    model = AutoModelForCausalLM.from_pretrained(directory, dtype="auto", use_safetensors=True,
                                                 attn_implementation="sdpa")
    if mode == "compiled":
        compile_blocks(model.model.layers)
    return model


def adapted(model, mask, saved):
    """The model with adapters as PEFT makes them: new ones, or those of a directory."""
    import peft
    if saved:
        return peft.PeftModel.from_pretrained(model, saved, is_trainable=True)
    names = [name for bit, name in enumerate(TARGETS) if mask >> bit & 1]
    return peft.get_peft_model(model, peft.LoraConfig(
        r=RANK, lora_alpha=2 * RANK, target_modules=names, task_type="CAUSAL_LM"))


class Tasks:
    def __init__(self, directory, mode):
        self.directory, self.mode = directory, mode
        begin = time.perf_counter()
        self.loaded = load(directory, mode)
        self.open_ms = 1e3 * (time.perf_counter() - begin)
        self.ids = token_ids(self.loaded.config.vocab_size, LONGEST)

    @property
    def model(self):
        if self.loaded is None:
            self.loaded = load(self.directory, self.mode)
        return self.loaded

    def fresh(self):
        """Training changes weights: it takes the model with it, and the next task reads another."""
        model, self.loaded = self.model, None
        return model.train()

    def cast(self):
        return casting(self.mode)

    def opened(self):
        return {"ms": self.open_ms}

    # ---- inference ----

    def prefill(self, n):
        ids = self.ids[None, :int(n)]

        def work():
            with torch.inference_mode(), self.cast():
                self.model(ids, use_cache=False, logits_to_keep=1)
            return ids.numel()
        return work

    def decode(self):
        cache, ids, at = DynamicCache(config=self.model.config), self.ids[None], PROMPT

        def feed(first, last):
            self.model(ids[:, first:last], cache=cache, logits_to_keep=1)

        def work():
            nonlocal at
            with torch.inference_mode(), self.cast():
                if at == PROMPT + DECODED:
                    cache.crop(-DECODED)
                    at = PROMPT
                for at in range(at + 1, at + SHARE + 1):
                    feed(at - 1, at)
            return SHARE

        with torch.inference_mode(), self.cast():
            feed(0, PROMPT)
        return work

    def logits(self, n):
        ids = self.ids[None, :int(n)]
        vocab = self.model.config.vocab_size
        with torch.inference_mode(), self.cast():
            out = self.model(ids, use_cache=False).logits[0].float()
        nll = F.cross_entropy(out[:-1], ids[0, 1:]).item()
        return {"numbers": [out[-1, i * vocab // SAMPLES].item() for i in range(SAMPLES)],
                "next": out[-1].argmax().item(), "nll": nll}

    # ---- training ----

    def stepper(self, model, lr, sequences, length):
        """A function that does a step and returns its loss."""
        trained = [p for p in model.parameters() if p.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=lr, weight_decay=0.01, fused=True)
        ids = self.ids[:sequences * length].view(sequences, length)

        def step():
            optimizer.zero_grad(set_to_none=True)
            with self.cast():
                out = model(input_ids=ids, use_cache=False).logits
                loss = F.cross_entropy(out[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
            loss.backward()
            optimizer.step()
            return loss
        return step

    def steps(self, model, sequences, length):
        step = self.stepper(model, 1e-5, int(sequences), int(length))

        def work():
            step()
            return int(sequences) * int(length)
        return work

    def train(self, sequences, length):
        return self.steps(self.fresh(), sequences, length)

    def lora(self, sequences, length, mask):
        return self.steps(adapted(self.fresh(), int(mask), None), sequences, length)

    def checked(self, model, lr, steps, sequences, length):
        step = self.stepper(model, lr, int(sequences), int(length))
        return {"numbers": [step().item() for _ in range(int(steps) + 1)]}

    def losses(self, *words):
        return self.checked(self.fresh(), 1e-3, *words)

    def losses_lora(self, steps, sequences, length, _mask, directory):
        return self.checked(adapted(self.fresh(), 0, directory), 1e-2, steps, sequences, length)


def main():
    tasks = Tasks(*sys.argv[1:])
    peer.serve(lambda name, words: getattr(tasks, name)(*words))


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[2] not in MODES:
        sys.exit(__doc__)
    peer.run(main)
