"""machine: the machine's own limits, and what embedding the library costs a host: its size, and its
threads that have nothing to do."""
import os
import shutil
import subprocess

from rows import Row, Target
from worker import Measured, Unavailable

ROW_BYTES = (1024, 2048, 2304, 4096)
STREAMED = 384 << 20  # bytes: more than a cache keeps
UNITS = ("fma", "bf16", "bytes", "tiles", "tiles_bytes")
MB = 1e6


def limits(bench):
    """Each the best of several methods and rounds; rows are held against limits of their own size,
    measured in turn with them."""
    limit = bench.limit
    quick = bench.scale.kind == "quick"
    for threads in [bench.threads] if quick else bench.each_threads:
        sides = {"stream": (limit.stream(threads, min(STREAMED, bench.scale.table_mb * MB)),
                            "GB/s")}
        for size in ROW_BYTES:
            sides["rows.%dB" % size] = (limit.rows(threads, size), "GB/s")
        for unit in UNITS:
            sides[unit] = (limit.units(threads, (unit,)), "GFLOP/s" if "bytes" not in unit
                           else "Gop/s")
        bench.in_turn(*(side for side, _ in sides.values()), rounds=min(3, bench.rounds))
        for name, (side, unit) in sides.items():
            if side:
                found = side.measured
                bench.rows.append(Row("limit.%s.%dthr" % (name, threads), unit,
                                      peer=found and found.map(1e-9.__mul__),
                                      peer_name="the machine", note=side.error or ""))
        bench.close_workers()


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
    bench.rows.append(Row("size.libsmft", "MB", found, target=Target("ours", "<=", 1),
                          note=note or "stripped"))


def idle(bench, shape):
    """Processor time that the process takes in a second of waiting: a thread that spins would take
    1000 ms."""
    worker, values, note = bench.model(shape), [], "processor time in a second of waiting"
    try:
        for _ in range(bench.rounds):
            values.append(worker.ask("idle")["ms"])
    except Unavailable as error:
        note, values = str(error), []
    bench.rows.append(Row("idle.threads", "ms", Measured(values) if values else None,
                          target=Target("ours", "<=", 5), note=note))
