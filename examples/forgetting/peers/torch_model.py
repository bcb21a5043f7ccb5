"""torch_model: the base in PyTorch with the very numbers that libsmft runs, and the session and
the asker that probes.py and answers.py want of a model.  Owns the export, the KV cache, where in
a text an answer begins (`sites`: there GRACE looks up), passes that end early, and what is kept
in the work folder; no method is in here."""
from __future__ import annotations

import contextlib
import hashlib
import json
import os
import warnings
from typing import Any, Callable, Iterator, Optional

import torch
import transformers
from answers import Asker
from smft.session import Nll
from transformers import AutoModelForCausalLM, DynamicCache

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
warnings.filterwarnings("ignore", message=".past_key_values. is deprecated")  # older ones need it


def exported(model: Any, work: str) -> str:
    """The model as a directory of transformers, f32, made once."""
    path = os.path.join(work, "hf", model.hash[:12])
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        model.export(path, dtype="f32")
    return path


def kept(work: str, name: str, of: Any, make: Callable[[], Any]) -> Any:
    """What `make` gives for `of`, from the work folder where it was made before."""
    key = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()[:12]
    path = os.path.join(work, "peers", f"{name}-{key}.pt")
    if not os.path.exists(path):
        os.makedirs(os.path.dirname(path), exist_ok=True)
        torch.save(make(), path + ".part")
        os.replace(path + ".part", path)
    return torch.load(path)


def answer_opening(tokenizer: Any) -> list[int]:
    """The ids of the template between a question and its answer."""
    a, b = (list(tokenizer.chat([("user", text)])) for text in ("a", "b"))
    n = 0
    while a[-1 - n] == b[-1 - n]:
        n += 1
    return a[len(a) - n:]


class _Enough(Exception):
    """Ends a pass."""


class TorchModel:
    """Weights of its own, which an edit may change."""

    def __init__(self, model: Any, work: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.smft, self.tokenizer, self.stop_ids = model, model.tokenizer, model.stop_ids
        self.net = AutoModelForCausalLM.from_pretrained(exported(model, work), dtype=torch.float32)
        self.net.requires_grad_(False).eval()
        self.blocks = self.net.model.layers
        self.opening = answer_opening(model.tokenizer)
        self.sites: list[int] = []  # of the pass that runs: positions after which an answer begins

    def opens(self, ids: list[int]) -> bool:
        return ids[-len(self.opening):] == self.opening

    def __call__(self, ids: list[int], past: Optional[Any] = None, keep: int = 1) -> Any:
        """Logits (keep, vocabulary) after the last `keep` ids; 0: after all of them."""
        out = self.net(input_ids=torch.tensor([ids]), past_key_values=past,
                       use_cache=past is not None, logits_to_keep=keep)
        return out.logits[0]

    @torch.no_grad()
    def seen(self, ids: list[int], inputs: list[Any], outputs: list[Any], last: Any) -> list[Any]:
        """What modules are given, then what modules give, (tokens, numbers) each; no pass beyond
        the block `last`."""
        found: dict[tuple[str, int], Any] = {}
        with contextlib.ExitStack() as stack:
            for i, module in enumerate(inputs):
                stack.enter_context(given(module, lambda x, i=i: found.update({("in", i): x[0]})))
            for i, module in enumerate(outputs):
                stack.enter_context(gives(module, lambda x, i=i: found.update({("out", i): x[0]})))
            stack.enter_context(gives(last, _stop))
            with contextlib.suppress(_Enough):
                self(ids)
        return [found["in", i] for i in range(len(inputs))] + \
               [found["out", i] for i in range(len(outputs))]


def _stop(_: Any) -> None:
    raise _Enough


@contextlib.contextmanager
def given(module: Any, look: Callable[[Any], None]) -> Iterator[None]:
    handle = module.register_forward_pre_hook(lambda _, args: look(args[0]))
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def gives(module: Any, change: Callable[[Any], Any]) -> Iterator[None]:
    """change: sees the output (1, tokens, numbers); what it returns, if anything, replaces it."""
    def hook(_: Any, __: Any, out: Any) -> Any:
        whole = isinstance(out, torch.Tensor)
        new = change(out if whole else out[0])
        if new is None:
            return out
        return new if whole else (new, *out[1:])

    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


class TorchSession:
    """As much of smft.Session as is asked for.  The weights may not change while it lives."""

    def __init__(self, model: TorchModel) -> None:
        self.model = model
        self.ids: list[int] = []
        self.cache = DynamicCache()

    def rewind(self, length: int = 0) -> None:
        if length < len(self.ids):
            if length:
                self.cache.crop(length - len(self.ids))  # so many fewer
            else:
                self.cache = DynamicCache()
            self.ids = self.ids[:length]

    @torch.no_grad()
    def feed(self, ids: Any, logits: Optional[str] = "last") -> Any:
        first = len(self.ids)
        self.ids = self.ids + list(ids)
        self.model.sites = [i - first for i in range(first, len(self.ids))
                            if self.model.opens(self.ids[:i + 1])]
        found = self.model(list(ids), self.cache, 0 if logits == "all" else 1).numpy()
        return {"all": found, "last": found[-1], None: None}[logits]

    def logits(self, ids: Any) -> Any:
        self.rewind(0)
        return self.feed(ids, "all")

    def nll(self, ids: Any) -> Nll:
        logs = torch.log_softmax(torch.from_numpy(self.logits(ids)[:-1]), -1)
        tokens = -logs.gather(1, torch.tensor(list(ids[1:]))[:, None])[:, 0]
        return Nll(float(tokens.mean()), tokens.numpy())

    def generate(self, ids: list[int], max_tokens: int = 64) -> list[int]:
        """Greedy; what the session holds already of the prompt is not run again."""
        n, most = 0, min(len(self.ids), len(ids) - 1)
        while n < most and self.ids[n] == ids[n]:
            n += 1
        self.rewind(n)
        logits, out = self.feed(ids[n:]), []
        while True:
            best = int(logits.argmax())
            if best in self.model.stop_ids:
                return out
            out.append(best)
            if len(out) == max_tokens:
                return out
            logits = self.feed([best])


class TorchAsker(Asker):
    def __init__(self, model: TorchModel) -> None:
        self.session, self.tokenizer = TorchSession(model), model.tokenizer
