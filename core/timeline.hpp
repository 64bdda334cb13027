#pragma once
// When each instruction of a Program ran: the result of carrying it out, simulated or measured.
#include <string>
#include <vector>

#include "core/ids.hpp"
#include "core/quantity.hpp"

namespace orrery {

struct Span {
  Seconds start;
  Seconds end;
  Seconds length() const { return end - start; }
  bool operator==(const Span&) const = default;
};

struct Timeline {
  std::string source;       // "analytic", "folded", "host", ...
  std::vector<Span> spans;  // by InstructionId of the Program carried out
  Seconds step;             // end of the last instruction
  long activities = 0;      // what the engine ran: computations and flows
  int rank_classes = 0;     // representatives that stand for all GPUs
  int gpus = 0;             // GPUs they stand for

  const Span& at(InstructionId id) const { return spans[id.index()]; }
};

}  // namespace orrery
