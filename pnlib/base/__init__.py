"""What everything stands on, and no reader of a notebook needs to know: errors, files, paths, the machine."""
