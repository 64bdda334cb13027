#pragma once
// The transport between ranks that are MPI processes, on one node or many: the protocol of
// realrun/channel_transport.hpp over MPI.
#include <memory>

#include "realrun/mpi_channel.hpp"
#include "realrun/transport.hpp"

namespace orrery {

// This process as a rank; to be called once. Destroying the transport waits for all ranks to do so
// and finalises MPI. Throws EnvironmentError as mpi_channel() does.
std::unique_ptr<Transport> mpi_transport(int* argc, char*** argv);

}  // namespace orrery
