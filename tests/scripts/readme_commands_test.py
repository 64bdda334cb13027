"""tests/scripts/readme_commands.py finds the commands of a README and notices the ones that do not work."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from readme_commands import Command, extract_commands  # noqa: E402

RUNNER = Path(__file__).resolve().parent / "readme_commands.py"

# `exit N` exits with N, `write -o F` writes F, `read F` prints it.
FAKE_ORRERY = """#!/usr/bin/env bash
case $1 in
  exit) exit "$2" ;;
  write) echo text > "$3" ;;
  read) cat "$2" ;;
esac
"""


class ReadmeCommandsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.orrery = self.folder / "orrery"
        self.orrery.write_text(FAKE_ORRERY)
        self.orrery.chmod(0o755)

    def run_readme(self, text: str):
        (self.folder / "README.md").write_text(text)
        done = subprocess.run([sys.executable, RUNNER, "--orrery", self.orrery, self.folder / "README.md"],
                              capture_output=True, text=True)
        return done.returncode, done.stdout

    def test_commands_are_found_in_sh_and_console_blocks_only(self):
        text = "\n".join([
            "build/release/orrery prose", "```sh", "build/release/orrery one \\", "  --more", "cd elsewhere",
            "scripts/demo.sh", "```", "```console", "$ build/release/orrery two  # exit 2",
            "build/release/orrery output", "$ git clone", "```", "```", "build/release/orrery unmarked", "```",
        ])
        self.assertEqual(extract_commands(text), [
            Command(3, "build/release/orrery one --more", 0),
            Command(6, "scripts/demo.sh", 0),
            Command(9, "build/release/orrery two  # exit 2", 2),
        ])

    def test_working_commands_pass_and_see_what_earlier_ones_wrote(self):
        code, output = self.run_readme(
            "```sh\nbuild/release/orrery write -o plan.json\nbuild/release/orrery read plan.json\n"
            "build/release/orrery exit 2   # exit 2\nscripts/bootstrap.sh\n```\n")
        self.assertEqual(code, 0, output)
        self.assertIn("4 commands, 0 failed", output)

    def test_a_wrong_exit_code_fails(self):
        for line in ["build/release/orrery exit 1", "build/release/orrery exit 0  # exit 2",
                     "build/release/orrery exit 3 | cat"]:
            with self.subTest(line=line):
                code, output = self.run_readme(f"```sh\n{line}\n```\n")
                self.assertEqual(code, 1, output)
                self.assertIn("README.md:2:", output)

    def test_a_script_that_does_not_exist_fails(self):
        self.assertEqual(self.run_readme("```sh\nscripts/none.sh\n```\n")[0], 1)

    def test_a_readme_without_commands_is_not_a_success(self):
        self.assertEqual(self.run_readme("Nothing here.\n")[0], 2)

    def test_nothing_is_written_to_the_repository(self):
        name = "calibration/readme_commands_test.toml"
        code, output = self.run_readme(f"```sh\nbuild/release/orrery write -o {name}\n```\n")
        self.assertEqual(code, 0, output)
        self.assertFalse((RUNNER.parents[2] / name).exists())


if __name__ == "__main__":
    unittest.main()
