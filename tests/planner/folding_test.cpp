// A folded step takes exactly what the step takes with every GPU, NIC and link: on clusters drawn
// at random, with and without faults.
#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>
#include <random>

#include "core/error.hpp"
#include "sim/cluster_step.hpp"
#include "tests/planner/published_plan.hpp"
#include "workload/lower.hpp"

namespace orrery {
namespace {

struct DrawnCase {
  Plan plan;
  Faults faults;
  std::string name;
};

class Draw {
 public:
  explicit Draw(unsigned seed) : random_(seed) {}

  // A number from 0 to `below` - 1.
  int number(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  template <class T>
  T of(std::initializer_list<T> values) {
    return *(values.begin() + number(static_cast<int>(values.size())));
  }

  Cluster cluster() {
    Cluster cluster = read_cluster("topologies/h800-64.toml");
    cluster.gpus_per_node = of({4, 8});
    cluster.nodes = of({4, 8, 16}) * (cluster.gpus_per_node == 4 ? 2 : 1);
    if (cluster.gpus() > 128) cluster.nodes /= 2;
    cluster.nic.per_node = cluster.gpus_per_node / of({1, 1, 1, 2});
    Fabric& fabric = cluster.fabric;
    fabric.kind =
        of({FabricKind::kMultiPlaneFatTree, FabricKind::kMultiPlaneFatTree,
            FabricKind::kMultiRailFatTree, FabricKind::kFatTree, FabricKind::kSingleSwitch});
    fabric.planes = fabric.kind == FabricKind::kMultiPlaneFatTree ? cluster.nic.per_node : 1;
    fabric.switch_layers = fabric.kind == FabricKind::kSingleSwitch ? 1 : of({2, 2, 3});
    // Small switches, so that there are several leaves.
    fabric.switch_radix = fabric.kind == FabricKind::kSingleSwitch ? 1024
                          : fabric.kind == FabricKind::kFatTree    ? 32
                                                                   : of({8, 16});
    fabric.oversubscription = of({1, 1, 3});
    fabric.routing = of({Routing::kAdaptive, Routing::kAdaptive, Routing::kStatic});
    if (number(6) == 0) cluster.nvlink.pcie = true;
    return cluster;
  }

  Plan plan() {
    PublishedPlan published;
    PlanRequest request = published.request;
    request.model.layers = of({3, 4});
    request.model.dense_layers = 1;
    request.model.mtp_depth = 0;
    request.model.stage_map.reset();
    request.cluster = cluster();
    const int gpus = request.cluster.gpus();
    Layout& layout = request.layout;
    layout = {};
    layout.pp = of({1, 2, 2, 4});
    layout.tp = of({1, 1, 1, 2});
    layout.cp = of({1, 1, 1, 2});
    const int replicas = gpus / layout.pp / layout.tp;
    layout.ep = std::min(of({4, 8, 16, 32}), replicas);
    layout.dp = 0;
    request.schedule = layout.pp == 1 ? "1f1b" : of({"1f1b", "zb-h1", "dualpipe"});
    const int dp = replicas / layout.cp;
    request.training.global_batch = dp * 2 * layout.pp * of({1, 2});
    return build_plan(request, published.costs());
  }

  Faults faults(const Cluster& cluster) {
    Faults faults;
    switch (number(6)) {
      case 0: faults.gpu_speed[number(cluster.gpus())] = 0.9; break;
      case 1: faults.nic[number(cluster.nodes * cluster.nic.per_node)] = 0.5; break;
      case 2: faults.nic[number(cluster.nodes * cluster.nic.per_node)] = 0; break;
      case 3: faults.nvlink[number(cluster.nodes)] = gigabytes_per_second(25); break;
      case 4:
        if (cluster.fabric.planes > 1) faults.planes.insert(number(cluster.fabric.planes));
        break;
      default: break;
    }
    return faults;
  }

 private:
  std::mt19937 random_;
};

std::string describe(const Plan& plan, const Faults& faults) {
  const Cluster& cluster = plan.cluster;
  const char* fault = !faults.gpu_speed.empty() ? "slow GPU"
                      : !faults.nic.empty()
                          ? (faults.nic.begin()->second > 0 ? "half a NIC" : "no NIC")
                      : !faults.nvlink.empty() ? "no NVLink"
                      : !faults.planes.empty() ? "no plane"
                                               : "sound";
  return fmt::format("{} x {} GPUs, {} NICs, {}{}, {}:1, {}; {} tp={} cp={}, {}; {}", cluster.nodes,
                     cluster.gpus_per_node, cluster.nic.per_node, to_string(cluster.fabric.kind),
                     cluster.nvlink.pcie ? " pcie" : "", cluster.fabric.oversubscription,
                     to_string(cluster.fabric.routing), describe(plan.layout), plan.layout.tp,
                     plan.layout.cp, plan.schedule.family, fault);
}

// The largest difference of a time, of any span of any GPU.
double farthest_apart(const Plan& plan, const Program& program, const ClusterStep& folded,
                      const ClusterStep& full) {
  REQUIRE(full.classes.rank_classes == plan.layout.gpus());
  double apart = std::abs(folded.classes.step.value() - full.classes.step.value());
  // Instructions of one origin follow each other, GPU by GPU and class by class.
  std::vector<std::size_t> first(program.instructions.size());
  const Program& classes = folded.folding.expanded.program;
  for (std::size_t id = classes.instructions.size(); id-- > 0;)
    first[folded.folding.expanded.origin[id].index()] = id;
  for (const Instruction& own : full.folding.expanded.program.instructions) {
    const InstructionId origin = full.folding.expanded.origin[own.id.index()];
    const int stands = folded.folding.class_of[static_cast<std::size_t>(own.rank.value)];
    const Rank rank = program.instructions[origin.index()].rank;
    const auto id = static_cast<std::int64_t>(first[origin.index()]) + stands -
                    folded.folding.first_class[rank.index()];
    const Span& a = folded.classes.at(InstructionId(id));
    const Span& b = full.classes.at(own.id);
    apart = std::max({apart, std::abs(a.start.value() - b.start.value()),
                      std::abs(a.end.value() - b.end.value())});
  }
  return apart;
}

}  // namespace

TEST_CASE("folded is full: every span of every GPU, on clusters drawn at random") {
  const PublishedPlan published;
  int cases = 0;
  int asymmetric = 0;
  int compressed = 0;
  double worst = 0;
  for (unsigned seed = 0; cases < 40; ++seed) {
    Draw draw(seed);
    Plan plan;
    Faults faults;
    try {
      plan = draw.plan();
    } catch (const InputError&) {
      continue;  // does not fit together
    }
    faults = draw.faults(plan.cluster);
    const CalibratedCost costs(published.calibration, plan.cluster);
    const Program program = lower(plan);
    ClusterStep folded, full;
    CAPTURE(seed, describe(plan, faults));
    try {
      folded = run_cluster(plan, program, costs, Grouping::kFolded, faults);
    } catch (const InputError&) {
      continue;  // no path is left
    }
    full = run_cluster(plan, program, costs, Grouping::kNone, faults);
    ++cases;
    const double apart = farthest_apart(plan, program, folded, full);
    const double step = full.classes.step.value();
    CHECK(apart <= 1e-9 * step + 10e-9);
    worst = std::max(worst, apart / (1e-9 * step + 10e-9));
    const bool uneven = folded.classes.rank_classes > plan.layout.pp;
    const double compression = static_cast<double>(full.classes.activities) /
                               static_cast<double>(folded.classes.activities);
    asymmetric += uneven;
    compressed += uneven && compression >= 4;
    std::cout << fmt::format(
        "  {:3} classes of {:3} GPUs, activities {:7} of {:7} = 1/{:.1f}: {}\n",
        folded.classes.rank_classes, plan.layout.gpus(), folded.classes.activities,
        full.classes.activities, compression, describe(plan, faults));
  }
  std::cout << fmt::format(
      "  {} cases, {} of them asymmetric, {} of those with at most a quarter of the activities; "
      "largest difference {:.3f} of the limit\n",
      cases, asymmetric, compressed, worst);
  CHECK(asymmetric >= 15);
  CHECK(compressed >= 15);
}

TEST_CASE("folded is full where expert groups lie across tensor-parallel GPUs") {
  struct Case {
    int nodes, pp, tp, etp, ep;
  };
  const Case each = GENERATE(Case{1, 1, 2, 1, 8}, Case{1, 1, 8, 1, 8}, Case{1, 1, 4, 1, 4},
                             Case{1, 1, 4, 2, 4}, Case{1, 2, 4, 1, 4}, Case{4, 2, 2, 1, 16},
                             Case{4, 1, 8, 1, 8}, Case{4, 1, 8, 1, 32});
  CAPTURE(each.nodes, each.pp, each.tp, each.etp, each.ep);
  const PublishedPlan published;
  PlanRequest request = published.request;
  request.model.layers = 3;
  request.model.dense_layers = 1;
  request.model.mtp_depth = 0;
  request.model.stage_map.reset();
  request.cluster = read_cluster("topologies/h800-64.toml");
  request.cluster.nodes = each.nodes;
  request.layout = {};
  request.layout.pp = each.pp;
  request.layout.tp = each.tp;
  request.layout.etp = each.etp;
  request.layout.ep = each.ep;
  request.layout.dp = 0;
  request.schedule = "1f1b";
  const int replicas = each.nodes * 8 / each.pp / each.tp;
  request.training.global_batch = replicas * 2 * each.pp;
  const Plan plan = build_plan(request, published.costs());
  const CalibratedCost costs(published.calibration, plan.cluster);
  const Program program = lower(plan);
  Faults slow;
  slow.gpu_speed[3] = 0.9;
  for (const Faults& faults : {Faults{}, slow}) {
    const ClusterStep folded = run_cluster(plan, program, costs, Grouping::kFolded, faults);
    const ClusterStep full = run_cluster(plan, program, costs, Grouping::kNone, faults);
    CHECK(farthest_apart(plan, program, folded, full) <= 1e-9 * full.classes.step.value() + 10e-9);
  }
}

}  // namespace orrery
