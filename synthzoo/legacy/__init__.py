"""Networks of 2023: their files, and checkpoints made from them."""
