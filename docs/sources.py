"""What the Rust sources say of themselves, by their regular forms: documented fields and variants, metrics, paths,
kinds of events. Whoever finds less here than there was would write a reference with holes, so that all of it is counted.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]


def fail(text):
    sys.exit(f"docs/generate.py: {text}")


def read(path):
    """A source without its tests."""
    return re.split(r"^#\[cfg\(test\)\]\n(?:pub )?mod \w+ \{", (ROOT / path).read_text(), flags=re.M)[0]


def rust_files(crate):
    files = sorted((ROOT / crate / "src").rglob("*.rs"))
    named = [f for f in files if not (f.name == "tests.rs" or f.stem.endswith("_tests") or "tests" in f.parts)]
    return [str(f.relative_to(ROOT)) for f in named]


def at_least(what, found, least):
    """`found`, if it is not suspiciously little."""
    if len(found) < least:
        fail(f"only {len(found)} {what} found, {least} were expected: has the form of the sources changed?")
    return found


def literal(text):
    """What a string literal of Rust, without its quotes, stands for."""
    return re.sub(r"\\\n\s*", "", text).replace('\\"', '"').replace("\\\\", "\\")


class Item(NamedTuple):
    """A field or a variant."""

    name: str
    kind: str  # of a field: its type
    about: str
    attributes: str


def about(lines):
    """Doc comments as one line, without the brackets of links to code."""
    text = " ".join(line.strip()[3:].strip() for line in lines if line.strip().startswith("///"))
    text = re.sub(r"\[`(?:crate::|Self::|super::)?([^`\]]+)`\](?:\([^)]*\))?", r"`\1`", text)
    return re.sub(r"  +", " ", text).strip()


def body(source, head):
    """What stands between the braces of the item that begins with `head`."""
    match = re.search(rf"{re.escape(head)}\b[^{{;]*\{{(.*?)^\}}", source, re.S | re.M)
    if not match:
        fail(f"there is no `{head}` any more")
    return match[1]


ENTRY = re.compile(
    r"(?P<before>(?:[ ]{4}(?:///|#\[)[^\n]*\n)*)[ ]{4}(?:pub )?(?P<name>\w+)(?:: (?P<kind>[^\n]+?))?,(?:[ ]*//[^\n]*)?\n"
)


def items(path, head):
    """The fields of a struct, or the variants of an enum, in order."""
    found = []
    for match in ENTRY.finditer(body(read(path), head)):
        lines = match["before"].splitlines()
        attributes = "\n".join(line for line in lines if line.strip().startswith("#"))
        found.append(Item(match["name"], match["kind"] or "", about(lines), attributes))
    return at_least(f"entries of `{head}`", found, 2)


def summary(path, head):
    """The doc comment above an item."""
    match = re.search(rf"((?:^///[^\n]*\n)+)(?:^#\[.*\n)*^{re.escape(head)}\b", read(path), re.M)
    return about(match[1].splitlines()) if match else ""


def constants():
    """Numbers that the checks of a report name."""
    known = {}
    for path in ("proto/src/lib.rs", "proto/src/report.rs"):
        for name, value in re.findall(r"const (\w+): u\w+ = ([^;]+);", read(path)):
            known[name] = eval(value.replace(" as u64", ""), {"__builtins__": {}}, dict(known))
    return known


class Metric(NamedTuple):
    name: str
    kind: str
    labels: tuple
    about: str
    programs: tuple


NAME = re.compile(r'"(sluice_[a-z0-9_]+)"')
AFTER = re.compile(
    r'(?:",|,)\s*(?:"(?P<about>(?:[^"\\]|\\.)*)"|(?P<variable>[a-z]+))\s*,?\s*\)?,?\s*'
    r"(?:&\[(?P<labels>[^\]]*)\]|(?P<named>[A-Z_]{3,}|labels)\b)?",
    re.S,
)


def labels_of(source, match):
    if match["labels"] is not None:
        return tuple(re.findall(r'"(\w+)"', match["labels"]))
    if not match["named"] or match["named"].endswith("_BUCKETS"):
        return ()
    listed = re.search(rf"\b{match['named']}\b(?:: &\[&str\])? = &?\[([^\]]*)\]", source)
    if not listed:
        fail(f"labels {match['named']} are nowhere defined")
    return tuple(re.findall(r'"(\w+)"', listed[1]))


def kind_of(source, place, name):
    called = re.findall(r"([A-Za-z_:]+)\($", re.sub(r"\s+|registry,|&", "", source[max(0, place - 120) : place]))
    if called and "istogram" in called[-1] or name == "sluice_request_duration_seconds":
        return "histogram"
    return "counter" if name.endswith("_total") else "gauge"


def programs_of(path, source):
    """Who registers what this file defines: those that name its type, or both if it is for every program."""
    crate = path.split("/")[0]
    if crate in ("balancer", "agent"):
        return (f"sluice-{crate}",)
    types = re.findall(r"pub struct (\w+)", source)
    users = [
        f"sluice-{user}"
        for user in ("balancer", "agent")
        if any(f"{name}::register(" in read(file) for file in rust_files(user) for name in types)
    ]
    return tuple(users) or ("sluice-balancer", "sluice-agent")


def metrics():
    """Everything that either program exports, by its name in the sources."""
    found, named = {}, set()
    for crate in ("balancer", "agent", "relay", "process"):
        for path in rust_files(crate):
            source = read(path)
            for place in NAME.finditer(source):
                name, after = place[1], source[place.end() :]
                named.add(name)
                constant = re.search(r"const (\w+): &str = $", source[: place.start()])
                if constant:
                    used = re.search(rf"\n\s+{constant[1]},", source)
                    after = source[used.end() - 1 :]
                match = AFTER.match(after)
                if not match or name in found and not match["about"]:
                    continue
                text = match["about"]
                if text is None:
                    variable = re.search(rf'let {match["variable"]} = "((?:[^"\\]|\\.)*)"', source[: place.start()])
                    text = variable[1] if variable else ""
                labels, kind = labels_of(source, match), kind_of(source, place.start(), name)
                found[name] = Metric(name, kind, labels, literal(text), programs_of(path, source))
    undescribed = sorted(name for name in named if name not in found or not found[name].about)
    if undescribed:
        fail(f"no help was found for {', '.join(undescribed)}")
    return at_least("metrics", sorted(found.values()), 90)


def endpoints(path):
    """The paths that an admin server lists, with their methods."""
    listed = re.search(r"const PATHS: &\[&str\] =\s*&\[(.*?)\];", read(path), re.S)
    return at_least(f"endpoints in {path}", re.findall(r'"((?:GET|POST) [^"]+)"', listed[1] if listed else ""), 5)


def event_kinds():
    """Every kind of event that the balancer publishes."""
    forms = [
        r'Event::(?:new|of_service|of_all)\(\s*"([a-z-]+)"',
        r'kind: "([a-z-]+)"',
        r'notice\("([a-z-]+)"',
        r'tell\(\s*"([a-z-]+)"',
        r'Accepted::\w+\(_\) => "([a-z-]+)"',
        r'is_large \{ "([a-z-]+)" \} else',
        r'is_large \{ "[a-z-]+" \} else \{ "([a-z-]+)" \}',
    ]
    sources = [read(path) for path in rust_files("balancer") if "/top/" not in path]
    found = {kind for source in sources for form in forms for kind in re.findall(form, source)}
    return at_least("kinds of events", sorted(found), 15)
