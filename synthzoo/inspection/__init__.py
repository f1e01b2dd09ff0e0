"""What is in a set of labelled structures, and what may be wrong with it."""
