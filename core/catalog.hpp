#pragma once
// The shipped data files by name: "deepseek-v3" is models/deepseek-v3.toml of the data root. The
// data root is the environment variable ORRERY_DATA, else the source tree the program was built
// from, else the working directory.
#include <string>
#include <string_view>
#include <vector>

namespace orrery {

enum class CatalogKind { kModel, kCluster, kCalibration, kRecipe };

// The directory that holds models/, topologies/, calibration/ and recipes/: the environment
// variable ORRERY_DATA, else the working directory where it has them, else the checkout that the
// program was built from.
std::string data_root();

// The path that a user's word means: a word with a '/' or ending in .toml or .json is a path
// already (which need not exist); any other is a name. Throws InputError with the known names when
// there is none such.
std::string resolve(const std::string& word, CatalogKind kind);

// The names of a kind, sorted.
std::vector<std::string> list(CatalogKind kind);

// "model", "cluster", "calibration", "recipe"
std::string_view to_string(CatalogKind kind);

}  // namespace orrery
