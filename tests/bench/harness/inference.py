"""inference: forward, prefill and decode of whole models against PyTorch, llama.cpp and the machine's limits; sequence length, sessions."""
from rows import Target

SEQUENCE = 256
F32_TOLERANCE, LLAMA_TOLERANCE = 1e-3, 0.02  # of the logits' spread; llama.cpp keeps keys and values in f16
BF16_TOLERANCE = 0.15                        # peers round what they compute to bf16, too; ours reads bf16 and computes in f32
SCALING = Target("ratio", ">=", 1.8)


def is_b(bench, shape):
    return shape == bench.scale.main


def flops_per_token(bench, shape):
    config = bench.models.config(shape)
    return 2 * bench.models.parameters(shape) + 4 * config["num_hidden_layers"] * config["hidden_size"] * SEQUENCE


def sgemm(bench, shape):
    """The limit of a forward pass: all its arithmetic at the speed of OpenBLAS's (256, d) x (d, ffn)."""
    config = bench.models.config(shape)
    return bench.side(bench.limits(), "sgemm %d %d %d" % (SEQUENCE, config["intermediate_size"], config["hidden_size"]))


def forward(bench, shape):
    ours, single = bench.model(shape), bench.model(shape, threads=1)
    torch = bench.torch("peer_model.py", bench.models.directory(shape))
    refused = bench.disagreement((ours, "logits"), (torch, "logits %d" % bench.threads), F32_TOLERANCE)
    mine, alone, limit = bench.side(ours, "forward"), bench.side(single, "forward"), sgemm(bench, shape)
    theirs = bench.peer_side(torch, "forward {}")
    bench.in_turn(mine, theirs, limit, alone)
    peaks = {"ours_mb": bench.peak(lambda **more: bench.model(shape, **more), "forward"),
             "peer_mb": bench.peak(lambda **more: bench.torch("peer_model.py", bench.models.directory(shape), **more),
                                   "forward %d" % bench.threads)}
    bench.row("forward.%s.torch" % shape, "tokens/s", mine, theirs, "PyTorch", target=Target("ratio", ">=", 1.15), refused=refused, **peaks)
    flops = flops_per_token(bench, shape)
    bench.row("forward.%s.sgemm" % shape, "GFLOP/s", mine, limit=limit, peer_name="sgemm limit", refused=refused,
              convert=1e-9.__mul__, ours_units=flops, target=Target("limit_share", ">=", 0.8) if is_b(bench, shape) else None)
    scaling(bench, "forward.%s" % shape, mine, alone, bench.hashes_differ("hash", ours, single))


def scaling(bench, name, mine, alone, refused, convert=None):
    """One thread against all of them."""
    bench.row("scaling.%s" % name, "tokens/s", mine, alone, "ours, 1 thr", convert=convert, target=SCALING if bench.threads == 2 else None,
              refused=refused, note="" if refused else "bit-identical")


def prefill(bench, shape):
    ours, llama = bench.model(shape), bench.llama(shape)
    refused = bench.disagreement((ours, "logits"), (llama, "logits %d" % bench.threads), LLAMA_TOLERANCE)
    mine, theirs = bench.side(ours, "prefill"), bench.peer_side(llama, "prefill {}")
    bench.in_turn(mine, theirs)
    bench.row("prefill.%s.llama" % shape, "tokens/s", mine, theirs, "llama.cpp f32", target=Target("ratio", ">=", 2), refused=refused,
              ours_mb=bench.peak(lambda **more: bench.model(shape, **more), "prefill"),
              peer_mb=bench.peak(lambda **more: bench.llama(shape, **more), "prefill %d" % bench.threads))


def decode(bench, shape):
    for half in (False, True):
        decode_in(bench, shape, half)
        bench.close_workers()


def decode_in(bench, shape, half):
    name = "decode.%s.%s" % (shape, "bf16" if half else "f32")
    directory = bench.models.half(shape) if half else bench.models.directory(shape)
    ours, llama = bench.model(shape, half=half), bench.llama(shape, half)
    torch = bench.torch("peer_model.py", directory)
    refused = bench.disagreement((ours, "logits"), (llama, "logits %d" % bench.threads), BF16_TOLERANCE if half else LLAMA_TOLERANCE)
    refused_torch = bench.disagreement((ours, "logits"), (torch, "logits %d" % bench.threads), BF16_TOLERANCE if half else F32_TOLERANCE)
    mine, limit = bench.side(ours, "decode"), bench.side(bench.limits(), "stream")
    theirs, others = bench.peer_side(llama, "decode {}"), bench.peer_side(torch, "decode {}")
    has_others = bench.scale.kind != "quick"
    bench.in_turn(mine, theirs, limit, *([others] if has_others else []))
    mine_mb = bench.peak(lambda **more: bench.model(shape, half=half, **more), "decode")
    bytes_per_token = bench.models.parameters(shape) * (2 if half else 4)
    bench.row(name + ".bandwidth", "GB/s", mine, limit=limit, peer_name="streaming limit", convert=1e-9.__mul__, ours_units=bytes_per_token,
              target=Target("limit_share", ">=", 0.85), ours_mb=mine_mb)
    bench.row(name + ".llama", "tokens/s", mine, theirs, "llama.cpp", target=Target("ratio", ">=", 1.5), refused=refused, ours_mb=mine_mb,
              peer_mb=bench.peak(lambda **more: bench.llama(shape, half, **more), "decode %d" % bench.threads))
    if has_others:
        bench.row(name + ".torch", "tokens/s", mine, others, "PyTorch", refused=refused_torch, ours_mb=mine_mb,
                  peer_mb=bench.peak(lambda **more: bench.torch("peer_model.py", directory, **more), "decode %d" % bench.threads))


def lengths(bench, shape):
    """A curve: prefill of one sequence, by its length."""
    sides = [(n, bench.side(bench.model(shape), "prefill %d" % n)) for n in bench.scale.lengths]
    bench.in_turn(*(side for _, side in sides))
    for n, side in sides:
        bench.row("length.prefill.%s.%d" % (shape, n), "tokens/s", side)


def sessions(bench, shape):
    """A curve: sessions that decode at once on one model, tokens of all of them."""
    sides = [(n, bench.side(bench.model(shape), "sessions %d" % n)) for n in bench.scale.sessions]
    bench.in_turn(*(side for _, side in sides))
    for n, side in sides:
        bench.row("sessions.%s.%d" % (shape, n), "tokens/s", side,
                  ours_mb=bench.peak(lambda **more: bench.model(shape, **more), "sessions %d" % n))
