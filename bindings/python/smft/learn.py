"""learn: selector, optimizer and learner: teaching facts."""
from __future__ import annotations

import array
import ctypes
import os
import tempfile
import warnings
from ctypes import c_float, c_int64, c_uint32
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Callable, Iterable, Iterator, List, Optional, Sequence, Tuple, TypeVar, Union

from . import _abi, _arrays
from ._handle import (INSIDE, PEEK, READ, USE, Callback, Handle, Path, Progress, Text, c_path, c_text, invoke, optional, progress_callback,
                      required, result, struct, together, whole)
from ._library import lib
from .context import Context, context_handle
from .errors import InvalidError, NoCountsWarning, NonFiniteError, check
from .model import DAMPINGS, RANKS, Model
from .patch import FACT_STATES, Patch
from .wordings import Wordings

T = TypeVar("T")

RULES = {"tfidf": _abi.CONSTANTS["RULE_TFIDF"], "kl": _abi.CONSTANTS["RULE_KL"], "tf": _abi.CONSTANTS["RULE_TF"],
         "all": _abi.CONSTANTS["RULE_ALL"], "random": _abi.CONSTANTS["RULE_RANDOM"]}
OPTIMIZERS = {"sgd": _abi.CONSTANTS["OPTIMIZER_SGD"], "adamw": _abi.CONSTANTS["OPTIMIZER_ADAMW"]}
REASONS = {_abi.CONSTANTS["REASON_NONE"]: None, _abi.CONSTANTS["REASON_NO_ROWS"]: "no rows",
           _abi.CONSTANTS["REASON_NO_COUNTS"]: "no counts", _abi.CONSTANTS["REASON_STEPS"]: "steps",
           _abi.CONSTANTS["REASON_TIME"]: "time", _abi.CONSTANTS["REASON_NONFINITE"]: "not finite",
           _abi.CONSTANTS["REASON_VETOED"]: "vetoed", _abi.CONSTANTS["REASON_SKIPPED"]: "skipped"}


def _choose(table: Any, name: str, what: str) -> int:
    if name not in table:
        raise InvalidError(f"{what} must be one of {', '.join(map(repr, table))}, got {name!r}")
    return int(table[name])


# ---- selector ---------------------------------------------------------------------------------------------------------------


class Selector(Handle):
    """Background counts and the rule that ranks slots: which rows a step may change.

    rule: "tfidf", "kl", "tf", "all", or "random" (t of the slots that were read: the control of an experiment).  t: at most so many slots
    a step, over all pools; 0: the library's default.  empty: start without counts, even where background.safetensors lies beside the model.
    Without counts "tfidf" learns nothing: a NoCountsWarning where the model brings none (with empty: once a learner is made of it).

        selector = smft.Selector(model, empty=True)
        selector.count_background(texts=["Emma is a novel by Jane Austen.", ...])   # text like what is to be kept
    damping: how far a selected row may move: its rate is multiplied by 1 / (1 + u / damping), u how much a background batch reads it on
    average (the sum of its reads' squared weights, in units of the mean); None: the library's default, 0 or False: no damping, as in the
    paper.  Without counts nothing is damped.  damping_by: "squares", as above, or "df": u is the share of background batches that read it.
    max_df: rows that more than this share of the background batches read are never selected; None: the library's default, 0: any may be.
    rank_by: what a rule takes for the reads of a slot: their number ("counts") or the sum of their softmax weights ("weights").
    What is not given is the model's default (model.learn_defaults).
    """

    _free = "smft_selector_free"
    _stops = True

    def __init__(self, model: Model, rule: str = "tfidf", t: int = 0, empty: bool = False, damping: Optional[float] = None,
                 max_df: Optional[float] = None, damping_by: Optional[str] = None, rank_by: Optional[str] = None) -> None:
        self._make(model, rule, t, empty, damping, max_df, damping_by, rank_by)
        if not empty:
            self._warn_without_counts("this model brings no background counts")

    def _make(self, model: Model, rule: str = "tfidf", t: int = 0, empty: bool = False, damping: Optional[float] = None,
              max_df: Optional[float] = None, damping_by: Optional[str] = None, rank_by: Optional[str] = None) -> None:
        options = struct(_abi.SelectorOptions, rule=_choose(RULES, rule, "rule"), t=t, damping=_or_none(damping), max_df=_or_none(max_df),
                         damping_by=0 if damping_by is None else _choose(DAMPINGS, damping_by, "damping_by"),
                         rank_by=0 if rank_by is None else _choose(RANKS, rank_by, "rank_by"),
                         flags=_abi.CONSTANTS["SELECTOR_EMPTY"] if empty else 0)
        self.model, self._rule, self._warned = required(model, Model, "model"), rule, False
        self._shapes = model._shapes()
        self._create("smft_selector_create", _abi.Selector, model, ctypes.byref(options))

    @classmethod
    def _default(cls, model: Model) -> "Selector":
        """What the library takes for a learner without one; nothing is warned of yet."""
        selector = cls.__new__(cls)
        selector._make(model)
        return selector

    def _warn_without_counts(self, why: str) -> None:
        """Once, for the line that made a selector or a learner."""
        if self._warned or self._rule != "tfidf" or self.n_batches > 0:
            return
        self._warned = True
        warnings.warn(f"{why}, so no step will change anything; count some: selector.count_background(texts=[...]), text like what is to "
                      "be kept (smft.Selector(model, empty=True) begins without this warning)", NoCountsWarning, stacklevel=3)

    def count_background(self, batches: Optional[Iterable[Sequence[Any]]] = None, pad_id: Optional[int] = None,
                         progress: Optional[Progress] = None, *, texts: Optional[Iterable[Text]] = None,
                         tokens_per_sequence: int = 0) -> None:
        """Adds to df (in how many of these batches each slot was read) and to the squared weights of the reads.

        texts: each a batch of its own, cut into pieces of tokens_per_sequence (0: 64); empty ones are skipped.  Or batches: each a list of
        id lists; padding (pad_id) never counts.  All or nothing, also where the batches differ in size and the library is called more than
        once."""
        if (batches is None) == (texts is None):
            raise InvalidError("count_background counts batches or texts: give one of them")
        if texts is not None:
            self._count_texts(texts, tokens_per_sequence, progress)
            return
        lists = [list(batch) for batch in batches or ()]
        if any(not batch for batch in lists):
            raise InvalidError("a background batch is empty")
        groups = [list(group) for _, group in groupby(lists, key=len)]  # the library takes one size of batch a call
        if len(groups) < 2:
            for group in groups:
                self._count(group, pad_id, progress, USE)
            return
        together("count_background", [(self, USE)], lambda: self._count_groups(groups, pad_id, progress), stops=True)

    def _count_groups(self, groups: List[List[List[Any]]], pad_id: Optional[int], progress: Optional[Progress]) -> None:
        with tempfile.TemporaryDirectory() as directory:
            before = os.path.join(directory, "counts.safetensors")
            invoke(lib.smft_selector_save, self, c_path(before), mode=INSIDE)
            try:
                for group in groups:
                    self._count(group, pad_id, progress, INSIDE)
            except BaseException:
                invoke(lib.smft_selector_load, self, c_path(before), mode=INSIDE)
                raise

    def _count_texts(self, texts: Iterable[Text], tokens_per_sequence: int, progress: Optional[Progress]) -> None:
        if isinstance(texts, (str, bytes)):
            raise TypeError("texts must be a list of texts, got one")
        given = [c_text(text, f"texts[{i}]") for i, text in enumerate(texts)]
        self._count_with(struct(_abi.Background, pad_id=-1, texts=_arrays.strings(given), n_texts=len(given),
                                tokens_per_sequence=tokens_per_sequence), progress)

    def _count(self, batches: List[List[Any]], pad_id: Optional[int], progress: Optional[Progress], mode: int) -> None:
        ids, lengths = _arrays.sequences(one for batch in batches for one in batch)
        longest = max(lengths.owner) if lengths.n else 0
        self._count_with(struct(_abi.Background, pad_id=-1 if pad_id is None else pad_id, ids=ids.pointer, lengths=lengths.pointer,
                                n_sequences=lengths.n, sequences_per_batch=len(batches[0]),
                                tokens_per_sequence=max(1, longest)), progress, mode)  # as they are: nothing is cut

    def count_background_file(self, path: Path, sequences_per_batch: int = 1, tokens_per_sequence: int = 0, max_batches: int = 0,
                              progress: Optional[Progress] = None) -> None:
        """The same over a UTF-8 text file, one sequence a line; longer ones are cut into pieces of tokens_per_sequence (0: 64)."""
        self._count_with(struct(_abi.Background, pad_id=-1, text_path=c_path(path), sequences_per_batch=sequences_per_batch,
                                tokens_per_sequence=tokens_per_sequence, max_batches=max_batches), progress, path=path)

    def _count_with(self, background: _abi.Background, progress: Optional[Progress], mode: int = USE,
                    path: Optional[Path] = None) -> None:
        callback = progress_callback(progress)
        background.progress = callback.pointer
        invoke(lib.smft_selector_count_background, self, ctypes.byref(background), mode=mode, callbacks=[callback], path=path, stops=True,
               part=mode == INSIDE)

    def df(self, pool: int = 0) -> Any:
        """Background batches in which each slot of a pool was read (n_slots), uint32."""
        n_slots = self._shapes[pool][0] if 0 <= pool < len(self._shapes) else self.model.pool(pool)[0]  # which says what is wrong
        values, pointer = _arrays.new(c_uint32, n_slots)
        invoke(lib.smft_selector_df, self, pool, pointer, n_slots, None, mode=READ)
        return values

    @property
    def n_batches(self) -> int:
        """Background batches counted so far."""
        n = c_int64()
        invoke(lib.smft_selector_df, self, 0, None, 0, n, mode=READ)
        return n.value

    def save(self, path: Path) -> None:
        invoke(lib.smft_selector_save, self, c_path(path), mode=READ)

    def load(self, path: Path) -> None:
        """Replaces the counts.  Those of another model are a MismatchError."""
        invoke(lib.smft_selector_load, self, c_path(path))

    def _describe(self) -> str:
        return f"{self._rule}, {self.n_batches} background batches"


def _or_none(given: Optional[float]) -> float:
    """As C has it: 0 is the library's default, a negative number none."""
    return 0.0 if given is None or given is True else given or -1.0


# ---- optimizer --------------------------------------------------------------------------------------------------------------


class Optimizer(Handle):
    """"sgd" or "adamw".  0 everywhere means the library's default (lr: the rule in docs/method.md, which goes by the patch's kind).

    keep_state: moments and momentum go on from fact to fact instead of starting afresh (patches of slots; the others always keep them).
    warmup_steps: the rate rises linearly over the first so many updates (of a fact, on patches of slots without keep_state).
    For full patches: pool_lr, pool_clip_norm and pool_weight_decay of the pools' values (0: lr; clipped with the rest; none);
    lazy_pools: rows that a batch did not read keep values and moments, as PyTorch's SparseAdam does it.
    step_length ("sgd", patches of slots): every step changes its rows together by so much, a Euclidean length, along their damped gradient,
    and with momentum by that share of each row's last step, too; without lr, weight_decay and clip_norm.
    length_by_loss: as many times as far as the mean loss of the step's batch has nats a token, but at least half and at most three times.
    """

    _free = "smft_optimizer_free"

    def __init__(self, kind: str = "sgd", lr: float = 0.0, momentum: float = 0.0, weight_decay: float = 0.0, beta1: float = 0.0,
                 beta2: float = 0.0, eps: float = 0.0, clip_norm: float = 0.0, pool_lr: float = 0.0, pool_clip_norm: float = 0.0,
                 pool_weight_decay: float = 0.0, keep_state: bool = False, lazy_pools: bool = False,
                 warmup_steps: int = 0, step_length: float = 0.0, context: Optional[Context] = None,
                 length_by_loss: bool = False) -> None:
        flags = _abi.CONSTANTS["OPTIMIZER_KEEP_STATE"] if keep_state else 0
        flags |= _abi.CONSTANTS["OPTIMIZER_LAZY_POOLS"] if lazy_pools else 0
        flags |= _abi.CONSTANTS["OPTIMIZER_LENGTH_BY_LOSS"] if length_by_loss else 0
        options = struct(_abi.OptimizerOptions, kind=_choose(OPTIMIZERS, kind, "kind"), lr=lr, momentum=momentum,
                         weight_decay=weight_decay, beta1=beta1, beta2=beta2, eps=eps, clip_norm=clip_norm, pool_lr=pool_lr,
                         pool_clip_norm=pool_clip_norm, pool_weight_decay=pool_weight_decay, warmup_steps=warmup_steps,
                         step_length=step_length, flags=flags)
        self._kind = kind
        self._create("smft_optimizer_create", _abi.Optimizer, context_handle(context), ctypes.byref(options))

    def set_lr(self, lr: float, pool_lr: float = 0.0) -> None:
        """For schedules, also from a callback of the learner that uses it.  pool_lr 0: lr."""
        invoke(lib.smft_optimizer_set_lr, self, lr, pool_lr, mode=INSIDE)

    def set_group(self, part: Text, lr_scale: float) -> None:
        """Full and LoRA patches: tensors (LoRA: factors, such as "layers.0.self_attn.q_proj.lora_B") whose name contains `part` learn at
        lr_scale times the learning rate; 0 freezes them.  The same part again replaces its scale; where several fit, the latest counts."""
        invoke(lib.smft_optimizer_set_group, self, c_text(part, "part"), lr_scale)

    def reset(self) -> None:
        """Forgets moments and step counts."""
        invoke(lib.smft_optimizer_reset, self)

    def save(self, path: Path) -> None:
        """Moments and step counts as a safetensors file: with the patch, a checkpoint."""
        invoke(lib.smft_optimizer_save, self, c_path(path), mode=READ)

    def load(self, model: Model, path: Path) -> None:
        invoke(lib.smft_optimizer_load, self, required(model, Model, "model"), c_path(path))

    def _describe(self) -> str:
        return self._kind


# ---- learner ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Wording:
    """One way to say a fact: `prompt` is given and `answer` learnt, or `statement` with `answer` a part of it.

    "Who wrote Emma?" and "Jane Austen" are learnt as "Who wrote Emma? Jane Austen": the library puts the space that running text has.
    end: what follows the answer, learnt too; None: a newline after a prompt, nothing after a statement.  exact: prompt and answer are
    joined exactly as they stand, without a space between them.
    """

    prompt: Optional[Text] = None
    answer: Text = ""
    end: Optional[Text] = None
    statement: Optional[Text] = None
    exact: bool = False


@dataclass(frozen=True)
class Report:
    """What one step did.  `selected`: the rows it updated, best score first, as (pool, slot, score)."""

    fact_id: str
    fact_state: str  # "learning", "done" or "gave up"; of a batch step: "learning"
    step: int  # steps taken for this fact
    loss: float  # mean over the batch's supervised tokens, before the update, in nats
    gradient_norm: float
    lr: float
    rows_selected: int  # 0: nothing was changed
    slots_read: int
    reads: int
    tokens: int
    tokens_supervised: int
    seconds: float
    pending: int  # facts left
    selected: List[Tuple[int, int, float]] = field(default_factory=list, repr=False)
    facts_finished: int = 0  # of those pushed to this learner
    facts_total: int = 0
    reason: Optional[str] = None  # of a fact given up: "no rows", "no counts", "steps", "time", "not finite", "vetoed", "skipped"
    rolled_back: bool = False  # what was learnt of it was taken out of the patch
    wordings: int = 0  # of the fact
    wordings_learnt: int = 0  # those whose loss was under the threshold when it was measured last
    worst_loss: float = 0.0  # the largest of their losses, each as it was measured last
    check_tokens: int = 0  # of passes that only asked whether the fact is learnt
    check_seconds: float = 0.0
    wordings_left_out: int = 0  # pushed, but nothing of them can be learnt

    @property
    def done(self) -> bool:
        return self.fact_state == "done"

    @property
    def progress(self) -> float:
        """Share of the facts pushed so far that are finished, 0 to 1."""
        return self.facts_finished / self.facts_total if self.facts_total else 1.0


@dataclass(frozen=True)
class RunReport:
    facts_done: int
    facts_gave_up: int
    steps: int
    rows_changed: int
    seconds: float
    facts_rolled_back: int = 0


WordingLike = Union[Wording, Tuple[Text, Text], Tuple[Text, Text, Text], "dict[str, Text]"]


class Learner(Handle):
    """A queue of facts and the workspace that teaches them.

    selector: for patches of slots only.  optimizer, selector None: the library's defaults for the patch: SGD and `learner.selector` on slots; AdamW with weight
    decay 0.1 and clip_norm 1 on full and LoRA patches, at rates of their own.  A fact is done when the loss of each of its wordings is
    under loss_below, and given up after max_steps or max_seconds (loss_below negative: max_steps alone decides).
    sample_decides: done when the mean loss of the wordings drawn for a step is, whatever the others' are.  keep_given_up: what was
    learnt of a fact that is given up stays in the patch (patches of slots; without it the rows become what they were).
    on_fact(report): asked when a fact is about to be final; true takes back one that is done.  An exception in it does so, too, and is
    raised when the call ends.  wordings_per_step: drawn anew for each step; None or negative: all.
    0 everywhere means the library's default.  loss_all: on every token, not only the answer's.  rows_per_step: choose the rows anew
    in every step from its own batch, as the paper does it, instead of once a fact.  protect: facts that were taught count as background,
    so that where rows are damped, facts that follow move the less what earlier ones read.
    frames: a fact that is pushed with one wording is learnt in those that are made of it by rule, as smft.wordings_from_qa makes them;
    None: where the model's config asks for it; False: never.
    contrast: of such a fact, rows that its question reads when it is asked about others, namesakes among them, are chosen last (where
    rows have a max_df).

        for report in learner:      # until the queue is empty
            print(report.fact_id, report.loss, f"{report.progress:.0%}")
    """

    _free = "smft_learner_free"
    _cancel = "smft_learner_cancel"
    # does nothing, and is what the stop ends
    _forget = staticmethod(
        lambda pointer: lib.smft_learner_step_batch(pointer, ctypes.byref(_abi.Batch()), None))
    _stops = True

    def __init__(self, model: Model, patch: Patch, selector: Optional[Selector] = None, optimizer: Optional[Optimizer] = None,
                 max_steps: int = 0, loss_below: float = 0.0, wordings_per_step: Optional[int] = 0, seed: int = 0,
                 loss_all: bool = False, rows_per_step: bool = False, protect: bool = True, sample_decides: bool = False,
                 keep_given_up: bool = False, max_seconds: float = 0.0, frames: Optional[bool] = None,
                 contrast: bool = True, on_fact: Optional[Callable[[Report], Any]] = None) -> None:
        flags = _abi.CONSTANTS["LEARNER_LOSS_ALL"] if loss_all else 0
        flags |= _abi.CONSTANTS["LEARNER_ROWS_PER_STEP"] if rows_per_step else 0
        flags |= 0 if protect else _abi.CONSTANTS["LEARNER_NO_PROTECT"]
        flags |= _abi.CONSTANTS["LEARNER_SAMPLE_DECIDES"] if sample_decides else 0
        flags |= _abi.CONSTANTS["LEARNER_KEEP_GIVEN_UP"] if keep_given_up else 0
        flags |= 0 if frames is None else _abi.CONSTANTS["LEARNER_FRAMES" if frames else "LEARNER_NO_FRAMES"]
        flags |= 0 if contrast else _abi.CONSTANTS["LEARNER_NO_CONTRAST"]
        asked = None if on_fact is None else Callback(_abi.FactFn, on_fact, self._asked, stops=None)
        options = struct(_abi.LearnerOptions, max_steps=max_steps, loss_below=loss_below, seed=seed, max_seconds=max_seconds,
                         wordings_per_step=-1 if wordings_per_step is None else wordings_per_step, flags=flags)
        if selector is None and isinstance(patch, Patch) and patch.kind == "slots" and patch.model is model:
            selector = Selector._default(model)
        handles = (required(model, Model, "model"), required(patch, Patch, "patch"), optional(selector, Selector, "selector"),
                   optional(optimizer, Optimizer, "optimizer"))
        if asked is not None:
            options.on_fact = asked.pointer
        self._create("smft_learner_create", _abi.Learner, *handles, ctypes.byref(options), mode=PEEK)
        self.model, self._patch, self.selector, self.optimizer = model, patch, selector, optimizer
        self._selects = patch.kind == "slots"  # another patch is of slots, too
        self._pushed = 0
        self._on_fact = asked
        # What a step works with, in C alive as long as the learner; a handle of it that is closed is nobody else's any more.
        self._works_with: List[Tuple[Handle, int]] = [(one, mode) for one, mode in ((selector, READ), (optimizer, USE)) if one is not None]
        if selector is not None:
            selector._warn_without_counts("nothing is counted as background")

    @property
    def patch(self) -> Patch:
        """The patch that is taught.  Another of slots may be set between facts: one learner serves every user's."""
        return self._patch

    @patch.setter
    def patch(self, patch: Patch) -> None:
        def then(status: int, path: Any) -> None:
            check(status, path)
            self._patch = patch

        invoke(lib.smft_learner_set_patch, self, required(patch, Patch, "patch"), then=then)

    # -- the queue

    def push(self, id: Text, wordings: Union[WordingLike, Wordings, Iterable[WordingLike]]) -> None:
        """Queues one fact.  wordings, one or a list: Wording objects, (prompt, answer) or (prompt, answer, end) tuples, or dicts with
        Wording's names; or what smft.wordings_from_qa made.  An empty fact, or an answer that is not in its statement, is a FactError.  So is a fact whose every answer opens
        its text, where the tokenizer puts nothing before a text; if only some do, it is learnt from the other wordings."""
        if isinstance(wordings, Wordings):
            self._push(lib.smft_learner_push_wordings, c_text(id, "id"), wordings)
            return
        if isinstance(wordings, (Wording, dict)) or isinstance(wordings, tuple) and isinstance(next(iter(wordings), None), (str, bytes)):
            wordings = [wordings]
        given = [_wording(one, id) for one in wordings]
        raw = (_abi.Wording * max(1, len(given)))(*given)
        self._push(lib.smft_learner_push, c_text(id, "id"), raw, len(given))

    def _push(self, function: Any, *arguments: Any, counted: Optional[c_int64] = None) -> None:
        def then(status: int, path: Any) -> None:
            check(status, path)
            self._pushed += 1 if counted is None else counted.value

        invoke(function, self, *arguments, then=then)

    def push_ids(self, id: Text, wordings: Iterable[Tuple[Any, Any]]) -> None:
        """The same for hosts with a tokenizer of their own: (prompt_ids, answer_ids) pairs, exactly these ids, nothing added."""
        pairs = [(_arrays.token_ids(prompt, "prompt ids"), _arrays.token_ids(answer, "answer ids")) for prompt, answer in wordings]
        raw = (_abi.IdsWording * max(1, len(pairs)))(*[
            _abi.IdsWording(prompt=prompt.pointer, n_prompt=prompt.n, answer=answer.pointer, n_answer=answer.n)
            for prompt, answer in pairs])
        self._push(lib.smft_learner_push_ids, c_text(id, "id"), raw, len(pairs))

    def push_file(self, path: Path) -> int:
        """Facts from a JSONL file, all or none; their number."""
        n = c_int64()
        self._push(lib.smft_learner_push_file, c_path(path), n, counted=n)
        return n.value

    @property
    def pending(self) -> int:
        """Facts in the queue, the one in hand included."""
        return invoke(lib.smft_learner_pending, self, mode=PEEK, then=whole)

    def skip(self) -> None:
        """Gives the fact in hand up."""
        self._teach(lib.smft_learner_skip, check)

    # -- steps

    def step(self) -> Report:
        """One update for the fact in hand.  An empty queue is a StateError.  A fact whose numbers
        are not finite is given up: a NonFiniteError, which has the report; the queue goes on."""
        raw = _abi.Report()

        def then(status: int, path: Any) -> Report:
            try:
                check(status, path)
            except NonFiniteError as error:
                error.report = self._report(raw)
                raise
            return self._report(raw)

        return self._teach(lib.smft_step, then, ctypes.byref(raw))

    def _teach(self, function: Any, then: Callable[[int, Any], T], *arguments: Any, progress: Optional[Callback] = None) -> T:
        """A call that may ask on_fact, and works with selector and optimizer."""
        callbacks = [one for one in (self._on_fact, progress) if one is not None]
        works_with = [(one, mode) for one, mode in self._works_with if not one.closed]
        return invoke(function, self, *arguments, also=works_with, then=then, callbacks=callbacks, stops=True)

    def _asked(self, pointer: int) -> Tuple[Report]:
        return (self._report(ctypes.cast(pointer, ctypes.POINTER(_abi.Report)).contents),)

    def __iter__(self) -> Iterator[Report]:
        """Steps until the queue is empty, each step's report on the way."""
        while self.pending:
            yield self.step()

    def run(self, progress: Optional[Progress] = None) -> RunReport:
        """Steps until the queue is empty.  progress(fact_id, facts_finished, facts_in_all): true cancels (CancelledError; what was
        learnt so far stays)."""
        callback = progress_callback(progress)
        raw = _abi.RunReport()
        self._teach(lib.smft_learner_run, check, callback.pointer, None, ctypes.byref(raw), progress=callback)
        return RunReport(**{name: getattr(raw, name) for name in RunReport.__dataclass_fields__})

    def step_batch(self, sequences: Iterable[Any], weights: Optional[Iterable[Any]] = None) -> Report:
        """One update on id lists of the caller's own, with any patch: pretraining and finetuning loops.

        weights: for each sequence, the weight of predicting each of its tokens (the first is ignored); None: 1.
        """
        ids, lengths = _arrays.sequences(sequences)
        batch = _abi.Batch(ids=ids.pointer, lengths=lengths.pointer, n_sequences=lengths.n)
        if weights is not None:
            flat = _flat_weights(weights, list(lengths.owner))
            batch.token_weights = flat.pointer
        raw = _abi.Report()

        def then(status: int, path: Any) -> Report:
            check(status, path)
            return self._report(raw)

        return self._teach(lib.smft_learner_step_batch, then, ctypes.byref(batch), ctypes.byref(raw))

    def cancel(self) -> None:
        """Makes the running step or run raise CancelledError soon.  From any thread."""
        invoke(lib.smft_learner_cancel, self, mode=PEEK, then=result)

    def selected(self) -> List[Tuple[int, int, float]]:
        """The rows that the last step updated, best score first: (pool, slot, score)."""
        return together("selected", [(self, INSIDE)], self._selected)

    def _selected(self) -> List[Tuple[int, int, float]]:
        n = c_int64()
        invoke(lib.smft_learner_selected, self, None, 0, n, mode=INSIDE)
        if n.value == 0:
            return []
        raw = (_abi.Selected * n.value)()
        invoke(lib.smft_learner_selected, self, raw, n.value, n, mode=INSIDE)
        return [(one.pool, one.slot, one.score) for one in raw[:n.value]]

    def _report(self, raw: _abi.Report) -> Report:
        fields = {name: getattr(raw, name) for name in ("step", "loss", "gradient_norm", "lr", "rows_selected", "slots_read", "reads",
                                                        "tokens", "tokens_supervised", "seconds", "pending", "wordings", "wordings_learnt",
                                                        "worst_loss", "check_tokens", "check_seconds", "wordings_left_out")}
        fact_id = (raw.fact_id or b"").decode("utf-8", "replace")  # before the next call: it is borrowed
        selected = self.selected() if raw.rows_selected and self._selects else []
        return Report(fact_id=fact_id, fact_state=FACT_STATES.get(raw.fact_state, "?"), selected=selected,
                      reason=REASONS.get(raw.reason, "?"), rolled_back=raw.rolled_back != 0,
                      facts_finished=max(0, self._pushed - raw.pending), facts_total=self._pushed, **fields)

    def _describe(self) -> str:
        return f"{self.pending} facts pending, on {self._patch!r}"


def _wording(given: Any, id: Text) -> _abi.Wording:
    if isinstance(given, dict):
        unknown = set(given) - {"prompt", "answer", "end", "statement", "exact"}
        if unknown:
            raise InvalidError(f"fact {id!r}: a wording has no {', '.join(map(repr, sorted(unknown)))}")
        given = Wording(**given)
    elif isinstance(given, (tuple, list)):
        if len(given) not in (2, 3):
            raise InvalidError(f"fact {id!r}: a wording is (prompt, answer) or (prompt, answer, end), got {len(given)} parts")
        given = Wording(*given)
    if not isinstance(given, Wording):
        raise TypeError(f"fact {id!r}: a wording is a Wording, a tuple or a dict, got {type(given).__name__}")
    texts = {name: getattr(given, name) for name in ("prompt", "answer", "end", "statement")}
    return _abi.Wording(flags=_abi.CONSTANTS["WORDING_EXACT"] if given.exact else 0,
                        **{name: None if text is None else c_text(text, name) for name, text in texts.items()})


def _flat_weights(weights: Iterable[Any], lengths: List[int]) -> _arrays.Borrowed:
    together = array.array("f")
    rows = list(weights)
    if len(rows) != len(lengths):
        raise InvalidError(f"weights are for {len(rows)} sequences, but there are {len(lengths)}")
    for i, (row, length) in enumerate(zip(rows, lengths)):
        one = _arrays.floats(row, f"weights[{i}]")
        if one.n != length:
            raise InvalidError(f"weights[{i}] has {one.n} numbers for a sequence of {length} tokens")
        together.frombytes(ctypes.string_at(one.pointer, one.n * 4) if one.n else b"")
    return _arrays.borrow_array(together, c_float)
