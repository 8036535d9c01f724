"""`preprocessing.crop_chest` in Keras' own layers and operations, so that an exported file can search the chest itself.

Shrinking, blurring and averaging over windows are linear along rows and along columns. So each is a matrix, applied to
both sides of the image. Matrices and places are OpenCV's own: it makes them out of a unit matrix and a ramp.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from pnlib.networks import SIZE
from pnlib.preprocessing import COARSE, FLOOR, SIGMA, crop_one, mean_chest, scaled_templates


def crop_chest(gray: Any) -> tuple[Any, Any]:
    """Find the chest, crop it, and even out its tone.

    Args:
        gray: Keras tensor (n, 150, 150, 1) float32, whole numbers from 0 to 255.

    Returns:
        The score of `locate_chest`, (n,), and the image of `preprocessing.crop_chest`, (n, 150, 150, 1), both float32.
    """
    import cv2
    from keras import ops

    gray = gray[..., 0]
    shrink = cv2.resize(np.eye(SIZE, dtype=np.float32), (SIZE, COARSE), interpolation=cv2.INTER_AREA)
    score, rows, columns = _best_match(_normalized(ops.round(both_sides(shrink)(gray)), 7.0, 15.0))
    across = ops.swapaxes(_interpolated(ops.swapaxes(gray, 1, 2), columns), 1, 2)
    chest = _interpolated(across, rows)
    chest = ops.floor(chest + 0.5) if cv2.__version__ < "5" else ops.round(chest)  # OpenCV 4 rounds halves up
    return score, ops.floor(ops.clip(127.5 + 50 * _normalized(chest, SIGMA, FLOOR), 0, 255))[..., None]


def both_sides(matrix: np.ndarray) -> Callable[[Any], Any]:
    """The function from x, (n, side, side), to matrix @ x @ matrix.T."""
    from keras import layers, ops

    layer = layers.Dense(len(matrix), use_bias=False, trainable=False)
    layer.build((None, matrix.shape[1]))
    layer.set_weights([matrix.T])

    def along_one(x: Any) -> Any:
        return ops.swapaxes(layer(x), 1, 2)

    return lambda x: along_one(along_one(x))


def _normalized(gray: Any, sigma: float, floor: float) -> Any:
    """`preprocessing._normalized`. Left to choose, OpenCV takes a kernel of 8 sigma + 1."""
    import cv2
    from keras import ops

    unit = np.eye(gray.shape[1], dtype=np.float32)
    blur = both_sides(cv2.GaussianBlur(unit, (1, round(8 * sigma) + 1), sigma))
    centred = gray - blur(gray)
    return centred / ops.sqrt(blur(ops.square(centred)) + floor**2)


def _best_match(coarse: Any) -> tuple[Any, Any, Any]:
    """`preprocessing.best_match`: the score, (n,), and the rows and the columns to crop, (n, 150) each."""
    from keras import layers, ops

    coarse = coarse[..., None]
    moments = ops.concatenate([coarse, ops.square(coarse)], axis=3)
    found: list = []
    penalties: list[float] = []
    boxes: list[tuple[int, ...]] = []
    for template, penalty in scaled_templates(mean_chest()):
        height, width = template.shape
        search = layers.Conv2D(1, template.shape, use_bias=False, trainable=False)
        search.build(coarse.shape)
        search.set_weights([((template - template.mean()) / (template.std() * template.size))[..., None, None]])
        means = layers.AveragePooling2D((1, width), 1)(layers.AveragePooling2D((height, 1), 1)(moments))
        boxes += [(top, height, left, width) for top, left in np.ndindex(means.shape[1:3])]
        penalties += [penalty] * (len(boxes) - len(penalties))
        found.append(layers.Reshape((-1, 3))(ops.concatenate([search(coarse), means], axis=3)))
    product, mean, square = ops.unstack(ops.concatenate(found, axis=1), axis=2)
    match = product / ops.sqrt(ops.maximum(square - ops.square(mean), 1e-6)) - np.array(penalties, np.float32)
    score, best = (of_each[:, 0] for of_each in ops.top_k(match, 1))
    return score, *_places(best, np.array(boxes))


def _places(best: Any, boxes: np.ndarray) -> tuple[Any, Any]:
    """The rows and columns, (n, 150) each, of the boxes with the numbers `best`, of all (top, height, left, width).

    Few pairs of start and length serve many boxes: two small tables instead of a large one.
    """
    from keras import ops

    sides, which = np.unique(boxes.reshape(-1, 2), axis=0, return_inverse=True)
    numbers = ops.cast(_table(which.reshape(-1, 2))(best), "int32")
    ramp = np.tile(np.arange(SIZE, dtype=np.float32), (SIZE, 1))
    squares = [np.array([0, start, start, length, length]) / COARSE for start, length in sides]
    rows = _table([crop_one(ramp.T.copy(), box, SIZE)[:, 0] for box in squares])
    columns = _table([crop_one(ramp, box, SIZE)[0] for box in squares])
    return rows(numbers[:, 0]), columns(numbers[:, 1])


def _table(rows: Any) -> Any:
    """A layer that gives the rows of given numbers."""
    from keras import layers

    layer = layers.Embedding(len(rows), len(rows[0]), trainable=False)
    layer.build()
    layer.set_weights([np.array(rows, np.float32)])
    return layer


def _interpolated(image: Any, rows: Any) -> Any:
    """An image's values at fractional rows: (n, 150, 150) at (n, 150), in OpenCV's order, which decides ties."""
    from keras import ops

    def at(whole: Any) -> Any:
        chosen = ops.cast(ops.equal(whole[..., None], np.arange(SIZE, dtype=np.float32)), "float32")
        return ops.matmul(chosen, image)

    before = ops.floor(rows)
    low = at(before)
    return low + (rows - before)[..., None] * (at(ops.minimum(before + 1, SIZE - 1)) - low)
