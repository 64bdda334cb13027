#include "realrun/mpi_transport.hpp"

#include "realrun/channel_transport.hpp"

namespace orrery {

std::unique_ptr<Transport> mpi_transport(int* argc, char*** argv) {
  return std::make_unique<ChannelTransport>(mpi_channel(argc, argv));
}

}  // namespace orrery
