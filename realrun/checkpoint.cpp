#include "realrun/checkpoint.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "core/error.hpp"
#include "core/file.hpp"
#include "core/hash.hpp"
#include "core/reader.hpp"
#include "realrun/checkpoint_files.hpp"

namespace orrery {
namespace {

using namespace checkpoint_files;

constexpr std::string_view kManifest = "complete.json";

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
