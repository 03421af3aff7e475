"""The synchronous client; all but `crew` is made from cleanclip/aio by `make format`."""
