#pragma once
// A Timeline as Chrome-trace JSON, which ui.perfetto.dev and chrome://tracing open.
//
//   write_trace("step.json.gz", chrome_trace(plan, program, timeline));   // reports/gzip.hpp
//
// One process a pipeline rank, "pipeline rank 3 (stages 3, 12)", with these threads:
//
//   cells          the schedule's cells, "F 12" or "F&B 13|40", from the first start to the last
//                  end of their compute and communication; then "optimizer"
//   compute        its instructions: micro-batch, stage, layer, direction, SMs lent
//   waits          gaps of the compute stream, with the instruction waited for
//   communication  expert-parallel exchanges and collectives, with sizes in MB (1e6 bytes)
//   send to next, send to previous, receive from next, receive from previous
//
// A thread without events is left out. Arrows lead from each send to its receive; counters show
// activation memory and communication buffers in GiB.
//
// Times are whole nanoseconds, start and end each rounded; spans of one thread never overlap. What
// a measured timeline lets overlap on a thread is cut, and `otherData` counts the spans that lost
// more than a nanosecond. Deterministic. DeepSeek-V3 on 16 ranks, 80,000 instructions:
// 21 MB in 0.2 s, 1.7 MB compressed.
#include <string>
#include <vector>

#include "core/plan.hpp"
#include "core/program.hpp"
#include "core/timeline.hpp"

namespace orrery {

// `program` is lowered from `plan`, or that with every GPU explicit (workload/world.hpp);
// `timeline` comes from carrying it out.
std::string chrome_trace(const Plan& plan, const Program& program, const Timeline& timeline);

// What stands for what where the ranks of a Program are classes of GPUs.
struct TraceRank {
  Rank pipeline_rank;
  std::string label;  // "112 GPUs like GPU 3 of node 17"
};
std::string chrome_trace(const Plan& plan, const Program& program, const Timeline& timeline,
                         const std::vector<TraceRank>& ranks);

// Both timelines of one Program: under each rank's predicted process its measured one,
// "rank 3 (stage 1), measured".
std::string comparison_trace(const Plan& plan, const Program& program, const Timeline& predicted,
                             const Timeline& measured);

}  // namespace orrery
