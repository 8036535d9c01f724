"""Make pnlib/calibration.json: what the answers of the reference networks are worth (pnlib/inference/calibrated.py).

    PNLIB_DATA=... python benchmarks/calibration.py     # 5 minutes

Reads the validation patients of each reference, never a test image.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

import pnlib
from pnlib.base import files
from pnlib.classifier import REFERENCES
from pnlib.evaluation import logit
from pnlib.stress import PLAIN, corruption_columns, stress_test

RESULT = Path(__file__).resolve().parent.parent / "pnlib" / "calibration.json"
REPLICATES = 200


def main() -> None:
    pnlib.quiet_tensorflow()
    dataset = pnlib.find_dataset()
    replicates = {name: of_network(name, dataset) for name in REFERENCES}
    about = f"Made by benchmarks/calibration.py from: {dataset.attribution}"
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(pairs)}" for name, pairs in replicates.items())
    files.atomic_write(RESULT, f'{{"about": {json.dumps(about)},\n"replicates": {{\n{lines}}}}}\n')


def of_network(name: str, dataset: pnlib.Dataset) -> list[list[float]]:
    """Intercept and slope of each bootstrap replicate over validation patients."""
    classifier = pnlib.load_reference(name)
    rows, images = pnlib.validation_data(dataset, classifier)
    stressed = stress_test(classifier, rows, images)
    looks = [PLAIN, *(column for column in corruption_columns(stressed) if column != "swapped")]
    logits = logit(stressed[looks].to_numpy())
    labels = np.broadcast_to(stressed.label.to_numpy()[:, None], logits.shape)
    patients = stressed.patient.unique()
    members = stressed.groupby("patient").indices
    rng = np.random.default_rng(0)
    found = []
    for _ in range(REPLICATES):
        drawn = np.concatenate([members[patient] for patient in rng.choice(patients, len(patients))])
        fit = LogisticRegression(C=np.inf, class_weight="balanced").fit(
            logits[drawn].reshape(-1, 1), labels[drawn].ravel()
        )
        found.append([round(float(fit.intercept_[0]), 3), round(float(fit.coef_[0, 0]), 3)])
    print(name, len(rows), "images of", len(patients), "patients; median intercept and slope", np.median(found, axis=0))
    return found


if __name__ == "__main__":
    main()
