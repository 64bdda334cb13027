"""Every rule of scripts/check_includes.py fires on a small tree that breaks it, and only then."""

import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))
from check_includes import check_tree  # noqa: E402

ORDER = ["core", "workload", "kernels", "sim", "planner", "realrun", "reports", "cli"]
HEADER = "#pragma once\n"


class CheckIncludesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = Path(folder.name)

    def write(self, path: str, text: str):
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text)

    def check(self) -> list[str]:
        return [str(finding) for finding in check_tree(self.root)]

    def assert_clean(self):
        self.assertEqual(self.check(), [])

    def assert_fires(self, start: str, part: str):
        """The only finding starts with `start` (file:line:) and contains `part`."""
        findings = self.check()
        self.assertEqual(len(findings), 1, findings)
        self.assertTrue(findings[0].startswith(start), findings)
        self.assertIn(part, findings[0])

    def test_a_tree_that_keeps_the_rules_is_clean(self):
        self.write("core/a.hpp", HEADER + "#include <fmt/format.h>\n#include <vector>\n")
        self.write("sim/b.hpp", HEADER + '#include "core/a.hpp"\n#include "sim/c.hpp"\n')
        self.write("sim/b.cpp", '#include <simgrid/s4u.hpp>\n\n#include "workload/d.hpp"\n')
        self.write("tests/sim/b_test.cpp", '#include <catch2/catch.hpp>\n#include "tests/data.hpp"\n')
        self.write("tests/data.hpp", HEADER + "#include <nlohmann/json.hpp>\n")
        self.assert_clean()

    def test_the_order_of_the_folders(self):
        allowed = {
            "core": [], "workload": ["core"], "kernels": ["core", "workload"], "sim": ["core", "workload"],
            "planner": ["core", "workload", "sim"],
            "realrun": ["core", "workload", "kernels", "sim", "planner"],
            "reports": ["core", "workload", "sim", "planner", "realrun"],
            "cli": ORDER[:-1], "tests": ORDER,
        }
        for folder, targets in allowed.items():
            for target in ORDER + ["tests"]:
                with self.subTest(folder=folder, target=target):
                    self.write(f"{folder}/a.cpp", f'#include <map>\n#include "{target}/b.hpp"\n')
                    if target == folder or target in targets:
                        self.assert_clean()
                    else:
                        self.assert_fires(f"{folder}/a.cpp:2: error:", f"{folder}/ may not include {target}/")
                    (self.root / folder / "a.cpp").unlink()

    def test_code_outside_the_known_folders(self):
        self.write("helpers/a.cpp", "\n")
        self.assert_fires("helpers/a.cpp:1:", "no place in the order")

    def test_spelling_of_includes(self):
        for target in ["a.hpp", "../core/a.hpp", "core/a.h", "simgrid/s4u.hpp", "elsewhere/a.hpp", "core/A.hpp"]:
            with self.subTest(target=target):
                self.write("sim/a.cpp", f'#include "{target}"\n')
                self.assert_fires("sim/a.cpp:1:", "not spelled")

    def test_own_headers_in_angle_brackets(self):
        self.write("sim/a.cpp", "#include <core/a.hpp>\n")
        self.assert_fires("sim/a.cpp:1:", "included with quotes")

    def test_third_party_headers_stay_out_of_headers(self):
        for target in ["simgrid/s4u.hpp", "xbt/log.h", "boost/graph/adjacency_list.hpp", "nlohmann/json.hpp",
                       "toml++/toml.h", "CLI/CLI.hpp", "mpi.h", "nccl.h", "cuda_runtime.h", "cuda.h",
                       "cublasLt.h", "zlib.h"]:
            with self.subTest(target=target):
                self.write("sim/a.hpp", HEADER + f"#include <{target}>\n")
                self.assert_fires("sim/a.hpp:2:", "third-party")

    def test_pragma_once_comes_first(self):
        for text in ["", "// A comment.\n#pragma once\n", "#ifndef A_HPP\n#define A_HPP\n#endif\n"]:
            with self.subTest(text=text):
                self.write("core/a.hpp", text)
                self.assert_fires("core/a.hpp:1:", "#pragma once")

    def test_length_of_files(self):
        self.write("core/a.cpp", "\n" * 400)
        self.assert_clean()
        self.write("core/a.cpp", "\n" * 401)
        self.assert_fires("core/a.cpp:401: warning:", "better below 400")
        self.write("core/a.cpp", "\n" * 800)
        self.assert_fires("core/a.cpp:401: warning:", "better below 400")
        self.write("core/a.cpp", "\n" * 801)
        self.assert_fires("core/a.cpp:801: error:", "split it")

    def test_size_of_files(self):
        self.write("models/a.json", " " * 1_000_000)
        self.assert_clean()
        self.write("models/a.json", " " * 1_000_001)
        self.assert_fires("models/a.json:1:", "1000001 bytes")

    def test_forbidden_words(self):
        for word in ["/wor" "k/", "/tm" "p/", "TO" "DO", "FIX" "ME"]:
            for name in ["core/a.cpp", "scripts/a.py", "scripts/a.sh", "CMakeLists.txt", "models/a.toml"]:
                with self.subTest(word=word, name=name):
                    self.write(name, f"\n// {word}\n")
                    self.assert_fires(f"{name}:2:", f"forbidden word {word}")
                    (self.root / name).unlink()

    def test_two_types_of_one_name(self):
        self.write("core/a.hpp", HEADER + "namespace orrery {\nstruct A {\n};\nenum class B { x };\n}  // namespace orrery\n")
        self.write("sim/a.cpp", "namespace orrery {\nstruct A;\nstruct A::Inner {\n};\nnamespace {\nstruct A {\n};\n}  // namespace\n"
                                "}  // namespace orrery\nnamespace orrery::cli {\nclass A final {\n};\n}  // namespace orrery::cli\n")
        self.assert_clean()
        self.write("sim/b.hpp", HEADER + "namespace orrery {\n\nclass A : public C {\n};\n}  // namespace orrery\n")
        self.assert_fires("sim/b.hpp:4:", "orrery::A is defined in core/a.hpp too")
        for line in ["struct A {};", "struct A { int x; };", "enum class B { y };", "enum B : int { y };"]:
            with self.subTest(line=line):
                self.write("sim/b.hpp", HEADER + f"namespace orrery {{\n{line}\n}}  // namespace orrery\n")
                self.assert_fires("sim/b.hpp:3:", "is defined in core/a.hpp too")

    def test_a_script_without_suffix_is_known_by_its_first_line(self):
        self.write(".ci/run", "#!/usr/bin/env bash\n# TO" "DO\n")
        self.assert_fires(".ci/run:2:", "forbidden word")

    def test_files_that_git_ignores_are_not_looked_at(self):
        subprocess.run(["git", "init", "--quiet", self.root], check=True)
        self.write(".gitignore", "/generated/\n")
        self.write("generated/a.cpp", '#include "a.hpp"\n')
        self.assert_clean()
        self.write("core/a.cpp", '#include "a.hpp"\n')  # not added to git yet, all the same a finding
        self.assert_fires("core/a.cpp:1:", "not spelled")

    def test_the_exit_code_counts_errors_and_not_warnings(self):
        def run():
            done = subprocess.run([sys.executable, SCRIPTS / "check_includes.py", self.root],
                                  capture_output=True, text=True)
            return done.returncode, done.stdout

        self.write("core/a.cpp", "\n" * 401)
        self.assertEqual(run(), (0, "core/a.cpp:401: warning: 401 lines: better below 400\n"))
        self.write("core/a.cpp", '#include "cli/b.hpp"\n')
        self.assertEqual(run(), (1, "core/a.cpp:1: error: core/ may not include cli/ (it may include: no other folder)\n"))


if __name__ == "__main__":
    unittest.main()
