"""facts: opening models with large pools, what becomes resident, and patches that hold many facts."""
import os

from rows import Row, Target
from worker import Measured, Unavailable


def opening(bench, dense):
    """Each opening in a process of its own, the file in the page cache."""
    shape, n_keys = bench.scale.open_pool
    pooled = bench.models.widened(shape, n_keys)
    makers = {"dense": lambda: bench.model(dense), "pool": lambda: bench.ours("bench_model", pooled, bench.threads),
              "torch": lambda: bench.torch("peer_model.py", bench.models.directory(dense), "eager"), "llama": lambda: bench.llama(dense)}
    times, errors = {name: [] for name in makers}, {}
    for i in range(bench.rounds + 1):  # the first does not count: files come into the page cache
        bench.say("round %d of %d" % (i, bench.rounds))
        for name, make in makers.items():
            if name not in errors:
                worker = make()
                try:
                    times[name].append(worker.ask("opened" if name in ("dense", "pool", "llama") else "opened %d" % bench.threads)["ms"])
                except Unavailable as error:
                    errors[name] = str(error)
                worker.close()
    times = {name: values[1:] for name, values in times.items()}
    opened = {name: Measured(values) if values and name not in errors else None for name, values in times.items()}
    ours_mb = bench.peak(lambda **more: bench.model(dense, **more), "opened")
    torch_mb = bench.peak(lambda **more: bench.torch("peer_model.py", bench.models.directory(dense), "eager", **more), "opened %d" % bench.threads)
    llama_mb = bench.peak(lambda **more: bench.llama(dense, **more), "opened")
    for peer, label, peer_mb in (("torch", "PyTorch", torch_mb), ("llama", "llama.cpp", llama_mb)):
        bench.rows.append(Row("open.%s.%s" % (dense, peer), "ms", opened["dense"], opened[peer], "time", label, note=errors.get(peer, ""),
                              ours_mb=ours_mb, peer_mb=peer_mb))
    extra = [with_pool - without for with_pool, without in zip(times["pool"], times["dense"])]
    size = "%.1f GB" % (1e-9 * 4 * n_keys * n_keys * bench.models.config(shape)["memory"]["value_dim"])
    bench.rows.append(Row("open.pool", "ms", Measured(extra) if extra and not {"pool", "dense"} & set(errors) else None,
                          target=Target("ours", "<=", 50), note=errors.get("pool") or "a pool of %s, beyond the dense weights" % size,
                          ours_mb=bench.peak(lambda **more: bench.ours("bench_model", pooled, bench.threads, **more), "opened")))
    resident(bench, pooled)


def resident(bench, directory):
    """What a step brings into memory of the mapped file, against the pages of the rows that it reads.  The file is sent out of memory
    first."""
    with open(os.path.join(directory, "model.safetensors"), "rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    worker = bench.ours("bench_learn", directory, bench.threads)
    try:
        found = worker.ask("resident")
    except Unavailable as error:
        bench.rows.append(Row("open.resident", "MB", target=Target("ratio", "<=", 1), note=str(error)))
        return
    rows = max(found["rows"], 1) * found["row_mb"]
    bench.rows.append(Row("open.resident", "MB", Measured([found["cached_mb"]]), Measured([rows]), peer_name="pages of the rows read",
                          target=Target("ratio", "<=", 1), note="smft_step that reads %d rows; RssFile grew by %.0f MB" % (
                              found["rows"], found["file_mb"])))


def patches(bench):
    """A curve: rows of a patch looked up, a forward pass with it, saving and loading it, by facts learnt."""
    shape, n_keys = bench.scale.patch_pool
    directory = bench.models.widened(shape, n_keys)
    for facts in bench.scale.facts:
        worker = bench.ours("bench_patch", directory, bench.threads)
        path = bench.scratch + "/patch.safetensors"
        sides = {task: bench.side(worker, "%s %d" % (task, facts)) for task in ("lookup", "forward")}
        sides.update((task, bench.side(worker, "%s %d %s" % (task, facts, path))) for task in ("save", "load"))
        bench.in_turn(*sides.values(), rounds=bench.few_rounds)
        try:
            found = worker.ask("rows %d" % facts)
            note = "%d rows, %.3g MB" % (found["rows"], found["mb"])
        except Unavailable as error:
            note = str(error)
        for task, unit, scale in (("lookup", "ns", 1e9), ("save", "ms", 1e3), ("load", "ms", 1e3)):
            bench.row("facts.%s.%d" % (task, facts), unit, sides[task], convert=lambda rate, scale=scale: scale / rate, note=note)
        bench.row("facts.forward.%d" % facts, "tokens/s", sides["forward"], note=note)
        bench.close_workers()
