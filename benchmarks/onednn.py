"""How much faster is a training step with oneDNN's kernels than without, on this processor?

    python benchmarks/onednn.py      # about four minutes

Each way in a process of its own, both ways twice, alternating; a step is one batch of 32 with the recipe's augmentation. `pnlib`
turns oneDNN on (`runs.quiet_tensorflow`), which TensorFlow itself does only where the processor has instructions for
neural networks.
"""

import os
import subprocess
import sys
import time

import numpy as np

from pnlib import augment, feed, model, runs, train

STEPS, BATCH = 20, 32


def seconds_a_step(network: str) -> float:
    runs.quiet_tensorflow()
    train.seed_everything(0)
    images = np.random.default_rng(0).integers(0, 255, ((STEPS + 3) * BATCH, 150, 150, 1), dtype=np.uint8)
    labels = np.arange(len(images)) % 2
    net = model.NETWORKS[network]()
    train.compile_model(net, 0.001, 1000, weight_decay=0.05, averaging=0.99)
    stream = iter(
        feed.training_stream(
            images,
            labels,
            epochs=1,
            batch_size=BATCH,
            augment=augment.build("elsewhere"),
            balancing="none",
            seed=0,
            preparation="standard",
        )
    )
    for _ in range(3):
        net.train_on_batch(*next(stream))
    started = time.perf_counter()
    for _ in range(STEPS):
        net.train_on_batch(*next(stream))
    return (time.perf_counter() - started) / STEPS


def main() -> None:
    print(f"{runs.processor()}, {os.cpu_count()} cores, float32")
    for network in model.NETWORKS:
        times = {"0": [], "1": []}
        for way in ("0", "1", "0", "1"):
            environment = os.environ | {"TF_ENABLE_ONEDNN_OPTS": way}
            line = [sys.executable, __file__, network]
            done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
            times[way].append(float(done.stdout))
        without, with_ = (min(times[way]) for way in ("0", "1"))
        print(f"{network:<10} without {without * 1000:.0f} ms, with {with_ * 1000:.0f} ms: ratio {with_ / without:.2f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(seconds_a_step(sys.argv[1]))
    else:
        main()
