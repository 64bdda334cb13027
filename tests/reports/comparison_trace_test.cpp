#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>
#include <set>

#include "reports/chrome_trace.hpp"
#include "sim/host_engine.hpp"
#include "tests/sim/hand_made_host.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"
#include "workload/world.hpp"

namespace orrery {
namespace {

class EvenTimes : public InstructionTimes {
 public:
  explicit EvenTimes(Seconds work) : work_(work) {}
  HostTime at(const Instruction&) const override { return {work_, {}}; }

 private:
  Seconds work_;
};

TEST_CASE("a comparison's trace has both timelines of every rank, side by side") {
  Plan plan = plan_of({small_mla_moe(), "dualpipe", 4, sizes(2, 2, 2)});
  plan.cluster.gpus_per_node = plan.layout.gpus();
  const Program program = expand(lower(plan), plan.layout).program;
  const Timeline predicted = run_host(program, machine_of(2), EvenTimes(microseconds(10)));
  const Timeline measured = run_host(program, machine_of(1), EvenTimes(microseconds(13)));
  const auto trace = nlohmann::json::parse(comparison_trace(plan, program, predicted, measured));
  std::set<int> pids;
  std::set<std::string> names;
  std::set<std::pair<int, int>> threads;
  std::size_t spans[2] = {0, 0};
  std::set<std::string> flows[2];
  for (const auto& event : trace["traceEvents"]) {
    const int pid = event["pid"];
    const std::string kind = event["ph"];
    if (event["name"] == "process_name") {
      CHECK(pids.insert(pid).second);
      names.insert(event["args"]["name"]);
    }
    if (event["name"] == "thread_name") CHECK(threads.emplace(event["tid"], pid).second);
    const bool is_work = kind == "X" && event["cat"] != "cell" && event["cat"] != "wait";
    if (is_work) ++spans[pid % 2];
    if (kind == "s") CHECK(flows[pid % 2].insert(event["id"].dump()).second);
  }
  CHECK(pids == std::set<int>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(names.contains("rank 3 (stages 1, 0), measured"));
  CHECK(names.contains("rank 0 (stages 0, 1), predicted"));
  // A thread of the trace belongs to one process.
  std::set<int> tids;
  for (const auto& [tid, pid] : threads) CHECK(tids.insert(tid).second);
  CHECK(spans[0] == program.instructions.size());
  CHECK(spans[1] == program.instructions.size());
  // No arrow leads from one timeline into the other.
  CHECK_FALSE(flows[0].empty());
  for (const std::string& id : flows[0]) CHECK_FALSE(flows[1].contains(id));
  CHECK(trace["otherData"]["predicted_step_time_s"] == predicted.step.value());
  CHECK(trace["otherData"]["measured_step_time_s"] == measured.step.value());
}

}  // namespace
}  // namespace orrery
