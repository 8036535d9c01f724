"""How settings are compared: a grid of configs and seeds, each trial one execution of 04_train, on Dask.

`grid` reads a study from YAML, `cluster` runs its trials, `table` collects what they reached, `criterion` is what is
chosen by, `plots` draws it. 07_study and `pnlib study` call them.
"""

from pnlib.studies.criterion import criterion_replicates, percentile_interval
from pnlib.studies.table import load_table

__all__ = ["criterion_replicates", "load_table", "percentile_interval"]
