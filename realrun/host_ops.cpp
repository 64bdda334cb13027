#include "realrun/host_ops.hpp"

#include <algorithm>

#include "core/error.hpp"
#include "realrun/host_tables.hpp"

namespace orrery {
namespace {

template <class T>
const host::NamedOp<T>* find(host::OpTable<T> table, std::string_view name) {
  const auto found = std::find_if(table.begin(), table.end(),
                                  [&](const host::NamedOp<T>& op) { return op.name == name; });
  return found == table.end() ? nullptr : &*found;
}

template <class T>
std::vector<host::OpTable<T>> tables(Component component, Pass pass) {
  switch (component) {
    case Component::kAttention: return {host::attention_ops<T>(pass), host::router_ops<T>(pass)};
    case Component::kMlp: return {host::expert_ops<T>(pass), host::dense_mlp_ops<T>(pass)};
    default: return {host::edge_ops<T>(component, pass)};
  }
}

}  // namespace

template <class T>
HostOp<T> host_op(Component component, Pass pass, const Op& op) {
  // Copies in the order a GPU's matrix unit wants.
  const bool layout_only = op.kernel == KernelClass::kWeightTranspose ||
                           op.kernel == KernelClass::kScaleTranspose ||
                           op.name == "copy activation scales";
  if (layout_only) return nullptr;
  for (const host::OpTable<T>& table : tables<T>(component, pass)) {
    if (const auto* found = find<T>(table, op.name); found != nullptr) return found->run;
  }
  ORRERY_CHECK(false, "the host has no kernel for op '{}' of {}({})", op.name, to_string(component),
               to_string(pass));
  return nullptr;
}

template <class T>
HostCollective<T> host_collective(Pass pass, LayerKind kind, std::string_view tensor) {
  for (const HostCollective<T>& found :
       {host::attention_collective<T>(pass, tensor), host::dense_mlp_collective<T>(pass, tensor),
        host::expert_collective<T>(pass, tensor), host::edge_collective<T>(kind, tensor)}) {
    if (found.begin != nullptr) return found;
  }
  ORRERY_CHECK(false, "the host has no collective for '{}' ({})", tensor, to_string(pass));
  return {};
}

template HostOp<float> host_op<float>(Component, Pass, const Op&);
template HostOp<double> host_op<double>(Component, Pass, const Op&);
template HostCollective<float> host_collective<float>(Pass, LayerKind, std::string_view);
template HostCollective<double> host_collective<double>(Pass, LayerKind, std::string_view);

}  // namespace orrery
