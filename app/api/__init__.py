"""HTTP in, JSON out: one router per noun. Thin; the work is in `app.services`."""
