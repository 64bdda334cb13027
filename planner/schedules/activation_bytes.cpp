#include "planner/schedules/activation_bytes.hpp"

#include <algorithm>
#include <utility>

namespace orrery {

StageBytes stage_bytes(std::span<const LayerBytes> layers) {
  StageBytes bytes;
  for (const LayerBytes& layer : layers) {
    const Lifetimes& own = layer.memory;
    bytes.all.until_input_gradient += own.until_input_gradient;
    bytes.all.until_weight_gradient += own.until_weight_gradient;
    bytes.all.weight_operands += own.weight_operands;
    bytes.largest_activations =
        std::max(bytes.largest_activations, own.until_input_gradient + own.until_weight_gradient);
    bytes.largest_operands = std::max(bytes.largest_operands, own.weight_operands);
  }
  Bytes live;
  Bytes behind;  // of the layer before, whose weight gradient is not yet done
  for (std::size_t at = layers.size(); at-- > 0;) {
    const Lifetimes& own = layers[at].memory;
    if (!layers[at].transfers_first) live -= std::exchange(behind, Bytes{});
    live += own.weight_operands;
    bytes.backward_peak = std::max(bytes.backward_peak, live);
    live -= std::exchange(
        behind, own.weight_operands + own.until_weight_gradient + own.until_input_gradient);
  }
  return bytes;
}

}  // namespace orrery
