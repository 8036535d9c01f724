"""How long does a training step take without oneDNN's kernels, and with Grappler, against the way that `pnlib` trains?

    python benchmarks/step.py      # about six minutes

Each way in a process of its own, each twice, alternating; a step is one batch of 32 with the recipe's augmentation. `pnlib` turns
oneDNN on (`runs.quiet_tensorflow`), which TensorFlow itself does only where the processor has instructions for neural
networks, and Grappler off (`train.seed_everything`), since with it a seed does not give the same bits.
"""

import os
import subprocess
import sys
import time

import numpy as np

from pnlib import augment, feed, model, reference, runs, train

STEPS, BATCH = 20, 32
WAYS = {"ours": {}, "without oneDNN": {"TF_ENABLE_ONEDNN_OPTS": "0"}, "with Grappler": {}}  # environment


def seconds_a_step(network: str, way: str) -> float:
    runs.quiet_tensorflow()
    train.seed_everything(0)
    if way == "with Grappler":
        import tensorflow as tf

        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})
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
            preparation="local",
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
    for network in reference.NAMES:
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
        print(seconds_a_step(*sys.argv[1:]))
    else:
        main()
