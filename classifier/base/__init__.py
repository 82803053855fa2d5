"""The ground: files, splits, parameters, errors, locks and words; for every room and stage."""
