#pragma once
// The chunk pair of four MoE layers as published and as predicted before anything was replayed:
// what a replay of such pairs is printed next to. Read from the report that is kept
// (reports/h200-chunk-pair.md), not predicted anew.
#include <optional>
#include <string>

#include "core/plan.hpp"
#include "core/quantity.hpp"

namespace orrery {

struct KeptPair {
  Seconds published;  // on H800, in DeepSeek's public training trace
  Seconds predicted;  // on an H200
};

// Throws InputError where the text has no such figures.
KeptPair read_kept_pair(const std::string& report);

// Of the data root's report, if the plan's pairs are what it is about: DeepSeek-V3, 4096 tokens,
// FP8, experts over 64 GPUs, selective recomputation, 20 SMs lent to communication.
std::optional<KeptPair> kept_pair_for(const Plan& plan);

}  // namespace orrery
