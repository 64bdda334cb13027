#include "realrun/checkpoint.hpp"

#include <fmt/format.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

#include "core/error.hpp"
#include "core/file.hpp"
#include "workload/random.hpp"

namespace orrery {
namespace {

namespace fs = std::filesystem;
using Entries = std::vector<CheckpointEntry>;

// An empty folder that disappears with the test.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::string name = (fs::temp_directory_path() / "orrery-checkpoint-test-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  ~ScratchFolder() { fs::remove_all(path_); }
  std::string path(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

// Blobs of awkward sizes, other bytes for every (step, rank).
Entries entries_of(std::int64_t step, int rank) {
  Random random(static_cast<std::uint64_t>(step * 1000 + rank));
  Entries entries;
  for (const std::size_t size : {0, 1, 7, 8, 9, 5000}) {
    CheckpointEntry& entry = entries.emplace_back();
    entry.name = fmt::format("layer {} \"weights\" of {}", size, rank);
    for (std::size_t at = 0; at < size; ++at)
      entry.data.push_back(static_cast<std::byte>(random.next()));
  }
  entries.push_back({"", {std::byte{0}, std::byte{255}}});
  return entries;
}

void write_checkpoint(const CheckpointFolder& folder, std::int64_t step, int ranks,
                      const std::string& identity = "tiny-moe pp=2 seed=1") {
  for (int rank = 0; rank < ranks; ++rank) folder.write_rank(step, rank, entries_of(step, rank));
  folder.complete(step, ranks, identity);
}

void write_file(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

std::string error_of(const auto& action) {
  try {
    action();
  } catch (const InputError& error) {
    return error.what();
  }
  return "no error";
}

std::set<std::string> names_in(const std::string& folder) {
  std::set<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) names.insert(entry.path().filename());
  return names;
}

// Two good checkpoints, steps 10 and 20 of two ranks, the newer one to spoil.
struct TwoCheckpoints {
  TwoCheckpoints() {
    write_checkpoint(folder, 10, 2);
    write_checkpoint(folder, 20, 2);
  }
  std::string newer(const std::string& name) const {
    return scratch.path("run/step-00000020/" + name);
  }
  // The step that is used, and what the log says.
  std::int64_t used() {
    std::ostringstream out;
    const auto found = folder.newest_valid(out);
    log = out.str();
    return found ? found->step : -1;
  }

  ScratchFolder scratch;
  CheckpointFolder folder{scratch.path("run")};
  std::string log;
};

}  // namespace

TEST_CASE("a checkpoint reads back, every rank's own entries in their order") {
  const ScratchFolder scratch;
  const CheckpointFolder folder(scratch.path("deep/er/run"));
  const std::string identity = "model \"x\"\n\\ seed=1 \xc3\xa9";
  write_checkpoint(folder, 42, 3, identity);
  std::ostringstream log;
  CHECK(folder.newest_valid(log) == Checkpoint{42, 3, identity});
  CHECK(log.str().empty());
  for (int rank = 0; rank < 3; ++rank) CHECK(folder.read_rank(42, rank) == entries_of(42, rank));
  CHECK(names_in(scratch.path("deep/er/run/step-00000042")) ==
        std::set<std::string>{"rank-0000.bin", "rank-0001.bin", "rank-0002.bin", "complete.json"});
}

TEST_CASE("a rank without entries and steps of more than eight digits work") {
  const ScratchFolder scratch;
  const CheckpointFolder folder(scratch.path("run"));
  constexpr std::int64_t kStep = 12'345'678'901;
  folder.write_rank(kStep, 0, {});
  folder.complete(kStep, 1, "");
  std::ostringstream log;
  CHECK(folder.newest_valid(log) == Checkpoint{kStep, 1, ""});
  CHECK(folder.read_rank(kStep, 0).empty());
}

TEST_CASE("a rank's file and complete.json look like this") {
  const ScratchFolder scratch;
  const CheckpointFolder folder(scratch.path("run"));
  folder.write_rank(7, 0, {{"ab", {std::byte{1}, std::byte{2}, std::byte{3}}}});
  folder.complete(7, 1, "tiny-moe seed=1");
  const std::string bytes = read_file(scratch.path("run/step-00000007/rank-0000.bin"));
  using namespace std::string_literals;
  CHECK(bytes.substr(0, bytes.size() - 8) ==
        "orrerycp"
        "\1\0\0\0\0\0\0\0"
        "\1\0\0\0\0\0\0\0"
        "\2\0\0\0\0\0\0\0ab"
        "\3\0\0\0\0\0\0\0\1\2\3"s);
  CHECK(bytes.size() == 24 + 8 + 2 + 8 + 3 + 8);
  CHECK(read_file(scratch.path("run/step-00000007/complete.json")) == R"({
  "format_version": "1.0",
  "step": 7,
  "ranks": 1,
  "identity": "tiny-moe seed=1",
  "files": [
    {"name": "rank-0000.bin", "bytes": 53, "hash": "e994e19fe7e1fbaf"}
  ],
  "content_hash": "187e5392bbf43f91"
}
)");
}

TEST_CASE("without a checkpoint there is none, and nothing to complain of") {
  const ScratchFolder scratch;
  std::ostringstream log;
  CHECK_FALSE(CheckpointFolder(scratch.path("none")).newest_valid(log));
  fs::create_directories(scratch.path("run/step-7"));
  fs::create_directories(scratch.path("run/step-00000007.tmp"));
  fs::create_directories(scratch.path("run/step-99999999999999999999"));
  write_file(scratch.path("run/notes.txt"), "mine");
  CHECK_FALSE(CheckpointFolder(scratch.path("run")).newest_valid(log));
  CHECK(log.str().empty());
}

TEST_CASE("a rank file cut anywhere is noticed and the checkpoint before is used") {
  TwoCheckpoints two;
  const std::string path = two.newer("rank-0001.bin");
  const std::string whole = read_file(path);
  std::vector<std::size_t> sizes;
  for (std::size_t size = 0; size < whole.size(); size += 997) sizes.push_back(size);
  // And everywhere in the header, in the small entries, and in the hash at the end.
  for (std::size_t size = 0; size < 200; ++size) sizes.push_back(size);
  for (std::size_t size = whole.size() - 40; size < whole.size(); ++size) sizes.push_back(size);
  for (const std::size_t size : sizes) {
    write_file(path, whole.substr(0, size));
    CAPTURE(size);
    CHECK(two.used() == 10);
    CHECK(two.log.find("the checkpoint of step 20 is skipped: cannot read " + path) !=
          std::string::npos);
    CHECK_THROWS_AS(two.folder.read_rank(20, 1), InputError);
  }
  write_file(path, whole);
  CHECK(two.used() == 20);
}

TEST_CASE("a flipped bit anywhere in a rank file is noticed") {
  TwoCheckpoints two;
  const std::string path = two.newer("rank-0000.bin");
  const std::string whole = read_file(path);
  for (std::size_t at = 0; at < whole.size(); at += at < 200 ? 1 : 97) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ (1 << at % 8));
    write_file(path, flipped);
    CAPTURE(at);
    CHECK_THROWS_AS(two.folder.read_rank(20, 0), InputError);
  }
  CHECK(two.used() == 10);
}

TEST_CASE("a changed byte anywhere in complete.json is noticed, and so is a cut") {
  TwoCheckpoints two;
  const std::string path = two.newer("complete.json");
  const std::string whole = read_file(path);
  for (std::size_t at = 0; at < whole.size(); ++at) {
    CAPTURE(at);
    std::string changed = whole;
    changed[at] = changed[at] == '1' ? '2' : '1';
    write_file(path, changed);
    CHECK(two.used() == 10);
    write_file(path, whole.substr(0, at));
    CHECK(two.used() == 10);
  }
  CHECK(
      two.log ==
      fmt::format("warning: the checkpoint of step 20 is skipped: cannot read {}: it is truncated "
                  "or corrupted\n",
                  path));
}

TEST_CASE("each reason to skip a checkpoint is told with the file") {
  TwoCheckpoints two;
  const std::string rank = two.newer("rank-0001.bin");
  const std::string text = read_file(rank);
  std::string file = rank;
  std::string why;
  SECTION("complete.json is missing, as after a kill") {
    file = two.newer("complete.json");
    fs::remove(file);
    why = "no such file";
  }
  SECTION("a rank's file is missing") {
    fs::remove(rank);
    why = "No such file or directory";
  }
  SECTION("a rank's file is another one, whole in itself") {
    fs::copy_file(two.newer("rank-0000.bin"), rank, fs::copy_options::overwrite_existing);
    why = "it is not the file that complete.json lists";
  }
  SECTION("complete.json is of another step") {
    file = two.newer("complete.json");
    fs::copy_file(two.scratch.path("run/step-00000010/complete.json"), file,
                  fs::copy_options::overwrite_existing);
    why = "it is of step 10";
  }
  SECTION("the file ends within an entry") {
    write_file(rank, text.substr(0, 1000));
    why = "it is truncated or corrupted, 5000 bytes are expected where 712 are left";
  }
  SECTION("the file is of another kind") {
    write_file(rank, std::string(100, 'x'));
    why = "it does not begin as a checkpoint does";
  }
  SECTION("the file is of another version") {
    std::string other = text;
    other[8] = 3;
    write_file(rank, other);
    why = "its format is version 3, not 1";
  }
  SECTION("more follows") {
    write_file(rank, text + "12345");
    why = "it is corrupted, 5 bytes are left over";
  }
  CHECK(two.used() == 10);
  CHECK(two.log ==
        fmt::format("warning: the checkpoint of step 20 is skipped: cannot read {}: {}\n", file,
                    why));
  // The older one is spoiled too: nothing is left, and both are told.
  fs::remove(two.scratch.path("run/step-00000010/rank-0000.bin"));
  CHECK(two.used() == -1);
  CHECK(std::count(two.log.begin(), two.log.end(), '\n') == 2);
}

TEST_CASE(
    "what an interrupted run left behind does not count and goes with the next complete one") {
  TwoCheckpoints two;
  // Killed while writing step 30: one rank whole, one under its temporary name.
  two.folder.write_rank(30, 0, entries_of(30, 0));
  write_file(two.scratch.path("run/step-00000030/rank-0001.bin.77.tmp"), "half");
  CHECK(two.used() == 20);
  CHECK_THAT(two.log, Catch::Contains("step 30 is skipped") &&
                          Catch::Contains("run/step-00000030/complete.json: no such file"));
  // An incomplete one does not take the place of one to keep.
  write_checkpoint(two.folder, 40, 2);
  CHECK(names_in(two.scratch.path("run")) ==
        std::set<std::string>{"step-00000020", "step-00000040"});
  CHECK(two.used() == 40);
}

TEST_CASE("writing into a complete checkpoint makes it incomplete until it is completed again") {
  TwoCheckpoints two;
  two.folder.write_rank(20, 0, entries_of(21, 0));
  CHECK(two.used() == 10);
  CHECK_THAT(two.log, Catch::Contains("complete.json: no such file"));
  two.folder.write_rank(20, 1, entries_of(21, 1));
  CHECK(two.used() == 10);
  two.folder.complete(20, 2, "again");
  CHECK(two.used() == 20);
  CHECK(two.folder.read_rank(20, 1) == entries_of(21, 1));
}

TEST_CASE("the newest checkpoints are kept, older ones go") {
  const ScratchFolder scratch;
  const int keep = GENERATE(1, 2, 3);
  CAPTURE(keep);
  const CheckpointFolder folder(scratch.path("run"), keep);
  std::set<std::string> expected;
  for (int step = 1; step <= 5; ++step) {
    // Before it is complete, all older ones are still there.
    folder.write_rank(step, 0, entries_of(step, 0));
    expected.insert(fmt::format("step-{:08}", step));
    CHECK(names_in(scratch.path("run")) == expected);
    folder.complete(step, 1, "x");
    if (step > keep) expected.erase(expected.begin());
    CHECK(names_in(scratch.path("run")) == expected);
  }
}

// A run that starts again from an older step must not lose what it has just written to checkpoints
// of higher steps.
TEST_CASE("checkpoints of later steps stay and do not push out the new one") {
  const ScratchFolder scratch;
  const CheckpointFolder folder(scratch.path("run"), 2);
  for (const int step : {100, 200, 50, 60, 70}) write_checkpoint(folder, step, 1);
  CHECK(names_in(scratch.path("run")) ==
        std::set<std::string>{"step-00000060", "step-00000070", "step-00000100", "step-00000200"});
}

TEST_CASE("a rank that has not written cannot be completed") {
  const ScratchFolder scratch;
  const CheckpointFolder folder(scratch.path("run"));
  folder.write_rank(5, 0, {});
  CHECK(error_of([&] { folder.complete(5, 2, ""); }) ==
        fmt::format("error: cannot read {}: No such file or directory",
                    scratch.path("run/step-00000005/rank-0001.bin")));
  CHECK(names_in(scratch.path("run/step-00000005")) == std::set<std::string>{"rank-0000.bin"});
}

TEST_CASE("a folder that cannot be written is an error with the path and the system's reason") {
  const ScratchFolder scratch;
  write_file(scratch.path("file"), "");
  const CheckpointFolder below_a_file(scratch.path("file"));
  CHECK(error_of([&] { below_a_file.write_rank(1, 0, {}); }) ==
        fmt::format("error: cannot write {}: Not a directory", scratch.path("file/step-00000001")));
  std::ostringstream log;
  CHECK(error_of([&] { below_a_file.newest_valid(log); }) ==
        fmt::format("error: cannot read {}: Not a directory", scratch.path("file")));
  // A folder where the file should be.
  fs::create_directories(scratch.path("run/step-00000001/rank-0000.bin/x"));
  const CheckpointFolder folder(scratch.path("run"));
  CHECK(error_of([&] { folder.write_rank(1, 0, {}); }) ==
        fmt::format("error: cannot write {}: Is a directory",
                    scratch.path("run/step-00000001/rank-0000.bin")));
  CHECK(names_in(scratch.path("run/step-00000001")) == std::set<std::string>{"rank-0000.bin"});
  if (::geteuid() == 0) return;  // whom permissions do not stop
  fs::permissions(scratch.path("run"), fs::perms::owner_read | fs::perms::owner_exec);
  CHECK(
      error_of([&] { folder.write_rank(2, 0, {}); }) ==
      fmt::format("error: cannot write {}: Permission denied", scratch.path("run/step-00000002")));
  fs::permissions(scratch.path("run"), fs::perms::owner_all);
}

// A limit on the size of files stands in for a disk that is full: the write ends in the middle.
TEST_CASE("a file that does not fit leaves nothing that counts") {
  TwoCheckpoints two;
  rlimit before = {};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit small = before;
  small.rlim_cur = 4096;
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message = error_of([&] { two.folder.write_rank(30, 0, entries_of(30, 0)); });
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(message == fmt::format("error: cannot write {}: File too large",
                               two.scratch.path("run/step-00000030/rank-0000.bin")));
  CHECK(names_in(two.scratch.path("run/step-00000030")).empty());
  CHECK(two.used() == 20);
}

TEST_CASE("ranks write at the same time") {
  const ScratchFolder scratch;
  const CheckpointFolder folder(scratch.path("new/run"));
  constexpr int kRanks = 4;
  for (const int step : {1, 2, 3}) {
    {
      std::vector<std::jthread> threads;
      for (int rank = 0; rank < kRanks; ++rank)
        threads.emplace_back([&, rank] { folder.write_rank(step, rank, entries_of(step, rank)); });
    }
    folder.complete(step, kRanks, "x");
  }
  std::ostringstream log;
  CHECK(folder.newest_valid(log) == Checkpoint{3, kRanks, "x"});
  for (int rank = 0; rank < kRanks; ++rank) CHECK(folder.read_rank(3, rank) == entries_of(3, rank));
}

}  // namespace orrery
