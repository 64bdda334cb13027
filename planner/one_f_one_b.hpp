#pragma once
// 1F1B, the one-forward-one-backward schedule (PipeDream-Flush: Narayanan et al., "Memory-Efficient
// Pipeline-Parallel DNN Training", ICML 2021, section 3; named 1F1B in Megatron-LM). One stage a
// rank, one direction, full backwards. With equal stages and no latency the bubble is (p-1)(F + B)
// and rank r holds at most p - r activations.
#include <optional>
#include <string>

#include "core/schedule.hpp"

namespace orrery {

// Throws InputError where one_f_one_b_why_not() has an answer.
Schedule one_f_one_b(int pp, int microbatches);

// Why there is no 1F1B schedule of this size, as one sentence; nothing if there is one.
std::optional<std::string> one_f_one_b_why_not(int pp, int microbatches);

}  // namespace orrery
