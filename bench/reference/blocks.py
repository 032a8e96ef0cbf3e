"""The yardstick: the model's blocks in plain PyTorch, float32, on this machine's cores.

    python bench/reference/blocks.py --geometry published --tokens 16,64,512 --threads 2
    python bench/reference/blocks.py --whole text       8 texts of 64 tokens through all layers (12.6 GB)
    python bench/reference/blocks.py --whole image      a page of 896 x 644: vision tower, then 747 tokens (15.3 GB)
    python bench/reference/blocks.py --verify FOLDER    block 0 of a checkpoint on a fixed input, for comparison

Needs torch and nothing else of ours. One JSON line a case: `ms` is the median. Weights are random, and really there for
every layer, because reading them is part of the cost. LoRA of the geometry's rank is on in every decoder block.
"""

import argparse
import datetime
import json
import os
import platform
import resource
import statistics
import time

import torch

from checkpoint import read_block
from layers import decoder_block, rotary_tables
from weights import GEOMETRIES, decoder_layer
from whole import FRAME, PATCH, around, decode, random_decoder, random_tower, see


def timed(run, runs, warm_up=1):
    """Milliseconds of `runs` calls after the warm-up."""
    for _ in range(warm_up):
        run()
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * 1000)
    return times


def report(case, times, tokens, **more):
    ms = statistics.median(times)
    line = {
        "case": case,
        "ms": round(ms, 3),
        "best": round(min(times), 3),
        "times": [round(t, 3) for t in times],
        "tokens_per_s": round(tokens / ms * 1000, 2),
        **more,
        "peak_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 3),
        "engine": f"torch {torch.__version__} float32",
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "date": datetime.date.today().isoformat(),
    }
    print(json.dumps(line), flush=True)


def one_block(g, tokens, runs):
    """One decoder block on one sequence, the block's weights as cold as its own size makes them."""
    layer = decoder_layer(g)
    for T in tokens:
        x = torch.randn(1, T, g["hidden"])
        cos, sin = rotary_tables(torch.arange(T), g["hidden"] // g["heads"], g["theta"])
        report(f"decoder block, {T} tokens", timed(lambda: decoder_block(layer, x, cos, sin, g), runs, 2), T)


def whole_text(g, runs, texts=8, length=64):
    """Embedding, all decoder layers, final norm, mean, unit length."""
    decoder = random_decoder(g, torch.empty(0))
    table = torch.randn(g["vocab"], g["hidden"])
    ids = torch.randint(g["vocab"], (texts, length))
    what = f"whole text, {texts} x {length} tokens, {g['layers']} layers"
    report(what, timed(lambda: decode(decoder, table[ids], None, None, g), runs), texts * length)


def whole_image(g, runs, rows=46, columns=64):
    """From patches to a unit vector: tower, merger, and the decoder on image tokens and 11 of text."""
    merged = rows * columns // 4
    tower, decoder = random_tower(g, torch.empty(0)), random_decoder(g, torch.empty(0))
    pixels = torch.randn(rows * columns, PATCH)
    frame = torch.randn(FRAME, g["hidden"])

    def run():
        x = around(see(tower, pixels, 1, rows, columns, g), frame)
        return decode(decoder, x, 4, merged + 6, g)

    what = f"whole image, {merged} visual tokens, {g['vision']['depth']} + {g['layers']} layers"
    report(what, timed(run, runs), merged + FRAME)


def verify(folder, task, tokens=16):
    """Block 0 on x[t, d] = sin(t * D + d): every value, for the same block written elsewhere to compare with."""
    layer, g = read_block(folder, task)
    D = g["hidden"]
    x = torch.sin(torch.arange(tokens * D, dtype=torch.float64)).float().reshape(1, tokens, D)
    cos, sin = rotary_tables(torch.arange(tokens), D // g["heads"], g["theta"])
    y = decoder_block(layer, x, cos, sin, g)
    print(json.dumps({"case": "verify", "task": task, "shape": [tokens, D], "output": y.flatten().tolist()}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--geometry", default="published", choices=GEOMETRIES)
    parser.add_argument("--tokens", default="16,64,512")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, help="timed runs of a case (default 9, whole models 2)")
    parser.add_argument("--whole", choices=["text", "image"])
    parser.add_argument("--layers", type=int, help="decoder layers instead of the geometry's")
    parser.add_argument("--vision-depth", type=int, help="vision blocks instead of the geometry's")
    parser.add_argument("--verify", metavar="FOLDER")
    parser.add_argument("--task", default="retrieval", help="adapter of --verify")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    g = GEOMETRIES[args.geometry]
    if args.layers:
        g = {**g, "layers": args.layers}
    if args.vision_depth:
        g = {**g, "vision": {**g["vision"], "depth": args.vision_depth}}
    with torch.inference_mode():
        if args.verify:
            verify(args.verify, args.task)
        elif args.whole == "text":
            whole_text(g, args.runs or 2)
        elif args.whole == "image":
            whole_image(g, args.runs or 2)
        else:
            one_block(g, [int(t) for t in args.tokens.split(",")], args.runs or 9)


if __name__ == "__main__":
    main()
