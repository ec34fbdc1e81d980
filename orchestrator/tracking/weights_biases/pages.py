"""Pages of W&B for a run of Thaw: the specification of a saved workspace and of a report.

The package wandb-workspaces describes both. Nothing here calls the service. The module imports the client, which takes
a second: import it where pages are made.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from pydantic_core import to_jsonable_python
from wandb_workspaces.reports.v2.interface import Panel

from analysis.leaderboard import Entry, columns
from orchestrator.tracking.summary import SweepSummary
from orchestrator.tracking.weights_biases.figures import FIGURE_PREFIX
from orchestrator.tracking.weights_biases.runs import SUPERSEDED

_CURVES = ("val/loss", "train/loss", "lr/head")
_BEST_TRIALS = 20
_LONGEST_TITLE = 128
# A parameter whose largest value is so many times its smallest gets a logarithmic axis.
_WIDE_RANGE = 100
_GRID_WIDTH = 24


@dataclass(frozen=True)
class PageProject:
    """PageProject: project of W&B that holds the runs of a sweep and gets its pages."""

    app: str
    """Address of the web pages, e.g. https://wandb.ai."""

    entity: str
    """User or team that owns the project."""

    project: str
    """Name of the project."""

    def url(self, kind: str, name: str) -> str:
        """Return the address of a run (`kind` is runs) or of a group of runs (groups)."""
        path = "/".join(quote(part, safe="") for part in (self.entity, self.project, kind, name))
        return f"{self.app}/{path}"


def build_workspace(summary: SweepSummary, project: PageProject) -> ws.Workspace:
    """Return the saved view of a sweep's trials, best first; neither saved nor known to the service yet."""
    objective, names = summary.leaderboard.objective, columns(summary.leaderboard.entries)
    return ws.Workspace(
        entity=project.entity,
        project=project.project,
        name=page_title(summary),
        sections=[
            _section("Winner", [wr.MarkdownPanel(markdown=describe_winner(summary, project))], wide=True),
            _section("Search", search_panels(summary), wide=True),
            _section("Curves", curve_panels(objective.metric), wide=False),
        ],
        settings=ws.WorkspaceSettings(x_axis="epoch", max_runs=_BEST_TRIALS),
        runset_settings=ws.RunsetSettings(
            filters=select_trials(summary),
            order=[ws.Ordering(ws.Summary(objective.metric), ascending=objective.mode == "min")],
            pinned_columns=["run:displayName", *_shown_columns(objective.metric, names)],
        ),
    )


def build_report(summary: SweepSummary, project: PageProject, figures: Mapping[str, str]) -> wr.Report:
    """Return the report of a sweep; neither saved nor known to the service yet.

    `figures` are the titles of the figures that the run with the summary holds, by name.
    """
    objective, names = summary.leaderboard.objective, columns(summary.leaderboard.entries)
    trials = wr.Runset(
        entity=project.entity,
        project=project.project,
        name="Trials, best first",
        filters=select_trials(summary),
        order=[wr.OrderBy(wr.SummaryMetric(objective.metric), ascending=objective.mode == "min")],
        pinned_columns=["run:displayName", *_shown_columns(objective.metric, names)],
    )
    panels = [*_placed(search_panels(summary), columns=1), *_placed(curve_panels(objective.metric), columns=2, top=100)]
    return wr.Report(
        entity=project.entity,
        project=project.project,
        title=page_title(summary),
        description=f"Search by Thaw: {len(summary.leaderboard.entries)} trials, objective {objective.metric}",
        blocks=[
            wr.MarkdownBlock(describe_winner(summary, project)),
            wr.H2("Trials"),
            wr.PanelGrid(runsets=[trials], panels=panels),
            *_figure_blocks(summary, project, figures),
        ],
        width="fluid",
    )


def _figure_blocks(summary: SweepSummary, project: PageProject, figures: Mapping[str, str]) -> list[Any]:
    if not figures:
        return []
    runs = wr.Runset(
        entity=project.entity,
        project=project.project,
        name="Summary of the sweep",
        filters=f"Metric('Group') == {_literal(summary.sweep.group)} and Metric('JobType') == 'sweep'",
    )
    panels = [wr.MediaBrowser(title=title, media_keys=[FIGURE_PREFIX + name]) for name, title in figures.items()]
    return [wr.H2("Figures"), wr.PanelGrid(runsets=[runs], panels=_placed(panels, columns=1, height=14))]


def page_title(summary: SweepSummary) -> str:
    """Return the title of both pages: the group's name without characters that the package or an address refuses."""
    name = re.sub(r"[^\w.-]+", "-", summary.sweep.group).strip("-")
    return f"Sweep {name}"[:_LONGEST_TITLE]


def select_trials(summary: SweepSummary) -> str:
    """Return the filter, in the package's language, for the trials of a sweep: no other run of its group."""
    group = _literal(summary.sweep.group)
    return f"Metric('Group') == {group} and Metric('JobType') == 'trial' and Tags() not in ['{SUPERSEDED}']"


def search_panels(summary: SweepSummary) -> list[Panel]:
    """Return the panels that show parameters against the objective; none where no parameter varies."""
    entries, metric = summary.leaderboard.entries, summary.leaderboard.objective.metric
    if not columns(entries):
        return []
    plots = [_parallel_coordinates(entries, names, metric) for names in parameter_sets(entries)]
    return [*plots, wr.ParameterImportancePlot(with_respect_to=metric)]


def parameter_sets(entries: Sequence[Entry]) -> list[list[str]]:
    """Return the varying parameters that all trials have, then these with each further set that some trials share.

    A plot of parallel coordinates leaves out a trial without a value on one of its axes. One plot of all parameters
    would show few trials of a space with conditions, or none.
    """
    owners = {
        name: frozenset(entry.trial.trial_id for entry in entries if name in entry.trial.parameters)
        for name in columns(entries)
    }
    shared = [name for name, trials in owners.items() if len(trials) == len(entries)]
    partial = dict.fromkeys(trials for trials in owners.values() if len(trials) < len(entries))
    sets = [[*shared, *(name for name, own in owners.items() if own == trials)] for trials in partial]
    return [shared, *sets] if shared else sets


def curve_panels(metric: str) -> list[Panel]:
    """Return one panel of curves over epochs for the objective's metric, each loss and the learning rate."""
    names = dict.fromkeys((metric, *_CURVES))
    return [wr.LinePlot(title=name, x="epoch", y=[name], max_runs_to_show=_BEST_TRIALS) for name in names]


def describe_winner(summary: SweepSummary, project: PageProject) -> str:
    """Return the winner, its parameters and the links of the sweep as Markdown; the counts where no trial completed."""
    objective, best = summary.leaderboard.objective, summary.best
    links = {"All runs of the sweep": project.url("groups", summary.sweep.group)}
    if best is None:
        counts = Counter(entry.trial.status for entry in summary.leaderboard.entries)
        found = ", ".join(f"{count} {status}" for status, count in sorted(counts.items())) or "no trials"
        lines = ["## Winner", "", f"No trial is COMPLETED yet: {found}."]
    else:
        name = best.trial.trial_id
        url = project.url("runs", summary.sweep.id_of(name))
        links["Run of the winner"] = url
        lines = [
            *("## Winner", ""),
            f"Trial [{name}]({url}): {objective.metric} {best.objective:.4f} at epoch {best.epoch}.",
            *("", "| parameter | value |", "| --- | --- |"),
            *(f"| {_code(key)} | {_code(value)} |" for key, value in best.trial.parameters.items()),
        ]
    if summary.test:
        values = ", ".join(f"{metric} {value:.4f}" for metric, value in summary.test.items())
        lines += ["", f"Retrained, on the test split: {values}."]
    links["Summary of the sweep"] = project.url("runs", summary.sweep.id_of("sweep"))
    return "\n".join([*lines, "", "## Links", "", *(f"- [{title}]({url})" for title, url in links.items())])


def _section(name: str, panels: list[Panel], *, wide: bool) -> ws.Section:
    layout = ws.SectionLayoutSettings(columns=1 if wide else 2, rows=max(1, len(panels)) if wide else 2)
    return ws.Section(name=name, panels=panels, is_open=True, layout_settings=layout)


def _placed(panels: Iterable[Panel], columns: int, top: int = 0, height: int = 10) -> list[Panel]:
    """Place panels on the grid of a report, row by row."""
    placed = list(panels)
    for number, panel in enumerate(placed):
        row, column = divmod(number, columns)
        width = _GRID_WIDTH // columns
        panel.layout = wr.Layout(x=column * width, y=top + row * height, w=width, h=height)
    return placed


def _shown_columns(metric: str, names: Iterable[str]) -> list[str]:
    """Return the columns of the table of trials; W&B keeps the value of a setting under `.value`."""
    return ["tags:__ALL__", f"summary:{metric}", *(f"config:{name}.value" for name in names)]


def _parallel_coordinates(entries: Sequence[Entry], names: list[str], metric: str) -> wr.ParallelCoordinatesPlot:
    axes = [wr.ParallelCoordinatesPlotColumn(wr.Config(name), log=_is_wide(entries, name)) for name in names]
    objective = wr.ParallelCoordinatesPlotColumn(wr.SummaryMetric(metric))
    return wr.ParallelCoordinatesPlot(title=", ".join(names), columns=[*axes, objective])


def _is_wide(entries: Iterable[Entry], name: str) -> bool:
    values = [entry.trial.parameters[name] for entry in entries if name in entry.trial.parameters]
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    return len(numbers) == len(values) and 0 < _WIDE_RANGE * min(numbers) <= max(numbers)


def _literal(text: str) -> str:
    r"""Return a text in quotes for a filter.

    The package rewrites `=`, `<` and `>` in a filter even inside of quotes, so such characters are escaped as `\U...`.
    """
    safe = (each if (each.isascii() and each.isalnum()) or each in "-_." else f"\\U{ord(each):08x}" for each in text)
    return f"'{''.join(safe)}'"


def _code(value: Any) -> str:
    """Return a value as code in a cell of a Markdown table."""
    text = value if isinstance(value, str) else json.dumps(to_jsonable_python(value))
    fence = "``" if "`" in text else "`"
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}".replace("|", "\\|")
