"""How much faster are a bootstrap's draws by `evaluate.metrics_of_draw` than by `evaluate.metrics`, its peer?

    python benchmarks/bootstrap.py      # a minute; needs no images

Both give the same figures (tests/test_fuzz.py); on 624 simulated test images, 100 draws each way, alternating.
"""

import time

import numpy as np

from pnlib import evaluate


def main() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [234, 390])
    probabilities = 1 / (1 + np.exp(-(2 * labels - 1 + rng.normal(0, 1.2, len(labels)))))
    draws = list(evaluate.patient_draws(labels, np.arange(len(labels)), 100, seed=0))
    seconds = {evaluate.metrics: [], evaluate.metrics_of_draw: []}
    for _ in range(3):
        for way, found in seconds.items():
            started = time.process_time()
            for drawn in draws:
                way(labels[drawn], probabilities[drawn])
            found.append((time.process_time() - started) / len(draws))
    slow, fast = (min(found) for found in seconds.values())
    print(
        f"a draw by metrics {slow * 1000:.1f} ms, by metrics_of_draw {fast * 1000:.1f} ms: {fast / slow:.2f} of the time"
    )


if __name__ == "__main__":
    main()
