"""training: full, LoRA and sparse steps of whole models: against PyTorch, and the sparse step
against our own full one."""
import peers
from inference import (label, limits_of, once, operations, peak_of, scaling, target_of,
                       threads_of)
from rows import SHARE, Target
from variants import PLAIN, arithmetic

TOLERANCE = {"f32": 1e-3, "bf16": 0.05}  # of the losses of a few steps
CHECKED_STEPS = {True: 1, False: 3}      # of a real model, and of a small one
FULL, SUPERVISED = 256, 16  # tokens of a step; of them those that an answer has
TRAIN = {"f32": 1.15, "bf16": 1.1}  # ratio to the best peer that is asked for
LORA = {"f32": 1.25, "bf16": 1.6}
FACT = {"bf16": 2.0}
LLMC = 5


def ms(rate):
    """Tokens a second of steps of 256 tokens as milliseconds a step."""
    return 1e3 * FULL / rate


def learner(bench, name, **more):
    return bench.model(name, program="bench_learn", **more)


def batch(bench, name):
    work = bench.models.work(name)
    return "%d %d" % (work.sequences, work.length)


# ---- against PyTorch ----

def train(bench, name):
    """Every weight.  Weights are f32 on our side, whatever the products are computed in."""
    kinds = ["f32"] + (["bf16"] if may_round(bench, name) else [])
    for kind in kinds:
        for threads in threads_of(bench, name):
            step_of(bench, "train", name, kind, threads, "train " + batch(bench, name),
                    "losses %d " + batch(bench, name), TRAIN)
            bench.close_workers(peers=False)
        bench.close_workers()
    if name in bench.scale.dense:
        compare_threads(bench, name)


def may_round(bench, name):
    return name in bench.models.real and bench.variants.has_fast


def lora(bench, name):
    kinds = ["f32"] + (["bf16"] if name in bench.models.real else [])
    words = "%s %d" % (batch(bench, name), bench.models.work(name).targets)
    for kind in kinds:
        for threads in threads_of(bench, name):
            folder = "%s/lora-%s" % (bench.scratch, kind)
            step_of(bench, "lora", name, kind, threads, "lora " + words,
                    "losses_lora %d " + words + " " + folder, LORA)
            bench.close_workers(peers=False)
        bench.close_workers()


def sides_of(bench, task, name, kind, threads, question):
    """{variant: our side}.  Full steps round products alone: their weights stay f32."""
    weights = "f32" if task == "train" else kind
    return {variant: bench.side(learner(bench, name, threads=threads, kind=weights,
                                        variant=variant), question)
            for variant in bench.variants.of(kind)
            if not (task == "train" and kind == "bf16" and variant.name != "fast")}


def step_of(bench, task, name, kind, threads, question, losses, targets):
    sides = sides_of(bench, task, name, kind, threads, question)
    rivals = peers.torch(bench, name, kind, task, question + " {}", threads)
    steps = CHECKED_STEPS[name in bench.models.real]
    first = next(iter(sides.values()))
    peers.check(bench, (task, name, kind), first.worker, rivals, losses % steps,
                losses % steps + " {}", TOLERANCE[kind])
    limits = {variant: arithmetic(bench, threads, variant, kind) for variant in sides}
    bench.in_turn(*sides.values(), *(rival.side for rival in rivals), *once(limits),
                  rounds=bench.few_rounds)
    units = operations_of(bench, task, name)
    for variant, side in sides.items():
        bench.race(label(task, name, kind, variant.name, "%dthr" % threads), "tokens/s", side,
                   rivals, limits=limits_of(limits[variant], units),
                   target=target_of(variant, kind, targets, sides),
                   peak=peak_of(bench, name, threads, question, program="bench_learn",
                                kind="f32" if task == "train" else kind, variant=variant))


def operations_of(bench, task, name):
    """Of a step, for each token: forward, and the same again for the gradient of each factor; the
    lowest block's input needs none."""
    length, layers = bench.models.work(name).length, bench.about(name)["layers"]
    passes = 3 - 1 / layers if task == "train" else 2 - 1 / layers
    return passes * operations(bench, name, length, length - 1) / length


def compare_threads(bench, name):
    question = "train " + batch(bench, name)
    ours, single = learner(bench, name), learner(bench, name, threads=1)
    refused = bench.hashes_differ("hash_train", ours, single)
    mine, alone = bench.side(ours, question), bench.side(single, question)
    bench.in_turn(mine, alone)
    bench.row("train.%s.llmc" % name, "tokens/s", mine, target=Target("ratio", ">=", LLMC),
              note="llm.c is in no package registry")
    scaling(bench, "train.%s" % name, mine, alone, refused)
    bench.close_workers()


# ---- steps of a grafted model ----

def fact(bench, name):
    """smft_step of a fact's wordings on a grafted model, against PyTorch that does the same by
    hand: no gradient but that of what the memory put out."""
    for kind in ("f32", "bf16"):
        for threads in threads_of(bench, name):
            fact_in(bench, name, kind, threads)
            bench.close_workers(peers=False)
        bench.close_workers()


def fact_in(bench, name, kind, threads):
    count, length, answer = bench.models.work(name).fact
    words = "%d %d %d" % (count, length, answer)
    sides = {variant: bench.side(bench.ours("bench_learn", bench.graft(name, kind), threads,
                                            variant.flags), "fact " + words)
             for variant in bench.variants.of(kind)}
    rivals = peers.torch(bench, name, kind, "fact", "fact %s {}" % words, threads)
    check = "first_loss " + words
    peers.check(bench, ("fact", name, kind), sides[PLAIN].worker, rivals, check, check + " {}",
                TOLERANCE[kind])
    bench.in_turn(*sides.values(), *(rival.side for rival in rivals))
    for variant, side in sides.items():
        bench.race(label("fact", name, kind, variant.name, "%dthr" % threads), "steps/s", side,
                   rivals, convert=(1 / (count * length)).__mul__,
                   target=target_of(variant, kind, FACT, sides))


# ---- the sparse step ----

def step(bench, shape, dense):
    """smft_step of a fact of 256 tokens, its first and the further ones, loss on all or on the
    answer's 16, against the full step of the same model, and of the model without memory."""
    def side(question, model=shape, **more):
        return bench.side(learner(bench, model, **more), question)

    full, full_dense = side("train"), side("train", dense)
    steps = {"first.all": (side("step"), "step", 0.55),
             "first.answer": (side("step %d" % SUPERVISED), "step %d" % SUPERVISED, 0.55),
             "repeated.all": (side("again"), "again", 0.40),
             "repeated.answer": (side("again %d" % SUPERVISED), "again %d" % SUPERVISED, 0.40)}
    alone = side("step", threads=1)
    bench.in_turn(full, full_dense, *(one for one, _, _ in steps.values()), alone)
    full_mb = bench.peak(lambda **more: learner(bench, shape, **more), "train")
    for name, (one, question, most) in steps.items():
        peak = bench.peak(lambda **more: learner(bench, shape, **more), question)
        bench.row("step.%s.%s" % (name, shape), "ms", one, full, "full step of %s" % shape,
                  convert=ms, kind=SHARE, target=Target("ratio", "<=", most), ours_mb=peak,
                  peer_mb=full_mb)
        bench.row("step.%s.%s" % (name, dense), "ms", one, full_dense, "full step of %s" % dense,
                  convert=ms, kind=SHARE, target=Target("ratio", "<=", most), ours_mb=peak)
    mine = steps["first.all"][0]
    scaling(bench, "step.%s" % shape, mine, alone,
            bench.hashes_differ("hash_step", mine.worker, alone.worker))


def curves(bench, shape):
    """smft_step by tokens that bear loss (the head's cost), and by the length of the fact."""
    supervised = [(n, bench.side(learner(bench, shape), "step %d" % n))
                  for n in bench.scale.supervised]
    lengths = [(n, bench.side(learner(bench, shape), "step %d %d" % (n - 1, n)))
               for n in bench.scale.step_lengths]
    bench.in_turn(*(side for _, side in supervised + lengths), rounds=bench.few_rounds)
    for n, side in supervised:
        bench.row("supervised.step.%s.%d" % (shape, n), "ms", side, convert=ms)
    for n, side in lengths:
        bench.row("length.step.%s.%d" % (shape, n), "ms", side,
                  convert=lambda rate, n=n: 1e3 * n / rate)
