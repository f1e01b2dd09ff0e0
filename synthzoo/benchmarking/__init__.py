"""Learning curves: what a pre-trained start is worth at each number of structures."""
