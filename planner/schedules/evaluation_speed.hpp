#pragma once
// How fast this machine times schedules: for reports, next to what others say. Takes about a
// second.
#include <vector>

namespace orrery {

struct EvaluationSpeed {
  int pp = 0, microbatches = 0;
  double graphs = 0;  // timed by the cell graph, a second on one core
  double arrays = 0;  // by the arrays that searches use
  double proof = 0;   // seconds from the times of ZB-H1 to its proof (memory p)
};

std::vector<EvaluationSpeed> measure_evaluation_speed();

}  // namespace orrery
