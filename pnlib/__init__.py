"""pnlib: the thin library behind five notebooks that tell pneumonia from normal in chest X-rays.

One module per step: data, download, demo, augment, model, train, evaluate, explain, plots, runs, claims, cli.
Importing it reads no file, draws no seed and starts no TensorFlow. It teaches; it is no medical device.
"""

__version__ = "0.1.0"
