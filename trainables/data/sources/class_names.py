"""Names of classes and files: what no file or page could hold is refused, what looks alike is pointed at."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from search_spaces.errors import InvalidInput, closest, shown


def check_names(where: str, classes: Sequence[str], paths: Iterable[str]) -> None:
    """Raise InvalidInput for a class with a line break or control character, and for names that are not UTF-8.

    Python reads other bytes of a folder as half characters, which Parquet, JSON and ONNX cannot hold.
    """
    for name in classes:
        if not is_utf8(name):
            raise InvalidInput(f"{where}: every class must have a name in UTF-8, got {shown(name)}; rename it")
        if not is_one_line(name):
            raise InvalidInput(
                f"{where}: the name of a class must be one line without control characters, got {shown(name)}; "
                "rename it"
            )
    odd = sorted(path for path in paths if not is_utf8(path))
    if odd:
        more = f" and {len(odd) - _SHOWN} more" if len(odd) > _SHOWN else ""
        raise InvalidInput(
            f"{where}: every image must have a name in UTF-8, got {', '.join(map(shown, odd[:_SHOWN]))}{more}; "
            "rename them, e.g. with `convmv -f latin1 -t utf8 -r --notest FOLDER`"
        )


_SHOWN = 10


def check_distinct(where: str, names: Sequence[str]) -> None:
    """Raise InvalidInput where two numbers of classes have one name: their images would become one class."""
    seen: dict[str, int] = {}
    for number, name in enumerate(names):
        if (first := seen.setdefault(name, number)) != number:
            raise InvalidInput(
                f"{where}: every class must have a name of its own, got {shown(name)} for {first} and {number}; "
                "rename one"
            )


def class_text(where: str, value: Any) -> str:
    """Return the class that a value of JSON names, as a text.

    Raises InvalidInput for what is neither a text of one line nor a whole number: an object or a list names no class.
    """
    text = str(value).strip()
    if isinstance(value, bool) or not isinstance(value, str | int) or not text or "\n" in text:
        raise InvalidInput(f"{where} must hold one class in one line, got {shown(value)}; write its name or number")
    return text


def alike_names(names: Iterable[str]) -> list[str]:
    """Return one sentence per group of names that differ only in Unicode form, capitals or white space."""
    groups: defaultdict[str, list[str]] = defaultdict(list)
    for name in sorted(set(names)):
        groups[plain_name(name)].append(name)
    return [
        f"the classes {' and '.join(written(group))} differ only in capitals, white space or Unicode form; "
        "if they are one class, give them one name"
        for group in groups.values()
        if len(group) > 1
    ]


def rename_remedy(name: str, classes: Sequence[str]) -> str:
    """Return the remedy for a class that `classes` lack: what it differs in from one of them, or the closest."""
    twins = [other for other in classes if plain_name(other) == plain_name(name)]
    if not twins:
        return f"add images of it to train, or rename it ({closest(name, classes)})"
    ours, other = written([name, twins[0]])
    return f"{ours} and {other} of train differ only in capitals, white space or Unicode form; give them one name"


def written(names: Sequence[str]) -> list[str]:
    """Return names so that two of them look different: with escapes where a terminal would show them alike."""
    forms = [unicodedata.normalize("NFKC", name).strip() for name in names]
    return list(names) if len(set(forms)) == len(forms) else [ascii(name) for name in names]


def plain_name(name: str) -> str:
    """Return a name without what names may differ in and look alike: capitals, white space and Unicode form."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).split())


def is_one_line(name: str) -> bool:
    """Return whether a name has no line break and no other control character."""
    return not any(unicodedata.category(character) in ("Cc", "Zl", "Zp") for character in name)


def is_utf8(name: str) -> bool:
    """Return whether a name is UTF-8: Python reads other bytes as half characters."""
    return name.isascii() or not any("\ud800" <= character <= "\udfff" for character in name)
