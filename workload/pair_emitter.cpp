// Co-scheduled pairs: how the layers of a forward and a backward chunk interleave on the two
// streams.
#include <algorithm>

#include "workload/cell_emitter.hpp"

namespace orrery {

// The layers of the two halves meet in slots, the shorter half spread over the longer one.
// Embedding and head do not communicate: they run with their layer's slot, around it, and take none
// themselves. An output leaves with the slot that completes it.
void RankEmitter::emit_pair(Flow& forward, Flow& backward) {
  using Group = std::vector<Unit>;  // a layer with what comes before and after it
  const auto group = [](const Flow& flow) {
    std::vector<Group> groups;
    Group waiting;
    for (const Unit& unit : flow.units) {
      const bool layer = !unit.works->f_attention.empty();
      if (layer) {
        waiting.push_back(unit);
        groups.push_back(std::move(waiting));
        waiting = {};
      } else {
        (groups.empty() ? waiting : groups.back()).push_back(unit);
      }
    }
    if (!waiting.empty()) groups.push_back(std::move(waiting));  // no layer at all
    return groups;
  };
  const std::vector<Group> ahead = group(forward);
  const std::vector<Group> back = group(backward);
  const std::size_t slots = std::max(ahead.size(), back.size());
  // Slot s runs group g of a half with `count` groups when g * slots / count == s.
  const auto group_at = [&](const std::vector<Group>& groups, std::size_t slot) -> const Group* {
    const std::size_t count = groups.size();
    const std::size_t number = (slot * count + slots - 1) / slots;
    return number < count && number * slots / count == slot ? &groups[number] : nullptr;
  };
  const auto layer_of = [](const Group* units) -> const Unit* {
    if (units == nullptr) return nullptr;
    const auto found = std::find_if(units->begin(), units->end(), [](const Unit& unit) {
      return !unit.works->f_attention.empty();
    });
    return found == units->end() ? nullptr : &*found;
  };
  // The units of a group before its layer, and those after it.
  const auto around = [&](const Group* units, const Unit* layer, bool before, auto emit_unit) {
    if (units == nullptr) return;
    bool passed = layer == nullptr;
    for (const Unit& unit : *units) {
      if (&unit == layer) {
        passed = true;
      } else if (passed != before) {
        emit_unit(unit);
      }
    }
  };
  const auto ahead_alone = [&](const Unit& unit) { forward_unit(forward, unit); };
  const auto back_alone = [&](const Unit& unit) { input_gradient_unit(backward, unit, true); };
  for (std::size_t slot = 0; slot < slots; ++slot) {
    const Group* ahead_units = group_at(ahead, slot);
    const Group* back_units = group_at(back, slot);
    const Unit* ahead_layer = layer_of(ahead_units);
    const Unit* back_layer = layer_of(back_units);
    around(back_units, back_layer, true, back_alone);
    around(ahead_units, ahead_layer, true, ahead_alone);
    pair_slot(&forward, ahead_layer, &backward, back_layer);
    around(ahead_units, ahead_layer, false, ahead_alone);
    around(back_units, back_layer, false, back_alone);
    if (ahead_units == &ahead.back()) finish(forward, 1);
    if (back_units == &back.back()) finish(backward, -1);
  }
}

void RankEmitter::pair_slot(Flow* forward, const Unit* forward_unit, Flow* backward,
                            const Unit* backward_unit) {
  const auto f = [&](const Chain UnitWorks::*chain) {
    if (forward_unit != nullptr) run(*forward, *forward_unit, forward_unit->works->*chain);
  };
  const auto b = [&](const Chain UnitWorks::*chain) {
    if (backward_unit != nullptr) run(*backward, *backward_unit, backward_unit->works->*chain);
  };
  const bool weights = backward_unit != nullptr;
  const auto w = [&](const Chain UnitWorks::*chain) {
    if (weights) run_beside(*backward, *backward_unit, backward_unit->works->*chain);
  };
  if (forward_unit != nullptr) begin_unit(*forward, *forward_unit);
  if (backward_unit != nullptr) {
    begin_unit(*backward, *backward_unit);
    begin_input_gradient(*backward, *backward_unit);
    quantise_weights(*backward, *backward_unit);
  }
  b(&UnitWorks::i_post);
  w(&UnitWorks::w_post);
  if (backward_unit != nullptr) recompute_unit(*backward, *backward_unit);
  b(&UnitWorks::i_combine);
  if (forward_unit != nullptr) {
    begin_forward(*forward, *forward_unit);
    quantise_weights(*forward, *forward_unit);
  }
  f(&UnitWorks::f_pre);
  f(&UnitWorks::f_attention);
  f(&UnitWorks::f_dispatch);
  b(&UnitWorks::i_mlp);
  b(&UnitWorks::i_dispatch);
  w(&UnitWorks::w_mlp);
  f(&UnitWorks::f_mlp);
  f(&UnitWorks::f_combine);
  // The exchanges of the slot come first: both halves wait for them, while the next slot waits for
  // weights and nothing for gradients.
  communicate(gathers_);
  communicate(reductions_);
  b(&UnitWorks::i_attention);
  b(&UnitWorks::i_pre);
  if (backward_unit != nullptr) end_input_gradient(*backward, *backward_unit);
  w(&UnitWorks::w_attention);
  if (weights) run_beside(*backward, *backward_unit, backward_unit->works->w_pre, backward->tail);
  if (backward_unit != nullptr) end_weight_gradient(*backward, *backward_unit);
  f(&UnitWorks::f_post);
  end_unit();
  if (backward_unit != nullptr) reduce_gradients(*backward, *backward_unit);
}

}  // namespace orrery
