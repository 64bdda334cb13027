#include "core/catalog.hpp"

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.hpp"
#include "core/error.hpp"
#include "core/file.hpp"

namespace orrery::cli {
namespace {

constexpr CatalogKind kKinds[] = {CatalogKind::kModel, CatalogKind::kCluster,
                                  CatalogKind::kCalibration, CatalogKind::kRecipe};

int list_all() {
  for (CatalogKind kind : kKinds) {
    std::printf("%ss\n", std::string(to_string(kind)).c_str());
    for (const std::string& name : list(kind)) std::printf("  %s\n", name.c_str());
  }
  return kYes;
}

// The file itself: its comments are the sources of its figures.
int show(const std::string& name) {
  std::string known;
  for (CatalogKind kind : kKinds) {
    for (const std::string& candidate : list(kind)) {
      if (candidate == name) {
        std::fputs(read_file(resolve(name, kind)).c_str(), stdout);
        return kYes;
      }
      known += (known.empty() ? "" : ", ") + candidate;
    }
  }
  throw InputError("error: nothing in the catalogue is named '" + name + "'; there are: " + known);
}

}  // namespace

Command add_catalog(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("catalog", "The models, clusters, calibrations and recipes that ship with orrery");
  command->require_subcommand(1);
  CLI::App* list_command = command->add_subcommand("list", "Name them");
  CLI::App* show_command =
      command->add_subcommand("show", "Print one, with the source of every figure");
  auto name = std::make_shared<std::string>();
  show_command->add_option("NAME", *name, "A name from `orrery catalog list`")->required();
  return [=] { return list_command->parsed() ? list_all() : show(*name); };
}

}  // namespace orrery::cli
