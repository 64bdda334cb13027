#pragma once
// The text form of a stage map: which layers each pipeline stage holds.
//
//   E,3d,1t | 4t x 14 | 1t,m,L        16 stages: embedding, three dense and one MoE layer; fourteen
//   stages of four
//                                     MoE layers; one MoE layer, the MTP module and the head
//
// Letters: E embedding, d dense layer, t MoE layer, m MTP module, L head; a count goes before its
// letter (1 if absent). '|' separates stages, "x N" repeats a stage, spaces are free. The form
// "(4t|)*14", as pipeline layouts are written elsewhere, is read too: "E,3d,1t|(4t|)*14 1t,m,L" is
// the same map.
#include <string>
#include <string_view>

#include "core/diagnostic.hpp"
#include "core/layout.hpp"
#include "core/model.hpp"

namespace orrery {

// Reports syntax errors and empty stages; the result is then empty. `at` is the place of the
// text's first character in a file; by default the text came from the command line. At most 100,000
// layers.
StageMap parse_stage_map(std::string_view text, Diagnostics& diagnostics, const Place& at = {});

// The compact canonical form: parse_stage_map(format_stage_map(map)) == map for every map without
// empty stages.
std::string format_stage_map(const StageMap& map);

// Whether the map places this model on `stages` stages (pp, or pp * vpp): one E first, one L last,
// dense layers before MoE layers before MTP modules, as many of each as the model has, no stage
// empty. The embedding may have a stage of its own, and so may the head. All errors are at `at`.
void check_stage_map(const StageMap& map, const Model& model, int stages, Diagnostics& diagnostics,
                     const Place& at = {});

}  // namespace orrery
