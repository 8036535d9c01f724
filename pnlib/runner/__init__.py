"""The command line, papermill and signals: what no reader of a notebook needs to know."""

SERIES = ("01_explore", "02_augment", "03_model", "04_train", "05_evaluate")
SUPPLEMENTS = ("06_review", "07_study", "08_predict", "09_external")  # executed with --only, and with --in-place
NOTEBOOKS = (*SERIES, *SUPPLEMENTS)
