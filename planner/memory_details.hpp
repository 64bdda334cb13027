#pragma once
// A plan's memory in full: every pipeline rank at its peak, when that is, and what it would be if
// something else were decided: the moving average of the weights on the other side, nothing
// recomputed, embedding and head of the MTP modules of their own.
#include <string>
#include <vector>

#include "core/program.hpp"
#include "core/timeline.hpp"
#include "planner/device_model.hpp"
#include "planner/memory.hpp"

namespace orrery {

struct MemoryWhatIf {
  std::string what;
  std::vector<MemoryTable> tables;  // by pipeline rank
};

struct MemoryDetails {
  struct Peak {
    std::string at;  // "F&B 31 of 240: mlp(I) of stage 7"; empty where nothing is allocated
    Seconds when;
  };
  std::vector<MemoryTable> tables;     // by pipeline rank
  std::vector<Peak> peaks;             // likewise
  std::vector<MemoryWhatIf> what_ifs;  // those that make a difference to the plan
};

// `program` and `timeline`: of the plan, carried out.
MemoryDetails memory_details(const Plan& plan, const DeviceModel& device, const Program& program,
                             const Timeline& timeline);

// The place of the table with the largest total.
std::size_t fullest_of(const std::vector<MemoryTable>& tables);

}  // namespace orrery
