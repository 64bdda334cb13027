#include "core/file.hpp"

#include <stdlib.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <filesystem>

#include "core/catalog.hpp"
#include "core/document.hpp"
#include "core/error.hpp"
#include "core/hash.hpp"

namespace orrery {
namespace {

// An empty folder that disappears with the test.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "orrery-file-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchFolder() { std::filesystem::remove_all(path_); }
  std::string path(const std::string& name) const { return (path_ / name).string(); }
  std::size_t files() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator(path_),
                                                  std::filesystem::directory_iterator()));
  }

 private:
  std::filesystem::path path_;
};

TEST_CASE("whether a file could be written is known without writing it") {
  const ScratchFolder folder;
  check_writable(folder.path("new"));
  CHECK_THROWS_AS(read_file(folder.path("new")), InputError);
  check_writable("/dev/null");
  CHECK_THROWS_WITH(check_writable(folder.path("no/such/folder")),
                    Catch::Contains("No such file or directory"));
  CHECK_THROWS_AS(check_writable(folder.path(".")), EnvironmentError);
}

}  // namespace

TEST_CASE("a written file reads back, replaces the old one and leaves nothing else") {
  const ScratchFolder folder;
  const std::string path = folder.path("a.json");
  write_file_atomically(path, "old");
  const std::string text = std::string("new\0text", 8);
  write_file_atomically(path, text);
  CHECK(read_file(path) == text);
  CHECK(folder.files() == 1);
}

TEST_CASE("a file that cannot be written leaves the old state and says why") {
  const ScratchFolder folder;
  CHECK_THROWS_WITH(write_file_atomically(folder.path("no/such/folder"), "x"),
                    Catch::Contains("No such file or directory"));
  CHECK_THROWS_AS(write_file_atomically(folder.path("."), "x"), EnvironmentError);
  CHECK(folder.files() == 0);
}

TEST_CASE("a missing file and a directory are input errors that name the path") {
  CHECK_THROWS_WITH(read_file("no/such.toml"), "error: cannot read no/such.toml: no such file");
  CHECK_THROWS_WITH(read_file("tests"),
                    "error: cannot read tests: it is a directory, expected a file");
  Diagnostics diagnostics;
  CHECK_THROWS_AS(parse_file("models", diagnostics), InputError);
}

TEST_CASE("the hash is 64-bit FNV-1a") {
  CHECK(hash_text("") == "cbf29ce484222325");
  CHECK(hash_text("a") == "af63dc4c8601ec8c");
  CHECK(hash_text("foobar") == "85944171f73967e8");
}

TEST_CASE("a name resolves in the data root, a path is taken as it is") {
  const std::vector<std::string> models = list(CatalogKind::kModel);
  CHECK(std::is_sorted(models.begin(), models.end()));
  CHECK(std::count(models.begin(), models.end(), "deepseek-v3") == 1);
  CHECK(resolve("deepseek-v3", CatalogKind::kModel).ends_with("models/deepseek-v3.toml"));
  CHECK(resolve("h800-64", CatalogKind::kCluster).ends_with("topologies/h800-64.toml"));
  CHECK(resolve("./x", CatalogKind::kModel) == "./x");
  CHECK(resolve("x.json", CatalogKind::kModel) == "x.json");
}

TEST_CASE("an unknown name lists the known ones and suggests the nearest") {
  CHECK_THROWS_WITH(resolve("deepseek-v33", CatalogKind::kModel),
                    Catch::Contains("error: unknown model 'deepseek-v33'") &&
                        Catch::Contains("did you mean 'deepseek-v3'?") &&
                        Catch::Contains("deepseek-v2-lite"));
  CHECK_THROWS_AS(resolve("", CatalogKind::kModel), InputError);
  CHECK_THROWS_AS(resolve("..", CatalogKind::kCluster), InputError);
}

}  // namespace orrery
