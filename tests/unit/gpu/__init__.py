"""`make gpu`: how its parts go on, and what its page says."""
