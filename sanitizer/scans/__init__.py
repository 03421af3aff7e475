"""Looking for triggers that nobody named: detectors, how a null judges them, and names for what they find."""
