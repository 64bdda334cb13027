#pragma once
// How the processes of a run were started, and so who they are and how they find each other, from
// the variables that the launchers set.
//
//   torchrun   RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT     sockets
//   mpirun     OMPI_COMM_WORLD_*, PMI_*, PMIX_RANK                         MPI
//   srun       SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID; the address is MASTER_ADDR or the
//              first host of SLURM_STEP_NODELIST, the port MASTER_PORT or
//              20000 + SLURM_JOB_ID % 10000                                sockets
//   none       one process, one rank
//
// In that order: mpirun inside a Slurm job sets both. torchrun's agent keeps MASTER_PORT for itself
// (TORCHELASTIC_USE_AGENT_STORE); the port after it is then used.
#include <functional>
#include <string>
#include <string_view>

namespace orrery {

struct Launch {
  enum class Kind { kAlone, kMpi, kSockets };
  Kind kind = Kind::kAlone;
  int rank = 0;  // under MPI its own answer counts
  int size = 1;
  int local_rank = 0;   // among the processes of this node
  std::string address;  // of rank 0's node, where it listens; sockets only
  int port = 0;
};

// What std::getenv does.
using Variables = std::function<const char*(const char* name)>;

// Throws InputError where a variable is no number or they do not fit each other.
Launch read_launch(const Variables& variables);

// "node003" of "node[003-010,12],other7", Slurm's way to write many hosts; itself of one host.
std::string first_host(std::string_view node_list);

}  // namespace orrery
