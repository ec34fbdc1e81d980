"""Commands for looking at the data before anything is trained."""
