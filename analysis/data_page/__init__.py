"""Page of a checked data set."""
