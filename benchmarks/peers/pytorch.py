"""PyTorch's training step of the same CNN, in each of the ways that its tuning guide names for CPUs.

Images lie in memory as tensors, and nothing is augmented: less work than the library's epoch that it is compared with.

    python benchmarks/peers/pytorch.py      # images per second of each way
"""

import json
import statistics
import time

import torch
from torch import nn

BATCH, STEPS, WARMUP = 32, 12, 3


def network() -> nn.Module:
    layers: list[nn.Module] = []
    channels = 1
    for filters in (32, 64, 128, 128):
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        channels = filters
    layers += [nn.Flatten(), nn.Dropout(0.5), nn.Linear(12_800, 512), nn.ReLU(), nn.Linear(512, 1)]
    return nn.Sequential(*layers)


def images_per_second(way: str, bfloat16: bool) -> float:
    torch.manual_seed(0)
    model, x = network(), torch.randn(BATCH, 1, 150, 150)
    y = torch.randint(0, 2, (BATCH, 1)).float()
    if way != "eager":
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), fused=way != "eager")
    run = torch.compile(model) if way == "compiled" else model
    times = []
    for _ in range(WARMUP + STEPS):
        started = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
            out = run(x)
        nn.functional.binary_cross_entropy_with_logits(out.float(), y).backward()
        optimizer.step()
        times.append(time.perf_counter() - started)
    return BATCH / statistics.median(times[WARMUP:])


if __name__ == "__main__":
    assert sum(p.numel() for p in network().parameters()) == 6_794_881
    rates = {}
    for way in ("eager", "channels-last", "compiled"):
        for bfloat16 in (False, True):
            rates[f"{way} {'bfloat16' if bfloat16 else 'float32'}"] = images_per_second(way, bfloat16)
    print(json.dumps({"rates": rates, "version": torch.__version__}))
