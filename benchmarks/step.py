"""How long does a training step take without oneDNN's kernels, and with Grappler, compared with the way `pnlib` trains?

    python benchmarks/step.py      # about six minutes

Each way runs in a process of its own, twice, alternating. A step is one batch of 32 with the published recipe's
augmentation. `pnlib` turns oneDNN on (`pnlib.quiet_tensorflow`), which TensorFlow itself does only where the processor
has instructions for neural networks. It turns Grappler off (`training.seed_everything`), since with Grappler a seed
doesn't give the same bits.
"""

import os
import subprocess
import sys
import time

import numpy as np
import pandas as pd

import pnlib
from pnlib.base.machine import processor
from pnlib.classifier import REFERENCES
from pnlib.sampling import training_batches
from pnlib.training import compile_network, seed_everything

STEPS, WARMUP = 20, 3
WAYS = {"ours": {}, "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"}, "with Grappler": {}}  # environment


def seconds_per_step(network: str, way: str) -> float:
    pnlib.quiet_tensorflow()
    config = pnlib.TrainConfig(network=network, epochs=1, sampling="none")
    seed_everything(config.seed, config.precision)
    if way == "with Grappler":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
    shape = ((STEPS + WARMUP) * config.batch_size, 150, 150, 1)
    images = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    rows = pd.DataFrame({"label": np.arange(len(images)) % 2})
    net = pnlib.build_network(config.network, config.dropout)
    compile_network(net, config, total_steps=1000)
    batches = iter(training_batches(images, rows, config))
    for _ in range(WARMUP):
        net.train_on_batch(*next(batches))
    started = time.perf_counter()
    for _ in range(STEPS):
        net.train_on_batch(*next(batches))
    return (time.perf_counter() - started) / STEPS


def main() -> None:
    print(f"{processor()}, {os.cpu_count()} cores, float32")
    for network in REFERENCES:
        times = {way: [] for way in WAYS}
        for way in 2 * list(WAYS):
            line = [sys.executable, __file__, network, way]
            done = subprocess.run(line, env=os.environ | WAYS[way], capture_output=True, text=True, check=True)
            times[way].append(float(done.stdout))
        ours = min(times["ours"])
        print(f"{network:<10} ours {ours * 1000:.0f} ms", end="")
        for way in list(WAYS)[1:]:
            print(f", {way} {min(times[way]) * 1000:.0f} ms (ratio {min(times[way]) / ours:.2f})", end="")
        print()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(seconds_per_step(*sys.argv[1:]))
    else:
        main()
