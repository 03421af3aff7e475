"""Wire shapes, one file per noun; what comes in and what goes out are different classes."""
