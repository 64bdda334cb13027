#include "core/catalog.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "core/error.hpp"
#include "core/suggest.hpp"

namespace orrery {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtensions[] = {".toml", ".json"};

std::string_view folder(CatalogKind kind) {
  switch (kind) {
    case CatalogKind::kModel: return "models";
    case CatalogKind::kCluster: return "topologies";
    case CatalogKind::kCalibration: return "calibration";
    case CatalogKind::kRecipe: return "recipes";
  }
  return "?";
}

std::string folder_path(CatalogKind kind) {
  const std::string root = data_root();
  return root == "." ? std::string(folder(kind)) : fmt::format("{}/{}", root, folder(kind));
}

}  // namespace

std::string_view to_string(CatalogKind kind) {
  switch (kind) {
    case CatalogKind::kModel: return "model";
    case CatalogKind::kCluster: return "cluster";
    case CatalogKind::kCalibration: return "calibration";
    case CatalogKind::kRecipe: return "recipe";
  }
  return "?";
}

std::string data_root() {
  if (const char* root = std::getenv("ORRERY_DATA"); root != nullptr && *root != '\0') return root;
#ifdef ORRERY_SOURCE_DIR
  // In a checkout its own files count, wherever the binary was built.
  const auto here = [](CatalogKind kind) { return fs::is_directory(folder(kind)); };
  if (here(CatalogKind::kModel) && here(CatalogKind::kCluster)) return ".";
  return ORRERY_SOURCE_DIR;
#else
  return ".";
#endif
}

std::vector<std::string> list(CatalogKind kind) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder_path(kind), error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string extension = entry->path().extension().string();
    if (std::find(std::begin(kExtensions), std::end(kExtensions), extension) !=
        std::end(kExtensions)) {
      names.push_back(entry->path().stem().string());
    }
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  return names;
}

std::string resolve(const std::string& word, CatalogKind kind) {
  const bool is_path =
      word.find('/') != std::string::npos || word.ends_with(".toml") || word.ends_with(".json");
  if (is_path) return word;
  const std::vector<std::string> names = list(kind);
  if (std::binary_search(names.begin(), names.end(), word)) {
    for (const std::string_view extension : kExtensions) {
      const std::string path = fmt::format("{}/{}{}", folder_path(kind), word, extension);
      if (std::error_code error; fs::exists(path, error)) return path;
    }
  }
  std::string message = fmt::format("error: unknown {} '{}'", to_string(kind), word);
  if (const std::string hint = did_you_mean(word, names); !hint.empty())
    message += fmt::format("\n  = {}", hint);
  message += names.empty()
                 ? fmt::format("\n  = no files in {}: set ORRERY_DATA to the folder that holds {}/",
                               folder_path(kind), folder(kind))
                 : fmt::format("\n  = known: {}", fmt::join(names, ", "));
  throw InputError(message + "\n  = a path has a '/' or ends in .toml or .json");
}

}  // namespace orrery
