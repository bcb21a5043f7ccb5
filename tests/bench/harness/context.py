"""context: what every measurement needs: the options of the run, the programs of ours and of the peers, and who is compared with whom."""
import os
import shutil
import tempfile

from models import Models
from rows import SPEED, Row, differ
from worker import Quiet, Side, Unavailable, Worker, in_turn

CORE_TYPES = ["", "Haswell", "Zen", "SkylakeX", "Cooperlake"]  # what OpenBLAS may take a processor for; "": what it finds itself
SETTLE = 0.1  # seconds: OpenMP's, OpenBLAS's and ggml's threads look for work for a while after a call; ours sleep
OPENMP = 2  # openblas_get_parallel() of the OpenMP build


class Scale:
    """What is measured: everything, less, or next to nothing on tiny models (to try the benchmark itself)."""

    def __init__(self, kind):
        full, smoke = kind == "full", kind == "smoke"
        self.kind = kind
        self.rounds = {"full": 5, "quick": 2, "smoke": 1}[kind]
        self.seconds = {"full": 0.5, "quick": 0.2, "smoke": 0.005}[kind]
        self.dense = ["S"] if smoke else ["A", "B"] if full else ["B"]
        self.main, self.sparse = ("S", "T") if smoke else ("B", "M")
        self.open_pool = ("T", 128) if smoke else ("G", 1024)
        self.patch_pool = ("T", 128) if smoke else ("P", 1024)
        self.widths = [64] if smoke else [512, 1024] if full else [1024]
        self.keys = [32, 64] if smoke else [128, 256, 512, 1024] if full else [128, 256]
        self.mapped_keys = 128 if smoke else 2048
        self.facts = [1, 100] if smoke else [1, 10, 100, 1000, 10000]
        self.lengths = [64, 256] if smoke else [64, 128, 256, 512, 1024, 2048]
        self.step_lengths = [64] if smoke else [64, 128, 256, 512]
        self.supervised = [1] if smoke else [1, 16, 64, 255]
        self.sessions = [1, 2] if smoke else [1, 2, 4, 8]
        self.table_mb = 64 if smoke else 4000
        self.has_peaks = kind != "quick"  # peak memory: a process of its own each


class Context:
    def __init__(self, options, scale, progress):
        self.options, self.scale, self.say = options, scale, progress
        self.rounds, self.threads = options.rounds or scale.rounds, options.threads
        self.build, self.here = options.build, os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.folder = options.out
        self.models = Models(os.path.join(options.models or os.path.join(self.build, "bench", "models"), ""), self.program("bench_make"))
        self.log = os.path.join(self.folder, "programs.log")
        self.quiet, self.memory, self.workers, self.rows = Quiet(options.wait), {}, [], []
        self.scratch = tempfile.mkdtemp(prefix="scratch-", dir=self.folder)
        self.missing = {}      # peer -> why it cannot be had
        self.core_type = None  # which of CORE_TYPES makes OpenBLAS fastest here
        self.facts = {}        # about the run, for run.json
        for peer in ("torch", "llama"):
            if peer not in options.peers:
                self.missing[peer] = "not asked for"

    # ---- programs ----

    def program(self, name):
        return os.path.join(self.build, "tests", "bench", name)

    def worker(self, name, command, environment=None, seconds=None, settles=0.0):
        environment = {"SMFT_BENCH_SECONDS": str(seconds or self.scale.seconds), **(environment or {})}
        made = Worker(name, command, self.log, environment, settles)
        self.workers.append(made)
        return made

    def close_workers(self):
        while self.workers:
            self.workers.pop().close()

    def close(self):
        self.close_workers()
        shutil.rmtree(self.scratch, ignore_errors=True)

    def ours(self, program, *words, **more):
        return self.worker(program, [self.program(program), *map(str, words)], **more)

    def model(self, shape, threads=None, program="bench_model", half=False, **more):
        directory = self.models.half(shape) if half else self.models.directory(shape)
        return self.ours(program, directory, threads or self.threads, **more)

    @property
    def openblas(self):
        return os.path.join(self.options.blas, "libopenblas.so.0") if self.options.blas else None

    def blas_environment(self):
        environment = {"OMP_NUM_THREADS": str(self.threads)}
        if self.options.blas:
            found = os.environ.get("LD_LIBRARY_PATH")
            environment["LD_LIBRARY_PATH"] = self.options.blas + (":" + found if found else "")
        if self.core_type:
            environment["OPENBLAS_CORETYPE"] = self.core_type
        return environment

    def limits(self, threads=None, core_type=None):
        library = [self.openblas] if self.openblas else []
        environment = {**self.blas_environment(), **({"OPENBLAS_CORETYPE": core_type} if core_type else {})}
        return self.worker("bench_limits", [self.program("bench_limits"), str(threads or self.threads), str(self.scale.table_mb), *library],
                           environment, settles=SETTLE)

    def torch(self, script, *words, **more):
        return self.peer("torch", [self.options.python, os.path.join(self.here, "peers", script), *map(str, words)],
                         self.blas_environment(), **more)

    def llama(self, shape, half=False, **more):
        command = [self.options.node, os.path.join(self.here, "peers", "peer_llama.mjs"), self.options.node_modules,
                   self.models.gguf(shape, half) if "llama" not in self.missing else ""]
        return self.peer("llama", command, **more)

    def peer(self, name, command, environment=None, **more):
        made = self.worker(name, command, environment, settles=SETTLE, **more)
        if name in self.missing:
            made.failed = "%s: %s" % (name, self.missing[name])
        return made

    # ---- before anything is compared ----

    def find_core_type(self):
        """OpenBLAS 0.3.21 takes processors that it does not know for a Prescott of 2004, five times slower than it could be.  The fastest
        that it can be told counts."""
        if not self.openblas:
            self.missing["sgemm"] = "no OpenBLAS: its folder is not known (--blas)"
            return
        speeds = {}
        for name in CORE_TYPES:
            limits = self.limits(1, name)
            try:
                speeds[name] = limits.ask("sgemm 256 512 512")["rate"]
            except Unavailable as error:
                self.missing["sgemm"] = str(error)
            limits.close()
        if speeds:
            self.core_type = max(speeds, key=speeds.get)
            self.facts["openblas_core_type"] = self.core_type or "as it finds it"
            self.facts["openblas_gflops_by_core_type"] = {name or "as it finds it": round(1e-9 * speed, 1)
                                                          for name, speed in speeds.items()}

    def check_torch(self):
        """PyTorch is compared with on OpenBLAS's OpenMP build or not at all."""
        if "torch" in self.missing:
            return
        torch = self.torch("peer_memory.py", 64, 32)
        try:
            blas = torch.ask("blas")
            self.facts["torch_blas"] = blas
            if blas["parallel"] != OPENMP:
                found = blas["file"] or "another BLAS"
                self.missing["torch"] = "it runs on %s, not on OpenBLAS's OpenMP build: not compared" % found
        except Unavailable as error:
            self.missing["torch"] = str(error)
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
            self.missing["llama"] = str(error)
        llama.close()

    # ---- measuring ----

    def side(self, worker, question):
        return Side(worker, question)

    def peer_side(self, worker, question, remember=None):
        """question: with {} for the threads; each setting from one thread to all is tried."""
        settings = sorted({1, self.threads})
        return Side(worker, by_threads={threads: question.format(threads) for threads in settings}, remember=remember)

    def in_turn(self, *sides):
        in_turn(sides, self.rounds, self.quiet, self.memory, self.say)

    def row(self, name, unit, ours, peer=None, peer_name="", convert=None, ours_units=1, limit=None, refused=None, note="", **more):
        """A row of two timed sides (or a side and a limit), whose rates are units a second.  ours_units: what one of our units is in the
        peer's or limit's; convert: from a rate to the row's unit.  refused: why it is not to be compared."""
        def measured(side, units=1):
            found = side and side.measured
            return found and found.map(lambda rate: convert(units * rate) if convert else units * rate)

        errors = [side.error for side in (ours, peer, limit) if side and side.error]
        if peer and peer.measured and peer.threads:
            peer_name += ", %d thr" % peer.threads
        made = Row(name, unit, measured(ours, ours_units), measured(peer), peer_name=peer_name, limit=measured(limit),
                   note="; ".join(text for text in (*errors, note) if text), **{"kind": SPEED, **more})
        self.rows.append(made.refuse(refused) if refused else made)
        return made

    def peak(self, make, *questions):
        """Peak memory of a process of its own that is asked these questions; None where it cannot be had or is not wanted."""
        if not self.scale.has_peaks:
            return None
        worker = make(seconds=1e-6)
        try:
            for question in questions:
                worker.ask(question)
            return worker.ask("peak")["peak_mb"]
        except Unavailable:
            return None
        finally:
            worker.close()

    def disagreement(self, ours, theirs, tolerance, **more):
        """Why the numbers that two (worker, question)s answer are not the same; None: they are, or the peer is not there."""
        try:
            mine = ours[0].ask(ours[1])
        except Unavailable as error:
            return str(error)
        try:
            other = theirs[0].ask(theirs[1])
        except Unavailable:
            return None
        if "next" in mine and mine["next"] != other["next"]:
            return "the likeliest next token is %d here and %d there" % (mine["next"], other["next"])
        if "nll" in other and abs(mine["nll"] - other["nll"]) > tolerance * mine["nll"]:
            return "nll %g here and %g there" % (mine["nll"], other["nll"])
        return differ(mine["numbers"], other["numbers"], tolerance, scale=mine.get("spread"), **more)

    def hashes_differ(self, question, one, more):
        """Whether the results of two workers are other than bit-identical."""
        try:
            first, second = one.ask(question)["hash"], more.ask(question)["hash"]
        except Unavailable as error:
            return str(error)
        return None if first == second else "results depend on the number of threads"
