"""The kinds of structures that a recipe can ask for."""
