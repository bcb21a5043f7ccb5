"""peer: what the benchmark's PyTorch programs share: bench.h's questions, answers, clock and memory, in Python.

serve(make)   make(name, words) -> a function that does a piece of work and returns its units, or a dict: the answer itself
Built in: peak; about (version, what products run on); threads are the last word of a task's line, and set here.
"""
import json
import os
import sys
import time

import torch

SECONDS = float(os.environ.get("SMFT_BENCH_SECONDS") or 0.5)


def machine_busy():  # seconds that all processors have worked for anybody
    with open("/proc/stat", encoding="ascii") as file:
        f = [int(x) for x in file.readline().split()[1:8]]
    return (sum(f) - f[3] - f[4]) / os.sysconf("SC_CLK_TCK")


def memory_mb(name):
    with open("/proc/self/status", encoding="ascii") as file:
        lines = dict(line.split(":", 1) for line in file)
    return int(lines.get(name, "0 kB").split()[0]) * 1024e-6


def peak():
    return {"peak_mb": memory_mb("VmHWM"), "now_mb": memory_mb("VmRSS"), "file_mb": memory_mb("RssFile")}


def about():
    """Which PyTorch this is, and what its products run on."""
    lines = [line.strip(" -") for line in torch.__config__.show().splitlines()]
    kept = [line for line in lines if line.startswith(("Intel(R) MKL-DNN", "Intel(R) oneAPI",
                                                       "CPU capability"))]
    return {"version": torch.__version__, "mkl": torch.backends.mkl.is_available(),
            "text": "; ".join(kept)}


def work_for(work, seconds):
    units = pieces = 0
    begin = time.perf_counter()
    while True:
        units += work()
        pieces += 1
        if time.perf_counter() - begin >= seconds:
            return units, pieces


class Clock:
    piece = 0.0

    def rate(self, work, fresh):
        if fresh or self.piece < SECONDS:
            work_for(work, SECONDS / 2)
        busy, own, begin = machine_busy(), time.process_time(), time.perf_counter()
        units, pieces = work_for(work, SECONDS)
        took = time.perf_counter() - begin
        others = (machine_busy() - busy - (time.process_time() - own)) / took
        self.piece = took / pieces
        return {"rate": units / took, "unit": self.piece, "others": max(0.0, others)}


def serve(make):
    clock, before, work = Clock(), None, None
    for line in sys.stdin:
        name, *words = line.split()
        if name in ("peak", "about"):
            answer = {"peak": peak, "about": about}[name]()
        else:
            fresh, before = line != before, line
            if fresh:
                work = None  # frees what the last task held
                torch.set_num_threads(int(words[-1]))
                work = make(name, words[:-1])
            answer = work if isinstance(work, dict) else clock.rate(work, fresh)
        print(json.dumps(answer), flush=True)


def run(main):
    """Failures are answers, too."""
    try:
        main()
    except Exception as error:  # whatever it is, bench.py has to be told
        print(json.dumps({"error": "%s: %s" % (type(error).__name__, error)}), flush=True)
        sys.exit(1)
