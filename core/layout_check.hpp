#pragma once
// A layout given on the command line, and whether a layout fits a model and a cluster.
//
//   Layout layout = parse_layout("pp=16,ep=64", diagnostics);
//   check_layout(model, cluster, training, layout, diagnostics);   // fills in layout.dp
//   diagnostics.throw_if_errors();
//
// What is checked here is divisibility: whether the sizes can be split at all. Whether the parts
// fit into memory is an answer of the planner, not an error of the input.
#include <functional>
#include <string_view>

#include "core/cluster.hpp"
#include "core/diagnostic.hpp"
#include "core/layout.hpp"
#include "core/model.hpp"
#include "core/plan.hpp"

namespace orrery {

// Keys: pp tp cp ep etp dp vpp zero mbs comm-sms precision (fp8, bf16) recompute (none, selective,
// full, attention, mlp, experts) attention (fused, unfused) exchange (deepep, nccl) weights (beside,
// inline) optimizer ema (gpu, cpu). Those left out keep those of `defaults`, except dp, which is 0
// until check_layout derives it.
Layout parse_layout(std::string_view text, Diagnostics& diagnostics, const Layout& defaults = {});

// What a layout on that cluster is unless it says otherwise: a host has no FP8 units, so BF16.
Layout default_layout(const Cluster& cluster);

// Where the value of a key stands, so that a message can point at it: the keys above, "stage_map",
// and "sequence" and "global_batch" of the training set-up.
using LocateKey = std::function<Place(std::string_view key)>;

// Sets layout.dp = GPUs / (pp * tp * cp) if it is 0, else it must agree. Reports every rule that is
// broken, with the numbers; an empty stage map is not checked.
void check_layout(const Model& model, const Cluster& cluster, const Training& training,
                  Layout& layout, Diagnostics& diagnostics, const LocateKey& locate = {});

}  // namespace orrery
