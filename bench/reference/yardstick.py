"""The yardstick of bench/gpu/run.ts: PyTorch on the same card, bfloat16 on CUDA, float32 on the cores where there is no CUDA.

    python bench/reference/yardstick.py --geometry '{"hidden": 2048, ...}' --seconds 15 --cases \
        '[{"case": "texts", "unit": "a second", "texts": 32, "tokens": 64},
          {"case": "a page", "unit": "ms", "images": 1, "tokens": 1307, "rows": 72, "columns": 72}]'

A geometry is an entry of weights.py, as JSON. One JSON line a case, first those of the device itself (GB/s, GFLOP/s). A
case begins with ids or patches in the host's memory and ends with float32 vectors there; tokenizing and resizing are not
in it. Eager mode, as the model's own code runs; random weights, really there for every layer; a LoRA in every text block.
"""

import argparse
import json
import statistics
import time

import torch

from weights import GEOMETRIES
from whole import PATCH, around, decode, random_decoder, random_tower, see

LEAST_RUNS, MOST_RUNS = 3, 50  # as in bench/gpu/cases.ts
ENOUGH = 0.1  # seconds: a larger product would tell nothing new


def timed(run, seconds):
    """Seconds of every run, after one that warms up. `run` waits for the device."""
    run()
    times = []
    while len(times) < LEAST_RUNS or (sum(times) < seconds and len(times) < MOST_RUNS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return times


def report(case, value, unit, **more):
    print(json.dumps({"case": case, "value": value, "unit": unit, **more}), flush=True)


def report_device(like, wait, repeats=4):
    def several(run):
        for _ in range(repeats):
            run()
        wait()

    source = torch.ones(2**27, dtype=torch.uint8, device=like.device)
    target = torch.empty_like(source)
    copying = min(timed(lambda: several(lambda: target.copy_(source)), 0)) / repeats
    report("copy bandwidth", 2 * source.numel() / copying / 1e9, "GB/s")
    ceiling = 0.0
    for side in [256, 512, 1024, 2048, 4096, 8192]:
        x = torch.randn(side, side).to(like)
        took = min(timed(lambda: several(lambda: x @ x), 0)) / repeats
        ceiling = max(ceiling, 2 * side**3 / took / 1e9)
        if took > ENOUGH:
            break
    report("matmul ceiling", ceiling, "GFLOP/s")


def runner(case, decoder, tower, table, g, like):
    """A function that embeds the case's inputs: [inputs, D] on the host, float32."""
    if "texts" in case:
        ids = torch.randint(g["vocab"], (case["texts"], case["tokens"]))
        return lambda: decode(decoder, table[ids.to(like.device)], None, None, g).float().cpu()
    images, rows, columns = case["images"], case["rows"], case["columns"]
    pixels = torch.randn(images * rows * columns, PATCH)
    frame = table[: case["tokens"] - rows * columns // 4]

    def run():
        seen = see(tower, pixels.to(like), images, rows, columns, g)
        x = around(seen, frame)
        return decode(decoder, x, 4, 6 + seen.shape[1], g).float().cpu()

    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", type=json.loads, default=GEOMETRIES["published"])
    parser.add_argument("--cases", type=json.loads, required=True)
    parser.add_argument("--seconds", type=float, default=15, help="measured time of a case, about")
    args = parser.parse_args()
    g = args.geometry
    torch.manual_seed(1)
    cuda = torch.cuda.is_available()
    like = torch.empty(0, device="cuda" if cuda else "cpu", dtype=torch.bfloat16 if cuda else torch.float32)
    where = torch.cuda.get_device_name() if cuda else f"{torch.get_num_threads()} threads of the CPU"
    print(json.dumps({"engine": f"torch {torch.__version__}, {str(like.dtype)[6:]}, {where}"}), flush=True)
    with torch.inference_mode():
        report_device(like, torch.cuda.synchronize if cuda else lambda: None)
        decoder, tower = random_decoder(g, like), random_tower(g, like)
        table = torch.randn(g["vocab"], g["hidden"]).to(like)
        for case in args.cases:
            run = runner(case, decoder, tower, table, g, like)
            lengths = run().norm(dim=-1)
            if not torch.allclose(lengths, torch.ones_like(lengths), atol=1e-2):  # bfloat16 has 8 bits
                raise SystemExit(f"{case['case']}: vectors of the lengths {lengths.tolist()}, not 1: not timed")
            times = timed(run, args.seconds)
            seconds = statistics.median(times)
            value = 1000 * seconds if case["unit"] == "ms" else len(lengths) / seconds
            report(case["case"], value, case["unit"], runs=len(times))


if __name__ == "__main__":
    main()
