#!/usr/bin/env python3
"""Writes docs/src/reference from the programs' help and the sources; `--check` compares, and looks at the book's links.

Needs release binaries.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import links
import running
from described import EVENTS, PATHS
from sources import ROOT, at_least, constants, endpoints, event_kinds, fail, items, metrics, read, summary

PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
OUT = ROOT / "docs" / "src" / "reference"
# Where alerts lead to: a place-holder for wherever the book is served.
RUNBOOKS = "https://sluice-book.example/operate/alarms.html"
NOTE = "<!-- Written by docs/generate.py: change the sources, then run it. -->\n"


def cell(text):
    """Text within a table; what would be markup outside of code is not."""
    parts = " ".join(text.split()).split("`")
    parts[::2] = [part.replace("<", "&lt;").replace("*", "\\*") for part in parts[::2]]
    return escaped("`".join(parts))


def escaped(text):
    return text.replace("|", "\\|")


def rows(head, lines):
    return "\n".join(["| " + " | ".join(head) + " |", "|" + "---|" * len(head)] + lines)


def named(what, known, described):
    """Fails unless every name has its words, and the other way round."""
    if missing := sorted(set(known) - set(described)):
        fail(f"{what} without a description in docs/described.py: {', '.join(missing)}")
    if gone := sorted(set(described) - set(known)):
        fail(f"{what} described in docs/described.py that the sources do not have: {', '.join(gone)}")


def help_of(*command):
    env = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
    run = subprocess.run([PROGRAMS / command[0], *command[1:], "--help"], capture_output=True, text=True, env=env)
    if run.returncode != 0:
        fail(f"{' '.join(command)} --help ended with {run.returncode}: {run.stderr.strip()}")
    return run.stdout


def flags(text):
    """(heading, [(flag, environment, what)]) from a long help."""
    for section in re.split(r"\n(?=[A-Z][^\n]*:\n {2,})", text):
        heading, _, listed = section.partition(":\n")
        if not re.search(r"^ {2,6}(?:-\w, )?--", listed, re.M):
            continue
        entries = []
        for entry in re.split(r"\n(?= {2,6}(?:-\w, )?--)", "\n" + listed)[1:]:
            flag, _, what = entry.strip().partition("\n")
            flag, _, inline = flag.partition("  ")
            env = re.search(r"\[env: (\w+)=[^\]]*\]", what)
            entries.append((re.sub(r"^-\w, ", "", flag), env[1] if env else "", words(inline + what)))
        yield heading.strip(), entries


def words(text):
    """An entry's text in one line: its paragraphs as sentences, its possible values after them."""
    text = re.sub(r"\[env: [^\]]*\]", "", text)
    text = re.sub(r"Possible values:((?:\n\s+- .*(?:\n\s{12,}\S.*)*)+)", lambda match: values(match[1]), text)
    paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", text) if part.strip()]
    return " ".join(part if part.endswith((".", ":")) else f"{part}." for part in paragraphs)


def values(listed):
    found = re.findall(r"- (\S+?):\s+(.*(?:\n\s{12,}[^-\s].*)*)", listed)
    return "; ".join(f"`{word}`: {' '.join(what.split())}" for word, what in found)


def flag_table(entries):
    lines = [f"| `{escaped(flag)}` | {f'`{env}`' if env else ''} | {cell(what)} |" for flag, env, what in entries]
    return rows(["flag", "environment", "what"], lines)


def field_table(path, head, kinds=False, kebab=True, ranges=None):
    """A table of a struct's fields: what a file or a report may have."""
    lines = []
    for item in items(path, head):
        if not item.about:
            fail(f"{path}: `{head}` says nothing of its field {item.name}")
        name = item.name.replace("_", "-") if kebab else item.name
        line = [f"`{name}`", *([f"{kind_words(item.kind)}"] if kinds else []), cell(item.about)]
        lines.append("| " + " | ".join(line + ([ranges.get(item.name, "")] if ranges is not None else [])) + " |")
    head = ["key" if kebab else "field", *(["type"] if kinds else []), "what", *(["range"] if ranges is not None else [])]
    return rows(head, lines)


def kind_words(kind):
    """A Rust type as JSON has it."""
    if match := re.fullmatch(r"Option<(.*)>", kind):
        return f"{kind_words(match[1])}, may be missing"
    if match := re.fullmatch(r"Vec<(.*)>", kind):
        inner = kind_words(match[1])
        return f"list of {inner}s" if inner == "number" else f"list of {inner}"
    if kind == "BTreeMap<String, f64>":
        return "numbers by name"
    if re.fullmatch(r"u\d+|usize|f64", kind):
        return "number"
    if match := re.fullmatch(r"\((.*), (.*)\)", kind):
        return f"[{kind_words(match[1])}, {kind_words(match[2])}]"
    if kind == "Pairs":
        return "list of [number, number]"
    if kind == "bool":
        return "true or false"
    if kind in ("String", "InstanceName", "ServiceName", "BootId", "Target", "ClassName"):
        return "text"
    kind = kind.removeprefix("Sparse")
    anchor = links.anchor(kind)
    return f"[{kind}](#{anchor})"


def enum_table(path, head):
    lines = []
    for item in items(path, head):
        word = re.sub(r"(?<!^)([A-Z])", r"-\1", item.name).lower()
        lines.append(f"| `{word}` | {cell(item.about)} |")
    return rows(["word", "what"], lines)


def program_page(program):
    parts = [NOTE + f"# {program}: flags and keys"]
    parts.append(
        "Each flag has a key of the same name in the file that `--config` names, without the dashes before it:"
        " `--queue-timeout 5s` is `queue-timeout = \"5s\"`. `--config`, `--help` and `--version` have none. Flag beats"
        f" environment beats file. `{program} check` prints the configuration with all defaults, or what is wrong with it."
    )
    text = help_of(program)
    sections = at_least(f"flags of {program}", [s for s in flags(text)], 1)
    at_least(f"flags of {program}", [flag for _, entries in sections for flag in entries], 40)
    for heading, entries in sections:
        parts += [f"## {heading}", flag_table(entries)]
    return parts, text


def commands(program, text):
    listed = re.search(r"\nCommands:\n(.*?)\n\n", text, re.S)
    for name in re.findall(r"^  ([a-z]+) ", listed[1] if listed else "", re.M):
        if name in ("help", "run"):
            continue
        about = help_of(program, name)
        parts = [f"### {program} {name}", "```text\n" + about.split("\n\nOptions:")[0].rstrip() + "\n```"]
        shared = {flag for _, entries in flags(text) for flag, _, _ in entries}
        own = [flag for _, entries in flags(about) for flag in entries if flag[0] not in shared]
        yield "\n\n".join(parts + ([flag_table(own)] if own else []))


def balancer_page():
    parts, text = program_page("sluice-balancer")
    rule, service = "balancer/src/config/rule.rs", "balancer/src/config/service.rs"
    params, cap = "balancer/src/decide/plan/params.rs", "balancer/src/decide/plan/cap.rs"
    parts += [
        "## Tables of the file",
        "### `[service.NAME]`",
        field_table(service, "pub struct ServiceOptions"),
        "### `[[rule]]`, `[[service.NAME.rule]]`",
        "All that is given must match; the first rule that matches wins.",
        field_table(rule, "pub struct RuleOptions"),
        "`header`:",
        field_table(rule, "pub struct HeaderOptions"),
        "`sticky`:",
        field_table(rule, "pub struct StickyOptions"),
        "### `[planner]`",
        planner_table(params, "pub struct PlanParams", ""),
        "### `[planner.cap]`",
        planner_table(cap, "pub struct CapParams", "cap."),
        "## Commands",
        *commands("sluice-balancer", text),
    ]
    return "\n\n".join(parts) + "\n"


def planner_table(path, head, prefix):
    """Keys of the planner with default and range; here they have underscores, as in `replay --set`."""
    bounds = re.findall(r'\("([a-z_.]+)", [^,]+?, ([\d._]+), ([\d._]+)\)', read("balancer/src/decide/plan/params.rs"))
    ranges = {name: f"{number(least)} to {number(most)}" for name, least, most in at_least("bounds", bounds, 10)}
    defaults = dict(re.findall(r"\b(\w+): ([\d.]+)[, ]", read(path)))
    lines = []
    for item in items(path, head):
        if item.name == "cap":
            continue
        if not item.about or item.name not in defaults or prefix + item.name not in ranges:
            fail(f"{path}: no words, default or range of {item.name}")
        lines.append(f"| `{item.name}` | {cell(item.about)} | {defaults[item.name]} | {ranges[prefix + item.name]} |")
    return rows(["key", "what", "default", "range"], lines)


def number(text):
    return f"{float(text.replace('_', '')):,g}"


def agent_page():
    parts, _ = program_page("sluice-agent")
    parts += [
        "## Tables of the file",
        "### `[[clock]]`",
        field_table("agent/src/config/clock.rs", "pub struct ClockOptions"),
        "### `[[buffering]]`",
        "The first table that matches a class and says something decides.",
        field_table("agent/src/config/buffering.rs", "pub struct BufferingRule"),
    ]
    return "\n\n".join(parts) + "\n"


def metrics_page():
    found = metrics()
    parts = [NOTE + "# Metrics"]
    parts.append(
        "Both programs serve these at `/metrics` of their admin address, with those of the process (`process_*`)."
        " A histogram has `_bucket`, `_sum` and `_count`. A series appears when there is something to count in it."
    )
    for title, programs in [
        ("Of the balancer", ("sluice-balancer",)),
        ("Of the agent", ("sluice-agent",)),
        ("Of both", ("sluice-balancer", "sluice-agent")),
    ]:
        lines = [
            f"| `{m.name}` | {m.kind} | {', '.join(f'`{label}`' for label in m.labels)} | {cell(m.about)} |"
            for m in found
            if m.programs == programs
        ]
        parts += [f"## {title}", rows(["name", "type", "labels", "what"], at_least(title, lines, 10))]
    return "\n\n".join(parts) + "\n"


def events_page():
    kinds = event_kinds()
    named("kinds of events", kinds, EVENTS)
    lines = [f"| `{kind}` | {EVENTS[kind]} |" for kind in kinds]
    fields = field_table("balancer/src/control/events.rs", "pub struct Event", kebab=False)
    text = (
        "`GET /v1/events` of the balancer tells of changes as server-sent events; the log has the same lines. Who"
        " reconnects with `Last-Event-ID` gets what it missed, of the last 500."
    )
    return "\n\n".join([NOTE + "# Events", text, rows(["kind", "when"], lines), "## Fields", fields]) + "\n"


def endpoints_page():
    balancer, agent = endpoints("balancer/src/control/mod.rs"), endpoints("agent/src/api/mod.rs")
    named("endpoints", balancer + agent, PATHS)
    parts = [NOTE + "# Endpoints of the admin addresses"]
    parts.append(
        "With a token, every `POST` needs `Authorization: Bearer TOKEN`; reading needs none."
        " Figures are JSON, unless it says otherwise."
    )
    for title, paths in [("Of the balancer", balancer), ("Of the agent", agent)]:
        parts += [f"## {title}", rows(["path", "what"], [f"| `{path}` | {cell(PATHS[path])} |" for path in paths])]
    return "\n\n".join(parts) + "\n"


def ranges():
    """Accepted ranges by struct and field, from the checks of a report."""
    known, source = constants(), read("proto/src/report.rs")

    def bound(text):
        text = re.sub(r"\.into\(\)| as u64", "", text.strip())
        if text.startswith("self."):
            return f"`{text[5:]}`"
        return f"{eval(text, {'__builtins__': {}}, dict(known)):,}"

    found = {}
    for place, value, least, most in re.findall(
        r'within\((?:field\()?"([a-z_.]+)"\)?,\s*(self\.[^,]+|sources|versions), ([^,]+), ([^;?]+?)\)(?:\?|;|\n)', source
    ):
        found[place] = f"{bound(least)} to {bound(most)}" if bound(least) != bound(most) else bound(least)
    found["classifications.len"] = f"0 to {known['MAX_CLASSIFICATIONS']}"
    for name, most in re.findall(r'\("(\w+)", &self\.\w+, (\w+)\)', source):
        found[name] = f"values 0 to {known[most]:,}; at most `requests` of them"
    return at_least("ranges of a report", found, 18)


def report_page():
    found, path, known = ranges(), "proto/src/report.rs", constants()
    lengths = {name.removesuffix(".len"): f"{most} entries" for name, most in found.items() if name.endswith(".len")}
    top = {**found, **lengths}
    now = {name.removeprefix("now."): most for name, most in found.items() if name.startswith("now.")}
    size = known["MAX_BYTES"] >> 20
    parts = [NOTE + "# The report"]
    parts.append(
        f"JSON, `POST /v1/report`, at most {size} MiB. Unknown fields are ignored. A report with a field that is missing, of the"
        " wrong type or out of its range is refused as a whole (422; the answer names the field), and changes nothing."
    )
    for head, name, limits in [
        ("pub struct Report", "Report", top),
        ("pub struct Release", "Release", {}),
        ("pub struct Now", "Now", now),
        ("pub struct ClassReport", "ClassReport", found),
        ("pub struct HeavyUrl", "HeavyUrl", found),
    ]:
        fields = field_table(path, head, kinds=True, kebab=False, ranges=limits)
        parts += [f"## {name}", summary(path, head), fields]
    for file, head in [("proto/src/release.rs", "ClassRelease"), ("proto/src/release.rs", "ReleaseEvidence")]:
        struct = f"pub struct {head}"
        parts += [f"## {head}", summary(file, struct), field_table(file, struct, kinds=True, kebab=False)]
    application = "proto/src/application.rs"
    parts += ["## ApplicationLoad", summary(application, "pub struct ApplicationLoad")]
    parts += [field_table(application, "pub struct ApplicationLoad", kinds=True, kebab=False)]
    measured = "proto/src/measured.rs"
    parts += ["## Measured", summary(measured, "pub struct Measured")]
    parts += [field_table(measured, "pub struct Measured", kinds=True, kebab=False)]
    for file, head in [
        (path, "ReleasePoint"), (path, "ReleaseFound"), (path, "Mode"), (path, "State"),
        (measured, "Quality"), (measured, "Source"),
    ]:  # fmt: skip
        parts += [f"## {head}", summary(file, f"pub enum {head}"), enum_table(file, f"pub enum {head}")]
    sketch = "proto/src/sparse/wire.rs"
    parts += ["## Sketch", summary("proto/src/sketch.rs", "pub struct Sketch")]
    parts += [field_table(sketch, "struct Object", kinds=True, kebab=False)]
    parts += [summary(sketch, "pub(crate) struct Compact")]
    parts += ["## Short reports", summary("proto/src/lean.rs", "pub struct Lean")]
    return for_readers("\n\n".join(part for part in parts if part), known) + "\n"


def for_readers(text, known):
    """Without the names that only the sources have."""
    text = re.sub(r"`([A-Z_]{4,})`", lambda match: f"{known[match[1]]:,}" if match[1] in known else match[0], text)
    text = re.sub(r"[;:] see `Report::measured`", "", text)
    text = re.sub(r"`(?:Now|Measured)::(\w+)`", r"`\1` there", text)
    return text.replace("`None`:", "Missing:")


def pages():
    return {
        "balancer.md": balancer_page(),
        "agent.md": agent_page(),
        "metrics.md": metrics_page(),
        "events.md": events_page(),
        "report.md": report_page(),
        "endpoints.md": endpoints_page(),
    }


def compare_with_running():
    """What the programs export when they run must be what the sources were read to say."""
    known = {metric.name: metric for metric in metrics()}
    for program, families in running.exported(PROGRAMS).items():
        at_least(f"metrics of a running {program}", families, 20)
        for name, (kind, text) in families.items():
            metric = known.get(name) or fail(f"{program} exports {name}, which was not found in the sources")
            said = (metric.kind, metric.about.replace("\\", "\\\\"), program in metric.programs)
            if said != (kind, text, True):
                fail(f"{program} exports {name} as a {kind}, {text!r}; the sources were read to say {metric}")


def alarms():
    """Each alert has a section of its name, and leads whoever is woken there."""
    rules = re.findall(r"- alert: (\w+)\n(.*?)(?=\n\n|\Z)", read("deploy/prometheus/alerts.yml"), re.S)
    alerts = at_least("alerts", [name for name, _ in rules], 10)
    sections = re.findall(r"^## (\w+)$", read("docs/src/operate/alarms.md"), re.M)
    if wrong := sorted(set(alerts) ^ set(sections)):
        fail(f"docs/src/operate/alarms.md and deploy/prometheus/alerts.yml do not have the same alerts: {', '.join(wrong)}")
    for name, rule in rules:
        if f'runbook_url: "{RUNBOOKS}#{links.anchor(name)}"\n' not in f"{rule}\n":
            fail(f"deploy/prometheus/alerts.yml: {name} has no runbook_url that leads to {RUNBOOKS}#{links.anchor(name)}")


def main():
    written = pages()
    alarms()
    if "--check" not in sys.argv:
        OUT.mkdir(parents=True, exist_ok=True)
        for name, text in written.items():
            (OUT / name).write_text(text)
    else:
        stale = [name for name, text in written.items() if not (OUT / name).exists() or (OUT / name).read_text() != text]
        compare_with_running()
        if stale:
            fail(f"docs/src/reference: {', '.join(stale)} not as the programs are: run docs/generate.py")
    if broken := links.broken(ROOT / "docs" / "src"):
        fail("links that lead nowhere:\n  " + "\n  ".join(broken))


if __name__ == "__main__":
    main()
