"""Make pnlib/chest.json: the mean chest of 400 normal and 400 pneumonia training images, drawn by seed 0.

    PNLIB_DATA=... python benchmarks/chest_template.py      # half a minute; writes pnlib/chest.json

Labels only see to it that both classes weigh alike. No test image is read. The images: Kermany, Zhang, Goldbaum, Mendeley
Data rscbjbr9sj v2 (2018), CC BY 4.0.
"""

import json

import numpy as np

from pnlib import chest, data, runs

EACH = 400


def main() -> None:
    dataset = data.find()
    rows = dataset.table[dataset.table.split == "train"].reset_index(drop=True)
    rng = np.random.default_rng(0)
    drawn = [rng.choice(np.flatnonzero(rows.label == label), EACH, replace=False) for label in (0, 1)]
    rows = rows.iloc[np.concatenate(drawn)]
    template = chest.learn(data.load(dataset, rows), rows.label)
    about = (
        "Mean chest of training images, locally normalised; made by benchmarks/chest_template.py from: "
        + dataset.attribution
    )
    lines = ",\n".join(json.dumps([round(float(v), 4) for v in row]) for row in template)
    runs.write_whole(chest.TEMPLATE, f'{{"about": {json.dumps(about)},\n"template": [\n{lines}\n]}}\n')


if __name__ == "__main__":
    main()
