"""Small CLIPs that are really poisoned, and the images they see: for the demo and for the reproduction."""
