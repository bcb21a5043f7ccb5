"""peers: who a row is compared with: PyTorch and llama.cpp in the forms that compute with the same
precision as ours.  All of a row's peers are timed; the fastest counts, the others are a remark."""
import os
from collections import namedtuple

from worker import Side

# How PyTorch runs: label, peer_model.py's mode, kind of the weights in its directory.
Mode = namedtuple("Mode", "label mode kind")
TORCH = {"f32": [Mode("PyTorch", "eager", "f32"), Mode("PyTorch compiled", "compiled", "f32")],
         "bf16": [Mode("PyTorch bf16", "eager", "bf16"),
                  Mode("PyTorch autocast", "autocast", "f32")]}
# One token at a time there is nothing to fuse.
NO_COMPILER = {"decode"}


class Rival:
    """side: its timings; make(**more): a process of its own that does the same, for its memory;
    refused: why its results are not ours."""

    def __init__(self, label, worker, question, make, threads, fixed=False, remember=None):
        """question: with {} for the threads: one and all of them are tried, or (fixed) all."""
        self.label, self.worker, self.make, self.refused = label, worker, make, None
        self.threads, self.question = threads, question.format(threads)
        settings = [threads] if fixed else sorted({1, threads})
        self.side = Side(worker, settings={n: question.format(n) for n in settings},
                         remember=remember, is_rival=True)

    @property
    def counts(self):
        return self.side.measured is not None and not self.refused

    @property
    def name(self):
        return "%s, %d thr" % (self.label, self.side.best) if self.side.best else self.label


def script_of(bench, name, kind, task, mode):
    """The program that does a task, and its words."""
    directory = bench.models.directory(name, kind)
    if task == "fact":
        return "peer_graft.py", directory, mode, bench.graft(name)
    return "peer_model.py", directory, mode


def torch(bench, name, kind, task, question, threads):
    """PyTorch on a model, in every way of that precision."""
    rivals = []
    for mode in TORCH.get(kind, ()):
        compiled = mode.mode == "compiled"
        if compiled and task in NO_COMPILER:
            continue

        def make(mode=mode, **options):
            return bench.torch(*script_of(bench, name, mode.kind, task, mode.mode), **options)
        rivals.append(Rival(mode.label, make(), question, make, threads, compiled,
                            "%s %s %s %d" % (mode.label, task, name, threads)))
    return rivals


def llama(bench, name, kind, task, question, threads):
    """llama.cpp on the same weights in a GGUF file."""
    def make(**more):
        return bench.llama(name, kind, **more)
    return [Rival("llama.cpp %s" % kind.upper(), make(), question, make, threads,
                  remember="llama %s %s %s %d" % (task, name, kind, threads))]


def check(bench, key, ours, rivals, question, theirs, tolerance, **more):
    """Says of each rival why its results are not ours; each pair is asked once in a run.
    theirs: the question with {} for the threads."""
    for rival in rivals:
        known = (key, rival.label)
        if known not in bench.checked:
            bench.checked[known] = bench.disagreement(
                (ours, question), (rival.worker, theirs.format(rival.threads)),
                tolerance, **more)
        rival.refused = bench.checked[known]


def compile_all(bench, groups):
    """Has the compiled models compiled before anything is timed: the compiler keeps what it made in
    a folder, and the processes that are timed find it there, those of later runs, too.  groups:
    names of what is measured."""
    for name, threads in bench.compiled_models():
        work = bench.models.work(name)
        for task, words in (("prefill", (work.prompt,)),
                            ("train", (work.sequences, work.length)),
                            ("lora", (work.sequences, work.length, work.targets)),
                            ("fact", work.fact)):
            stamp = os.path.join(bench.options.compiled, "%s.%s.%d.torch-%s" % (
                task, name, threads, bench.facts["torch"]["version"]))
            if "%s.%s" % (task, name) not in groups or os.path.exists(stamp):
                continue
            bench.say("PyTorch compiles %s of %s, %d threads" % (task, name, threads))
            worker = bench.torch(*script_of(bench, name, "f32", task, "compiled"), seconds=1e-6)
            if bench.tried(worker, " ".join(map(str, (task, *words, threads)))):
                os.makedirs(bench.options.compiled, exist_ok=True)
                with open(stamp, "w", encoding="utf-8"):
                    pass
            worker.close()
