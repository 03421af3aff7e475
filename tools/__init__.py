"""What works on the source itself; no part of the product."""
