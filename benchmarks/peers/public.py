"""The public way: the CNN as it is trained in the notebooks that people copy, on the same images.

OpenCV reads each file in gray and resizes it; all images are one array, divided by 255; `ImageDataGenerator` augments;
rmsprop trains. Keras, TensorFlow and OpenCV as they are installed, nothing tuned.

    python benchmarks/peers/public.py epoch IMAGES.npz     # images per second of the second epoch, and peak memory in MB
    python benchmarks/peers/public.py load FOLDER          # seconds to read all its image files
"""

import json
import resource
import sys
import time
from pathlib import Path

import numpy as np


def load(folder: str) -> dict:
    import cv2

    started = time.perf_counter()
    images = []
    for path in sorted(Path(folder).rglob("*.jpeg")):
        images.append(cv2.resize(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (150, 150)))
    x = np.array(images) / 255
    return {"seconds": time.perf_counter() - started, "images": len(x)}


def epoch(file: str, epochs: str = "2") -> dict:
    import keras
    from keras import layers
    from keras.src.legacy.preprocessing.image import ImageDataGenerator

    with np.load(file, allow_pickle=False) as data:
        x, y = np.array(list(data["x"]))[..., None] / 255, data["y"]
    x_val, y_val = x[: len(x) // 9], y[: len(x) // 9]
    x, y = x[len(x) // 9 :], y[len(y) // 9 :]
    generator = ImageDataGenerator(
        rotation_range=30, zoom_range=0.2, width_shift_range=0.1, height_shift_range=0.1, horizontal_flip=True
    )
    generator.fit(x)
    stack: list = [keras.Input((150, 150, 1))]
    for filters in (32, 64, 128, 128):
        stack += [layers.Conv2D(filters, 3, padding="same", activation="relu"), layers.MaxPooling2D(2, padding="same")]
    stack += [
        layers.Flatten(),
        layers.Dropout(0.5),
        layers.Dense(512, activation="relu"),
        layers.Dense(1, activation="sigmoid"),
    ]
    model = keras.Sequential(stack)
    model.compile(optimizer="rmsprop", loss="binary_crossentropy", metrics=["accuracy"])
    seconds: list[float] = []
    started = [0.0]
    clock = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: started.__setitem__(0, time.perf_counter()),
        on_epoch_end=lambda epoch, logs: seconds.append(time.perf_counter() - started[0]),
    )
    model.fit(
        generator.flow(x, y, batch_size=32),
        epochs=int(epochs),
        validation_data=(x_val, y_val),
        callbacks=[clock],
        verbose=0,
    )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"images_per_second": len(x) / min(seconds[1:] or seconds), "memory": memory}


if __name__ == "__main__":
    print(json.dumps({"epoch": epoch, "load": load}[sys.argv[1]](*sys.argv[2:])))
