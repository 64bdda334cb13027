#pragma once
// A run of one process a GPU (`orrery realrun --mode nccl`): who this process is, its GPU, and the
// transport whose data NCCL moves.
//
//   NcclProcess process = join_nccl_run("");          // before anything else: is there a GPU?
//   ... read the plan, lower it ...
//   const auto transport = nccl_transport(std::move(process), world.program);
#include <memory>
#include <string>

#include "core/program.hpp"
#include "realrun/message_channel.hpp"
#include "realrun/nccl_library.hpp"
#include "realrun/transport.hpp"

namespace orrery {

struct NcclProcess {
  NcclLibrary library;
  int device = 0;                            // of library.devices
  std::unique_ptr<MessageChannel> messages;  // to the other processes

  int rank() const { return messages->rank(); }
  int size() const { return messages->size(); }
};

// Loads NCCL (`library`: as in open_nccl) and meets the other processes of this launch
// (realrun/launch.hpp). A process takes the GPU of its number on its node, or the only one that it
// sees. Throws EnvironmentError where there is no GPU, fewer than processes on this node, or the
// others do not come; InputError for a launcher's variables that cannot be.
NcclProcess join_nccl_run(const std::string& library);

// `program`: the world's; size() ranks. All processes call it. Throws EnvironmentError.
std::unique_ptr<Transport> nccl_transport(NcclProcess process, const Program& program);

}  // namespace orrery
