"""The book's links: each relative one leads to a file, its anchor to a heading there, and each page is in SUMMARY.md."""

import re
from pathlib import Path


def anchor(heading):
    """What mdBook makes of a heading."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
    kept = [c.lower() if c.isalnum() or c in "_-" else "-" if c.isspace() else "" for c in text.strip()]
    return "".join(kept)


def prose(text):
    """Without blocks of code and their likes."""
    return re.sub(r"^```.*?^```$", "", text, flags=re.S | re.M)


def anchors(text):
    """Of all headings; of equal ones the further ones are numbered."""
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", prose(text), re.M):
        name, number = anchor(heading), 1
        while name in found:
            name, number = f"{anchor(heading)}-{number}", number + 1
        found.add(name)
    return found


def broken(root: Path):
    pages = {page: page.read_text() for page in sorted(root.rglob("*.md"))}
    known = {page: anchors(text) for page, text in pages.items()}
    found = []
    for page, text in pages.items():
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`\n]*`", "", prose(text))):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, name = target.partition("#")
            there = (page.parent / path).resolve() if path else page
            if not there.exists():
                found.append(f"{page.relative_to(root)}: {target}: no such file")
            elif name and name not in known.get(there, set()):
                found.append(f"{page.relative_to(root)}: {target}: no such heading")
    listed = set(re.findall(r"\]\(([^)]+\.md)\)", pages[root / "SUMMARY.md"]))
    missing = [str(p.relative_to(root)) for p in pages if p.name != "SUMMARY.md" and str(p.relative_to(root)) not in listed]
    return found + [f"SUMMARY.md does not list {page}" for page in missing]
