"""Reading and checking of recipes."""
