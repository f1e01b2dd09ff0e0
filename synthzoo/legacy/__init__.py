"""Networks of 2023: their files, and the number that these lack."""
