"""Draw docs/performance.png from benchmarks/results.json, and write the table of docs/performance.md.

python benchmarks/plot.py
"""

from pathlib import Path

import matplotlib.pyplot as plt
from bench import KEYS, met

from pnlib.base.files import atomic_write, read_json

HERE = Path(__file__).parent
ROWS = (
    *("limit: matrix product bfloat16", "step bfloat16", "epoch bfloat16", "step of Keras bfloat16", "step of PyTorch, best bfloat16"),
    *("limit: matrix product float32", "step float32", "epoch float32", "step of Keras float32", "step of PyTorch, best float32"),
    *("epoch of the public way", "predict, exported to ONNX", "predict", "predict of Keras"),
)  # fmt: skip
OURS, LIMIT, PEER = "#333333", "#DDDDDD", "#999999"


def main() -> None:
    results = read_json(HERE / "results.json")
    figure, axes = plt.subplots(len(results), 1, figsize=(9, 4.6 * len(results)), squeeze=False, layout="constrained")
    for axis, (machine, found) in zip(axes[:, 0], results.items(), strict=True):
        rates = {name: found["images per second"][name] for name in ROWS if name in found["images per second"]}
        for place, (name, rate) in enumerate(reversed(rates.items())):
            ours = name.split()[0] in ("step", "epoch", "predict", "predict,") and " of " not in name
            colour = LIMIT if name.startswith("limit") else OURS if ours else PEER
            spread = [[rate["median"] - rate["lowest"]], [rate["highest"] - rate["median"]]]
            axis.barh(place, rate["median"], xerr=spread, color=colour, edgecolor="black", hatch="" if ours else "//")
            axis.annotate(f" {rate['median']:.0f}", (rate["highest"], place), va="center", fontsize=11)
        axis.set_yticks(range(len(rates)), list(reversed(rates)), fontsize=11)
        axis.set_xlabel("images per second (median; line: all rounds)", fontsize=11)
        axis.set_title(f"{machine}\ndark: ours; hatched: peers; light: the limit", fontsize=11)
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.12)
    docs = HERE.parent / "docs"
    figure.savefig(docs / "performance.png", dpi=110)
    page = (docs / "performance.md").read_text(encoding="utf-8")
    before, after = page.split("<!-- bench -->")[0], page.split("<!-- /bench -->")[1]
    atomic_write(docs / "performance.md", f"{before}<!-- bench -->\n{table(results)}\n<!-- /bench -->{after}")


def table(results: dict) -> str:
    """Key, target and what each machine gave, in words."""
    lines = ["| | target | " + " | ".join(results) + " |", "| --- | --- |" + " --- |" * len(results)]
    for key, (what, target, more) in KEYS.items():
        cells = []
        for found in results.values():
            value = found["keys"].get(key)
            if value is None:
                cells.append("")
                continue
            bold = "**" * met(key, value)
            cells.append(f"{bold}{value['median']:g}{bold} ({value['lowest']:g} to {value['highest']:g})")
        lines.append(f"| {what} | {'at least' if more else 'at most'} {target:g} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\nMedian (lowest to highest of all rounds); bold: the target is met."


if __name__ == "__main__":
    main()
