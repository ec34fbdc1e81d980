"""Summary of `thaw data check`: one line per kind of finding."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence

from rich.markup import escape

from search_spaces.terminal_text import without_controls
from trainables.data.check.finding import FINDING_KINDS, Finding, Severity

_STYLES = {Severity.REFUSED: "bold red", Severity.WARNING: "yellow", Severity.NOTE: "dim"}
_NAMED = 2
_LONGEST = 60
_REASONS = 4


def findings_lines(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield one line of rich's markup per kind: severity, number, the first of it, and the next step."""
    by_kind: defaultdict[tuple[str, Severity], list[Finding]] = defaultdict(list)
    for each in findings:
        by_kind[each.kind, each.severity].append(each)
    width = max((len(f"{len(own):,}") for own in by_kind.values()), default=0)
    for (kind, severity), own in by_kind.items():
        style = _STYLES[severity]
        head = f"[{style}]{severity.value:<8}[/{style}]{len(own):>{width},}  {escape(_title(kind, own))}"
        yield f"{head}: {escape(_example(own[0]))}; [bold]{escape(FINDING_KINDS[kind].advice)}[/bold]"


def _title(kind: str, findings: Sequence[Finding]) -> str:
    """Return the title of a kind, for files left out with the most frequent reasons."""
    title = FINDING_KINDS[kind].title
    if kind != "left_out":
        return title
    reasons = Counter(each.detail for each in findings).most_common(_REASONS)
    return f"{title} ({', '.join(f'{count} {reason}' for reason, count in reasons)})"


def _example(found: Finding) -> str:
    """Return the first files of a finding; where it is the whole data set, what is wrong with it."""
    if found.kind in ("layout", "remark"):
        return without_controls(found.detail)
    names = [without_controls(name).replace("\n", "\\n") for name in found.files[:_NAMED]]
    short = [name if len(name) <= _LONGEST else f"...{name[3 - _LONGEST :]}" for name in names]
    more = f" and {len(found.files) - len(short)} more" if len(found.files) > len(short) else ""
    return f"{', '.join(short)}{more}{f' in {found.split}' if found.split else ''}"
