"""The documentation: what it says exists, nothing that exists is missing, and what can run there runs."""
