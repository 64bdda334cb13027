#pragma once
// Which parameters a GPU holds, where they lie in memory, and what they start as.
//
// Parameters that the same GPUs hold (workload/stage_parameters.hpp) lie behind one another in one
// array, so that a gradient reduction, a ZeRO shard and a parameter gather are ranges of it. Every
// GPU of a group lays its array out in the same order: by stage, then as the list below.
//
// A tensor is named after its place in the model ("layer 3 attention.q_up"), whatever the layout. A
// GPU holds a block of it: some ranges of rows, one range of columns. Initial values follow from
// seed, name and place in the whole tensor alone, so that every layout starts from the same model.
//
// Shapes of the whole tensors, [outputs, inputs]:
//   attention  norm [h]  q_down [rq, h]  q_norm [rq]  q_up [heads (dn+dr), rq]  (q_proj [.., h])
//              kv_down [rkv + dr, h]  kv_norm [rkv]  kv_up [heads (dn+dv), rkv]  o_proj [h, heads
//              dv]
//   experts    norm [h]  router [E, h]  expert e: fc1 [2 i, h] (gate, up)  fc2 [h, i]
//              shared fc1 [2 s, h]  shared fc2 [h, s]
//   dense      norm [h]  fc1 [2 i, h]  fc2 [h, i]
//   edges      embedding [V, h]  final norm [h]  head [V, h]
//   MTP        hidden norm [h]  embedding norm [h]  projection [h, 2 h]  a layer  head norm [h]
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/plan.hpp"
#include "realrun/recipe.hpp"
#include "workload/stage_parameters.hpp"
#include "workload/world.hpp"

namespace orrery {

struct IndexRange {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  bool operator==(const IndexRange&) const = default;
};

// One tensor as far as a GPU holds it: the ranges of rows one after another, each row the columns
// of the range.
struct ParameterBlock {
  std::string name;
  Stage stage;
  int layer = -1;  // entry of the stage map; -1: embedding or head, whoever on the rank uses them
  std::int64_t rows = 0, columns = 0;  // of the whole tensor
  std::vector<IndexRange> rows_held;
  IndexRange columns_held;
  bool is_norm = false;     // starts as ones, is not decayed
  int group = -1;           // index into GpuParameters::groups
  std::int64_t offset = 0;  // of its first element in the group's array
  int uses = 1;             // gradients a micro-batch adds

  std::int64_t held_rows() const;
  std::int64_t elements() const { return held_rows() * columns_held.count; }
};

// An array of parameters with the GPUs that hold the same.
struct HeldGroup {
  ParameterSet set = ParameterSet::kDense;
  std::int64_t elements = 0;
  std::vector<Rank> pipeline_ranks;
  int replicas = 1;
};

struct GpuParameters {
  std::vector<ParameterBlock> blocks;
  std::vector<HeldGroup> groups;

  // -1 where this GPU does not hold it.
  int find(std::string_view name) const;
};

// Throws InputError for models that real runs do not carry out (GQA, tied embeddings, more than one
// MTP module).
GpuParameters gpu_parameters(const Plan& plan, const GpuPlace& place);

// Writes the initial values of `block` (elements() of them).
template <class T>
void initialise(const ParameterBlock& block, const Recipe& recipe, T* values);

// "layer 7" of entry `layer` of `stage`, "mtp 0", "embedding", "head": how its tensors are named.
std::string unit_name(const Layout& layout, Stage stage, int layer);

}  // namespace orrery
