"""pnlib: the thin library behind five notebooks that tell pneumonia from normal in chest X-rays.

One module per step: data, download, demo, augment, model, train, evaluate, explain, plots, runs, claims, cli; besides
them shift and study (comparing recipes) and reference (the trained models that the project brings). Importing it reads
no file, draws no seed and starts no TensorFlow. It teaches; it is no medical device.
"""

from pnlib.reference import load_reference

__all__ = ["load_reference"]
__version__ = "0.1.0"
