#pragma once
// Which GPUs cannot be told apart: colour refinement (1-dimensional Weisfeiler-Leman) of GPUs,
// shared network resources and flow sets to the coarsest equitable partition. Members of one colour
// do the same as each other in every exchange: each sends as many messages to GPUs of any one
// colour, over resources of the same colours, and each resource of a colour is crossed by as many
// messages of a kind. Under max-min fair sharing with equal messages they therefore get the same
// rate at any time, and one of them can stand for all (Program order being the same).
//
// Colours are 64-bit hashes of what was seen so far: that two different things share one by chance
// has a probability of about 1e-9 at 65,536 GPUs. Cost: a few rounds over the flow system.
#include <cstdint>
#include <vector>

#include "sim/network/flow_system.hpp"

namespace orrery {

using Colour = std::uint64_t;

// An order-dependent combination of two colours.
constexpr Colour mixed(Colour a, Colour b) {
  Colour x = a * 0x9e3779b97f4a7c15ULL + (b ^ 0xd1b54a32d192ed03ULL);
  x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ULL;
  x = (x ^ (x >> 29)) * 0xa0761d6478bd642fULL;
  return x ^ (x >> 32);
}

struct Colouring {
  std::vector<Colour> gpu;
  std::vector<Colour> nic;     // of NICs that several GPUs share; else empty
  std::vector<Colour> fabric;  // by network resource; 0 for ports
  std::vector<Colour> set;     // by set of the flow system; 0 where it is not plain
  std::vector<Colour> flow;    // by explicit flow
  int rounds = 0;

  // Equal for resources that stand for each other.
  Colour resource(const Network& network, int number) const;
};

// `initial`: by GPU, what is known to differ (pipeline rank, speed). Capacities are looked at here.
Colouring refine(const FlowSystem& system, const Network& network, std::vector<Colour> initial);

}  // namespace orrery
