"""The golden runner (tests/cli/run_golden.py) passes, fails and blesses as it should, on a fake executable."""

import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent


class GoldenTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        for path in HERE.glob("fail.*"):
            shutil.copy(path, self.folder)
        self.case = self.folder / "fail.cmd"

    def golden(self, *options):
        done = subprocess.run([sys.executable, HERE.parent / "run_golden.py", "--orrery", HERE / "fake_orrery",
                               *options, self.case], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    def test_a_case_that_prints_what_is_expected_passes(self):
        self.assertEqual(self.golden(), (0, "ok      fail\n"))

    def test_any_difference_fails_and_is_shown(self):
        for part, text, shown in [("stdout", "arguments: other\n", "-arguments: other\n"),
                                  ("stderr", "error: another\n", "-error: another\n+error: told to fail\n"),
                                  ("exit", "3\n", "-3\n+2\n")]:
            with self.subTest(part=part):
                path = self.case.with_suffix(f".{part}")
                before = path.read_text()
                path.write_text(text)
                code, output = self.golden()
                path.write_text(before)
                self.assertEqual(code, 1)
                self.assertIn(f"fail.{part} (expected)", output)
                self.assertIn(shown, output)

    def test_a_missing_expectation_means_nothing_printed_and_exit_code_0(self):
        self.case.with_suffix(".stderr").unlink()
        self.case.with_suffix(".exit").unlink()
        code, output = self.golden()
        self.assertEqual(code, 1)
        self.assertIn("+error: told to fail\n", output)
        self.assertIn("-0\n+2\n", output)

    def test_a_missing_newline_at_the_end_is_a_difference(self):
        path = self.case.with_suffix(".stderr")
        path.write_text(path.read_text().rstrip("\n"))
        code, output = self.golden()
        self.assertEqual(code, 1)
        self.assertIn("<no newline>", output)

    def test_bless_writes_what_the_next_run_expects(self):
        expected = {part: self.case.with_suffix(f".{part}").read_text() for part in ("stdout", "stderr", "exit")}
        for part in expected:
            self.case.with_suffix(f".{part}").write_text("old\n")
        self.assertEqual(self.golden("--bless"), (0, "blessed fail\n"))
        self.assertEqual({part: self.case.with_suffix(f".{part}").read_text() for part in expected}, expected)
        self.assertEqual(self.golden()[0], 0)

    def test_bless_removes_the_expectations_that_say_nothing(self):
        self.case.write_text("orrery fine > /dev/null\n")
        self.golden("--bless")
        self.assertEqual([path.name for path in self.folder.iterdir()], ["fail.cmd"])

    def test_figures_that_change_from_run_to_run_are_replaced(self):
        text = self.case.with_suffix(".stdout").read_text()
        self.assertIn('{"timing": {"wall_s": <time>, "cpu_s": <time>}}\n', text)
        self.assertIn("simulated in <time> wall\n", text)
        self.assertIn("folder: <scratch>\n", text)

    def test_a_case_is_one_command_that_starts_with_orrery(self):
        for text in ["", "# nothing\n", "echo orrery\n", "orrery one\norrery two\n"]:
            with self.subTest(text=text):
                self.case.write_text(text)
                self.assertEqual(self.golden()[0], 2)


if __name__ == "__main__":
    unittest.main()
