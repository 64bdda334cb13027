#pragma once
// The plan file: one JSON object that holds all that a plan is, so that it can be carried out
// anywhere.
//
//   {"format_version": "1.0", "model": {...}, "cluster": {...}, "layout": {...}, "training": {...},
//    "calibration": {"name": "h800", "hash": "..."},
//    "schedule": {"family": "dualpipe", "microbatches": 120, "directions": 2,
//                 "chunks": [[[0, 0], [15, 1]], ...],                      by rank: [stage,
//                 direction] "ranks": [["F:0.0", "FB:13.0|2.1", ...], ...]}}          by rank:
//                 cells in order
//
// Model and cluster have the schema of their own files (core/model_reader.hpp,
// core/cluster_reader.hpp), and in addition `assumed`, the list of figures that nobody has
// published. A cell is its kind (F, B, I, W, FB, FI) and micro-batch.chunk, the forward one first
// in a pair.
//
// The text is a function of the plan alone: equal plans give equal bytes, and numbers are written
// so that reading gives exactly the same doubles. A reader refuses another major version and
// ignores what a minor one added.
#include <string>

#include "core/diagnostic.hpp"
#include "core/document.hpp"
#include "core/plan.hpp"

namespace orrery {

std::string to_json(const Plan& plan);

// Reads and checks a plan: every value, the layout against model and cluster, and that the schedule
// names only stages, chunks and micro-batches that exist. Whether the schedule is complete and free
// of deadlock is for the schedule checker. Throws InputError with all errors.
Plan read_plan(const std::string& path);
Plan read_plan(const Document& document, Diagnostics& diagnostics);

}  // namespace orrery
