"""Published detectors, written from their papers, to be measured on the same models as our own."""
