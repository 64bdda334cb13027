#pragma once
// MPI as a channel, without its types.
#include <memory>

#include "realrun/message_channel.hpp"

namespace orrery {

// The MPI of this process, initialised unless it is already; its destructor finalises it. Throws
// EnvironmentError where this build has no MPI or the library cannot serve threads; an error that
// MPI returns later is an EnvironmentError too.
//
// Clock: the ranks on rank 0's node read the same steady clock. The offset of the others is
// measured once, at the start, by the fastest of 32 round trips to rank 0: it is wrong by at most
// half of that round trip. The drift of a node's clock after that (tens of microseconds a second)
// is not corrected.
std::unique_ptr<MessageChannel> mpi_channel(int* argc, char*** argv);

// Whether mpirun, mpiexec or srun has started this process, by the variables that they set.
bool launched_by_mpi();

}  // namespace orrery
