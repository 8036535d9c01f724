"""Train 04_train's defaults with five seeds on the published X-rays, evaluate each, and write what the series states.

    PNLIB_DATA=... python benchmarks/seeds.py            # an hour on two idle cores; interrupted, it goes on
    python benchmarks/seeds.py --collect                 # only read the finished runs seed-0 ... seed-4

Writes benchmarks/seeds.csv (one row a seed) and the measured part of pnlib/stated.json: value = mean over the seeds,
tolerance = half the 95 % prediction interval for one more seed (t distribution: with five seeds, about 3 standard
deviations), rounded up to two decimals, so never below 0.01, which leaves room for other processors and decoders.
The test images are read once per seed, at the end, with nothing left to choose.
"""

import argparse
import json
import math
import sys
from pathlib import Path

import pandas as pd
import scipy.stats

from pnlib import claims, cli, data, evaluate, framing, runs

SEEDS = range(5)
HERE = Path(__file__).parent
STATED = HERE.parent / "pnlib" / "stated.json"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--collect", action="store_true")
    if not parser.parse_args().collect:
        for seed in SEEDS:
            status = cli.main(["run", "--name", f"seed-{seed}", "--from", "04_train", "-p", "seed", str(seed)])
            if status:
                return status
    table = pd.DataFrame([row(seed) for seed in SEEDS]).set_index("seed")
    runs.write_whole(HERE / "seeds.csv", table.to_csv(float_format="%.6f"))
    shown = [column for column in table.drop(columns="processor") if not column.endswith(("_low", "_high"))]
    print(table[shown].describe().loc[["mean", "std", "min", "max"]].T.round(4).to_string())
    print("\nFor the README:\n" + markdown(table))
    write_stated(table)
    return 0


def row(seed: int) -> dict:
    """What one seed reached, from its run folder."""
    folder = runs.run_dir(f"seed-{seed}")
    metrics = runs.read_json(folder / "evaluate" / "metrics.json")
    training = runs.read_json(folder / "train" / "metrics.json")
    dataset = data.find()
    if not dataset.is_published or metrics["dataset"] != dataset.edition:
        raise SystemExit(
            f"{folder} was evaluated on {metrics['dataset']}; the stated results need the published images."
        )
    parts = {part: data.rows_of_run(dataset, folder / "train", part) for part in ("train", "validation")}
    parts["test"] = dataset.table[dataset.table.split == "test"]
    measured = {part: framing.measure(data.load(dataset, rows)) for part, rows in parts.items()}
    baseline = framing.baseline().fit(measured["train"], parts["train"].label)
    by_framing = {
        f"framing_auroc_{part}": evaluate.metrics(parts[part].label, baseline.predict_proba(measured[part])[:, 1])[
            "auroc"
        ]
        for part in ("validation", "test")
    }
    chosen = {
        f"{name}_at_chosen": metrics["at_chosen_threshold"][name]
        for name in ("accuracy", "macro_f1", "sensitivity", "specificity")
    }
    return {
        "seed": seed, "best_epoch": int(training["epoch"]),
        "validation_auroc": training["val_auroc"], **{name: values[0] for name, values in metrics["metrics"].items()},
        **{f"{name}_{end}": value for name, (_, *ends) in metrics["metrics"].items() for end, value in zip(("low", "high"), ends, strict=True)},
        "chosen_threshold": metrics["chosen_threshold"], **chosen, **by_framing,
        "processor": runs.read_json(folder / "train" / "environment.json")["machine"]["processor"],
    }  # fmt: skip


def markdown(table: pd.DataFrame) -> str:
    """The README's table: each figure with the founding one, seed 0's interval, mean and spread, and range."""
    stated = {name.removeprefix("founding "): e["value"] for name, e in claims.stated().items() if "founding" in name}
    lines = [
        "| on the 624 test images | founding | 95 % interval of seed 0 | mean ± sd of 5 seeds | range |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name in evaluate.METRICS:
        values, first = table[name], table.iloc[0]
        words = (
            name.replace("_", " ").replace("auroc", "AUROC").replace("auprc", "AUPRC").replace("brier", "Brier score")
        )
        lines.append(f"| {words} | {stated.get(name, '')} | {first[f'{name}_low']:.3f} to {first[f'{name}_high']:.3f} "
                     f"| {values.mean():.3f} ± {values.std():.3f} | {values.min():.3f} to {values.max():.3f} |")  # fmt: skip
    return "\n".join(lines)


def write_stated(table: pd.DataFrame) -> None:
    """Put the measured values and tolerances into stated.json; what the founding description states stays."""
    stated = json.loads(STATED.read_text())
    names = {"validation AUROC": "validation_auroc", "AUROC of framing alone on validation": "framing_auroc_validation",
             "AUROC of framing alone on test": "framing_auroc_test"}  # fmt: skip
    names |= {f"test {m}": m for m in ("accuracy", "macro_f1", "macro_recall", "macro_precision", "auroc")}
    factor = scipy.stats.t.ppf(0.975, len(table) - 1) * math.sqrt(1 + 1 / len(table))
    for name, column in names.items():
        tolerance = math.ceil(factor * table[column].std() * 100) / 100
        stated[name] = {
            "value": f"{table[column].mean():.2f}",
            "tolerance": f"{tolerance:.2f}",
            "source": f"benchmarks/seeds.py: mean over {len(table)} seeds, 95 % prediction interval for another seed",
        }
    runs.write_json(STATED, stated)


if __name__ == "__main__":
    sys.exit(main())
