#include "sim/nccl_model.hpp"

#include <catch2/catch.hpp>

namespace orrery {
namespace {

NcclGroup all_reduce(double bytes, int gpus, int in_node, double ring_gbps) {
  return {Pattern::kAllReduce, Bytes{bytes}, gpus, in_node, gigabytes_per_second(ring_gbps),
          std::nullopt};
}

// NCCL on 24 H100 in three nodes printed what it chose and the time it expected
// (NCCL_DEBUG=INFO, NVIDIA/nccl issue 1453): Algo 0 is tree, 5 the NVLS tree; proto 0 LL, 1 LL128,
// 2 Simple. A ring of that cluster carried 192 GB/s, its NVLS graph as much.
TEST_CASE("the choice and its time are those that NCCL itself printed") {
  struct Case {
    double bytes;
    NcclAlgorithm algorithm;
    NcclProtocol protocol;
    double us;
  };
  const Case each =
      GENERATE(Case{4096, NcclAlgorithm::kTree, NcclProtocol::kLl, 25.874907},
               Case{8192, NcclAlgorithm::kTree, NcclProtocol::kLl, 26.549810},
               Case{65536, NcclAlgorithm::kTree, NcclProtocol::kLl, 37.798233},
               Case{131072, NcclAlgorithm::kTree, NcclProtocol::kLl128, 51.603912},
               Case{524288, NcclAlgorithm::kNvlsTree, NcclProtocol::kSimple, 59.5536});
  NcclGroup group = all_reduce(each.bytes, 24, 8, 192);
  group.nvls = gigabytes_per_second(480);
  const NcclChoice choice = nccl_choice(group);
  CAPTURE(each.bytes, describe(choice));
  CHECK(choice.algorithm == each.algorithm);
  CHECK(choice.protocol == each.protocol);
  CHECK(in_microseconds(choice.time(group.payload)) == Approx(each.us).epsilon(1e-6));
}

// Ring of n GPUs: n - 1 steps a pass, n / (n - 1) of the ring's bandwidth.
TEST_CASE("a ring's latency counts its steps inside and between nodes") {
  const auto simple = [](const NcclGroup& group) {
    for (const NcclChoice& each : nccl_choices(group)) {
      if (each.algorithm == NcclAlgorithm::kRing && each.protocol == NcclProtocol::kSimple)
        return each;
    }
    return NcclChoice{};
  };
  NcclGroup group{Pattern::kReduceScatter, Bytes{1e9}, 8, 8, gigabytes_per_second(160), {}};
  CHECK(in_microseconds(simple(group).latency) == Approx(8.4 + 7 * 3.4));
  CHECK(simple(group).rate.value() == Approx(160e9 * 8 / 7));
  group = {Pattern::kAllGather, Bytes{1e9}, 64, 8, gigabytes_per_second(320), {}};
  CHECK(in_microseconds(simple(group).latency) == Approx(8.4 + 56 * 3.4 + 7 * 14));
  CHECK(simple(group).rate.value() == Approx(320e9 * 64 / 63));
  group = {Pattern::kAllGather, Bytes{1e9}, 4, 1, gigabytes_per_second(40), {}};
  CHECK(in_microseconds(simple(group).latency) == Approx(8.4 + 3 * 14));
  group = all_reduce(1e9, 16, 8, 320);
  CHECK(in_microseconds(simple(group).latency) == Approx(1.4 * (8.4 + 28 * 3.4 + 2 * 14)));
  CHECK(simple(group).rate.value() == Approx(320e9 * 16 / 30));
}

TEST_CASE("small messages take LL, large ones Simple, and only an all-reduce has trees") {
  for (const Pattern pattern :
       {Pattern::kAllReduce, Pattern::kReduceScatter, Pattern::kAllGather}) {
    for (const int gpus : {2, 8, 16, 64, 1024}) {
      Seconds last;
      NcclProtocol protocol = NcclProtocol::kLl;
      for (double bytes = 64; bytes < 1e11; bytes *= 2) {
        const NcclGroup group{
            pattern, Bytes{bytes}, gpus, std::min(gpus, 8), gigabytes_per_second(160), {}};
        const NcclChoice choice = nccl_choice(group);
        CAPTURE(gpus, bytes);
        CHECK((pattern == Pattern::kAllReduce || choice.algorithm == NcclAlgorithm::kRing));
        if (bytes == 64) CHECK(choice.protocol == NcclProtocol::kLl);
        // A step of the trees' correction may make twice the bytes hardly slower, never faster.
        CHECK(choice.time(group.payload) >= last);
        last = choice.time(group.payload);
        protocol = choice.protocol;
      }
      CHECK(protocol == NcclProtocol::kSimple);
    }
  }
}

// H100, 8 GPUs: 370 GB/s as a ring, 480 with the switch's help (NVIDIA/nccl-tests issue 212).
TEST_CASE("the switch's reduction is taken for large messages where there is one") {
  NcclGroup group = all_reduce(1e9, 8, 8, 370);
  CHECK(nccl_choice(group).algorithm == NcclAlgorithm::kRing);
  group.nvls = gigabytes_per_second(480);
  CHECK(nccl_choice(group).algorithm == NcclAlgorithm::kNvls);
  CHECK(group.payload / nccl_choice(group).rate == group.payload * (2 * 7.0 / 8) / *group.nvls);
  group.payload = Bytes{1024};
  CHECK(nccl_choice(group).algorithm != NcclAlgorithm::kNvls);
  group = all_reduce(1e9, 4, 1, 40);
  group.nvls = gigabytes_per_second(480);
  CHECK(nccl_choice(group).algorithm == NcclAlgorithm::kRing);
}

// Eight GPUs of an H20 node (NVLink as in an H100), all-reduce, in place, deepseek-ai/DeepEP issue
// 303: 12.6 us for 4 B, 15.4 for 256 B. NCCL's own estimate is what is compared.
TEST_CASE("the smallest all-reduce of a node takes what was measured, within a fifth") {
  CHECK(in_microseconds(nccl_choice(all_reduce(4, 8, 8, 370)).time(Bytes{4})) ==
        Approx(12.61).epsilon(0.2));
  CHECK(in_microseconds(nccl_choice(all_reduce(256, 8, 8, 370)).time(Bytes{256})) ==
        Approx(15.39).epsilon(0.03));
  CHECK(in_microseconds(nccl_choice(all_reduce(2048, 8, 8, 370)).time(Bytes{2048})) ==
        Approx(15.84).epsilon(0.06));
}

}  // namespace
}  // namespace orrery
