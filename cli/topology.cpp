#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.hpp"
#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "reports/topology_text.hpp"

namespace orrery::cli {

Command add_topology(CLI::App& app) {
  CLI::App* command = app.add_subcommand("topology", "The network of a cluster");
  command->require_subcommand(1);
  CLI::App* show = command->add_subcommand(
      "show", "Print its endpoints, switches, links, distances and what an endpoint costs");
  auto name = std::make_shared<std::string>();
  auto json = std::make_shared<bool>(false);
  show->add_option("NAME", *name, "A cluster of `orrery catalog list`, or a TOML file")->required();
  show->add_flag("--json", *json, "Print one JSON object");
  return [=] {
    const Cluster cluster = read_cluster(resolve(*name, CatalogKind::kCluster));
    const FabricSummary fabric = summarise_fabric(cluster);
    std::fputs((*json ? topology_json : topology_text)(cluster, fabric).c_str(), stdout);
    return kYes;
  };
}

}  // namespace orrery::cli
