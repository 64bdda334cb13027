#pragma once
// A time that no schedule of a placement can beat, whatever its order, under a limit of activations
// on each rank. With F, I, W of a stage s, the hops between ranks, and A the limit of a rank:
//
//   head(s)   earliest start of a forward on s: all forwards and hops before it
//   G(s)      earliest start of an input gradient on s
//   toB(s)    from the end of a forward on s to its input gradient, at the least
//   rest(s)   from the end of a forward on s to the end of the micro-batch's last cell anywhere
//   drain(s)  from the end of an input gradient on s to the same
//
//   work      rank d has all its cells to do, less what pairs can save, from head_d = min head(s)
//             on
//   warm-up   before G_d only k <= A forwards can run there, none of them in a pair
//   cool-down after the last forward at most A micro-batches are left to work on, so that d idles
//             toB_d - (A-1)(I+W) or rest_d - A(I+W); after the last input gradient at most A
//             weight gradients, so that it idles drain_d - A W
//   Little    activations are alive from F to W, sum of residencies <= A x time
//   path      one micro-batch has to go all the way there and back
//
// Minima over the stages of a rank are taken apart from each other, so that uneven stages weaken
// the bound but never break it. Sources: Little's law for the memory of pipelines, one-machine
// bounds of scheduling theory; derivations in reports/schedules.md.
#include <string_view>

#include "planner/schedules/compact.hpp"

namespace orrery {

enum class Binding {
  kHead,            // the slowest rank can start only when forwards have reached it
  kWarmUpMemory,    // it cannot hold enough forwards to stay busy until the first gradient
  kCoolDownMemory,  // what it can hold does not last until the gradients of the last forward
  kLatency,         // micro-batches stay too long, or one takes too long, for what may be held
  kWork,            // it has so much to do
  kExhausted,       // no formula: all shorter schedules were looked for (exact.hpp)
};
std::string_view to_string(Binding binding);

struct LowerBound {
  double makespan = 0;
  Binding binding = Binding::kWork;
  int rank = 0;  // that binds
};

// How much longer, as a fraction; infinite where the bound says nothing.
double gap_between(double makespan, double bound);

LowerBound lower_bound(const CompactProblem& problem);
// What this rank alone says.
LowerBound lower_bound_of_rank(const CompactProblem& problem, int rank);

}  // namespace orrery
