"""memory: the memory layer alone, by size of the pool: forward and sparse step against PyTorch, gather against plain reads, peak memory."""
import os

from rows import SHARE, TIME, Row, Target, differ
from worker import Measured, Unavailable

TOLERANCE, SHARE_OF_SAMPLES = 1e-3, 0.9  # two slots of the same score may change places, and change a number with it
SPARE_BYTES = 2e9


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


def layer(bench, d, n_keys, *words, **more):
    return bench.ours("bench_memory", d, n_keys, bench.threads, *words, **more)


def layers(bench, d):
    for n_keys in bench.scale.keys:
        one_layer(bench, d, n_keys)
        bench.close_workers()


def one_layer(bench, d, n_keys):
    is_first, is_last = n_keys == bench.scale.keys[0], n_keys == bench.scale.keys[-1] and n_keys > bench.scale.keys[0]
    name = "d%d.%s" % (d, pool_name(n_keys))
    ours, torch = layer(bench, d, n_keys), bench.torch("peer_memory.py", d, n_keys)
    why = too_large(d, n_keys, 3)
    if why and not torch.failed:
        torch.failed = "PyTorch: " + why
    refused = disagreement(bench, d, n_keys) if is_first else None
    mine, theirs = bench.side(ours, "forward"), bench.peer_side(torch, "forward {}", remember="memory forward")
    gather, plain = bench.side(ours, "gather"), bench.side(ours, "plain")
    my_step, their_step = bench.side(ours, "step"), bench.peer_side(torch, "step {}", remember="memory step")
    bench.in_turn(mine, theirs)
    bench.in_turn(gather, plain)
    bench.in_turn(my_step, their_step)
    bench.close_workers()
    bench.row("memory.forward." + name, "ms", mine, theirs, "PyTorch", convert=ms, kind=TIME, target=Target("ratio", ">=", 3),
              refused=refused)
    bench.row("memory.gather." + name, "GB/s", gather, limit=plain, peer_name="the same rows read", convert=1e-9.__mul__,
              target=Target("limit_share", ">=", 0.8))
    target = Target("ratio", ">=", 5) if is_first else Target("ratio", ">=", 15) if is_last and d == bench.scale.widths[-1] else None
    row = bench.row("memory.step." + name, "ms", my_step, their_step, "PyTorch", convert=ms, kind=TIME, target=target, refused=refused)
    if is_first or is_last:
        memory_of_step(bench, d, n_keys, row)


def disagreement(bench, d, n_keys):
    """Of the output, and of the chosen rows' gradient, on the same inputs."""
    folder = os.path.join(bench.scratch, "layer-%d" % d)
    os.makedirs(folder, exist_ok=True)
    asked = {}
    for name, worker, question in (("ours", layer(bench, d, n_keys), "check " + folder),
                                   ("theirs", bench.torch("peer_memory.py", d, n_keys), "check %s %d" % (folder, bench.threads))):
        try:
            asked[name] = worker.ask(question)
        except Unavailable as error:
            return str(error) if name == "ours" else None
        finally:
            worker.close()
    ours, theirs = asked["ours"], asked["theirs"]
    if ours["rows"] != theirs["rows"]:
        return "%d rows chosen here, %d there" % (ours["rows"], theirs["rows"])
    return differ(ours["numbers"], theirs["numbers"], TOLERANCE, share=SHARE_OF_SAMPLES) or \
        differ(ours["gradient"], theirs["gradient"], TOLERANCE, share=SHARE_OF_SAMPLES)


def memory_of_step(bench, d, n_keys, row):
    if not bench.scale.has_peaks:
        return
    bench.say("peak memory")
    worker = layer(bench, d, n_keys)
    found = None
    try:
        found = worker.ask("memory")
    except Unavailable as error:
        row.note = str(error)
    worker.close()
    name = "memory.peak.d%d.%s" % (d, pool_name(n_keys))
    note = found and "%.0f MB with the layer's weights, input and output; the library's allocator had %.0f" % (
        found["process_mb"], found["library_mb"])
    bench.rows.append(Row(name, "MB", found and Measured([found["step_mb"]]), target=Target("ours", "<=", 100), note=note or ""))
    if found:
        row.ours_mb = found["process_mb"] + 4e-6 * n_keys * n_keys * d
    row.peer_mb = None if row.peer is None else bench.peak(lambda **more: bench.torch("peer_memory.py", d, n_keys, **more),
                                                           "step %d" % bench.threads)


def growth(bench, d):
    """The step on the largest pool against that on the smallest, in turn."""
    small, large = bench.scale.keys[0], bench.scale.keys[-1]
    few, many = bench.side(layer(bench, d, small), "step"), bench.side(layer(bench, d, large), "step")
    bench.in_turn(few, many)
    bench.row("memory.growth.d%d" % d, "ms", many, few, "ours, " + pool_name(small), convert=ms, kind=SHARE,
              target=Target("ratio", "<=", 2.5), note="step on " + pool_name(large))


def mapped(bench, d):
    """The curve's last point: a pool that only a mapped file can hold.  Its values are zeros (a hole in the file)."""
    n_keys = bench.scale.mapped_keys
    worker = layer(bench, d, n_keys, bench.folder)
    forward, step = bench.side(worker, "forward"), bench.side(worker, "step")
    bench.in_turn(forward)
    bench.in_turn(step)
    for name, side in (("forward", forward), ("step", step)):
        bench.row("memory.%s.d%d.%s.mapped" % (name, d, pool_name(n_keys)), "ms", side, convert=ms, note="a mapped file; no peer holds it")
