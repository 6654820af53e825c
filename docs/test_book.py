"""What the book's tools must notice: `python3 -m unittest discover docs`."""

import tempfile
import unittest
from pathlib import Path

import links
import run_commands as runner


class Expectations(unittest.TestCase):
    def test_what_is_printed_must_be_what_the_page_says(self):
        for expected, printed, same in [
            ("hello\n", "hello\n", True),
            ("hello\n", "hello there\n", False),
            ("app1 2 ...\n", "app1 2 true\n", True),
            ("app1 2 ...\n", "app2 2 true\n", False),
            ("a\n...\nz\n", "a\nb\nc\nz\n", True),
            ("a\n...\nz\n", "a\nb\nc\n", False),
            ("a.b\n", "axb\n", False),
            ("a...z\n", "a\nz\n", False),
        ]:
            self.assertEqual(runner.matches(expected, printed), same, (expected, printed))

    def test_a_block_is_its_commands_in_order(self):
        page = "# Title\n\n```console\na &\nb \\\n  --c\n# a comment\nd\n```\n\n```console,setup\nno\n```\n"
        block, setup = runner.blocks(page)
        self.assertEqual(setup.kind, "console,setup")
        self.assertEqual(list(runner.commands(block)), [(4, "a &"), (6, "b \\\n  --c"), (8, "d")])

    def test_only_what_is_marked_is_run_and_every_page_of_commands_says_what_is(self):
        with tempfile.TemporaryDirectory() as directory:
            runner.BOOK = Path(directory)
            page = Path(directory) / "page.md"
            command = "```console\nfalse\n```\n"
            page.write_text(f"{command}<!-- commands: run -->\n\n```console\nb\n```\n<!-- commands: end -->\n{command}")
            [part] = runner.parts(page)
            [block] = runner.blocks(part.text, part.begin)
            self.assertEqual(list(runner.commands(block)), [(7, "b")])
            for unmarked in (command, "<!-- commands: run -->\n```sh\nls\n```\n"):
                page.write_text(unmarked)
                with self.assertRaises(SystemExit):
                    runner.parts(page)

    def run_page(self, text):
        with tempfile.TemporaryDirectory() as directory:
            page = Path(directory) / "page.md"
            work = Path(directory) / "work"
            work.mkdir()
            under_way = runner.Page(runner.Part(page, 1, text, ""), work)
            try:
                under_way.run()
            finally:
                under_way.end()

    def test_commands_see_the_files_and_the_same_ports(self):
        file = "<!-- file: a/b.toml -->\n```toml\nlisten = \"127.0.0.1:8080\"\nport = 8080\n```\n"
        there = "```console\ngrep 127.0.0.1:8080 a/b.toml\n! grep 8080 a/b.toml\n```\n"
        self.run_page(file + there)

    def test_a_block_that_is_not_to_be_run_is_not(self):
        self.run_page("<!-- not run: it fails -->\n```console\nfalse\n```\n")

    def test_a_command_that_fails_fails_the_page(self):
        runner.PATIENCE = 0.1
        for text, said in [
            ("```console\nfalse\n```\n", "line 2: false"),
            ("<!-- before: true -->\n<!-- before: false -->\n", "line 2: false"),
            ("```console\necho a\n```\n\n```text\nb\n```\n", "instead of"),
            ("```console\nbash -c 'exit 3' &\nsleep 0.05; false\n```\n", "ended with 3"),
        ]:
            with self.assertRaises(runner.Failed) as failed:
                self.run_page(text)
            self.assertIn(said, str(failed.exception))


class Links(unittest.TestCase):
    def test_a_link_must_lead_somewhere(self):
        with tempfile.TemporaryDirectory() as directory:
            book = Path(directory)
            (book / "SUMMARY.md").write_text("- [A](a.md)\n")
            (book / "a.md").write_text(
                "# A `b` & c\n[1](#a-b--c) [2](b.md#x) [3](gone.md) [4](#gone) [5](https://x.y/)\n```\n[6](gone)\n```\n"
            )
            (book / "b.md").write_text("## X\n")
            self.assertEqual(
                links.broken(book),
                ["a.md: gone.md: no such file", "a.md: #gone: no such heading", "SUMMARY.md does not list b.md"],
            )


if __name__ == "__main__":
    unittest.main()
