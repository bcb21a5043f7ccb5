"""context: what every measurement needs: the options of the run, the programs of ours and of the
peers, and rows made of what was timed."""
import os
import shutil
import tempfile

from limits import Limits
from models import Models
from rows import SPEED, Row, differ
from variants import PLAIN, Variants
from worker import Quiet, Side, Unavailable, Worker, in_turn

SETTLE = 0.1  # seconds: OpenMP's and ggml's threads look for work for a while after a call
OLDEST_TORCH = (2, 10)  # older ones are not what a reader has
LONG = 900  # seconds that a first question may take: PyTorch compiles


class Scale:
    """What is measured: everything, less, or next to nothing on tiny models (to try the benchmark
    itself)."""

    def __init__(self, kind):
        full, smoke = kind == "full", kind == "smoke"
        self.kind = kind
        self.rounds = {"full": 5, "quick": 2, "smoke": 1}[kind]
        self.few_rounds = {"full": 3, "quick": 1, "smoke": 1}[kind]  # of steps that take seconds
        self.seconds = {"full": 0.4, "quick": 0.2, "smoke": 0.005}[kind]
        self.dense = ["S"] if smoke else ["A", "B"] if full else ["B"]
        self.real = ["R"] if smoke else ["smollm2"]
        self.blocks = ["q8_0"] if smoke else ["q8_0", "q4_1"]
        self.main, self.sparse = ("S", "T") if smoke else ("B", "M")
        self.open_pool = ("T", 128) if smoke else ("G", 1024)
        self.patch_pool = ("T", 128) if smoke else ("P", 1024)
        self.graft_block, self.graft_keys = (1, 512) if smoke else (3, 1024)
        self.widths = [64] if smoke else [576, 1024]
        self.keys = [32, 64] if smoke else [128, 256, 1024] if full else [128, 256]
        self.tokens = [16, 64] if smoke else [64, 2048]
        self.mapped_keys = 128 if smoke else 2048
        self.facts = [1, 100] if smoke else [1, 10, 100, 1000, 10000]
        self.lengths = [64, 256] if smoke else [64, 128, 256, 512, 1024, 2048]
        self.step_lengths = [64] if smoke else [64, 128, 256, 512]
        self.supervised = [1] if smoke else [1, 16, 64, 255]
        self.sessions = [1, 2] if smoke else [1, 2, 4, 8]
        self.products = [(64, 64, 64)] if smoke else [(512, 1536, 576), (512, 576, 1536),
                                                      (512, 576, 576)]
        self.table_mb = 64 if smoke else 4000
        self.has_peaks = kind != "quick"  # peak memory: a process of its own each


class Context:
    def __init__(self, options, scale, progress):
        self.options, self.scale, self.say = options, scale, progress
        self.rounds, self.threads = options.rounds or scale.rounds, options.threads
        self.few_rounds = options.rounds or scale.few_rounds
        self.build = options.build
        self.here = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.folder = options.out
        folder = options.models or os.path.join(self.build, "bench", "models")
        self.models = Models(os.path.join(folder, ""), self.program("bench_make"), options.real)
        self.log = os.path.join(self.folder, "programs.log")
        self.quiet, self.memory, self.workers, self.rows = Quiet(options.wait), {}, [], []
        self.peaks = {}  # memory of processes that were asked already
        self.kept = {}  # peers that go on while ours are closed: they take seconds to start
        self.scratch = tempfile.mkdtemp(prefix="scratch-", dir=self.folder)
        self.missing = {}  # peer -> why it cannot be had
        self.checked = {}  # who was found to have our results, or why not
        self.found = {}    # about models, by name and kind
        self.facts = {}    # about the run, for run.json
        self.limit = Limits(self)
        self.variants = Variants(self, options.header)
        for peer in ("torch", "llama"):
            if peer not in options.peers:
                self.missing[peer] = "not asked for"

    @property
    def each_threads(self):
        return sorted({1, self.threads})

    # ---- programs ----

    def program(self, name):
        return os.path.join(self.build, "tests", "bench", name)

    def worker(self, name, command, environment=None, seconds=None, settles=0.0):
        environment = {"SMFT_BENCH_SECONDS": str(seconds or self.scale.seconds),
                       **(environment or {})}
        made = Worker(name, command, self.log, environment, settles)
        self.workers.append(made)
        return made

    def close_workers(self, peers=True):
        """All of them; or ours, and the peers go on."""
        while self.workers:
            self.workers.pop().close()
        while peers and self.kept:
            self.kept.popitem()[1].close()

    def close(self):
        self.close_workers()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def ours(self, program, *words, **more):
        return self.worker(program, [self.program(program), *map(str, words)], **more)

    def model(self, name, threads=None, program="bench_model", kind="f32", variant=PLAIN, **more):
        return self.ours(program, self.models.ours(name, kind), threads or self.threads,
                         variant.flags, **more)

    def graft(self, name, kind="f32"):
        """A model's directory with a memory grafted onto it."""
        return self.models.grafted(name, self.scale.graft_block, self.scale.graft_keys, kind)

    def limits(self, threads=None, **more):
        return self.worker("bench_limits", [self.program("bench_limits"),
                                            str(threads or self.threads),
                                            str(self.scale.table_mb)], settles=SETTLE, **more)

    def torch(self, script, *words, **more):
        environment = {"OMP_NUM_THREADS": str(self.threads),  # the most; each question says its own
                       "TORCHINDUCTOR_CACHE_DIR": self.options.compiled}
        return self.peer("torch", [self.options.python, os.path.join(self.here, "peers", script),
                                   *map(str, words)], environment, **more)

    def llama(self, name, kind="f32", **more):
        has = "llama" not in self.missing
        return self.peer("llama", [self.options.node,
                                   os.path.join(self.here, "peers", "peer_llama.mjs"),
                                   self.options.node_modules,
                                   self.models.gguf(name, kind) if has else "",
                                   str(self.about(name, kind)["vocab"]) if has else ""], **more)

    def peer(self, name, command, environment=None, **more):
        """The one that is there, unless something is asked of it that another was not."""
        key = None if more else tuple(command)
        if key in self.kept and not self.kept[key].failed:
            return self.kept[key]
        made = self.worker(name, command, environment, settles=SETTLE, **more)
        if key:
            self.workers.remove(made)
            self.kept[key] = made
        if name in self.missing:
            made.failed = "%s: %s" % (name, self.missing[name])
        return made

    def about(self, name, kind="f32"):
        """vocab, parameters, bytes, layers and hidden of a model."""
        if (name, kind) not in self.found:
            worker = self.model(name, 1, kind=kind)
            self.found[name, kind] = worker.ask("about")
            worker.close()
        return self.found[name, kind]

    # ---- before anything is compared ----

    def check_torch(self):
        """An old PyTorch, or one without MKL on a processor that MKL is for, is not compared."""
        if "torch" in self.missing:
            return
        torch = self.torch("peer_products.py")
        try:
            self.facts["torch"] = about = torch.ask("about")
            version = tuple(int(part) for part in about["version"].split(".")[:2])
            if version < OLDEST_TORCH:
                self.missing["torch"] = "%s is older than %d.%d: not compared" % (
                    about["version"], *OLDEST_TORCH)
            elif not about["mkl"] and os.uname().machine == "x86_64":
                self.missing["torch"] = "%s has no MKL: not compared" % about["version"]
        except Unavailable as error:
            self.missing["torch"] = str(error).removeprefix("torch: ")
        torch.close()

    def check_llama(self):
        if "llama" in self.missing:
            return
        if not self.options.node_modules:
            self.missing["llama"] = "node-llama-cpp is not installed (--node-modules)"
            return
        llama = self.llama(self.scale.main)
        try:
            self.facts["llama_about"] = llama.ask("about")["text"]
        except Unavailable as error:
            self.missing["llama"] = str(error).removeprefix("llama: ")
        llama.close()

    def compiled_models(self):
        """[(name, threads)] of what torch.compile is measured on."""
        if "torch" in self.missing:
            return []
        return [(name, self.threads) for name in self.scale.dense] + \
            [(name, threads) for name in self.models.real if name in self.scale.real
             for threads in self.each_threads]

    # ---- measuring ----

    def side(self, worker, question):
        return Side(worker, question)

    def in_turn(self, *sides, rounds=None):
        in_turn([side for side in sides if side], rounds or self.rounds, self.quiet, self.memory,
                self.say)

    def tried(self, worker, question):
        """The answer, or None where there is none."""
        try:
            return worker.ask(question, LONG)
        except Unavailable:
            return None

    def row(self, name, unit, ours, peer=None, peer_name="", convert=None, ours_units=1, limits=(),
            refused=None, note="", **more):
        """A row of two timed sides, whose rates are units a second.  convert: from a rate to the
        row's unit.  limits: (side, what one of our units is to it); the one that allows most
        counts.  ours_units: what one of our units is in the row's.  refused: why it is not to be
        compared."""
        def measured(side, units=1):
            found = side and side.measured
            return found and found.map(lambda rate: convert(units * rate) if convert
                                       else units * rate)

        errors = [side.error for side in (ours, peer) if side and side.error]
        errors += [side.error for side, _ in limits if side and side.error]
        allowed = [side.measured.map(lambda rate, units=units: rate / units)
                   for side, units in limits if side and side.measured]
        limit = max(allowed, key=lambda one: one.median, default=None)
        made = Row(name, unit, measured(ours, ours_units), measured(peer), peer_name=peer_name,
                   note="; ".join(text for text in (*errors, note) if text),
                   limit=limit and limit.map(lambda rate: convert(ours_units * rate) if convert
                                             else ours_units * rate),
                   **{"kind": SPEED, **more})
        self.rows.append(made.refuse(refused) if refused else made)
        return made

    def race(self, name, unit, ours, rivals, peak=None, note="", **more):
        """A row against the fastest of several peers; the others are in its note.  peak: (make,
        question) of ours, where memory is to be measured, too."""
        counting = [rival for rival in rivals if rival.counts]
        best = max(counting, key=lambda rival: rival.side.measured.median, default=None)
        refused = None if best else next((one.refused for one in rivals if one.refused), None)
        notes = [note] + [self.remark(ours, rival, more.get("convert")) for rival in rivals
                          if rival is not best and not refused]
        notes = list(dict.fromkeys(notes))  # a peer that is not there says so once
        if peak and self.scale.has_peaks and ours.measured:
            more["ours_mb"] = self.peak(*peak)
            more["peer_mb"] = best and self.peak(best.make, best.question)
        return self.row(name, unit, ours, best and best.side, best.name if best else "",
                        refused=refused, note="; ".join(text for text in notes if text), **more)

    def remark(self, ours, rival, convert):
        if not rival.counts:
            return "%s: %s" % (rival.label, rival.refused) if rival.refused else rival.side.error
        rate = rival.side.measured.median
        ratio = " (%.2f)" % (ours.measured.median / rate) if ours.measured else ""
        return "%s %.4g%s" % (rival.name, convert(rate) if convert else rate, ratio)

    def peak(self, make, *questions):
        """Peak memory of a process of its own that is asked these questions; None where it cannot
        be had or is not wanted."""
        if not self.scale.has_peaks:
            return None
        worker = make(seconds=1e-6)
        key = (*worker.command, *questions)
        if key not in self.peaks:
            self.peaks[key] = self.peak_of(worker, questions)
        return self.peaks[key]

    @staticmethod
    def peak_of(worker, questions):
        try:
            for question in questions:
                worker.ask(question)
            return worker.ask("peak")["peak_mb"]
        except Unavailable:
            return None
        finally:
            worker.close()

    def disagreement(self, ours, theirs, tolerance, same_next=False, **more):
        """Why the numbers that two (worker, question)s answer are not the same; None: they are, or
        the peer is not there.  same_next: so must the likeliest token be."""
        try:
            mine = ours[0].ask(ours[1])
        except Unavailable as error:
            return str(error)
        other = self.tried(*theirs)
        if other is None:
            return None
        if same_next and mine["next"] != other["next"]:
            return "the likeliest next token is %d here and %d there" % (mine["next"],
                                                                         other["next"])
        if "nll" in other and abs(mine["nll"] - other["nll"]) > tolerance * mine["nll"]:
            return "nll %g here and %g there" % (mine["nll"], other["nll"])
        return differ(mine["numbers"], other["numbers"], tolerance, scale=mine.get("spread"),
                      **more)

    def hashes_differ(self, question, one, more):
        """Whether the results of two workers are other than bit-identical."""
        try:
            first, second = one.ask(question)["hash"], more.ask(question)["hash"]
        except Unavailable as error:
            return str(error)
        return None if first == second else "results depend on the number of threads"
