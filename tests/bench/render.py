"""Configurations of peers, from the templates in peers/: `@{name}`, as `$name` is nginx's own."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

TEMPLATES = Path(__file__).parent / "peers"
PLACE = re.compile(r"@\{((?:(\w+)\.)?\w+)\}")

Values = Mapping[str, object]
Groups = Mapping[str, Sequence[Values]]


def render(text: str, values: Values, groups: Groups) -> str:
    """Fills in `values`. A line with `@{group.field}` is repeated for each member of that group.

    Errors: KeyError for a name that is in neither.
    """
    lines = []
    for line in text.splitlines():
        group = next((place[2] for place in PLACE.finditer(line) if place[2]), None)
        for member in groups[group] if group else [{}]:
            lines.append(fill(line, {**values, **{f"{group}.{name}": value for name, value in member.items()}}))
    return "\n".join(lines) + "\n"


def fill(line: str, known: Values) -> str:
    return PLACE.sub(lambda place: str(known[place[1]]), line)


def render_file(name: str, values: Values, groups: Groups) -> str:
    return render((TEMPLATES / name).read_text(), values, groups)
