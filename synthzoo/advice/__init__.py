"""What to do next: the structures worth computing."""
