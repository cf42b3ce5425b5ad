#!/usr/bin/env python3
"""PyTorch's batch_norm on a CUDA GPU, the same shapes and the same JSON as the benchmark's.

    python3 bench/torch_batchnorm.py [--shapes typical|all|series|16x64x56x56,...] [--dtypes f32,f16,bf16]
        [--layouts channels-first,channels-last] [--rounds 15] [--quick] [--json FILE]

Times are medians by CUDA events over repeats of about 30 ms. Inference has no gradient; "forward" is
F.batch_norm in training with running statistics; "backward" and "forward+backward" go through autograd.
Parameters stay f32 whatever the type of x, as in the package.
"""

import argparse
import datetime
import json
import math
import sys

import torch
import torch.nn.functional as F

EPS = 1e-5
DTYPES = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
FLOORS = {"inference": 2, "forward": 3, "backward": 5, "forward+backward": 8}


def resnet(batch):
    maps = [
        ("stem", 64, 112), ("stage 1", 64, 56), ("stage 1 out", 256, 56), ("stage 2", 128, 28),
        ("stage 2 out", 512, 28), ("stage 3", 256, 14), ("stage 3 out", 1024, 14), ("stage 4", 512, 7),
        ("stage 4 out", 2048, 7),
    ]
    return [(f"ResNet-50 {name}, batch {batch}", f"resnet{batch}", [batch, c, s, s]) for name, c, s in maps]


SHAPES = (
    resnet(1) + resnet(16) + resnet(64)
    + [
        (f"MobileNetV2 {c} x {s}², batch 16", "mobilenet", [16, c, s, s])
        for c, s in [(32, 112), (96, 112), (144, 56), (192, 28), (384, 14), (576, 14), (960, 7), (1280, 7)]
    ]
    + [
        ("fully connected 256 x 512", "dense", [256, 512]),
        ("fully connected 4096 x 1024", "dense", [4096, 1024]),
        ("3-D, 32 channels of 16 x 32²", "volume", [4, 32, 16, 32, 32]),
        ("tiny: 8 x 16", "tiny", [8, 16]),
        ("tiny: 2 x 8 x 4²", "tiny", [2, 8, 4, 4]),
        ("tiny: 32 x 64", "tiny", [32, 64]),
        ("tiny: 1 x 16 x 8²", "tiny", [1, 16, 8, 8]),
    ]
)
TYPICAL = {
    "ResNet-50 stage 1, batch 16", "ResNet-50 stage 2 out, batch 16", "ResNet-50 stage 3 out, batch 16",
    "ResNet-50 stage 4 out, batch 16", "ResNet-50 stage 4, batch 1",
    "MobileNetV2 144 x 56², batch 16", "fully connected 256 x 512", "fully connected 4096 x 1024",
    "3-D, 32 channels of 16 x 32²", "tiny: 8 x 16", "tiny: 1 x 16 x 8²",
}


def series():
    for kilobytes in [1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 131072, 262144, 524288]:
        values = kilobytes * 256
        channels = min(64, values // 16)
        per_channel = values // channels
        batch = min(16, per_channel // 4)
        name = f"{kilobytes} KB" if kilobytes < 1024 else f"{kilobytes // 1024} MB"
        yield name, "series", [batch, channels, per_channel // batch]


def select(words):
    for word in words.split(","):
        if word == "all":
            yield from SHAPES
        elif word == "typical":
            yield from (shape for shape in SHAPES if shape[0] in TYPICAL)
        elif word == "series":
            yield from series()
        elif word[0].isdigit():
            asked = [int(size) for size in word.split("x")]
            known = (shape for shape in SHAPES if shape[2] == asked)
            yield next(known, (word, "asked", asked))
        else:
            yield from (shape for shape in SHAPES if word in shape[:2])


def quantile(values, at):
    ordered = sorted(values)
    place = at * (len(ordered) - 1)
    below = int(place)
    above = min(len(ordered) - 1, below + 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def event_time(work, repeats):
    begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    begin.record()
    for _ in range(repeats):
        work()
    end.record()
    end.synchronize()
    return begin.elapsed_time(end) / repeats


def spread(work, rounds, sample_ms):
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    each = max(event_time(work, 3), 1e-4)
    repeats = max(1, min(1024, math.ceil(sample_ms / each)))
    samples = [event_time(work, repeats) for _ in range(rounds)]
    return {
        "ms": quantile(samples, 0.5), "p10": quantile(samples, 0.1), "p90": quantile(samples, 0.9),
        "samples": rounds, "repeats": repeats,
    }


def rows_of(name, group, shape, layout, dtype_name, rounds, sample_ms):
    dtype = DTYPES[dtype_name]
    channels = shape[1]
    x = torch.randn(shape, device="cuda").to(dtype)
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    if layout == "channels-last":
        if len(shape) in formats:
            x = x.contiguous(memory_format=formats[len(shape)])
        else:
            x = x.transpose(1, -1).contiguous().transpose(1, -1)
    memory_shape = [shape[0], *shape[2:], shape[1]] if layout == "channels-last" else shape
    dy = torch.randn_like(x)
    gamma = torch.rand(channels, device="cuda") + 0.5
    beta = torch.rand(channels, device="cuda")
    mean, variance = torch.zeros(channels, device="cuda"), torch.ones(channels, device="cuda")
    size = x.numel() * x.element_size()
    target = torch.empty_like(x)
    xg = x.detach().requires_grad_()
    gamma_g, beta_g = gamma.clone().requires_grad_(), beta.clone().requires_grad_()

    def inference():
        with torch.no_grad():
            return F.batch_norm(x, mean, variance, gamma, beta, training=False, eps=EPS)

    def forward():
        with torch.no_grad():
            return F.batch_norm(x, mean, variance, gamma, beta, training=True, momentum=0.1, eps=EPS)

    def both():
        y = F.batch_norm(xg, mean, variance, gamma_g, beta_g, training=True, momentum=0.1, eps=EPS)
        return torch.autograd.grad(y, [xg, gamma_g, beta_g], dy)

    kept = F.batch_norm(xg, mean, variance, gamma_g, beta_g, training=True, momentum=0.1, eps=EPS)

    def backward():
        return torch.autograd.grad(kept, [xg, gamma_g, beta_g], dy, retain_graph=True)

    copy = spread(lambda: target.copy_(x), rounds, sample_ms)
    for operation, work in [
        ("inference", inference), ("forward", forward), ("backward", backward), ("forward+backward", both),
    ]:
        common = {
            "name": name, "group": group, "shape": memory_shape, "layout": layout, "dtype": dtype_name,
            "operation": operation, "bytes": size,
        }
        yield {
            **common, "candidate": "copy_", "kind": "copy", "wall": copy, "device": copy, "copies": 1,
            "bestCopies": 1, "deviceCopies": 1, "floors": 1, "gbps": 2 * size / copy["ms"] / 1e6,
        }
        taken = spread(work, rounds, sample_ms)
        copies = taken["ms"] / copy["ms"]
        moved = FLOORS[operation]
        yield {
            **common, "candidate": "PyTorch", "kind": "peer", "wall": taken, "device": taken, "copies": copies,
            "bestCopies": taken["p10"] / copy["p10"],
            "deviceCopies": copies, "floors": 2 * copies / moved, "gbps": moved * size / taken["ms"] / 1e6,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="typical")
    parser.add_argument("--dtypes", default="f32")
    parser.add_argument("--layouts", default="channels-first,channels-last")
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("torch_batchnorm.py: needs a CUDA GPU, found none")
    rounds = options.rounds or (5 if options.quick else 15)
    sample_ms = 10 if options.quick else 30
    rows, skipped = [], []
    for name, group, shape in select(options.shapes):
        layouts = options.layouts.split(",")
        for layout in layouts[:1] if len(shape) == 2 else layouts:
            for dtype in options.dtypes.split(","):
                try:
                    rows += rows_of(name, group, shape, layout, dtype, rounds, sample_ms)
                    print(
                        f"{dtype:4} {layout:14} {name:34}",
                        "  ".join(f"{r['operation']} {r['copies']:.2f}" for r in rows[-8:] if r["kind"] == "peer"),
                        file=sys.stderr,
                    )
                except torch.cuda.OutOfMemoryError:
                    torch.cuda.empty_cache()
                    skipped.append({
                        "name": name, "layout": layout, "dtype": dtype, "operation": "forward+backward",
                        "candidate": "PyTorch", "reason": "out of memory",
                    })
    results = {
        "adapter": torch.cuda.get_device_name(),
        "host": "torch",
        "runtime": f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}, cuDNN {torch.backends.cudnn.version()}",
        "date": datetime.date.today().isoformat(),
        "peers": [],
        "timing": "CUDA events",
        "rows": rows,
        "skipped": skipped,
    }
    text = json.dumps(results, indent=1)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        print(text)


if __name__ == "__main__":
    main()
