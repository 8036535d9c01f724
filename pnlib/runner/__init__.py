"""The command line, papermill and signals: what no reader of a notebook needs to know."""
