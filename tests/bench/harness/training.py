"""training: full, LoRA and sparse steps of whole models: against PyTorch, and the sparse step against our own full one."""
from inference import scaling
from rows import SHARE, Target

LOSS_TOLERANCE = 1e-3  # of the losses of four steps
FULL, SUPERVISED = 256, 16  # tokens of a step; of them those that an answer has


def ms(rate):
    """Tokens a second of steps of 256 tokens as milliseconds a step."""
    return 1e3 * FULL / rate


def train(bench, shape):
    ours, single = learner(bench, shape), learner(bench, shape, threads=1)
    torch = bench.torch("peer_model.py", bench.models.directory(shape))
    refused = bench.disagreement((ours, "losses"), (torch, "losses %d" % bench.threads), LOSS_TOLERANCE)
    mine, alone, theirs = bench.side(ours, "train"), bench.side(single, "train"), bench.peer_side(torch, "train {}")
    bench.in_turn(mine, theirs, alone)
    peaks = both_peaks(bench, shape, "train")
    bench.row("train.%s.torch" % shape, "tokens/s", mine, theirs, "PyTorch AdamW", target=Target("ratio", ">=", 1.4), refused=refused,
              **peaks)
    bench.row("train.%s.llmc" % shape, "tokens/s", mine, target=Target("ratio", ">=", 5), ours_mb=peaks["ours_mb"],
              note="llm.c is in no package registry")
    scaling(bench, "train.%s" % shape, mine, alone, bench.hashes_differ("hash_train", ours, single))


def lora(bench, shape):
    ours = learner(bench, shape)
    torch = bench.torch("peer_model.py", bench.models.directory(shape))
    folder = bench.scratch + "/lora"
    refused = bench.disagreement((ours, "losses_lora " + folder), (torch, "losses_lora %s %d" % (folder, bench.threads)), LOSS_TOLERANCE)
    mine, theirs = bench.side(ours, "lora"), bench.peer_side(torch, "lora {}")
    bench.in_turn(mine, theirs)
    bench.row("lora.%s.torch" % shape, "tokens/s", mine, theirs, "PyTorch r 8", target=Target("ratio", ">=", 1.4), refused=refused,
              **both_peaks(bench, shape, "lora"))


def learner(bench, shape, **more):
    return bench.model(shape, program="bench_learn", **more)


def both_peaks(bench, shape, task):
    return {"ours_mb": bench.peak(lambda **more: learner(bench, shape, **more), task),
            "peer_mb": bench.peak(lambda **more: bench.torch("peer_model.py", bench.models.directory(shape), **more),
                                  "%s %d" % (task, bench.threads))}


def step(bench, shape, dense):
    """smft_step of a fact of 256 tokens, its first and the further ones, loss on all or on the answer's 16, against the full step of the
    same model, and of the model without memory."""
    def side(question, model=shape, **more):
        return bench.side(learner(bench, model, **more), question)

    full, full_dense = side("train"), side("train", dense)
    steps = {"first.all": (side("step"), "step", 0.55), "first.answer": (side("step %d" % SUPERVISED), "step %d" % SUPERVISED, 0.55),
             "repeated.all": (side("again"), "again", 0.40),
             "repeated.answer": (side("again %d" % SUPERVISED), "again %d" % SUPERVISED, 0.40)}
    alone = side("step", threads=1)
    bench.in_turn(full, full_dense, *(one for one, _, _ in steps.values()), alone)
    full_mb = bench.peak(lambda **more: learner(bench, shape, **more), "train")
    for name, (one, question, most) in steps.items():
        peak = bench.peak(lambda **more: learner(bench, shape, **more), question)
        bench.row("step.%s.%s" % (name, shape), "ms", one, full, "full step of %s" % shape, convert=ms, kind=SHARE,
                  target=Target("ratio", "<=", most), ours_mb=peak, peer_mb=full_mb)
        bench.row("step.%s.%s" % (name, dense), "ms", one, full_dense, "full step of %s" % dense, convert=ms, kind=SHARE,
                  target=Target("ratio", "<=", most), ours_mb=peak)
    mine = steps["first.all"][0]
    scaling(bench, "step.%s" % shape, mine, alone, bench.hashes_differ("hash_step", mine.worker, alone.worker))


def curves(bench, shape):
    """smft_step by tokens that bear loss (the head's cost), and by the length of the fact."""
    supervised = [(n, bench.side(learner(bench, shape), "step %d" % n)) for n in bench.scale.supervised]
    lengths = [(n, bench.side(learner(bench, shape), "step %d %d" % (n - 1, n))) for n in bench.scale.step_lengths]
    bench.in_turn(*(side for _, side in supervised + lengths))
    for n, side in supervised:
        bench.row("supervised.step.%s.%d" % (shape, n), "ms", side, convert=ms)
    for n, side in lengths:
        bench.row("length.step.%s.%d" % (shape, n), "ms", side, convert=lambda rate, n=n: 1e3 * n / rate)
