#include "realrun/launch.hpp"

#include <catch2/catch.hpp>
#include <map>

#include "core/error.hpp"

namespace orrery {
namespace {

Launch launch_of(const std::map<std::string, std::string>& variables) {
  return read_launch([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found != variables.end() ? found->second.c_str() : nullptr;
  });
}

}  // namespace

TEST_CASE("without a launcher there is one process") {
  const Launch launch = launch_of({{"SLURM_PROCID", "0"}, {"PATH", "x"}});
  CHECK(launch.kind == Launch::Kind::kAlone);
  CHECK(launch.size == 1);
}

TEST_CASE(
    "torchrun's processes meet at its master, one port further where its agent has that one") {
  std::map<std::string, std::string> variables = {{"RANK", "9"},
                                                  {"WORLD_SIZE", "16"},
                                                  {"LOCAL_RANK", "1"},
                                                  {"MASTER_ADDR", "node0"},
                                                  {"MASTER_PORT", "29500"}};
  Launch launch = launch_of(variables);
  CHECK(launch.kind == Launch::Kind::kSockets);
  CHECK(launch.rank == 9);
  CHECK(launch.size == 16);
  CHECK(launch.local_rank == 1);
  CHECK(launch.address == "node0");
  CHECK(launch.port == 29500);
  variables["TORCHELASTIC_USE_AGENT_STORE"] = "True";
  CHECK(launch_of(variables).port == 29501);
}

TEST_CASE("mpirun is noticed inside a Slurm job too") {
  const Launch launch = launch_of({{"SLURM_PROCID", "0"},
                                   {"SLURM_STEP_NUM_TASKS", "2"},
                                   {"OMPI_COMM_WORLD_RANK", "3"},
                                   {"OMPI_COMM_WORLD_SIZE", "8"},
                                   {"OMPI_COMM_WORLD_LOCAL_RANK", "3"}});
  CHECK(launch.kind == Launch::Kind::kMpi);
  CHECK(launch.local_rank == 3);
  CHECK(launch_of({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}}).kind == Launch::Kind::kMpi);
}

TEST_CASE("srun's tasks meet at the first node of their step") {
  const Launch launch = launch_of({{"SLURM_PROCID", "12"},
                                   {"SLURM_STEP_NUM_TASKS", "16"},
                                   {"SLURM_LOCALID", "4"},
                                   {"SLURM_JOB_ID", "123456"},
                                   {"SLURM_STEP_NODELIST", "gpu[07-08]"},
                                   {"PMIX_RANK", "12"}});
  CHECK(launch.kind == Launch::Kind::kSockets);
  CHECK(launch.rank == 12);
  CHECK(launch.address == "gpu07");
  CHECK(launch.port == 23456);
}

TEST_CASE("the first host of Slurm's lists") {
  CHECK(first_host("node1") == "node1");
  CHECK(first_host("node1,node2") == "node1");
  CHECK(first_host("node[003-010,12],other7") == "node003");
  CHECK(first_host("rack[2,5]-a") == "rack2-a");
}

TEST_CASE("variables that cannot be are bad input") {
  CHECK_THROWS_AS(launch_of({{"OMPI_COMM_WORLD_RANK", "8"}, {"OMPI_COMM_WORLD_SIZE", "8"}}),
                  InputError);
  CHECK_THROWS_WITH(launch_of({{"OMPI_COMM_WORLD_RANK", "x"}, {"OMPI_COMM_WORLD_SIZE", "8"}}),
                    Catch::Matchers::Contains("OMPI_COMM_WORLD_RANK"));
}

}  // namespace orrery
