"""Labels of a teacher for structures."""
