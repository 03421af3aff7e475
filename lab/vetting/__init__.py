"""How many poisons `vet` sets aside, on the small models of the test bed: docs/vetting.md."""
