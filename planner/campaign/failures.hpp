#pragma once
// What failures add to a run: work is saved every so often, a failure loses what came after the
// last save, and then the run has to be started again.
//
// Failures come at a constant rate (exponential times between them), of any GPU or node of the
// cluster, at any time: while working, while saving and while starting again. Closed forms:
// J. W. Young, Comm. ACM 17(9), 1974; J. T. Daly, Future Generation Computer Systems 22(3), 2006.
#include <cstdint>

#include "core/quantity.hpp"

namespace orrery {

struct FailureRates {
  Seconds gpu_mtbf;   // of one GPU, between failures that end a run
  Seconds node_mtbf;  // of one node: host, network, power, software; without its GPUs
};

// Of so many nodes together, between two failures of any of them.
Seconds cluster_mtbf(const FailureRates& rates, int nodes, int gpus_per_node);

struct Recovery {
  Seconds mtbf;     // of all that the run needs
  Seconds save;     // training stands still while a checkpoint is saved
  Seconds restart;  // from the failure until training goes on: found, replaced, loaded
};

// Young's interval between two saves, sqrt(2 save mtbf): of work, the saving not counted.
Seconds young_interval(const Recovery& recovery);
// Daly's, of higher order (his equation 37): Young's with two more terms, less the save; the mtbf
// where saving takes twice that or longer.
Seconds daly_interval(const Recovery& recovery);

// The expected time of `work` seconds of work (Daly's equation 20):
//   mtbf e^(restart/mtbf) (e^((interval+save)/mtbf) - 1) work/interval
Seconds expected_time(const Recovery& recovery, Seconds interval, Seconds work);

struct Replay {
  Seconds time;
  std::int64_t failures = 0;
};

// One run drawn with `seed`, failure by failure. Equal seeds give equal runs.
Replay replay_failures(const Recovery& recovery, Seconds interval, Seconds work,
                       std::uint64_t seed);

}  // namespace orrery
