"""Counts in words: a number with its noun."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, e.g. "1 image", "2,000 images"; `plural` where it is not the noun with an s."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
