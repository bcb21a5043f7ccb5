"""memory: the memory layer alone, by size of the pool and tokens: forward and sparse step against
PyTorch, gather against plain reads, peak memory."""
import os

import peers
from rows import SHARE, TIME, Row, Target, differ
from worker import Limit, Measured, Unavailable

TOLERANCE, SHARE_OF_SAMPLES = 1e-3, 0.9  # two slots of the same score may change places, and
                                         # change a number with it
SPARE_BYTES = 2e9
LABELS = {"hand": "PyTorch by hand", "sparse": "PyTorch sparse autograd",
          "dense": "PyTorch dense gradient"}
FORWARD, STEP = 3, 2  # ratio to the best peer that is asked for


def ms(rate):
    return 1e3 / rate


def pool_name(n_keys):
    slots = n_keys * n_keys
    return "%dM" % (slots >> 20) if slots >> 20 else "%dK" % (slots >> 10)


def available_bytes():
    with open("/proc/meminfo", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return 1024 * int(lines["MemAvailable"].split()[0])


def too_large(d, n_keys, tables):
    """Why so many tables do not fit, or None."""
    need = tables * 4.0 * n_keys * n_keys * d + SPARE_BYTES
    return None if need < available_bytes() else "%.1f GB of free memory are needed" % (1e-9 * need)


class Layer:
    """The layer at one size, on our side and on the peers'."""

    def __init__(self, bench, d, n_keys, tokens, threads):
        self.bench, self.d, self.n_keys, self.tokens = bench, d, n_keys, tokens
        self.threads = threads
        self.name = "d%d.%s.%d.%dthr" % (d, pool_name(n_keys), tokens, threads)

    @property
    def is_main(self):
        """Of most tokens and all threads: more than the step is looked at."""
        return (self.tokens, self.threads) == (self.bench.scale.tokens[-1], self.bench.threads)

    def ours(self, *words, **more):
        return self.bench.ours("bench_memory", self.d, self.n_keys, self.threads, self.tokens,
                               *words, **more)

    def torch(self, **more):
        made = self.bench.torch("peer_memory.py", self.d, self.n_keys, self.tokens, **more)
        why = too_large(self.d, self.n_keys, 2.5)
        if why and not made.failed:
            made.failed = "PyTorch: " + why
        return made

    def rivals(self, worker, steps):
        """Of one process, so that there is one table."""
        return [peers.Rival(LABELS.get(step, "PyTorch"), worker, step + " {}", self.torch,
                            self.threads, fixed=True) for step in steps]


def layers(bench, d):
    small = bench.scale.keys[0]
    for n_keys in bench.scale.keys:
        for tokens in bench.scale.tokens:
            for threads in bench.each_threads if n_keys == small else [bench.threads]:
                one_layer(Layer(bench, d, n_keys, tokens, threads), n_keys == small)
                bench.close_workers(peers=False)
            bench.close_workers()


def one_layer(layer, is_smallest):
    bench, ours, torch = layer.bench, layer.ours(), layer.torch()
    steps = ["hand", "sparse"] + (["dense"] if is_smallest else [])
    mine, my_step = bench.side(ours, "forward"), bench.side(ours, "step")
    forward, rivals = layer.rivals(torch, ["forward"]), layer.rivals(torch, steps)
    if is_smallest:
        compare(layer, rivals)
    known = {rival.label: bench.checked.get((layer.d, layer.tokens, rival.label))
             for rival in rivals}
    for rival in rivals:
        rival.refused = known[rival.label]
    forward[0].refused = known[LABELS["hand"]]
    bench.in_turn(my_step, *(rival.side for rival in rivals), rounds=bench.few_rounds)
    if layer.is_main:
        bench.in_turn(mine, forward[0].side, rounds=bench.few_rounds)
        gather(layer, ours)
    bench.close_workers(peers=False)
    counted = [rival for rival in rivals if rival.label != LABELS["dense"]]
    row = bench.race("memory.step." + layer.name, "ms", my_step, counted, convert=ms, kind=TIME,
                     target=Target("ratio", ">=", STEP), note=dense_remark(bench, my_step, rivals))
    if layer.is_main:
        bench.race("memory.forward." + layer.name, "ms", mine, forward, convert=ms, kind=TIME,
                   target=Target("ratio", ">=", FORWARD))
        if layer.n_keys in (bench.scale.keys[0], bench.scale.keys[-1]):
            memory_of_step(layer, row, counted)


def dense_remark(bench, mine, rivals):
    """The dense step does what nobody has to: it is told of, and never counts."""
    dense = [rival for rival in rivals if rival.label == LABELS["dense"]]
    return bench.remark(mine, dense[0], ms) if dense else ""


def gather(layer, ours):
    """The rows into sums, against the same rows only looked at."""
    bench = layer.bench
    try:
        methods = range(ours.ask("plain_methods")["rows"])
    except Unavailable:
        methods = ()
    side = bench.side(ours, "gather")
    plain = Limit(ours, settings={i: "plain %d" % i for i in methods}) if methods else None
    bench.in_turn(side, plain, rounds=bench.few_rounds)
    bench.row("memory.gather." + layer.name, "GB/s", side, peer_name="the same rows read",
              limits=[(plain, 1)], convert=1e-9.__mul__)


def compare(layer, rivals):
    """Of the output, and of the chosen rows' gradient, on the same inputs."""
    bench = layer.bench
    folder = os.path.join(bench.scratch, "layer-%s" % layer.name)
    os.makedirs(folder, exist_ok=True)
    worker = layer.ours()
    try:
        mine = worker.ask("check " + folder)
    except Unavailable as error:
        mine = {"error": str(error)}
    worker.close()
    for rival in rivals:
        key = (layer.d, layer.tokens, rival.label)
        if key not in bench.checked:
            bench.checked[key] = mine.get("error") or differs(bench, mine, rival, folder)


def differs(bench, mine, rival, folder):
    step, threads = rival.question.split()
    theirs = bench.tried(rival.worker, "check %s %s %s" % (step, folder, threads))
    if theirs is None:
        return None
    if mine["rows"] != theirs["rows"]:
        return "%d rows chosen here, %d there" % (mine["rows"], theirs["rows"])
    return differ(mine["numbers"], theirs["numbers"], TOLERANCE, share=SHARE_OF_SAMPLES) or \
        differ(mine["gradient"], theirs["gradient"], TOLERANCE, share=SHARE_OF_SAMPLES)


def memory_of_step(layer, row, rivals):
    bench = layer.bench
    if not bench.scale.has_peaks:
        return
    bench.say("peak memory")
    worker, found = layer.ours(), None
    try:
        found = worker.ask("memory")
    except Unavailable as error:
        row.note = str(error)
    worker.close()
    note = found and "%.0f MB with the layer's weights, input and output; the library's " \
        "allocator had %.0f" % (found["process_mb"], found["library_mb"])
    bench.rows.append(Row("memory.peak." + layer.name, "MB",
                          found and Measured([found["step_mb"]]),
                          target=Target("ours", "<=", 100), note=note or ""))
    if found:
        row.ours_mb = found["process_mb"] + 4e-6 * layer.n_keys * layer.n_keys * layer.d
    best = next((rival for rival in rivals if row.peer_name.startswith(rival.label)), None)
    row.peer_mb = best and bench.peak(best.make, best.question)


def growth(bench, d):
    """The step on the largest pool against that on the smallest, in turn."""
    small, large = bench.scale.keys[0], bench.scale.keys[-1]
    few, many = (bench.side(Layer(bench, d, n_keys, bench.scale.tokens[-1], bench.threads).ours(),
                            "step") for n_keys in (small, large))
    bench.in_turn(few, many)
    bench.row("memory.growth.d%d" % d, "ms", many, few, "ours, " + pool_name(small), convert=ms,
              kind=SHARE, target=Target("ratio", "<=", 2.5), note="step on " + pool_name(large))


def mapped(bench, d):
    """The curve's last point: a pool that only a mapped file can hold.  Its values are zeros (a
    hole in the file)."""
    n_keys = bench.scale.mapped_keys
    worker = Layer(bench, d, n_keys, bench.scale.tokens[-1], bench.threads).ours(bench.folder)
    forward, step = bench.side(worker, "forward"), bench.side(worker, "step")
    bench.in_turn(forward)
    bench.in_turn(step)
    for name, side in (("forward", forward), ("step", step)):
        bench.row("memory.%s.d%d.%s.mapped" % (name, d, pool_name(n_keys)), "ms", side, convert=ms,
                  note="a mapped file; no peer holds it")
