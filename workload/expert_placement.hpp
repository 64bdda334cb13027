#pragma once
// Which routed experts each GPU of an expert-parallel group holds.
#include <span>
#include <vector>

namespace orrery {

// [gpu][slot], expert numbers; an expert may have copies, on several GPUs or even on one.
using ExpertPlacement = std::vector<std::vector<int>>;

// Experts in order, as many on each GPU.
ExpertPlacement experts_in_order(int experts, int gpus);

// Balanced for experts that are wanted so much, each GPU with `spare` slots more than experts in
// order need. Experts of one of the gate's groups stay on the GPUs of that group (where a GPU holds
// several groups they may go anywhere), so that what the gate limits to few nodes stays so. Copies
// go, one after another, to the expert with the largest share a copy; then, largest share first,
// each takes the GPU with the least so far that has a slot left. That is the order of DeepSeek's
// load balancer (github.com/deepseek-ai/EPLB), whose copies share an expert's tokens evenly.
ExpertPlacement balanced_experts(std::span<const double> wanted, int gpus, int spare, int groups);

// What each GPU gets of experts that are wanted so much, copies sharing evenly.
std::vector<double> loads_of(const ExpertPlacement& placement, std::span<const double> wanted);

}  // namespace orrery
