#include "realrun/launch.hpp"

#include <charconv>
#include <initializer_list>

#include "core/error.hpp"

namespace orrery {
namespace {

class Reader {
 public:
  explicit Reader(const Variables& variables) : variables_(variables) {}

  bool has(const char* name) const { return variables_(name) != nullptr; }
  std::string text(const char* name) const {
    const char* value = variables_(name);
    return value != nullptr ? value : "";
  }
  int number(const char* name) const {
    const std::string value = text(name);
    int number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error != std::errc() || end != value.data() + value.size()) {
      throw InputError(fmt::format("error: the launcher's variable {} is '{}', which is no number",
                                   name, value));
    }
    return number;
  }
  // Of the first one that is set.
  int number(std::initializer_list<const char*> names, int otherwise) const {
    for (const char* name : names) {
      if (has(name)) return number(name);
    }
    return otherwise;
  }

 private:
  const Variables& variables_;
};

Launch checked(Launch launch) {
  if (launch.size < 1 || launch.rank < 0 || launch.rank >= launch.size || launch.local_rank < 0) {
    throw InputError(
        fmt::format("error: the launcher says rank {} of {}, {} on its node: that cannot be",
                    launch.rank, launch.size, launch.local_rank));
  }
  if (launch.kind == Launch::Kind::kSockets && (launch.port < 1 || launch.port > 65535))
    throw InputError(fmt::format("error: the launcher's port {} is none", launch.port));
  return launch;
}

}  // namespace

std::string first_host(std::string_view node_list) {
  const std::size_t end = node_list.find_first_of(",[");
  std::string host(node_list.substr(0, end));
  if (end == std::string_view::npos || node_list[end] == ',') return host;
  const std::string_view numbers = node_list.substr(end + 1);
  host += numbers.substr(0, numbers.find_first_of(",-]"));
  // What follows the bracket belongs to the name: "rack[1-2]-a".
  if (const std::size_t close = numbers.find(']'); close != std::string_view::npos) {
    const std::string_view rest = numbers.substr(close + 1);
    host += rest.substr(0, rest.find_first_of(",["));
  }
  return host;
}

Launch read_launch(const Variables& variables) {
  const Reader from(variables);
  Launch launch;
  if (from.has("RANK") && from.has("WORLD_SIZE") && from.has("MASTER_ADDR") &&
      from.has("MASTER_PORT")) {
    launch.kind = Launch::Kind::kSockets;
    launch.rank = from.number("RANK");
    launch.size = from.number("WORLD_SIZE");
    launch.local_rank = from.number({"LOCAL_RANK"}, launch.rank);
    launch.address = from.text("MASTER_ADDR");
    launch.port = from.number("MASTER_PORT");
    if (from.text("TORCHELASTIC_USE_AGENT_STORE") == "True") ++launch.port;
    return checked(launch);
  }
  const bool step = from.has("SLURM_PROCID") && from.has("SLURM_STEP_NUM_TASKS");
  const bool mpirun = from.has("OMPI_COMM_WORLD_SIZE");
  if (mpirun || (!step && (from.has("PMI_SIZE") || from.has("PMIX_RANK")))) {
    launch.kind = Launch::Kind::kMpi;
    launch.rank = from.number({"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"}, 0);
    launch.size = from.number({"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}, launch.rank + 1);
    launch.local_rank = from.number(
        {"OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "SLURM_LOCALID"}, launch.rank);
    return checked(launch);
  }
  if (step) launch.size = from.number("SLURM_STEP_NUM_TASKS");
  if (!step || launch.size == 1) return Launch{};
  launch.kind = Launch::Kind::kSockets;
  launch.rank = from.number("SLURM_PROCID");
  launch.local_rank = from.number({"SLURM_LOCALID"}, launch.rank);
  launch.address = from.has("MASTER_ADDR") ? from.text("MASTER_ADDR")
                                           : first_host(from.text("SLURM_STEP_NODELIST"));
  launch.port = from.number({"MASTER_PORT"}, 20000 + from.number({"SLURM_JOB_ID"}, 0) % 10000);
  return checked(launch);
}

}  // namespace orrery
