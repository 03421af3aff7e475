"""Small CLIPs that are really poisoned, and the pictures they see: for the demo and for the reproduction."""
