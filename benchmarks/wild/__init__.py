"""Functions of other packages, to measure what the checker finds and where it errs."""
