"""`make reproduce`: the claims of the paper, measured on small models that are really poisoned."""
