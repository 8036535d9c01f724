"""Properties of an image that need not be disease: how it was framed, exposed and scanned.

They are taken over the whole image, lungs included, so that brightness, contrast and sharpness may hold some disease
(01_explore, section 6, takes them apart).
"""

import numpy as np
import pandas as pd

BLACK = 16  # gray levels out of 255; darker counts as margin
COLUMNS = ["black_share", "margin", "brightness", "contrast", "sharpness"]


def measure(images: np.ndarray) -> pd.DataFrame:
    """Five numbers an image, from (n, h, w, 1) uint8.

    | column | meaning | range |
    | --- | --- | --- |
    | black_share | share of pixels darker than 16 of 255 | 0 to 1 |
    | margin | share of the outermost tenth at the left and right that is black | 0 to 1 |
    | brightness | mean gray level | 0 to 255 |
    | contrast | standard deviation of the gray levels | 0 to 127.5 |
    | sharpness | mean absolute difference of vertical neighbours, in gray levels | 0 to 255 |
    """
    rows = []
    for image in images[..., 0]:
        edge = max(1, image.shape[1] // 10)
        sides = np.concatenate([image[:, :edge], image[:, -edge:]], axis=1)
        gradient = np.abs(np.diff(image.astype(np.int16), axis=0)).mean()
        rows.append(((image < BLACK).mean(), (sides < BLACK).mean(), image.mean(), image.std(), gradient))
    return pd.DataFrame(rows, columns=COLUMNS)


def baseline():
    """Logistic regression on standardised properties of `measure`: what can be told without knowing what a lung is."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000))
