"""One training in several processes of this machine. `sanitizer.rank` is what each of them runs."""
