"""What is asked of the tables, one file per noun."""
