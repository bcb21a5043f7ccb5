"""worker: one program that answers questions over two pipes (bench.h says how), and timings of several of them taken in turn."""
import json
import os
import select
import subprocess
import time
from statistics import median

CLOSE_ENOUGH = 0.85  # a thread setting that is this near the best one stays in the race
FAR_BEHIND = 0.75  # a peer that is slower than this share of the best is timed once
QUIET, DISTURBED = 0.12, 0.15  # cores that others have: less than the first is quiet, more than the second spoils a timing


class Unavailable(Exception):
    """What was asked cannot be had, and why."""


class Worker:
    """settles: seconds until its threads are still after an answer."""

    def __init__(self, name, command, log, environment=None, settles=0.0):
        self.name, self.command, self.log, self.settles = name, command, log, settles
        self.environment = {**os.environ, **(environment or {})}
        self.process, self.failed, self.buffer = None, None, b""

    def start(self):
        with open(self.log, "a", encoding="utf-8") as log:
            log.write("== %s: %s\n" % (self.name, " ".join(self.command)))
            log.flush()
            self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=self.environment)

    def fail(self, why):
        self.failed = "%s: %s" % (self.name, why)
        self.close()
        raise Unavailable(self.failed)

    def ask(self, question, patience=300):
        if self.failed:
            raise Unavailable(self.failed)
        try:
            if not self.process:
                self.start()
            self.process.stdin.write(question.encode() + b"\n")
            self.process.stdin.flush()
        except OSError as error:
            self.fail(str(error))
        answer = self.answer(time.monotonic() + patience)
        if "error" in answer:
            self.fail(answer["error"])
        return answer

    def answer(self, deadline):
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.process.stdout], [], [], left)[0]:
                self.fail("no answer in time")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                self.fail("ended without an answer (see %s)" % self.log)
            self.buffer += piece
        line, self.buffer = self.buffer.split(b"\n", 1)
        try:
            return json.loads(line)
        except ValueError:
            self.fail("not an answer: %r" % line[:200])

    def close(self):
        if not self.process:
            return
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()
            except OSError:
                pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process, self.buffer = None, b""


class Measured:
    """Timings of one thing: median, least, most."""

    def __init__(self, values, others=0.0):
        self.median, self.low, self.high, self.n, self.others = median(values), min(values), max(values), len(values), others

    def map(self, function):
        """The same in another unit."""
        ends = [function(self.low), function(self.high)]
        result = Measured([function(self.median)], self.others)
        result.low, result.high, result.n = min(ends), max(ends), self.n
        return result


class Side:
    """One question to one worker, timed again and again; or the same in several settings (threads,
    methods), of which the best counts."""

    def __init__(self, worker, question=None, settings=None, remember=None, is_rival=False):
        self.worker, self.remember, self.is_rival, self.is_behind = worker, remember, is_rival, False
        self.questions = settings or {None: question}
        self.values = {setting: [] for setting in self.questions}
        self.others, self.error, self.best = 0.0, None, None

    def take(self, setting, quiet):
        answer = quiet(lambda: self.worker.ask(self.questions[setting]))
        self.others = max(self.others, answer["others"])
        return answer["rate"]

    def near(self, tried):
        """The settings that stay in the race after one try each."""
        return [one for one in tried if tried[one] >= CLOSE_ENOUGH * max(tried.values())]

    def choose(self, quiet, memory):
        """Leaves the settings that may be the best: that of an earlier choice, or the near best of
        one try each."""
        known = memory.get(self.remember)
        if known in self.questions:
            self.questions = {known: self.questions[known]}
        if len(self.questions) > 1:
            tried = {setting: self.take(setting, quiet) for setting in self.questions}
            self.questions = {setting: self.questions[setting] for setting in self.near(tried)}

    def finish(self, memory):
        self.best = max(self.questions, key=lambda setting: median(self.values[setting]))
        if self.remember:
            memory[self.remember] = self.best

    @property
    def measured(self):
        """None where nothing was measured."""
        values = self.values.get(self.best)
        return None if self.error or not values else Measured(values, self.others)


class Limit(Side):
    """What the machine can do: the best method, and of its timings the best, so that nothing passes
    it by having been measured at a better moment."""

    def take(self, setting, quiet):
        rate = super().take(setting, quiet)
        self.most = max(rate, getattr(self, "most", 0))
        return rate

    def near(self, tried):
        return [max(tried, key=tried.get)]

    def finish(self, memory):
        """One that is remembered is a unit's, the same for every row: its best of the whole run."""
        super().finish(memory)
        if self.remember:
            self.most = memory["most", self.remember] = max(
                self.most, memory.get(("most", self.remember), 0))

    @property
    def measured(self):
        found = super().measured
        if found:
            found.median = found.high = self.most
        return found


class Quiet:
    """Waits for a quiet machine, for so many seconds in all, and takes a disturbed timing again while any are left."""

    def __init__(self, patience):
        self.left = patience

    def busy(self):
        with open("/proc/stat", encoding="ascii") as file:
            f = [int(x) for x in file.readline().split()[1:8]]
        return (sum(f) - f[3] - f[4]) / os.sysconf("SC_CLK_TCK")

    def wait(self):
        while self.left > 0:
            before = self.busy()
            time.sleep(1)
            self.left -= 1
            if self.busy() - before < QUIET:
                return

    def __call__(self, ask):
        while True:
            self.wait()
            begin = time.monotonic()
            answer = ask()
            if self.left <= 0 or answer["others"] <= DISTURBED:
                return answer
            self.left -= time.monotonic() - begin


def leave_behind(rivals):
    """Peers that cannot become the best of theirs are not timed again."""
    rates = {side: max(median(side.values[setting]) for setting in side.questions)
             for side in rivals}
    for side, rate in rates.items():
        side.is_behind = rate < FAR_BEHIND * max(rates.values())


def in_turn(sides, rounds, quiet, memory, progress):
    """Each side once a round.  A side that fails says why in .error and is left out from then on."""
    def each(what):
        for side in sides:
            if not side.error:
                try:
                    what(side)
                except Unavailable as error:
                    side.error = str(error)

    def one_round(side):
        if side.is_behind:
            return
        for setting in side.questions:
            side.values[setting].append(side.take(setting, quiet))
            time.sleep(side.worker.settles)

    progress("choosing settings")
    each(lambda side: side.choose(quiet, memory))
    for i in range(rounds):
        progress("round %d of %d" % (i + 1, rounds))
        each(one_round)
        leave_behind([side for side in sides if side.is_rival and not side.error])
    each(lambda side: side.finish(memory))
