// Every file of tests/data/input/bad/ is refused with exactly the message in the .expected file
// beside it. ORRERY_BLESS=1 in the environment writes those files anew: read each one as a user
// would before committing it.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "core/cluster_reader.hpp"
#include "core/error.hpp"
#include "core/file.hpp"
#include "core/model_reader.hpp"
#include "core/plan_json.hpp"

namespace orrery {
namespace {

constexpr const char* kFolder = "tests/data/input/bad";

std::string message_of(const std::string& path, const std::string& name) {
  try {
    if (name.starts_with("model-")) read_model(path);
    if (name.starts_with("cluster-")) read_cluster(path);
    if (name.starts_with("plan-")) read_plan(path);
  } catch (const InputError& error) {
    return std::string(error.what()) + "\n";
  }
  return "accepted\n";
}

}  // namespace

TEST_CASE("malformed files are refused with the exact message that helps") {
  const bool bless = std::getenv("ORRERY_BLESS") != nullptr;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.path().extension() != ".expected") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  CHECK(paths.size() >= 30);
  // Two files would share one message.
  CHECK(std::adjacent_find(paths.begin(), paths.end(), [](const auto& a, const auto& b) {
          return a.stem() == b.stem();
        }) == paths.end());
  for (const auto& path : paths) {
    const std::string expected =
        std::filesystem::path(path).replace_extension(".expected").string();
    const std::string message = message_of(path.string(), path.filename().string());
    if (bless) write_file_atomically(expected, message);
    CAPTURE(path.string());
    CHECK(message == read_file(expected));
    CHECK(message != "accepted\n");
  }
}

}  // namespace orrery
