#pragma once
// A step on a whole cluster, folded: one representative for each class of GPUs, and for each kind
// of exchange the flows that the representatives have, over resources that stand for their class.
//
// The representative flow of class j crosses the representative resource of class i as often as
// flows of j cross any one resource of i. Double counting gives that number from a single flow: N_j
// flows with r_ij crossings each, spread evenly over N_i resources, so m_ij = N_j r_ij / N_i,
// always a whole number.
//
// Without folding (`Grouping::kNone`) every GPU is a class of its own, and no flow crosses anything
// more often than its route does.
#include <vector>

#include "core/error.hpp"
#include "core/faults.hpp"
#include "core/plan.hpp"
#include "sim/network/flow_plan.hpp"
#include "workload/world.hpp"

namespace orrery {

struct RankClass {
  Rank pipeline_rank;
  int representative = 0;  // GPU of the cluster
  int size = 1;
  double speed = 1;  // of its computation
};

struct FoldedStep {
  ExpandedProgram expanded;  // its ranks are classes
  std::vector<std::int32_t>
      exchange_of;  // by its instructions; -1: computes, receives, moves nothing
  FlowPlan flows;
  std::vector<RankClass> classes;  // pipeline rank by pipeline rank
  std::vector<int> class_of;       // by GPU of the cluster
  std::vector<int> first_class;    // by pipeline rank; one more at the end
};

// More instructions than a simulation with contention takes on.
class TooManyInstructions : public InputError {
 public:
  using InputError::InputError;
};

enum class Grouping {
  kFolded,
  kFoldedLinks,  // the same times, but every class has its own flows over NVLink, to be counted
  kNone,
};

// `program` is lowered from `plan`. Size: that of the Program times the classes per pipeline rank.
FoldedStep fold(const Plan& plan, const Program& program, const Faults& faults, Grouping grouping);

}  // namespace orrery
