"""Division of a data set: what belongs together, which side it goes to, and the files that say so."""
