"""What UAR leaves of a backdoor in a small SigLIP: `python -m lab.siglip`."""
