"""How much faster is a bootstrap replicate by `pnlib.evaluation` than by scikit-learn's separate metric functions?

    python benchmarks/bootstrap.py      # half a minute; needs no images

scikit-learn's functions are the peer: one call each for accuracy, for precision, recall and F1, for AUROC, AUPRC and the
Brier score. Each call validates its arguments and counts anew. `evaluation` takes scikit-learn's counts at each threshold
once. Both must give the same values, which is checked first. 624 simulated test images, 100 replicates each way,
alternating.
"""

import time

import numpy as np
import pandas as pd
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    brier_score_loss,
    precision_recall_fscore_support,
    roc_auc_score,
)

from pnlib import evaluation


def by_evaluation(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    return evaluation._metrics(labels, probabilities, 0.5)


def by_separate_calls(labels: np.ndarray, probabilities: np.ndarray) -> dict[str, float]:
    predicted = (probabilities >= 0.5).astype(int)
    precision, recall, f1, _ = precision_recall_fscore_support(labels, predicted, zero_division=0)
    values = (
        *(accuracy_score(labels, predicted), f1.mean(), recall.mean(), precision.mean()),
        *(recall[1], recall[0], precision[1], f1[1], roc_auc_score(labels, probabilities)),
        *(average_precision_score(labels, probabilities), brier_score_loss(labels, probabilities)),
    )
    return dict(zip(evaluation.METRICS, map(float, values), strict=True))


def main() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [234, 390])
    probabilities = 1 / (1 + np.exp(-(2 * labels - 1 + rng.normal(0, 1.2, len(labels)))))
    draws = list(evaluation.patient_draws(labels, np.arange(len(labels)), 100, seed=0))
    seconds = {by_evaluation: [], by_separate_calls: []}
    ours, peer = (pd.DataFrame([way(labels[drawn], probabilities[drawn]) for drawn in draws]) for way in seconds)
    print(f"largest difference between the two: {np.abs(ours - peer).to_numpy().max():.1e}")
    for _ in range(3):
        for way, found in seconds.items():
            started = time.process_time()
            for drawn in draws:
                way(labels[drawn], probabilities[drawn])
            found.append((time.process_time() - started) / len(draws))
    fast, slow = (min(found) for found in seconds.values())
    print(
        f"a replicate by pnlib.evaluation {fast * 1000:.1f} ms, by scikit-learn's separate calls {slow * 1000:.1f} ms: "
        f"{fast / slow:.2f} of the time"
    )


if __name__ == "__main__":
    main()
