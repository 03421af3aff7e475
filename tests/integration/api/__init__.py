"""The API over real HTTP, on a real database and a real object store; the workers are played by the tests."""
