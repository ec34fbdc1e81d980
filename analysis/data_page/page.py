"""Page of a checked data set: one file that shows everything without a network."""

from collections import Counter
from dataclasses import replace
from functools import cache

import jinja2
import plotly.graph_objects as go
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from analysis.data_page.sections import examples, overview
from analysis.report.page import templates
from analysis.report.picture import image_addresses
from search_spaces.plurals import counted
from trainables.data.check.check import DataCheck


def render_data_page(found: DataCheck, max_pixels: int) -> str:
    """Return the page as HTML: names are escaped, nothing is fetched. Photos have at most `max_pixels`."""
    panels = overview(found)
    figures = [panel.content for panel in panels if isinstance(panel.content, go.Figure)]
    pictures = iter(image_addresses(figures))
    drawn = [
        replace(panel, picture=Markup(next(pictures))) if isinstance(panel.content, go.Figure) else panel
        for panel in panels
    ]
    values = {
        "name": found.root.resolve().name,
        "lead": _lead(found),
        "panels": drawn,
        "sections": list(examples(found, max_pixels)),
        "library": get_plotlyjs(),
    }
    text = _templates().get_template("data.html").render(values)
    return text.encode(errors="backslashreplace").decode()


def _lead(found: DataCheck) -> str:
    classes = len({image.entry.label for image in found.images})
    severities = Counter(each.severity.value for each in found.findings)
    words = {"refused": "refused", "warning": "warnings", "note": "notes"}
    counted_by = ((count, severity, words[severity]) for severity, count in severities.items())
    counts = ", ".join(counted(*each) for each in counted_by) or "no findings"
    verdict = "A sweep would refuse this data" if found.is_refused else "A sweep would begin with this data"
    return f"{verdict}: {counted(len(found.images), 'image')} of {counted(classes, 'class', 'classes')}, {counts}."


@cache
def _templates() -> jinja2.Environment:
    loader = jinja2.ChoiceLoader([jinja2.PackageLoader("analysis.data_page"), jinja2.PackageLoader("analysis.report")])
    return templates().overlay(loader=loader)
