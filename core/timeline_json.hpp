#pragma once
// The timeline file: when each instruction of a Program ran, simulated or measured.
//
//   {"format_version": "1.0", "source": "folded",
//    "program": {"fingerprint": "9f...", "pp": 16, "instructions": 81576},
//    "step_time_s": 18.97, "activities": 123456, "rank_classes": 16, "gpus": 2048,
//    "gpus_of_rank": [[0, 127], [128, 255], ...],
//    "stream_names": ["compute", "comm", ...],
//    "spans": {"id": [0, 1, ...], "rank": [0, 0, ...], "stream": [0, 1, ...],
//              "start_s": [0, 0.00123, ...], "end_s": [...]},
//    "run": {...},
//    "kernels": {...},
//    "plan": {...}}
//
// `kernels` is there where every kernel was timed by itself (core/kernel_record.hpp).
// `plan` is the plan file that was carried out, so that the Program can be made again; `run` is
// there where the host was the cluster, modelled or real (core/run_record.hpp).
// gpus_of_rank gives the first and last GPU that each rank stands for; a stream is an index into
// stream_names.
// One column a property; entry k of all columns is one span. Every instruction of the program has
// exactly one, in any order. Times count from the start of the step. The fingerprint says which
// Program it was, so that two timelines are compared only if the same one was carried out.
//
// Doubles are written so that reading gives exactly the same ones, and equal timelines give equal
// bytes. A reader refuses another major version and ignores what a minor one added.
#include <optional>
#include <string>
#include <vector>

#include "core/diagnostic.hpp"
#include "core/document.hpp"
#include "core/fingerprint.hpp"
#include "core/kernel_record.hpp"
#include "core/plan.hpp"
#include "core/program.hpp"
#include "core/run_record.hpp"
#include "core/timeline.hpp"

namespace orrery {

// The GPUs [first, last] that a pipeline rank's spans stand for; none where last < first.
struct GpuRange {
  int first = 0;
  int last = -1;
  int count() const { return last - first + 1; }
  bool operator==(const GpuRange&) const = default;
};

// A timeline with what its file says of the program, so that it can be read without the plan.
struct TimelineFile {
  Timeline timeline;
  std::string fingerprint;
  std::vector<GpuRange> gpus;   // by rank
  std::vector<Rank> ranks;      // by instruction
  std::vector<Stream> streams;  // by instruction
  std::optional<RunRecord> run;
  std::optional<KernelRecord> kernels;
  std::optional<Plan> plan;
};

// The GPUs of each rank: `gpus` consecutive ones divided over `pp` ranks, the first rank's first.
std::vector<GpuRange> gpus_of_ranks(int gpus, int pp);

std::string to_json(const Program& program, const Timeline& timeline, const Plan* plan = nullptr,
                    const RunRecord* run = nullptr, const KernelRecord* kernels = nullptr);

// Throws InputError with all errors: a time that is negative, not finite or before its start; a
// span given twice or missing; a rank or stream that does not exist; an end after the step's.
TimelineFile read_timeline(const std::string& path);
TimelineFile read_timeline(const Document& document, Diagnostics& diagnostics);

// Throws InputError where the file is a timeline of another program than this one: compare the two
// only after this.
void check_same_program(const TimelineFile& file, const std::string& path, const Program& program);

}  // namespace orrery
