"""What tests, pictures and the benchmark do with a page of the dashboard."""

from pathlib import Path

# Runs before the page's own scripts.
WATCH = (Path(__file__).parent / "watch.js").read_text()
SHOWN = "!document.querySelector('#main').hidden && document.querySelectorAll('#instances tr').length > 0"


def show(page, url, **look):
    """Opens the dashboard in a window of that look, and waits for its figures."""
    page.look(**look)
    page.open(url, before=WATCH)
    page.until("instances are shown", SHOWN)


def show_all_classes(page):
    page.click("#classes-more")
    page.until("all classes", "document.querySelectorAll('#classes tr').length === 500")


def ask(page, path):
    page.click("#ask-path")
    page.evaluate("document.querySelector('#ask-path').select()")
    page.type(path)
    page.press("Enter")
    page.until("a verdict", "document.querySelector('.verdict')")


def await_snapshots(page, count):
    page.evaluate("""(() => {
        window.seen = 0;
        const note = new MutationObserver(() => (seen += 1));
        note.observe(document.querySelector('#totals'), { childList: true, characterData: true, subtree: true });
    })()""")
    page.until(f"{count} snapshots", f"seen >= {count}")


def task_seconds(page):
    """CPU time that the page's main thread has used."""
    page.command("Performance.enable", timeDomain="threadTicks")
    metrics = {m["name"]: m["value"] for m in page.command("Performance.getMetrics")["metrics"]}
    return metrics["TaskDuration"]
