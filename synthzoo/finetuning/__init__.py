"""Fine-tuning: a user's labelled structures into a potential of their own."""
