"""products: matrix products alone, y = x W^T, at the shapes of a real model, against PyTorch's MKL
and oneDNN, and against what the units can do."""
import peers
from inference import label, limits_of, once, target_of
from variants import PLAIN, arithmetic

TOLERANCE = {"f32": 1e-4, "bf16": 0.05}
TARGETS = {"f32": 1.0}


def products(bench):
    for shape in bench.scale.products:
        for kind in ("f32", "bf16"):
            for threads in bench.each_threads:
                one(bench, shape, kind, threads)
                bench.close_workers(peers=False)


def one(bench, shape, kind, threads):
    question = "product %d %d %d %s" % (*shape, kind)
    sides = {variant: bench.side(bench.ours("bench_products", threads, variant.flags), question)
             for variant in bench.variants.of(kind)}

    def make(**more):
        return bench.torch("peer_products.py", **more)
    rivals = [peers.Rival("PyTorch " + kind, make(), question + " {}", make, threads, fixed=True)]
    check = question.replace("product", "check")
    peers.check(bench, question, sides[PLAIN].worker, rivals, check, check + " {}",
                TOLERANCE[kind])
    limits = {variant: arithmetic(bench, threads, variant, kind) for variant in sides}
    bench.in_turn(*sides.values(), *(rival.side for rival in rivals), *once(limits),
                  rounds=bench.few_rounds)
    for variant, side in sides.items():
        bench.race(label("product", "x".join(map(str, shape)), kind, variant.name,
                         "%dthr" % threads), "GFLOP/s", side, rivals, convert=1e-9.__mul__,
                   limits=limits_of(limits[variant], 1),
                   target=target_of(variant, kind, TARGETS, sides))
