#pragma once
// Integer identities as types, so that a stage is never passed where a rank is meant.
// All count from 0; a default-constructed id is invalid (-1).
#include <compare>
#include <cstdint>

namespace orrery {

template <class Tag>
struct Id {
  std::int32_t value = -1;

  constexpr Id() = default;
  constexpr explicit Id(std::int64_t number) : value(static_cast<std::int32_t>(number)) {}
  constexpr bool valid() const { return value >= 0; }
  // For indexing a vector that holds one element per id.
  constexpr std::size_t index() const { return static_cast<std::size_t>(value); }
  constexpr auto operator<=>(const Id&) const = default;
};

// A pipeline rank: one of the pp positions of the pipeline. Every GPU at that position runs the
// same Program.
using Rank = Id<struct RankTag>;
// A stage of the model: consecutive layers, numbered from the embedding to the head.
using Stage = Id<struct StageTag>;
// A micro-batch within one training step, numbered over both directions of a bidirectional
// schedule.
using Microbatch = Id<struct MicrobatchTag>;
// A chunk of a rank: which of the stages it hosts (0 where it hosts one).
using ChunkId = Id<struct ChunkTag>;
// An instruction of a Program, unique over all ranks.
using InstructionId = Id<struct InstructionTag>;
// A distinct piece of work (shape) of a Program; many instructions share one.
using WorkId = Id<struct WorkTag>;

}  // namespace orrery
