"""The study of repair with edits."""
