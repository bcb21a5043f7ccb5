"""inference: prefill, decoding and the first token of whole models against PyTorch, llama.cpp and
the machine's limits; sequence length, sessions."""
import peers
from rows import TIME, Row, Target
from variants import OF_MANY_ROWS, PLAIN, arithmetic, fastest
from worker import Measured, Unavailable

DECODED, FIRST = 128, 64  # tokens
# Of the logits' spread.  llama.cpp keeps keys and values in f16; where weights are bf16 the peers
# round what they compute, too, and llama.cpp rounds it to bytes where weights are in blocks.
TOLERANCE = {"f32": 1e-3, "bf16": 0.15}
LLAMA_TOLERANCE = {"f32": 0.02, "bf16": 0.15}
BLOCK_TOLERANCE = 0.25
SHARE_OF_SAMPLES = 0.9  # of the logits of rounded weights
SCALING = Target("ratio", ">=", 1.8)
PREFILL = {"f32": 1.25, "bf16": 1.1, "q4_1": 1.2}  # ratio to the best peer that is asked for
DECODE = {"f32": 1.5, "bf16": 1.5, "q8_0": 1.0, "q4_1": 1.0, "q4_k": 1.0}
BANDWIDTH = 0.85
PLAIN_KINDS = ("f32", "bf16")


# ---- who takes part ----

def rivals_of(bench, name, kind, task, torch_question, llama_question, threads):
    return peers.torch(bench, name, kind, task, torch_question, threads) + \
        peers.llama(bench, name, kind, task, llama_question, threads)


def agree(bench, name, kind, ours, rivals):
    """Whose logits are ours, and in f32 the likeliest token, too."""
    question = "logits %d" % bench.models.work(name).prompt
    for group, tolerance in (("PyTorch", TOLERANCE), ("llama", LLAMA_TOLERANCE)):
        peers.check(bench, ("logits", name, kind), ours,
                    [rival for rival in rivals if rival.label.startswith(group)], question,
                    question + " {}", tolerance.get(kind, BLOCK_TOLERANCE),
                    share=1.0 if kind == "f32" else SHARE_OF_SAMPLES, same_next=kind == "f32")


def agree_in_f32(bench, name, kind, ours, rivals):
    """Whether llama.cpp has our logits where it reads the same weights written out as F32: with
    Gemma's blocks it rounds activations so much that its own logits move by a third of their
    spread."""
    exact = peers.llama(bench, name, "f32", "logits", "", bench.threads)
    agree(bench, name, "f32", ours, exact)
    for rival in rivals:
        rival.refused = exact[0].refused


def label(*parts):
    return ".".join(str(part) for part in parts if part)


def sides_of(bench, name, kind, question, threads):
    """{variant: our side}.  Flags for products of many rows change nothing in decoding."""
    return {variant: bench.side(bench.model(name, threads, kind=kind, variant=variant), question)
            for variant in bench.variants.of(kind)
            if question != "decode" or variant.name not in OF_MANY_ROWS}


def target_of(variant, kind, targets, sides):
    """In f32 targets are for what everybody gets, else for the fastest way that there is."""
    held = PLAIN if kind == "f32" else fastest(sides)
    wanted = targets.get(kind) if variant == held else None
    return Target("ratio", ">=", wanted) if wanted else None


# ---- prefill ----

def operations(bench, name, length, logits=1):
    """Of a sequence: products with all weights, the head's for so many tokens, and attention."""
    about = bench.about(name)
    head = about["vocab"] * about["hidden"]
    return 2 * (about["parameters"] - head) * length + 2 * head * logits + \
        2 * about["layers"] * about["hidden"] * length * length


def prefill(bench, name):
    for kind in kinds_of(bench, name) + blocks(bench, name, ("q4_1",)):
        for threads in threads_of(bench, name):
            prefill_in(bench, name, kind, threads)
            bench.close_workers(peers=False)
        bench.close_workers()
    if name == bench.scale.main:
        scaling_of(bench, name)


def rounds_of(bench, name):
    return bench.rounds if name in [*bench.models.real, bench.scale.main] else bench.few_rounds


def kinds_of(bench, name):
    return ["f32", "bf16"] if name in [*bench.models.real, bench.scale.main] else ["f32"]


def threads_of(bench, name):
    return bench.each_threads if name in bench.models.real else [bench.threads]


def blocks(bench, name, kinds):
    """Those kinds of blocks that a real model is measured in."""
    if name not in bench.models.real:
        return []
    return [kind for kind in kinds if kind in bench.scale.blocks and
            (kind == "q8_0" or bench.models.is_source(name, kind))]


def prefill_in(bench, name, kind, threads):
    length = bench.models.work(name).prompt
    question = "prefill %d" % length
    sides = sides_of(bench, name, kind, question, threads)
    rivals = rivals_of(bench, name, kind, "prefill", question + " {}", question + " {}", threads)
    agree(bench, name, kind, sides[PLAIN].worker, rivals)
    limits = {variant: arithmetic(bench, threads, variant, kind) for variant in sides}
    bench.in_turn(*sides.values(), *(rival.side for rival in rivals), *once(limits),
                  rounds=rounds_of(bench, name))
    for variant, side in sides.items():
        bench.race(label("prefill", name, kind, variant.name, "%dthr" % threads), "tokens/s", side,
                   rivals, limits=limits_of(limits[variant],
                                            operations(bench, name, length) / length),
                   target=target_of(variant, kind, PREFILL, sides),
                   peak=peak_of(bench, name, threads, question, kind=kind, variant=variant))


def peak_of(bench, name, threads, question, **how):
    """(make, question) where memory is measured: with all threads, not of every model."""
    if threads != bench.threads or name not in [*bench.models.real, bench.scale.main]:
        return None
    return lambda **more: bench.model(name, threads, **how, **more), question


def once(limits):
    """Limits of several variants: each side once."""
    return [side for found in limits.values() for side, _ in found]


def limits_of(found, units):
    """units: operations of one of ours."""
    return [(side, units * factor) for side, factor in found]


def scaling_of(bench, name):
    """One thread against all of them."""
    question = "prefill %d" % bench.models.work(name).prompt
    ours, single = bench.model(name), bench.model(name, threads=1)
    refused = bench.hashes_differ("hash", ours, single)
    mine, alone = bench.side(ours, question), bench.side(single, question)
    bench.in_turn(mine, alone)
    scaling(bench, "prefill.%s" % name, mine, alone, refused)
    bench.close_workers()


def scaling(bench, name, mine, alone, refused, convert=None):
    bench.row("scaling.%s" % name, "tokens/s", mine, alone, "ours, 1 thr", convert=convert,
              target=SCALING if bench.threads == 2 else None, refused=refused,
              note="" if refused else "bit-identical")


# ---- decoding ----

def decode(bench, name):
    for kind in kinds_of(bench, name) + blocks(bench, name, ("q8_0", "q4_1")):
        for threads in threads_of(bench, name):
            decode_in(bench, name, kind, threads)
            bench.close_workers(peers=False)
        bench.close_workers()


def decode_file(bench, name, kind):
    """A model that is there in one kind of blocks alone."""
    for threads in bench.each_threads:
        decode_in(bench, name, kind, threads, agree_in_f32)
        bench.close_workers(peers=False)


def decode_in(bench, name, kind, threads, agrees=agree):
    sides = sides_of(bench, name, kind, "decode", threads)
    rivals = rivals_of(bench, name, kind, "decode", "decode {}", "decode {}", threads)
    agrees(bench, name, kind, sides[PLAIN].worker, rivals)
    size = bench.about(name, kind)["bytes"]
    limit = bench.limit.stream(threads, size)
    bench.in_turn(*sides.values(), *(rival.side for rival in rivals), limit,
                  rounds=rounds_of(bench, name))
    for variant, side in sides.items():
        row = label("decode", name, kind, variant.name, "%dthr" % threads)
        bench.race(row, "tokens/s", side, rivals, limits=[(limit, size)],
                   target=target_of(variant, kind, DECODE, sides),
                   peak=peak_of(bench, name, threads, "decode", kind=kind, variant=variant))
        if kind in PLAIN_KINDS and name == bench.scale.main and variant == PLAIN:
            bench.row(row + ".bandwidth", "GB/s", side, peer_name="stream of as many bytes",
                      limits=[(limit, size)], convert=1e-9.__mul__, ours_units=size,
                      target=Target("limit_share", ">=", BANDWIDTH))


# ---- the first token of a new process ----

def first(bench, name):
    """Our time over llama.cpp's, each in a process of its own, the file in the page cache."""
    kind = next((kind for kind in ("q4_1", "q4_k", "q8_0") if kind in bench.scale.blocks), "f32")
    makers = {"ours": lambda: bench.model(name, kind=kind),
              "llama": lambda: bench.llama(name, kind)}
    questions = {"ours": "first %d" % FIRST, "llama": "first %d %d" % (FIRST, bench.threads)}
    times, tokens, errors = {who: [] for who in makers}, {}, {}
    for i in range(bench.rounds + 1):  # the first does not count: files come into the page cache
        bench.say("round %d of %d" % (i, bench.rounds))
        for who, make in makers.items():
            worker = make()
            try:
                answer = worker.ask(questions[who])
                times[who].append(answer["ms"])
                tokens[who] = answer["next"]
            except Unavailable as error:
                errors[who] = str(error)
            worker.close()
    found = {who: Measured(values[1:]) if len(values) > 1 else None
             for who, values in times.items()}
    note = errors.get("ours") or errors.get("llama", "")
    if not errors and tokens["ours"] != tokens["llama"]:
        note = "the tokens are %d and %d" % (tokens["ours"], tokens["llama"])
    bench.rows.append(Row("first.%s.%s.%dthr" % (name, kind, bench.threads), "ms", found["ours"],
                          found["llama"], TIME, "llama.cpp %s, %d thr" % (kind.upper(),
                                                                          bench.threads),
                          target=Target("ratio", ">=", 1.0), note=note))


# ---- curves ----

def lengths(bench, shape):
    """A curve: prefill of one sequence, by its length."""
    sides = [(n, bench.side(bench.model(shape), "prefill %d" % n)) for n in bench.scale.lengths]
    bench.in_turn(*(side for _, side in sides), rounds=bench.few_rounds)
    for n, side in sides:
        bench.row("length.prefill.%s.%d" % (shape, n), "tokens/s", side)


def sessions(bench, shape):
    """A curve: sessions that decode at once on one model, tokens of all of them."""
    sides = [(n, bench.side(bench.model(shape), "sessions %d" % n)) for n in bench.scale.sessions]
    bench.in_turn(*(side for _, side in sides), rounds=bench.few_rounds)
    for n, side in sides:
        bench.row("sessions.%s.%d" % (shape, n), "tokens/s", side,
                  ours_mb=bench.peak(lambda **more: bench.model(shape, **more), "sessions %d" % n))
