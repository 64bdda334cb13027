#pragma once
// A schedule as JSON, in a file of its own or in a plan (core/plan_json.hpp has the form of cells):
//
//   {"format_version": "1.0",
//    "schedule": {"family": "searched", "microbatches": 120, "directions": 2,
//                 "chunks": [[[0, 0], [15, 1]], ...],            by rank: [stage, direction]
//                 "ranks": [["F:0.0", "FB:13.0|2.1", ...], ...]}}   by rank: cells in order
#include <optional>
#include <string>

#include "core/json_writer.hpp"
#include "core/reader.hpp"
#include "core/schedule.hpp"

namespace orrery {

// What a schedule must agree with; what is not given follows from the schedule itself.
struct ScheduleFacts {
  std::optional<int> pp;
  std::optional<int> stages;
  std::optional<int> microbatches;
  std::string why_microbatches;  // "global_batch / (dp*mbs) = 64 / (2*1)"
  bool unsound = false;          // the rest of the file is wrong: only the form is read
};

// "F:12.0", "FB:13.0|2.1"
std::string format_cell(const Cell& cell);

Schedule decode_schedule(Reader& reader, const ScheduleFacts& facts);
void write_schedule(JsonWriter& writer, const Schedule& schedule);

std::string to_json(const Schedule& schedule);
// Reads and checks that the schedule names only stages, chunks and micro-batches that exist.
// Whether it is complete and free of deadlock is for the schedule checker. Plan files will do.
// Throws InputError with all errors.
Schedule read_schedule(const std::string& path);

}  // namespace orrery
