#include "core/faults_reader.hpp"

#include <fmt/format.h>

#include "core/model_reader.hpp"
#include "core/reader.hpp"

namespace orrery {
namespace {

class FaultsReader {
 public:
  FaultsReader(Reader& root, const Cluster& cluster) : root_(root), cluster_(cluster) {}

  Faults read() {
    root_.format_version(1, 0);
    for (Reader& table : root_.tables("gpu")) gpu(table);
    for (Reader& table : root_.tables("nic")) nic(table);
    for (Reader& table : root_.tables("plane")) plane(table);
    for (Reader& table : root_.tables("switch")) a_switch(table);
    for (Reader& table : root_.tables("node")) node(table);
    root_.finish();
    if (faults_.empty() && !root_.context().diagnostics.has_errors()) {
      Place place;
      place.file = root_.context().file;
      root_.context().diagnostics.error(
          place, "the file names no fault",
          "add [[gpu]], [[nic]], [[plane]], [[switch]] or [[node]] tables");
    }
    return std::move(faults_);
  }

 private:
  int node_of(Reader& table) { return table.required_int("node", {0, cluster_.nodes - 1}); }

  void gpu(Reader& table) {
    const int first = node_of(table) * cluster_.gpus_per_node;
    const int number = first + table.required_int("gpu", {0, cluster_.gpus_per_node - 1});
    const double speed = table.required_double("speed", 0.001, 1000);
    table.finish();
    if (!faults_.gpu_speed.emplace(number, speed).second)
      table.error("gpu", "this GPU is named twice");
  }

  void nic(Reader& table) {
    const int nics = cluster_.nic.per_node;
    if (nics == 0) return table.error("nic", "the nodes of this cluster have no NICs");
    const int number = node_of(table) * nics + table.required_int("nic", {0, nics - 1});
    const double left = table.required_double("bandwidth", 0, 1);
    table.finish();
    if (left > 0 && left < 1e-6) table.error("bandwidth", "'bandwidth' must be 0 or at least 1e-6");
    if (!faults_.nic.emplace(number, left).second) table.error("nic", "this NIC is named twice");
  }

  void plane(Reader& table) {
    const int number = table.required_int("plane", {0, cluster_.fabric.planes - 1});
    table.finish();
    if (cluster_.fabric.planes == 1) {
      table.error("plane", fmt::format("cluster '{}' has one plane: without it no node reaches "
                                       "another",
                                       cluster_.name));
    }
    if (!faults_.planes.insert(number).second) table.error("plane", "this plane is named twice");
  }

  void a_switch(Reader& table) {
    const std::string name = table.required_string("name");
    const double left = table.required_double("uplinks", 1e-6, 1);
    table.finish();
    if (!faults_.switch_links.emplace(name, left).second)
      table.error("name", "this switch is named twice");
  }

  void node(Reader& table) {
    const int number = node_of(table);
    const auto rate = table.required_quantity<BytesPerSecond>("nvlink", Zero::kForbidden);
    table.finish();
    if (rate > cluster_.nvlink.bandwidth)
      table.error("nvlink", fmt::format("a sound node has {:g} GB/s, no more",
                                        in_gigabytes_per_second(cluster_.nvlink.bandwidth)));
    if (!faults_.nvlink.emplace(number, rate).second)
      table.error("node", "this node is named twice");
  }

  Reader& root_;
  const Cluster& cluster_;
  Faults faults_;
};

}  // namespace

Faults read_faults(const std::string& path, const Cluster& cluster) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, "faults", diagnostics};
  Reader root(document.root, context);
  Faults faults = FaultsReader(root, cluster).read();
  diagnostics.throw_if_errors();
  return faults;
}

}  // namespace orrery
