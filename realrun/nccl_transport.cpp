#include "realrun/nccl_transport.hpp"

#include <cstdlib>
#include <utility>

#include "core/error.hpp"
#include "realrun/channel_transport.hpp"
#include "realrun/communicators.hpp"
#include "realrun/launch.hpp"
#include "realrun/mpi_channel.hpp"
#include "realrun/nccl_channel.hpp"
#include "realrun/socket_channel.hpp"

namespace orrery {
namespace {

// Launchers that show each process its own GPU alone number it 0 for all of them.
int device_of(const Launch& launch, int devices) {
  if (devices == 1) return 0;
  if (launch.local_rank < devices) return launch.local_rank;
  throw EnvironmentError(
      fmt::format("process {} of this node has no GPU of its own: there are {}\n  hint: start one "
                  "process a GPU",
                  launch.local_rank, devices));
}

}  // namespace

NcclProcess join_nccl_run(const std::string& library) {
  NcclProcess process;
  process.library = open_nccl(library);
  const Launch launch = read_launch([](const char* name) { return std::getenv(name); });
  process.device = device_of(launch, process.library.devices);
  process.messages =
      launch.kind == Launch::Kind::kMpi ? mpi_channel(nullptr, nullptr) : socket_channel(launch);
  return process;
}

std::unique_ptr<Transport> nccl_transport(NcclProcess process, const Program& program) {
  return std::make_unique<ChannelTransport>(nccl_channel(
      std::move(process.messages), process.library, process.device, communicators_of(program)));
}

}  // namespace orrery
