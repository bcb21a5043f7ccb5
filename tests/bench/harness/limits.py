"""limits: what the machine allows a row: arithmetic and memory, each by several methods, of which
the best counts, on as much data as the row has."""
from worker import Limit, Unavailable

LEAST_STREAM = 1 << 20  # bytes; less is not read at a steady pace
SECONDS = 0.2           # of a timing: a limit has more of them than a row


class Limits:
    """Of one run: what methods there are is asked once."""

    def __init__(self, bench):
        self.bench, self.known = bench, None

    @property
    def methods(self):
        if self.known is None:
            worker = self.worker(1)
            try:
                self.known = worker.ask("methods")
            except Unavailable:
                self.known = {"stream": 0, "rows": 0, "units": []}
            worker.close()
        return self.known

    def worker(self, threads):
        return self.bench.limits(threads, seconds=min(SECONDS, self.bench.scale.seconds))

    def side(self, threads, questions, remember):
        """None where the machine has no such method."""
        if not questions:
            return None
        settings = dict(enumerate(questions))
        return Limit(self.worker(threads), settings=settings, remember=remember)

    def stream(self, threads, size):
        """So many bytes read over and over."""
        size = max(int(size), LEAST_STREAM) // 64 * 64
        questions = ["stream %d %d" % (method, size) for method in range(self.methods["stream"])]
        return self.side(threads, questions, None)

    def rows(self, threads, size):
        questions = ["rows %d %d" % (method, size) for method in range(self.methods["rows"])]
        return self.side(threads, questions, None)

    def has(self, unit):
        return unit in self.methods["units"]

    def units(self, threads, names):
        """The fastest of these units: fma, bf16, bytes, tiles, tiles_bytes."""
        questions = ["unit %d" % i for i, name in enumerate(self.methods["units"])
                     if name in names]
        return self.side(threads, questions, "units %s %d" % (" ".join(sorted(names)), threads))
