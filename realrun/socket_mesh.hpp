#pragma once
// TCP connections between the processes of a run that no MPI has started: torchrun, srun.
//
// Rank 0 listens at the launch's port; the others tell it where they listen, it tells all, and each
// rank connects to those before it. On the way rank 0's clock is compared with the others': ranks
// of its node read the same clock, for those of other nodes the fastest of 32 round trips counts,
// wrong by at most half of it.
//
// Connections are neither encrypted nor authenticated: for the private network of a cluster, as
// MPI's and NCCL's own are.
#include <chrono>
#include <vector>

#include "realrun/launch.hpp"

namespace orrery {

struct SocketMesh {
  std::vector<int> sockets;  // by rank, connected; -1 for the own one. The caller closes them
  double epoch = 0;          // when rank 0 began, seconds of this rank's steady clock
};

// All ranks call it. Throws EnvironmentError that says who is missing where they have not all come
// within `patience`, and where the port is taken. Without other ranks it opens nothing.
SocketMesh connect_mesh(const Launch& launch, std::chrono::milliseconds patience);

}  // namespace orrery
