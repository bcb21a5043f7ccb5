"""machine: the machine's own limits, and what embedding the library costs a host: its size, and its threads that have nothing to do."""
import os
import shutil
import subprocess

from rows import Row, Target
from worker import Measured, Unavailable

ROW_BYTES = (1024, 2048, 4096)
MB = 1e6


def limits(bench):
    for threads in [bench.threads] if bench.scale.kind == "quick" else sorted({1, bench.threads}):
        worker = bench.limits(threads)
        sides = {"stream": (bench.side(worker, "stream"), "GB/s")}
        for size in ROW_BYTES:
            sides["rows.%dKB" % (size >> 10)] = (bench.side(worker, "rows %d" % size), "GB/s")
        for m in (1, 16, 256, 1024):
            sides["sgemm.M%d" % m] = (bench.side(bench.limits(threads), "sgemm %d 1536 576" % m), "GFLOP/s")
        sides["fma"] = (bench.side(bench.limits(threads), "fma"), "GFLOP/s")
        if has_amx():
            sides["amx"] = (bench.side(bench.limits(threads), "amx"), "GFLOP/s")
        bench.in_turn(*(side for side, _ in sides.values()))
        for name, (side, unit) in sides.items():
            found = side.measured
            bench.rows.append(Row("limit.%s.%dthr" % (name, threads), unit, peer=found and found.map(1e-9.__mul__), peer_name="the machine",
                                  note=side.error or ""))
        bench.close_workers()


def has_amx():
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            return "amx_bf16" in file.read()
    except OSError:
        return False


def size(bench):
    """libsmft.so as a package would ship it."""
    source, note, found = os.path.join(bench.build, "libsmft.so"), "", None
    stripped = os.path.join(bench.scratch, "libsmft.so")
    try:
        shutil.copyfile(source, stripped)
        subprocess.run(["strip", "--strip-unneeded", stripped], check=True)
        found = Measured([os.path.getsize(stripped) / MB])
    except (OSError, subprocess.CalledProcessError) as error:
        note = str(error)
    bench.rows.append(Row("size.libsmft", "MB", found, target=Target("ours", "<=", 1), note=note or "stripped"))


def idle(bench, shape):
    """Processor time that the process takes in a second of waiting: a thread that spins would take 1000 ms."""
    worker, values, note = bench.model(shape), [], "processor time in a second of waiting"
    try:
        for _ in range(bench.rounds):
            values.append(worker.ask("idle")["ms"])
    except Unavailable as error:
        note, values = str(error), []
    bench.rows.append(Row("idle.threads", "ms", Measured(values) if values else None, target=Target("ours", "<=", 5), note=note))
