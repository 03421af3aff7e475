"""Pages about jobs: order, follow, read, compare."""
