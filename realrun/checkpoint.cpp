#include "realrun/checkpoint.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <span>
#include <system_error>
#include <utility>

#include "core/error.hpp"
#include "core/file.hpp"
#include "core/hash.hpp"
#include "core/reader.hpp"

namespace orrery {
namespace {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie");

struct Header {
  std::array<char, 8> magic = {'o', 'r', 'r', 'e', 'r', 'y', 'c', 'p'};
  std::uint32_t version = 1;
  std::uint32_t zero = 0;
  std::uint64_t entries = 0;
};

constexpr std::string_view kManifest = "complete.json";

[[noreturn]] void refuse_write(const std::string& path, int error) {
  throw InputError(fmt::format("error: cannot write {}: {}", path, std::strerror(error)));
}

[[noreturn]] void refuse_read(const std::string& path, std::string_view why) {
  throw InputError(fmt::format("error: cannot read {}: {}", path, why));
}

template <class T>
std::span<const std::byte> bytes_of(const T& number) {
  return std::as_bytes(std::span(&number, 1));
}

// 64-bit FNV-1a of a text that comes in pieces. Each step maps the state one to one, so two texts
// that differ in one byte only never have the same hash.
class Hash {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes)
      value_ = (value_ ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  int close() { return number_ < 0 ? 0 : ::close(std::exchange(number_, -1)); }

 private:
  int number_;
};

// Not every file system can sync a folder, so failing is no error.
void sync_folder(const std::string& path) {
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.number() >= 0) ::fsync(folder.number());
}

// A file that gets its name when it is whole; until then, and after an error, there is none.
class NewFile {
 public:
  // The process id keeps two writers of one path apart.
  explicit NewFile(std::string path)
      : path_(std::move(path)),
        temporary_(fmt::format("{}.{}.tmp", path_, ::getpid())),
        file_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (file_.number() < 0) refuse_write(path_, errno);
  }
  ~NewFile() {
    if (!committed_) ::unlink(temporary_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    hash_.add(bytes);
    while (!bytes.empty()) {
      const ssize_t count = ::write(file_.number(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) refuse_write(path_, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  std::uint64_t hash() const { return hash_.value(); }

  void commit() {
    if (::fsync(file_.number()) != 0 || file_.close() != 0 ||
        ::rename(temporary_.c_str(), path_.c_str()) != 0) {
      refuse_write(path_, errno);
    }
    committed_ = true;
    sync_folder(std::filesystem::path(path_).parent_path());
  }

 private:
  std::string path_;
  std::string temporary_;
  Descriptor file_;
  Hash hash_;
  bool committed_ = false;
};

// What complete.json says of a rank's file.
struct Stamp {
  std::uint64_t bytes = 0;
  std::string hash;  // 16 hexadecimal digits
  bool operator==(const Stamp&) const = default;
};

// A rank's file, read from its beginning to the hash at its end.
class RankFile {
 public:
  explicit RankFile(std::string path) : path_(std::move(path)) {
    std::error_code error;
    size_ = std::filesystem::file_size(path_, error);
    if (error) refuse(error.message());
    if (size_ < sizeof stored_) refuse(fmt::format("it is truncated, it has {} bytes", size_));
    left_ = size_ - sizeof stored_;
    file_.open(path_, std::ios::binary);
    file_.seekg(static_cast<std::streamoff>(left_));
    if (!file_.read(reinterpret_cast<char*>(&stored_), sizeof stored_))
      refuse(std::strerror(errno));
    file_.seekg(0);
  }

  Stamp stamp() const { return {size_, fmt::format("{:016x}", stored_)}; }

  std::vector<CheckpointEntry> entries() {
    const auto header = number<Header>();
    if (header.magic != Header{}.magic) refuse("it does not begin as a checkpoint does");
    if (header.version != Header{}.version)
      refuse(fmt::format("its format is version {}, not {}", header.version, Header{}.version));
    std::vector<CheckpointEntry> entries;
    for (std::uint64_t left = header.entries; left > 0; --left) {
      CheckpointEntry& entry = entries.emplace_back();
      entry.name.resize(length());
      take(std::as_writable_bytes(std::span(entry.name)));
      entry.data.resize(length());
      take(entry.data);
    }
    if (left_ > 0) refuse(fmt::format("it is corrupted, {} bytes are left over", left_));
    if (hash_.value() != stored_) {
      refuse(fmt::format("it is corrupted, its hash is {:016x} instead of {:016x}", hash_.value(),
                         stored_));
    }
    return entries;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const { refuse_read(path_, why); }

  template <class T>
  T number() {
    T value = {};
    take(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  // The length of what follows, which has to fit: nothing is allocated for a corrupted one.
  std::size_t length() {
    const auto length = number<std::uint64_t>();
    check_left(length);
    return length;
  }

  void check_left(std::uint64_t bytes) const {
    if (bytes <= left_) return;
    refuse(fmt::format("it is truncated or corrupted, {} bytes are expected where {} are left",
                       bytes, left_));
  }

  void take(std::span<std::byte> bytes) {
    check_left(bytes.size());
    left_ -= bytes.size();
    const auto count = static_cast<std::streamsize>(bytes.size());
    if (!file_.read(reinterpret_cast<char*>(bytes.data()), count)) refuse(std::strerror(errno));
    hash_.add(bytes);
  }

  std::string path_;
  std::ifstream file_;
  std::uint64_t size_ = 0;
  std::uint64_t left_ = 0;    // bytes before the hash that are not read yet
  std::uint64_t stored_ = 0;  // the hash at the end
  Hash hash_;
};

// ------------------------------------------------------------------------------------------------
// complete.json

struct Manifest {
  Checkpoint checkpoint;
  std::vector<Stamp> files;  // by rank
};

std::string rank_name(std::size_t rank) {
  return fmt::format("rank-{:04}.bin", rank);
}

// The last line protects the ones before it.
std::string last_line(std::string_view body) {
  return fmt::format("  \"content_hash\": \"{}\"\n}}\n", hash_text(body));
}

std::string to_json(const Manifest& manifest) {
  const auto identity = nlohmann::json(manifest.checkpoint.identity)
                            .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  std::vector<std::string> files;
  for (const Stamp& file : manifest.files) {
    files.push_back(fmt::format(R"({{"name": "{}", "bytes": {}, "hash": "{}"}})",
                                rank_name(files.size()), file.bytes, file.hash));
  }
  std::string text = fmt::format(
      "{{\n  \"format_version\": \"1.0\",\n  \"step\": {},\n  \"ranks\": {},\n"
      "  \"identity\": {},\n  \"files\": [\n    {}\n  ],\n",
      manifest.checkpoint.step, manifest.checkpoint.ranks, identity, fmt::join(files, ",\n    "));
  return text + last_line(text);
}

Manifest read_manifest(const std::string& path) {
  std::string text = read_file(path);
  const std::size_t last = text.rfind("  \"content_hash\": ");
  if (last == std::string::npos || text.substr(last) != last_line(text.substr(0, last)))
    refuse_read(path, "it is truncated or corrupted");
  Diagnostics diagnostics;
  const Document document = parse_json(path, std::move(text), diagnostics);
  ReadContext context{path, "checkpoint", diagnostics};
  Reader root(document.root, context);
  root.format_version(1, 0);
  root.required_string("content_hash");
  Manifest manifest;
  manifest.checkpoint.step = static_cast<std::int64_t>(root.optional_uint64("step", 0));
  manifest.checkpoint.ranks = root.required_int("ranks");
  manifest.checkpoint.identity = root.required_string("identity");
  for (Reader& file : root.tables("files")) {
    if (file.required_string("name") != rank_name(manifest.files.size()))
      file.error("name", fmt::format("expected {}", rank_name(manifest.files.size())));
    manifest.files.push_back({file.optional_uint64("bytes", 0), file.required_string("hash")});
    file.finish();
  }
  if (manifest.files.size() != static_cast<std::size_t>(manifest.checkpoint.ranks))
    root.error("files", fmt::format("{} files for {} ranks", manifest.files.size(),
                                    manifest.checkpoint.ranks));
  root.finish();
  diagnostics.throw_if_errors();
  return manifest;
}

}  // namespace

CheckpointFolder::CheckpointFolder(std::string folder, int keep)
    : folder_(std::move(folder)), keep_(keep) {
  ORRERY_CHECK(keep >= 1, "keep {}", keep);
}

std::string CheckpointFolder::step_folder(std::int64_t step) const {
  return fmt::format("{}/step-{:08}", folder_, step);
}

std::string CheckpointFolder::rank_path(std::int64_t step, int rank) const {
  return fmt::format("{}/{}", step_folder(step), rank_name(static_cast<std::size_t>(rank)));
}

void CheckpointFolder::prepare() const {
  std::error_code error;
  std::filesystem::create_directories(folder_, error);
  if (error) refuse_write(folder_, error.value());
  if (::access(folder_.c_str(), W_OK) != 0) refuse_write(folder_, errno);
}

void CheckpointFolder::write_rank(std::int64_t step, int rank,
                                  const std::vector<CheckpointEntry>& entries) const {
  ORRERY_CHECK(step >= 0 && rank >= 0, "step {} rank {}", step, rank);
  const std::string folder = step_folder(step);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) refuse_write(folder, error.value());
  const std::string manifest = fmt::format("{}/{}", folder, kManifest);
  if (::unlink(manifest.c_str()) != 0 && errno != ENOENT) refuse_write(manifest, errno);
  NewFile file(rank_path(step, rank));
  Header header;
  header.entries = entries.size();
  file.write(bytes_of(header));
  for (const CheckpointEntry& entry : entries) {
    file.write(bytes_of(std::uint64_t{entry.name.size()}));
    file.write(entry.name);
    file.write(bytes_of(std::uint64_t{entry.data.size()}));
    file.write(entry.data);
  }
  file.write(bytes_of(file.hash()));
  file.commit();
}

void CheckpointFolder::complete(std::int64_t step, int ranks, std::string_view identity) const {
  ORRERY_CHECK(ranks >= 1, "ranks {}", ranks);
  Manifest manifest{{step, ranks, std::string(identity)}, {}};
  for (int rank = 0; rank < ranks; ++rank)
    manifest.files.push_back(RankFile(rank_path(step, rank)).stamp());
  // The folders first: complete.json must not outlive the names it stands for.
  sync_folder(std::filesystem::absolute(folder_).parent_path());
  sync_folder(folder_);
  NewFile file(fmt::format("{}/{}", step_folder(step), kManifest));
  file.write(to_json(manifest));
  file.commit();
  delete_old(step);
}

void CheckpointFolder::delete_old(std::int64_t newest) const {
  const std::vector<std::int64_t> all = steps();
  int kept = 1;
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    if (*step >= newest) continue;
    const std::filesystem::path folder = step_folder(*step);
    std::error_code error;
    if (kept < keep_ && std::filesystem::exists(folder / kManifest, error)) {
      ++kept;
      continue;
    }
    // complete.json first: a folder that is deleted in part is not complete.
    std::filesystem::remove(folder / kManifest, error);
    if (!error) std::filesystem::remove_all(folder, error);
    if (error) {
      throw InputError(fmt::format("error: cannot delete the old checkpoint {}: {}",
                                   folder.string(), error.message()));
    }
  }
}

std::vector<std::int64_t> CheckpointFolder::steps() const {
  std::vector<std::int64_t> steps;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(folder_, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename();
    std::int64_t step = 0;
    if (name.starts_with("step-")) std::from_chars(&name[5], name.data() + name.size(), step);
    // Only what this class would have named so.
    if (step_folder(step) == fmt::format("{}/{}", folder_, name)) steps.push_back(step);
  }
  if (error && error != std::errc::no_such_file_or_directory) refuse_read(folder_, error.message());
  std::sort(steps.begin(), steps.end());
  return steps;
}

Checkpoint CheckpointFolder::validated(std::int64_t step) const {
  const std::string path = fmt::format("{}/{}", step_folder(step), kManifest);
  const Manifest manifest = read_manifest(path);
  if (manifest.checkpoint.step != step)
    refuse_read(path, fmt::format("it is of step {}", manifest.checkpoint.step));
  for (int rank = 0; rank < manifest.checkpoint.ranks; ++rank) {
    RankFile file(rank_path(step, rank));
    file.entries();
    const Stamp& listed = manifest.files[static_cast<std::size_t>(rank)];
    if (file.stamp() != listed)
      refuse_read(rank_path(step, rank), "it is not the file that complete.json lists");
  }
  return manifest.checkpoint;
}

std::optional<Checkpoint> CheckpointFolder::newest_valid(std::ostream& log) const {
  const std::vector<std::int64_t> all = steps();
  for (auto step = all.rbegin(); step != all.rend(); ++step) {
    try {
      return validated(*step);
    } catch (const InputError& error) {
      std::string_view why = error.what();
      if (why.starts_with("error: ")) why.remove_prefix(7);
      log << fmt::format("warning: the checkpoint of step {} is skipped: {}\n", *step, why);
    }
  }
  return std::nullopt;
}

std::vector<CheckpointEntry> CheckpointFolder::read_rank(std::int64_t step, int rank) const {
  return RankFile(rank_path(step, rank)).entries();
}

}  // namespace orrery
