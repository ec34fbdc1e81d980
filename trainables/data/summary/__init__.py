"""Summary of a data set: counts of its classes, sizes of its photos, and a part of it for quick estimates."""
