#include "core/cluster_reader.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"

namespace orrery {

TEST_CASE("the shipped cluster of DeepSeek-V3 has the published figures") {
  const Cluster cluster = read_cluster("topologies/h800-2048.toml");
  CHECK(cluster.gpus() == 2048);
  CHECK(cluster.device == "h800");
  CHECK(in_gigabytes_per_second(cluster.nvlink.bandwidth) == 160);
  CHECK(in_gigabytes_per_second(cluster.nic.bandwidth) == 50);  // 400 Gb/s are bits
  CHECK(in_gigabytes_per_second(cluster.nic_bandwidth_per_gpu()) == 50);
  CHECK(cluster.fabric.kind == FabricKind::kMultiPlaneFatTree);
  CHECK(cluster.fabric.same_leaf_latency == microseconds(2.8));
  CHECK(cluster.fabric.cross_leaf_latency == microseconds(3.7));
  CHECK(cluster.price_per_gpu_hour == Dollars{2});
  CHECK(cluster.assumed.empty());
  // ISCA 2025, table 3: eight planes of a two-layer tree of 64-port switches have 16,384 endpoints.
  CHECK(8 * endpoints_per_plane(cluster.fabric) == 16384);
}

TEST_CASE("the small cluster differs from the large one in name and size only") {
  Cluster small = read_cluster("topologies/h800-64.toml");
  CHECK(small.gpus() == 64);
  small.name = "h800-2048";
  small.nodes = 256;
  CHECK(small == read_cluster("topologies/h800-2048.toml"));
}

TEST_CASE("a fat tree of k-port switches connects k, k^2/2 and k^3/4 endpoints by its layers") {
  Fabric fabric;
  fabric.switch_radix = 64;
  CHECK(endpoints_per_plane(fabric) == 64);
  fabric.switch_layers = 2;
  CHECK(endpoints_per_plane(fabric) == 2048);
  fabric.oversubscription = 3;  // 48 ports down, 16 up
  CHECK(endpoints_per_plane(fabric) == 64 * 48);
  fabric.oversubscription = 1;
  fabric.switch_layers = 3;
  CHECK(endpoints_per_plane(fabric) == 65536);
}

}  // namespace orrery
