"""Pages as HTML: a template and its view model in, text out. Everything is escaped unless a template says otherwise, and none does."""

from __future__ import annotations

from typing import Any

import jinja2

from modbot.portal import status
from modbot.portal.assets import Assets

REFRESH_SECONDS = 5


class Pages:
    """Renders the pages of the portal."""

    def __init__(self, assets: Assets) -> None:
        self._templates = jinja2.Environment(
            loader=jinja2.PackageLoader("modbot.portal"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._templates.globals["asset"] = assets.url
        self._templates.filters.update(number=_number, rate=_rate, seconds=_seconds)

    def landing(self) -> str:
        """Return the landing page."""
        return self._render("landing.html")

    def status(self, model: status.Status) -> str:
        """Return the status page."""
        bars = status.distribution(model)
        return self._render("status.html", status=model, bars=bars, refresh=REFRESH_SECONDS)

    def problem(self, title: str, text: str) -> str:
        """Return a page that says what went wrong."""
        return self._render("problem.html", title=title, text=text)

    def _render(self, name: str, **model: Any) -> str:
        return self._templates.get_template(name).render(**model)


def _number(value: float) -> str:
    return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def _rate(value: float) -> str:
    return _number(value) if value >= 100 else f"{value:.1f}"


def _seconds(value: float) -> str:
    """Write a duration the way a person reads it: 12 ms, 1.4 s, 3 min, 5 h."""
    if value < 1:
        return f"{value * 1000:.0f}\N{NO-BREAK SPACE}ms"
    if value < 60:
        return f"{value:.1f}\N{NO-BREAK SPACE}s"
    if value < 3600:
        return f"{value / 60:.0f}\N{NO-BREAK SPACE}min"
    return f"{value / 3600:.0f}\N{NO-BREAK SPACE}h"
