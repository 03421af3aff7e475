"""The local stack: real servers, real kills."""
