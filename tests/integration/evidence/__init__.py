"""What leaves the house can be checked: signed by the worker's code, verified by the client's."""
