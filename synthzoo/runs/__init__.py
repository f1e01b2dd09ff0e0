"""Files, workers, jobs that resume, and where a result comes from."""
