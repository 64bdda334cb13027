// Exchanges and collectives alone on a cluster, against their closed forms, and what holds of any
// step: bytes are conserved, no link carries more than its bandwidth, scaled links scale time.
#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <cmath>
#include <iostream>
#include <map>

#include "core/cluster_reader.hpp"
#include "sim/cluster_step.hpp"
#include "sim/network/network.hpp"
#include "sim/network/single_exchange.hpp"

namespace orrery {
namespace {

Cluster cluster_of(int nodes, FabricKind kind = FabricKind::kMultiPlaneFatTree) {
  Cluster cluster = read_cluster("topologies/h800-2048.toml");
  cluster.nodes = nodes;
  cluster.fabric.kind = kind;
  if (kind != FabricKind::kMultiPlaneFatTree) cluster.fabric.planes = 1;
  if (kind == FabricKind::kSingleSwitch) {
    cluster.fabric.switch_layers = 1;
    cluster.fabric.switch_radix = 0;
  }
  return cluster;
}

ClusterStep run(const Cluster& cluster, int ep, const Work& work,
                Grouping grouping = Grouping::kFolded, const Faults& faults = {}) {
  return run_cluster(exchange_plan(cluster, ep), exchange_program(work), FixedRates(), grouping,
                     faults);
}

double seconds(const ClusterStep& step) {
  return step.classes.step.value();
}

// Bytes that an exchange puts on each planned resource, of all it stands for.
std::map<std::string, double> bytes_by_resource(const ClusterStep& step, const Work& work) {
  std::map<std::string, double> out;
  const FlowPlan& plan = step.folding.flows;
  for (const PlannedFlow& flow : plan.flows) {
    const double each = (flow.nic ? work.wire.nic : work.wire.nvlink).value() * flow.share;
    for (const Crossing& crossing : flow.route) {
      const PlannedResource& resource = plan.resources[static_cast<std::size_t>(crossing.resource)];
      out[resource.name] += each * crossing.times * resource.scale * resource.count;
    }
  }
  return out;
}

constexpr double kNvlink = 160e9;
constexpr double kNic = 50e9;

}  // namespace

TEST_CASE("every collective alone takes its analytic time to 1e-6") {
  const Bytes big = gigabytes(1);
  for (FabricKind kind : {FabricKind::kMultiPlaneFatTree, FabricKind::kMultiRailFatTree,
                          FabricKind::kFatTree, FabricKind::kSingleSwitch}) {
    for (int nodes : {1, 2, 4, 8, 32}) {
      const Cluster cluster = cluster_of(nodes, kind);
      const int gpus = cluster.gpus();
      CAPTURE(to_string(kind), nodes);
      // All-to-all: each port sends one message to each other GPU; the slower medium decides.
      const Work exchange = all_to_all(cluster, gpus, big);
      const double in = 7.0 * nodes * 1e9 / kNvlink;
      const double out = 8.0 * (nodes - 1) * 1e9 / kNic;
      CHECK(seconds(run(cluster, gpus, exchange)) == Approx(std::max(in, out)).epsilon(1e-6));
      // Groups of one node: NVLink alone.
      CHECK(seconds(run(cluster, 8, all_to_all(cluster, 8, big))) ==
            Approx(7e9 / kNvlink).epsilon(1e-6));
      // Ring all-reduce: 2 (n - 1) / n of the payload inside the node, of an eighth between nodes.
      const Work reduce = ring_all_reduce(cluster, big);
      const double inside = 2.0 * 7 / 8 * 1e9 / kNvlink;
      const double between = 2.0 / 8 * (nodes - 1) / nodes * 1e9 / kNic;
      CHECK(seconds(run(cluster, gpus, reduce)) == Approx(std::max(inside, between)).epsilon(1e-6));
      // Reduce-scatter and all-gather are half of it each.
      for (Pattern pattern : {Pattern::kReduceScatter, Pattern::kAllGather}) {
        Work half = reduce;
        half.wire.pattern = pattern;
        half.wire.nic = half.wire.nic / 2;
        half.wire.nvlink = half.wire.nvlink / 2;
        CHECK(seconds(run(cluster, gpus, half)) ==
              Approx(std::max(inside, between) / 2).epsilon(1e-6));
      }
    }
  }
}

TEST_CASE("behind an oversubscribed leaf an all-to-all takes what the leaf's cables let through") {
  Cluster cluster = cluster_of(16, FabricKind::kFatTree);
  cluster.fabric.switch_radix = 64;
  cluster.fabric.oversubscription = 3;  // 48 ports down, 16 up: six nodes a leaf
  const Work exchange = all_to_all(cluster, 128, gigabytes(1));
  // Leaves of 6, 6 and 4 nodes. Out of a leaf of six: 48 GPUs send to 80 others elsewhere.
  const double leaf = 48.0 * 80 * 1e9 / (16 * kNic);
  CHECK(leaf > 8.0 * 15 * 1e9 / kNic);
  CHECK(seconds(run(cluster, 128, exchange)) == Approx(leaf).epsilon(1e-6));
  CHECK(seconds(run(cluster, 128, exchange, Grouping::kNone)) == Approx(leaf).epsilon(1e-6));
}

TEST_CASE("a lost plane sends its traffic through the neighbour's NIC: twice the time") {
  const Cluster cluster = cluster_of(8);
  const Work exchange = all_to_all(cluster, 64, gigabytes(1));
  Faults faults;
  faults.planes.insert(3);
  CHECK(seconds(run(cluster, 64, exchange, Grouping::kFolded, faults)) ==
        Approx(2 * 8.0 * 7 * 1e9 / kNic).epsilon(1e-6));
}

TEST_CASE("bytes are conserved: what leaves ports arrives at ports, as much as the wires say") {
  for (const char* fault : {"none", "nic", "plane"}) {
    for (FabricKind kind : {FabricKind::kMultiPlaneFatTree, FabricKind::kFatTree}) {
      Cluster cluster = cluster_of(8, kind);
      cluster.fabric.oversubscription = kind == FabricKind::kFatTree ? 3 : 1;
      const std::string name = fault;
      if (name == "plane" && kind == FabricKind::kFatTree) continue;
      Faults faults;
      if (name == "nic") faults.nic[13] = 0;
      if (name == "plane") faults.planes.insert(2);
      const Work exchange = all_to_all(cluster, 64, gigabytes(1));
      const ClusterStep folded = run(cluster, 64, exchange, Grouping::kFolded, faults);
      const ClusterStep full = run(cluster, 64, exchange, Grouping::kNone, faults);
      CAPTURE(fault, to_string(kind));
      for (const ClusterStep* step : {&folded, &full}) {
        double nic_out = 0, nic_in = 0, up = 0, down = 0;
        for (const auto& [resource, bytes] : bytes_by_resource(*step, exchange)) {
          if (resource.find("NIC") != std::string::npos)
            (resource.ends_with("out") ? nic_out : nic_in) += bytes;
          if (resource.find("leaf") != std::string::npos)
            (resource.ends_with("up") ? up : down) += bytes;
        }
        CHECK(nic_out == Approx(64 * exchange.wire.nic.value()).epsilon(1e-9));
        CHECK(nic_in == Approx(nic_out).epsilon(1e-9));
        CHECK(down == Approx(up).epsilon(1e-9));
      }
      CHECK(seconds(folded) == Approx(seconds(full)).epsilon(1e-9));
      // Never sooner than the busiest link allows.
      const FlowPlan& plan = full.folding.flows;
      for (const auto& [name_of, bytes] : bytes_by_resource(full, exchange)) {
        const auto resource =
            std::find_if(plan.resources.begin(), plan.resources.end(),
                         [&](const PlannedResource& each) { return each.name == name_of; });
        CHECK(seconds(full) >= bytes / (resource->capacity.value() * resource->scale) * (1 - 1e-9));
      }
    }
  }
}

TEST_CASE("the use of links adds up to the bytes sent, and the busiest is full while it limits") {
  const Cluster cluster = cluster_of(8);
  const Work exchange = all_to_all(cluster, 64, gigabytes(1));
  Faults faults;
  faults.nic[13] = 0.5;
  const ClusterStep step = run_cluster(exchange_plan(cluster, 64), exchange_program(exchange),
                                       FixedRates(), Grouping::kFolded, faults, {}, true);
  double nic = 0, nvlink = 0, counted = 0;
  for (const LinkUse& link : step.links) {
    const bool out = link.name.ends_with("out");
    if (!out) continue;
    (link.name.find("NIC") != std::string::npos ? nic : nvlink) += link.bytes * link.count;
    counted += link.count;
    CHECK(link.peak() <= 1 + 1e-9);
    CHECK(link.mean() * link.capacity.value() * seconds(step) == Approx(link.bytes));
  }
  CHECK(counted == 128);
  CHECK(nic == Approx(64 * exchange.wire.nic.value()));
  CHECK(nvlink == Approx(64 * exchange.wire.nvlink.value()));
  CHECK_THAT(step.links.front().name, Catch::StartsWith("node 1 NIC 5 "));
  CHECK(step.links.front().mean() == Approx(1).epsilon(1e-6));
}

TEST_CASE("links k times as fast divide the time by k") {
  for (double factor : {0.5, 3.0, 10.0}) {
    for (FabricKind kind : {FabricKind::kMultiPlaneFatTree, FabricKind::kFatTree}) {
      Cluster cluster = cluster_of(8, kind);
      cluster.fabric.oversubscription = kind == FabricKind::kFatTree ? 3 : 1;
      Cluster faster = cluster;
      faster.nic.bandwidth *= factor;
      faster.nvlink.bandwidth *= factor;
      for (const Work& work :
           {all_to_all(cluster, 64, gigabytes(1)), ring_all_reduce(cluster, gigabytes(1))}) {
        CHECK(seconds(run(faster, 64, work)) * factor ==
              Approx(seconds(run(cluster, 64, work))).epsilon(1e-9));
      }
    }
  }
}

TEST_CASE(
    "an edge list gives what the tree it describes gives, and what its narrowest cable lets "
    "through") {
  // Four nodes of eight GPUs under one switch a plane, written out.
  Cluster listed = cluster_of(4, FabricKind::kCustom);
  listed.fabric.switch_radix = 0;
  for (int plane = 0; plane < 8; ++plane) {
    const std::string name = fmt::format("s{}", plane);
    listed.fabric.switches.push_back(name);
    listed.fabric.cables.push_back({fmt::format("node0-3.nic{}", plane), name, {}, 1});
  }
  const Work exchange = all_to_all(listed, 32, gigabytes(1));
  CHECK(seconds(run(listed, 32, exchange)) ==
        Approx(seconds(run(cluster_of(4), 32, exchange))).epsilon(1e-9));
  // Two leaves with two nodes each and one cable of 100 GB/s between them: 16 GPUs send to 16.
  Cluster narrow = listed;
  narrow.fabric.switches = {"left", "right"};
  narrow.fabric.cables = {{"left", "right", gigabytes_per_second(100), 1}};
  for (int nic = 0; nic < 8; ++nic) {
    narrow.fabric.cables.push_back({fmt::format("node0-1.nic{}", nic), "left", {}, 1});
    narrow.fabric.cables.push_back({fmt::format("node2-3.nic{}", nic), "right", {}, 1});
  }
  CHECK(seconds(run(narrow, 32, exchange)) == Approx(16.0 * 16 * 1e9 / 100e9).epsilon(1e-6));
  CHECK(seconds(run(narrow, 32, exchange, Grouping::kNone)) ==
        Approx(16.0 * 16 * 1e9 / 100e9).epsilon(1e-6));
  // Three cables of it are one three times as wide.
  narrow.fabric.cables.front().count = 3;
  CHECK(seconds(run(narrow, 32, exchange)) == Approx(16.0 * 16 * 1e9 / 300e9).epsilon(1e-6));
}

TEST_CASE("a ring over nodes of different sizes folds as it runs in full") {
  // Twelve GPUs in nodes of eight: eight and four.
  Cluster cluster = cluster_of(3, FabricKind::kSingleSwitch);
  cluster.gpus_per_node = 4;
  cluster.nic.per_node = 4;
  Plan plan = exchange_plan(cluster, 6);
  plan.layout.pp = 2;
  plan.layout.dp = 6;
  Program program = exchange_program(ring_all_reduce(cluster, gigabytes(1)));
  program.pp = 2;
  Instruction second = program.instructions[0];
  second.id = InstructionId(1);
  second.rank = Rank(1);
  program.instructions.push_back(second);
  program.streams.resize(2);
  program.streams[1][static_cast<std::size_t>(Stream::kComm)].push_back(second.id);
  const ClusterStep folded = run_cluster(plan, program, FixedRates());
  const ClusterStep full = run_cluster(plan, program, FixedRates(), Grouping::kNone);
  CHECK(seconds(folded) == Approx(seconds(full)).epsilon(1e-9));
}

TEST_CASE("round a broken NIC every way that is left is found") {
  Cluster cluster = cluster_of(2, FabricKind::kSingleSwitch);
  cluster.gpus_per_node = 2;
  cluster.nic.per_node = 2;
  Faults faults;
  faults.nic[3] = 0;  // of node 1: its second
  Network one(cluster, faults);
  CHECK(one.nic_route(0, 3).size() == 4);  // NIC, NIC, and over NVLink to the GPU
  // No index is sound at both ends.
  faults.nic[0] = 0;
  Network two(cluster, faults);
  CHECK(two.nic_route(0, 3).size() == 6);
  CHECK(two.name(two.nic_route(0, 3)[2]) == "node 0 NIC 1 out");
  faults.nic[1] = 0;
  Network none(cluster, faults);
  CHECK_THROWS_WITH(none.nic_route(0, 3), Catch::Contains("no path is left from GPU 0 of node 0"));
}

TEST_CASE("planes that no cable joins are crossed inside a node, whatever the fabric is called") {
  Cluster planes = cluster_of(2);
  Cluster rails = cluster_of(2, FabricKind::kMultiRailFatTree);
  rails.fabric.switch_layers = 1;
  for (const Cluster& cluster : {planes, rails}) {
    Network network(cluster);
    const std::vector<int> crossing{0, 9};
    CHECK_FALSE(network.plain(crossing));
    CHECK(network.nic_route(0, 9).size() == 4);
    CHECK(network.plain(std::vector<int>{0, 8}));
  }
}

TEST_CASE("a NIC behind a slower cable is as fast as the cable") {
  Cluster cluster = cluster_of(2, FabricKind::kCustom);
  cluster.fabric.switches = {"s"};
  for (int nic = 0; nic < 8; ++nic)
    cluster.fabric.cables.push_back(
        {fmt::format("node0-1.nic{}", nic), "s", gigabytes_per_second(10), 1});
  CHECK(seconds(run(cluster, 16, all_to_all(cluster, 16, gigabytes(1)))) ==
        Approx(8e9 / 10e9).epsilon(1e-6));
}

TEST_CASE("hashed paths collide: ECMP is slower than spreading, never faster") {
  Cluster cluster = cluster_of(16, FabricKind::kFatTree);
  const Work exchange = all_to_all(cluster, 128, gigabytes(1));
  const double spread = seconds(run(cluster, 128, exchange));
  cluster.fabric.routing = Routing::kEcmp;
  const double hashed = seconds(run(cluster, 128, exchange, Grouping::kNone));
  CHECK(hashed > 1.05 * spread);
  CHECK(hashed < 8 * spread);
}

TEST_CASE("PCIe carries what leaves through the NIC too") {
  Cluster cluster = cluster_of(4);
  cluster.nvlink.pcie = true;
  cluster.nvlink.bandwidth = gigabytes_per_second(60);
  const Work exchange = all_to_all(cluster, 32, gigabytes(1));
  // Ten messages share a GPU's port of 60 GB/s evenly: 7 of 4 GB within the node and 3 of 8 GB that
  // go on to the NIC. When the short ones have ended, the NIC's 50 GB/s hold the others up.
  const double together = 4e9 / (60e9 / 10);
  const double rest = 3 * 4e9 / kNic;
  CHECK(seconds(run(cluster, 32, exchange)) == Approx(together + rest).epsilon(1e-6));
}

TEST_CASE("an NVLink domain of 72 needs no NIC, and several NICs a GPU work as one") {
  Cluster rack = cluster_of(1);
  rack.gpus_per_node = 72;
  rack.nic.per_node = 72;
  CHECK(seconds(run(rack, 72, all_to_all(rack, 72, gigabytes(1)))) ==
        Approx(71e9 / kNvlink).epsilon(1e-6));
  Cluster twice = cluster_of(4, FabricKind::kMultiRailFatTree);
  twice.nic.per_node = 16;
  CHECK(seconds(run(twice, 32, all_to_all(twice, 32, gigabytes(1)))) ==
        Approx(24e9 / (2 * kNic)).epsilon(1e-6));
}

}  // namespace orrery
