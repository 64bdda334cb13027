"""bootstrap.sh, build.sh, demo.sh and test.sh, with the programs they call replaced by recording stand-ins."""

import os
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Each stand-in appends its command line to $LOG. dpkg-query knows every package but those in $MISSING_FILE.
STANDINS = {
    "dpkg-query": """
        for package in "${@:3}"; do
          grep -qxF "$package" "$MISSING_FILE" || echo "$package installed"
        done""",
    "apt-get": """
        echo "apt-get $*" >> "$LOG"
        if [[ " $* " == *" install "* ]]; then
          [[ ${APT:-works} == works ]] || exit 100
          : > "$MISSING_FILE"
        fi""",
    "id": "echo \"${USER_ID:-0}\"",
    "sudo": """
        [[ ${SUDO:-works} == works ]] || exit 1
        shift
        "$@" """,
    "cmake": """
        echo "cmake $*" >> "$LOG"
        echo "compiler chatter"
        if [[ $1 == --preset ]]; then
          mkdir -p "build/$2"
          touch "build/$2/build.ninja"
          echo "CMAKE_HOME_DIRECTORY:INTERNAL=$PWD" > "build/$2/CMakeCache.txt"
        elif [[ ${CMAKE_BUILD:-works} != works ]]; then
          echo "error: does not compile"
          exit 1
        fi""",
    "ctest": """
        echo "ctest $*" >> "$LOG"
        echo "ctest output of $2"
        if [[ ${CTEST_FAILS:-} == "$2" ]]; then exit 8; fi""",
    "ccache": "",
}


class ShellScriptsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name).resolve()
        (self.root / "scripts").mkdir()
        for script in (ROOT / "scripts").glob("*.sh"):
            shutil.copy(script, self.root / "scripts")
        for name, body in STANDINS.items():
            self.write_program(f"bin/{name}", body)
        self.write_program("build/release/orrery", 'echo "answer: $*"')
        self.log = self.root / "log"
        self.missing = self.root / "missing"
        self.missing.write_text("")

    def write_program(self, path: str, body: str):
        program = self.root / path
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/usr/bin/env bash\n" + body + "\n")
        program.chmod(0o755)

    def run_script(self, name: str, *arguments: str, **settings: str):
        """The finished process, and the lines that the stand-ins recorded."""
        self.log.write_text("")
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ORRERY_")}
        environment |= {"PATH": f"{self.root / 'bin'}:{os.environ['PATH']}", "LOG": str(self.log),
                        "MISSING_FILE": str(self.missing), "CI": "true", **settings}
        done = subprocess.run([self.root / "scripts" / name, *arguments], capture_output=True, text=True,
                              stdin=subprocess.DEVNULL, env=environment, cwd="/")
        return done, self.log.read_text().splitlines()

    def test_bootstrap_does_nothing_when_nothing_is_missing(self):
        done, calls = self.run_script("bootstrap.sh", USER_ID="1000", SUDO="asks for a password")
        self.assertEqual((done.returncode, done.stdout, done.stderr, calls), (0, "", "", []))

    def test_bootstrap_installs_only_what_is_missing(self):
        for settings in ({"USER_ID": "0", "SUDO": "none"}, {"USER_ID": "1000"}):
            with self.subTest(**settings):
                self.missing.write_text("catch2\nlibsimgrid-dev\n")
                done, calls = self.run_script("bootstrap.sh", **settings)
                self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
                self.assertEqual(len(calls), 2)
                self.assertTrue(calls[0].endswith(" update"))
                self.assertTrue(calls[1].endswith(" install --yes --no-install-recommends libsimgrid-dev catch2"))

    def test_bootstrap_without_root_prints_the_command_to_run(self):
        self.missing.write_text("catch2\n")
        done, calls = self.run_script("bootstrap.sh", USER_ID="1000", SUDO="asks for a password")
        self.assertEqual((done.returncode, calls), (3, []))
        self.assertIn("sudo apt-get update && sudo apt-get install --yes --no-install-recommends catch2\n", done.stderr)

    def test_bootstrap_reports_an_installation_that_fails(self):
        self.missing.write_text("catch2\n")
        done, _ = self.run_script("bootstrap.sh", APT="broken")
        self.assertEqual(done.returncode, 3)
        self.assertIn("apt-get failed", done.stderr)

    def test_bootstrap_on_another_system_names_the_packages(self):
        programs = self.root / "programs"  # a system that has nothing but bash
        programs.mkdir()
        (programs / "bash").symlink_to(shutil.which("bash"))
        done, _ = self.run_script("bootstrap.sh", PATH=str(programs))
        self.assertEqual(done.returncode, 3)
        self.assertIn("not a Debian system", done.stderr)
        self.assertIn("libsimgrid-dev", done.stderr)
        done, _ = self.run_script("bootstrap.sh", PATH=str(programs), ORRERY_SKIP_BOOTSTRAP="1")
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_build_configures_once_and_builds_the_named_targets(self):
        _, calls = self.run_script("build.sh", "release", "orrery")
        self.assertEqual(calls[0], "cmake --preset release --fresh")
        self.assertRegex(calls[1], r"^cmake --build --preset release --parallel \d+ --target orrery$")
        done, calls = self.run_script("build.sh", "release")
        self.assertEqual(len(calls), 1)
        self.assertRegex(calls[0], r"^cmake --build --preset release --parallel \d+$")
        self.assertEqual((done.returncode, done.stdout), (0, ""))
        self.assertNotIn("compiler chatter", done.stderr)

    def test_build_configures_again_in_a_copied_checkout(self):
        self.run_script("build.sh", "release")
        (self.root / "build/release/CMakeCache.txt").write_text("CMAKE_HOME_DIRECTORY:INTERNAL=/elsewhere\n")
        _, calls = self.run_script("build.sh", "release")
        self.assertEqual(len(calls), 2)

    def test_build_shows_the_log_when_it_fails(self):
        done, _ = self.run_script("build.sh", "release", CMAKE_BUILD="broken")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("error: does not compile", done.stderr)
        self.assertIn("build/release.log", done.stderr)

    def test_demo_prints_only_the_answer_on_standard_output(self):
        done, calls = self.run_script("demo.sh", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(done.stdout, "answer: simulate --model deepseek-v3 --cluster h800-2048 --layout pp=16,ep=64 "
                                      "--schedule dualpipe --tokens 14.8T --json\n")
        self.assertIn("--target orrery", calls[-1])

    def test_test_runs_the_sanitizers_first_and_everything_last(self):
        done, calls = self.run_script("test.sh", "-R", "schedule")
        self.assertEqual(done.returncode, 0, done.stderr)
        runs = [call for call in calls if call.startswith("ctest")]
        self.assertRegex(runs[0], r"^ctest --preset asan-input .*-L \^\(core\|bad-input\)\$$")
        self.assertRegex(runs[1], r"^ctest --preset release .*-R schedule$")
        self.assertEqual(done.stdout, "ctest output of release\n")
        self.assertTrue(any(call.endswith("--target core_tests orrery") for call in calls))

    def test_test_fails_when_either_run_fails_and_still_runs_both(self):
        for preset in ("asan-input", "release"):
            with self.subTest(preset=preset):
                done, calls = self.run_script("test.sh", CTEST_FAILS=preset)
                self.assertEqual(done.returncode, 1)
                self.assertEqual(sum(call.startswith("ctest") for call in calls), 2)
                self.assertIn(f"ctest output of {preset}", done.stdout)
                self.assertIn("FAILED", done.stderr)


if __name__ == "__main__":
    unittest.main()
