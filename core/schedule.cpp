#include "core/schedule.hpp"

#include <fmt/format.h>

#include "core/error.hpp"

namespace orrery {
namespace {

// "stage 3, direction 0", or "chunk 7" where the rank has no such chunk: messages describe wrong
// cells too.
std::string place_of(const Schedule& schedule, Rank rank, ChunkId chunk) {
  if (rank.valid() && rank.index() < schedule.chunks.size() && chunk.valid() &&
      chunk.index() < schedule.chunks[rank.index()].size()) {
    const ChunkPlace& place = schedule.chunks[rank.index()][chunk.index()];
    return fmt::format("stage {}, direction {}", place.stage.value, place.direction);
  }
  return fmt::format("chunk {}", chunk.value);
}

}  // namespace

int Schedule::stages() const {
  int count = 0;
  for (const auto& places : chunks) {
    for (const ChunkPlace& place : places) count += place.direction == 0;
  }
  return count;
}

Schedule::Host Schedule::host(Stage stage, int direction) const {
  for (std::size_t rank = 0; rank < chunks.size(); ++rank) {
    for (std::size_t chunk = 0; chunk < chunks[rank].size(); ++chunk) {
      if (chunks[rank][chunk] == ChunkPlace{stage, direction}) {
        return {Rank{static_cast<std::int64_t>(rank)}, ChunkId{static_cast<std::int64_t>(chunk)}};
      }
    }
  }
  ORRERY_CHECK(false, "no rank hosts stage {} of direction {}", stage.value, direction);
  return {};
}

Schedule::Range Schedule::microbatches_of(int direction) const {
  if (directions == 1) return {0, direction == 0 ? microbatches : 0};
  const int half = microbatches / 2;
  return direction == 0 ? Range{0, half} : Range{half, microbatches};
}

std::string_view to_string(CellKind kind) {
  switch (kind) {
    case CellKind::kF: return "F";
    case CellKind::kB: return "B";
    case CellKind::kI: return "I";
    case CellKind::kW: return "W";
    case CellKind::kFB: return "F&B";
    case CellKind::kFI: return "F&I";
  }
  return "?";
}

std::string describe(const Schedule& schedule, Rank rank, const Cell& cell) {
  const std::string forward = place_of(schedule, rank, cell.forward.chunk);
  const std::string backward = place_of(schedule, rank, cell.backward.chunk);
  if (cell.kind == CellKind::kFB || cell.kind == CellKind::kFI) {
    return fmt::format("{} {}|{} ({} | {})", to_string(cell.kind), cell.forward.microbatch.value,
                       cell.backward.microbatch.value, forward, backward);
  }
  const bool is_forward = cell.kind == CellKind::kF;
  const Half& half = is_forward ? cell.forward : cell.backward;
  return fmt::format("{} {} ({})", to_string(cell.kind), half.microbatch.value,
                     is_forward ? forward : backward);
}

}  // namespace orrery
