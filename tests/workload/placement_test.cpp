#include "workload/placement.hpp"

#include <catch2/catch.hpp>

#include "core/cluster_reader.hpp"

namespace orrery {
namespace {

Cluster cluster_of(int nodes, int gpus_per_node) {
  Cluster cluster;
  cluster.nodes = nodes;
  cluster.gpus_per_node = gpus_per_node;
  return cluster;
}

Layout layout_of(int pp, int tp) {
  Layout layout;
  layout.pp = pp;
  layout.tp = tp;
  return layout;
}

TEST_CASE("DeepSeek-V3's pipeline ranks take 16 nodes each, its expert groups eight of them") {
  const Placement placement = place(read_cluster("topologies/h800-2048.toml"), layout_of(16, 1));
  CHECK(placement.gpus_per_rank == 128);
  CHECK(placement.expert_group_gpus_per_node(64) == 8);
  for (int rank = 0; rank < 15; ++rank) {
    CHECK(placement.same_node(Rank(rank), Rank(rank)));
    CHECK_FALSE(placement.same_node(Rank(rank), Rank(rank + 1)));
  }
}

// Pipeline ranks lie one after another: with 8 GPUs a node and 2 or 3 a rank, four ranks share a
// node, or ranks straddle nodes (first GPUs 0, 3, 6, 9: the nodes of these).
TEST_CASE("pipeline ranks smaller than a node share it") {
  const Placement pairs = place(cluster_of(1, 8), layout_of(4, 1));
  CHECK(pairs.gpus_per_rank == 2);
  CHECK(pairs.same_node(Rank(0), Rank(3)));
  const Placement quarters = place(cluster_of(2, 8), layout_of(8, 1));
  CHECK(quarters.same_node(Rank(0), Rank(3)));
  CHECK_FALSE(quarters.same_node(Rank(3), Rank(4)));
  CHECK(quarters.same_node(Rank(4), Rank(7)));
}

TEST_CASE(
    "of a group's pipeline ranks those of one node are counted, the fewest where nodes differ") {
  const Placement quarters = place(cluster_of(2, 8), layout_of(8, 1));  // four ranks a node
  CHECK(quarters.ranks_in_node({Rank(0), Rank(3)}) == 2);
  CHECK(quarters.ranks_in_node({Rank(0), Rank(7)}) == 1);
  CHECK(quarters.ranks_in_node({Rank(0), Rank(1), Rank(2), Rank(7)}) == 1);
  CHECK(quarters.ranks_in_node({Rank(0), Rank(1), Rank(6), Rank(7)}) == 2);
  const Placement whole_nodes = place(cluster_of(4, 8), layout_of(2, 1));
  CHECK(whole_nodes.ranks_in_node({Rank(0), Rank(1)}) == 1);
}

// Tensor-parallel neighbours are innermost, so an expert-parallel group takes every tp-th GPU;
// where it is more than the replicas hold, it takes 2, 4.. neighbours of each.
TEST_CASE("the GPUs of an expert-parallel group that share a node") {
  struct Case {
    int nodes, pp, tp, ep, expected;
  };
  const Case each = GENERATE(Case{8, 1, 1, 64, 8}, Case{8, 1, 1, 4, 4}, Case{8, 1, 1, 1, 1},
                             Case{8, 1, 2, 16, 4}, Case{8, 1, 8, 8, 1}, Case{1, 4, 1, 2, 2},
                             Case{2, 8, 2, 1, 1}, Case{1, 4, 2, 2, 2}, Case{1, 1, 2, 8, 8},
                             Case{8, 1, 2, 64, 8}, Case{8, 1, 8, 16, 2}, Case{8, 1, 8, 64, 8});
  CAPTURE(each.nodes, each.pp, each.tp, each.ep);
  const Placement placement = place(cluster_of(each.nodes, 8), layout_of(each.pp, each.tp));
  CHECK(placement.expert_group_gpus_per_node(each.ep) == each.expected);
}

// Ring over n GPUs: each sends (n-1)/n of the payload, every s-th hop through a NIC: 127/128 x 7/8
// over NVLink and 127/128 x 1/8 through the NIC for 128 GPUs, eight a node. Trees between nodes
// that summed first: 7/8 and 1/8 x 15/16, twice.
TEST_CASE("a collective puts its bytes on NVLink inside a node and the node's share on the NICs") {
  struct Case {
    int group, in_node;
    double ring_nvlink, ring_nic, tree_nvlink, tree_nic;  // of the payload
  };
  const Case each =
      GENERATE(Case{128, 8, 127.0 / 128 * 7 / 8, 127.0 / 128 / 8, 7.0 / 8, 15.0 / 128},
               Case{16, 8, 15.0 / 16 * 7 / 8, 15.0 / 16 / 8, 7.0 / 8, 1.0 / 16},
               Case{8, 8, 7.0 / 8, 0, 7.0 / 8, 0}, Case{4, 1, 0, 3.0 / 4, 0, 3.0 / 4},
               Case{2, 2, 1.0 / 2, 0, 1.0 / 2, 0}, Case{1, 1, 0, 0, 0, 0},
               Case{4, 8, 3.0 / 4, 0, 3.0 / 4, 0});
  const Bytes payload{1e9};
  CAPTURE(each.group, each.in_node);
  for (const Pattern pattern :
       {Pattern::kReduceScatter, Pattern::kAllGather, Pattern::kAllReduce}) {
    const bool tree = pattern == Pattern::kAllReduce;
    const double passes = tree ? 2 : 1;
    const Wire wire = collective_wire(pattern, payload, each.group, each.in_node);
    CHECK(wire.pattern == pattern);
    CHECK(wire.group == each.group);
    CHECK(wire.in_node == std::min(each.in_node, each.group));
    CHECK(wire.nvlink.value() ==
          Approx(passes * 1e9 * (tree ? each.tree_nvlink : each.ring_nvlink)).margin(1e-3));
    CHECK(wire.nic.value() ==
          Approx(passes * 1e9 * (tree ? each.tree_nic : each.ring_nic)).margin(1e-3));
    CHECK(wire.logical.value() ==
          Approx(passes * 1e9 * (each.group - 1) / each.group).margin(1e-3));
    // Nothing is sent twice: both media together are the ring over all.
    CHECK((wire.nvlink + wire.nic).value() == Approx(wire.logical.value()).margin(1e-3));
  }
}

}  // namespace
}  // namespace orrery
