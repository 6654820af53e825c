"""Plots as SVG: panels of lines over a logarithmic axis, with the value written at every point."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 360, 250
LEFT, RIGHT, TOP, BOTTOM = 52, 24, 56, 44

STYLE = """
    :root { --ink: #1c2430; --line: #5b6b80; --page: #f4f6f9; --curve: #1f6fb5; --bar: #b4530a; }
    @media (prefers-color-scheme: dark) {
      :root { --ink: #e6ebf2; --line: #93a4ba; --page: #131a23; --curve: #4d9de0; --bar: #f0a35e; }
    }
    text { font: 12px system-ui, sans-serif; fill: var(--ink); }
    .head { font-weight: 600; }
    .axis { stroke: var(--line); }
    .curve { fill: none; stroke: var(--curve); stroke-width: 2; }
    .point { fill: var(--curve); }
    .bar { stroke: var(--bar); stroke-dasharray: 4 3; }
"""


@dataclass(frozen=True)
class Panel:
    """One curve. `points`: x above 0, and y. `bar`: what y should stay below."""

    title: str
    x: str
    y: str
    points: Sequence[tuple[float, float]]
    bar: float | None = None


def svg(title: str, panels: Sequence[Panel]) -> str:
    width = WIDTH * len(panels)
    parts = [drawn(panel, WIDTH * place) for place, panel in enumerate(panels)]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {HEIGHT}" role="img"'
        f' aria-label="{escape(title)}">\n  <style>{STYLE}  </style>\n'
        f'  <rect width="{width}" height="{HEIGHT}" rx="8" fill="var(--page)"/>\n' + "".join(parts) + "</svg>\n"
    )


def drawn(panel: Panel, left: float) -> str:
    logs = [math.log10(x) for x, _ in panel.points]
    low, high = min(logs), max(logs)
    top = 1.15 * max([y for _, y in panel.points] + [panel.bar or 0])

    def across(x: float) -> float:
        share = (math.log10(x) - low) / ((high - low) or 1)
        return left + LEFT + share * (WIDTH - LEFT - RIGHT)

    def up(y: float) -> float:
        return HEIGHT - BOTTOM - y / (top or 1) * (HEIGHT - TOP - BOTTOM)

    places = [(across(x), up(y)) for x, y in panel.points]
    base, end = HEIGHT - BOTTOM, left + WIDTH - RIGHT
    lines = [
        text(left + 16, 22, panel.title, "head"),
        text(left + 16, 40, panel.y),
        text(end, HEIGHT - 10, panel.x, anchor="end"),
        line("axis", left + LEFT, base, end, base),
        *(text(place, base + 16, f"{x:,.0f}", anchor="middle") for (place, _), (x, _) in zip(places, panel.points)),
        f'  <polyline class="curve" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in places)}"/>\n',
        *(f'  <circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="3"/>\n' for x, y in places),
        *(text(x, y - 8, shown(value), anchor="middle") for (x, y), (_, value) in zip(places, panel.points)),
    ]
    if panel.bar is not None:
        lines.append(line("bar", left + LEFT, up(panel.bar), end, up(panel.bar)))
        lines.append(text(left + LEFT - 6, up(panel.bar) + 4, shown(panel.bar), anchor="end"))
    return "".join(lines)


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    kind = f' class="{kind}"' if kind else ""
    return f'  <text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}>{escape(words)}</text>\n'


def line(kind: str, x1: float, y1: float, x2: float, y2: float) -> str:
    return f'  <line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>\n'


def shown(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"
