"""What repair leaves of triggers and what it costs: `python -m lab.repair`."""
