#include "sim/calibrated_cost.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/cluster_reader.hpp"
#include "core/error.hpp"
#include "core/model_reader.hpp"
#include "tests/sim/example_calibration.hpp"
#include "tests/workload/example_programs.hpp"
#include "workload/lower.hpp"
#include "workload/moe_ops.hpp"
#include "workload/placement.hpp"

namespace orrery {
namespace {

Calibration h800() {
  return read_calibration("calibration/h800.toml");
}
Cluster cluster() {
  return read_cluster("topologies/h800-64.toml");
}

Work transfer_work(Pattern pattern, int group, double logical, double nic, double nvlink) {
  return {Component::kDispatch,
          Pass::kF,
          "transfer",
          {},
          {pattern, group, Bytes{logical}, Bytes{nic}, Bytes{nvlink}}};
}

double alone_us(const CostSource& cost, const Work& work, bool beside_compute = false) {
  return in_microseconds(
      uncontended(work.wire, cost.transfer(work, beside_compute, beside_compute ? 20 : 0)));
}

// 4096 tokens of DeepSeek-V3 at EP64: 120.0 MB dispatched, 232.7 MB combined; 7/8 of it crosses
// nodes.
Work v3_exchange(Pattern pattern) {
  const bool dispatch = pattern == Pattern::kDispatch || pattern == Pattern::kDispatchCached;
  const double logical = dispatch ? 120.0e6 : 232.7e6;
  return transfer_work(pattern, 64, logical, logical * 7 / 8, logical / 3.965 * 7.49 * 7 / 8);
}

// ------------------------------------------------------------------------------------------------
// Expert-parallel exchanges

// DeepEP README of 2025-02-25, EP64: dispatch 46, combine 45 GB/s of logical bytes; before it the
// layout kernel, 102.5 us, or the cast of the gradient, 50 us with all SMs.
TEST_CASE("an EP64 exchange alone reaches the published rate of its logical bytes") {
  const CalibratedCost cost(h800(), cluster());
  CHECK(alone_us(cost, v3_exchange(Pattern::kDispatch)) ==
        Approx(120.0e6 / 46e9 * 1e6 + 102.5).epsilon(5e-4));
  CHECK(alone_us(cost, v3_exchange(Pattern::kDispatchCached)) ==
        Approx(120.0e6 / 46e9 * 1e6 + 50).epsilon(5e-4));
  CHECK(alone_us(cost, v3_exchange(Pattern::kCombine)) ==
        Approx(232.7e6 / 45e9 * 1e6).epsilon(5e-4));
  CHECK(alone_us(cost, v3_exchange(Pattern::kCombineGradient)) ==
        Approx(232.7e6 / 45e9 * 1e6).epsilon(5e-4));
}

// Kernel times of the public profile with 20 SMs under computation, plus what runs before the bytes
// move.
TEST_CASE("an EP64 exchange beside computation takes the kernel time of the profile") {
  const CalibratedCost cost(h800(), cluster());
  struct Case {
    Pattern pattern;
    double kernel_us, overhead_us;
  };
  for (const Case& each : {Case{Pattern::kDispatch, 4346, 102.5},
                           {Pattern::kDispatchCached, 3405, 270.25},
                           {Pattern::kCombine, 5994, 0},
                           {Pattern::kCombineGradient, 6368, 0}}) {
    const Work work = v3_exchange(each.pattern);
    CAPTURE(to_string(each.pattern), each.kernel_us);
    CHECK(alone_us(cost, work, true) == Approx(each.kernel_us + each.overhead_us).epsilon(0.001));
    CHECK(in_microseconds(cost.transfer(work, true, 20).fixed) == Approx(each.overhead_us));
    CHECK(alone_us(cost, work, true) > alone_us(cost, work, false));
  }
}

// The wires that lower() makes of the model carry the same bytes.
TEST_CASE("the exchanges of a lowered DeepSeek-V3 layer take the times of the profile") {
  const Model v3 = read_model("models/deepseek-v3.toml");
  Layout layout;
  layout.ep = 64;
  const Shard shard = make_shard(v3, layout, 4096, RoutingSample(v3.moe).spread(64, 8));
  const CalibratedCost cost(h800(), cluster());
  for (const auto& [pattern, us] : {std::pair{Pattern::kDispatch, 4346 + 102.5},
                                    {Pattern::kDispatchCached, 3405 + 270.25},
                                    {Pattern::kCombine, 5994.0},
                                    {Pattern::kCombineGradient, 6368.0}}) {
    Work work;
    work.wire = expert_exchange(shard, pattern, 8);
    CAPTURE(to_string(pattern));
    CHECK(alone_us(cost, work, true) == Approx(us).epsilon(0.003));
  }
}

// Two rates come from two measurements: NVLink's from EP16 (43 GB/s logical, of which each of 1.993
// copies costs 5.706 over NVLink), the NIC's from EP64 (45 GB/s, 3.469 of 3.964 copies).
TEST_CASE("an exchange is held up by NVLink in small groups and by the NIC in large ones") {
  const CalibratedCost cost(h800(), cluster());
  const double nvlink = 43 * 5.706 / 1.993, nic = 45 * 3.469 / 3.964;
  const auto seconds = [&](int group, double copies, double by_nic, double by_nvlink) {
    const Work work =
        transfer_work(Pattern::kCombine, group, copies * 1e9, by_nic * 1e9, by_nvlink * 1e9);
    return alone_us(cost, work) / 1e6;
  };
  CHECK(seconds(16, 1.993, 0.997, 5.706) == Approx(1.993 / 43));
  CHECK(seconds(64, 3.964, 3.469, 6.550) == Approx(3.964 / 45));
  CHECK(seconds(32, 3.613, 2.709, 6.354) == Approx(2.709 / nic));
  CHECK(seconds(128, 3.995, 3.746, 6.715) == Approx(3.746 / nic));
  CHECK(seconds(24, 2.9, 1, 6.2) == Approx(6.2 / nvlink));
  // Inside a node: EP8's own rate.
  CHECK(seconds(8, 5.293, 0, 4.631) == Approx(5.293 / 158));
}

// What computation costs an exchange at EP64, 27.61 / 46 of the rate, is taken for both media.
TEST_CASE("beside computation an exchange of another size slows down as at EP64") {
  const CalibratedCost cost(h800(), cluster());
  const Work work = transfer_work(Pattern::kDispatch, 16, 1.993e9, 0.997e9, 5.706e9);
  CHECK(alone_us(cost, work, true) - 102.5 ==
        Approx(1.993e9 / (43e9 * 27.61 / 46) * 1e6).epsilon(1e-6));
}

// The copies that the calibration file gives are those of the gate that was measured.
TEST_CASE("the spread of the measured exchanges is what their gate draws") {
  for (const auto& [key, table] : h800().exchanges) {
    for (const ExchangeRow& row : table.rows) {
      const int nodes = std::max(1, row.group / 8);
      const Moe moe = {
          .experts = 256, .top_k = 8, .groups = nodes, .groups_per_token = std::min(4, nodes)};
      const RoutingSpread spread = RoutingSample(moe).spread(row.group, 8);
      CAPTURE(to_string(key.first), row.group);
      CHECK(row.copies ==
            Approx(nodes == 1 ? spread.gpus_per_token : spread.nodes_per_token).epsilon(0.003));
      CHECK(row.nic == Approx(spread.remote_nodes_per_token).epsilon(0.003));
      CHECK(row.nvlink == Approx(spread.gpus_per_token * 7 / 8).epsilon(0.003));
    }
  }
}

TEST_CASE("no exchange is faster than its links") {
  Cluster slow = cluster();
  slow.nic.bandwidth = gigabytes_per_second(10);
  const Work work = v3_exchange(Pattern::kDispatch);
  CHECK(alone_us(CalibratedCost(h800(), slow), work) ==
        Approx(120.0e6 * 7 / 8 / 10e9 * 1e6 + 102.5));
  slow = cluster();
  slow.nic.per_node = 1;  // 50 GB/s for eight GPUs
  CHECK(alone_us(CalibratedCost(h800(), slow), work) ==
        Approx(120.0e6 * 7 / 8 / 6.25e9 * 1e6 + 102.5));
  slow = cluster();
  slow.nvlink.bandwidth = gigabytes_per_second(20);
  CHECK(alone_us(CalibratedCost(h800(), slow), work) ==
        Approx(work.wire.nvlink.value() / 20e9 * 1e6 + 102.5));
  // Faster links alone help nothing: the kernel is the limit.
  Cluster fast = cluster();
  fast.nic.bandwidth = gigabytes_per_second(400);
  fast.nvlink.bandwidth = gigabytes_per_second(900);
  CHECK(alone_us(CalibratedCost(h800(), fast), work) ==
        Approx(alone_us(CalibratedCost(h800(), cluster()), work)));
}

// ------------------------------------------------------------------------------------------------
// Other traffic

// Cross-leaf latency 3.7 us and 40 GB/s between nodes, 3.33 us and 160 GB/s inside: what transports
// reach (ISCA'25, table 5 and section 4.3; DeepSeek-V3 report, section 3.2.2).
TEST_CASE("a pipeline transfer takes a latency and its bytes at the transport's rate") {
  const CalibratedCost cost(h800(), cluster());
  const double bytes = 4096.0 * 7168 * 2;
  for (const bool beside : {false, true}) {
    CHECK(alone_us(cost, transfer_work(Pattern::kSend, 2, bytes, bytes, 0), beside) ==
          Approx(3.7 + bytes / 40e9 * 1e6));
    CHECK(alone_us(cost, transfer_work(Pattern::kSend, 2, bytes, 0, bytes), beside) ==
          Approx(3.33 + bytes / 160e9 * 1e6));
  }
  Cluster slow = cluster();
  slow.nic.per_node = 4;  // 25 GB/s a GPU, below what transports reach
  CHECK(alone_us(CalibratedCost(h800(), slow), transfer_work(Pattern::kSend, 2, bytes, bytes, 0)) ==
        Approx(3.7 + bytes / 25e9 * 1e6));
}

// What NCCL would choose (sim/nccl_model.hpp) on rings of 160 GB/s inside a node, of 8 x 40 GB/s or
// 160 x 8/7, whichever is less, where eight GPUs a node take part, and of 40 where one does.
TEST_CASE("a collective takes NCCL's latency and moves at the pace of its ring") {
  const CalibratedCost cost(h800(), cluster());
  const auto us = [&](Pattern pattern, double payload, int group, int in_node) {
    Work work = transfer_work(pattern, group, 0, 0, 0);
    work.wire = collective_wire(pattern, Bytes{payload}, group, in_node);
    return alone_us(cost, work);
  };
  CHECK(us(Pattern::kAllGather, 1e9, 8, 8) == Approx(8.4 + 7 * 3.4 + 1e9 * 7 / 8 / 160e3));
  CHECK(us(Pattern::kReduceScatter, 1e9, 64, 8) ==
        Approx(8.4 + 56 * 3.4 + 7 * 14 + 1e9 * 63 / 64 / (160e3 * 8 / 7)));
  CHECK(us(Pattern::kReduceScatter, 1e9, 8, 1) == Approx(8.4 + 7 * 14 + 1e9 * 7 / 8 / 40e3));
  CHECK(us(Pattern::kReduceScatter, 1e9, 8, 4) ==
        Approx(8.4 + 6 * 3.4 + 14 + 1e9 * 7 / 8 / (40e3 * 4)));
  // LL: half the ring, 20.4 GB/s among many nodes.
  CHECK(us(Pattern::kAllGather, 1000, 8, 8) == Approx(6.6 + 7 * 0.6 + 1000.0 * 7 / 8 / 80e3));
  // The switch sums: 215 GB/s of bus, with 9/8 of the vector through each port instead of 14/8.
  CHECK(us(Pattern::kAllReduce, 1e9, 8, 8) == Approx(25 + 1e9 * 2 * 7 / 8 / 215e3));
  Work summed = transfer_work(Pattern::kAllReduce, 8, 0, 0, 0);
  summed.wire = collective_wire(Pattern::kAllReduce, Bytes{1e9}, 8, 8);
  const TransferCost in_switch = cost.transfer(summed, false, 0);
  CHECK((summed.wire.nvlink * in_switch.nvlink_share).value() == Approx(1e9 * 9 / 8));
  CHECK(in_switch.nvlink_limit.value() == Approx(215e9 * 9 / 14));
  // Not for two GPUs, nor over PCIe; slower links, less of it.
  CHECK(cost.collective_choice(collective_wire(Pattern::kAllReduce, Bytes{1e9}, 2, 2)).algorithm ==
        NcclAlgorithm::kRing);
  Cluster pcie = cluster();
  pcie.nvlink.pcie = true;
  CHECK(CalibratedCost(h800(), pcie).collective_choice(summed.wire).algorithm ==
        NcclAlgorithm::kRing);
  Cluster half = cluster();
  half.nvlink.bandwidth = gigabytes_per_second(80);
  CHECK(CalibratedCost(h800(), half).collective_choice(summed.wire).rate.value() ==
        Approx(215e9 / 2 * 8 / 14));
  Calibration without = h800();
  without.transport_nvls.reset();
  Work work = transfer_work(Pattern::kAllReduce, 8, 0, 0, 0);
  work.wire = collective_wire(Pattern::kAllReduce, Bytes{1e9}, 8, 8);
  CHECK(alone_us(CalibratedCost(without, cluster()), work) ==
        Approx(8.4 + 14 * 3.4 + 1e9 * 2 * 7 / 8 / 160e3));
  CHECK(us(Pattern::kAllReduce, 0, 8, 8) == Approx(6.6 + 14 * 0.6));
}

TEST_CASE("an exchange with fewer SMs than were measured is slower in proportion") {
  const CalibratedCost cost(h800(), cluster());
  const Work work = v3_exchange(Pattern::kCombine);
  const auto us = [&](int sms) {
    return in_microseconds(uncontended(work.wire, cost.transfer(work, true, sms)));
  };
  CHECK(us(10) == Approx(2 * us(20)));
  CHECK(us(24) == Approx(us(20)));
  CHECK(us(0) == Approx(us(20)));  // no SM needed: the network card's own work
}

// ------------------------------------------------------------------------------------------------
// Computation

TEST_CASE("work takes the time of its ops and a gap for each launch") {
  const CalibratedCost cost(h800(), cluster());
  Work work;
  Op scale;
  scale.kernel = KernelClass::kElementwise;
  scale.bytes = Bytes{117440512};
  scale.launches = 3;
  work.ops = {scale, scale};
  const ComputeCost each = cost.compute(work, 20);
  CHECK(in_microseconds(each.busy) == Approx(2 * 41));
  CHECK(in_microseconds(each.gaps) == Approx(6 * 2));
  CHECK(each.total() == each.busy + each.gaps);
  CHECK(cost.compute(Work{}, 0).total().value() == 0);
}

TEST_CASE("lending SMs slows GEMMs by their waves and leaves streaming kernels alone") {
  const CalibratedCost cost(h800(), cluster());
  Op gemm;
  gemm.kernel = KernelClass::kGemm;
  gemm.in = DataType::kFp8;
  gemm.m = 4096;
  gemm.n = 24576;
  gemm.k = 1536;
  const double ratio = cost.op_time(gemm, 112) / cost.op_time(gemm, 132);
  CHECK(ratio == Approx(55.0 / 47));  // waves of 6144 tiles
  Work work;
  work.ops = {gemm};
  CHECK(cost.compute(work, 20).busy == cost.op_time(gemm, 112));
}

TEST_CASE("an op that its GEMM family never saw in training is timed by the law") {
  Calibration calibration = h800();
  calibration.gemm_rows.clear();
  Op gemm;
  gemm.kernel = KernelClass::kGemm;
  gemm.in = DataType::kFp8;
  gemm.m = 4096;
  gemm.n = 24576;
  gemm.k = 1536;
  const CalibratedCost law(h800(), cluster(), GemmEvidence::kStandalone);
  CHECK(CalibratedCost(calibration, cluster()).op_time(gemm, 112) == law.op_time(gemm, 112));
}

// ------------------------------------------------------------------------------------------------
// What the calibration does not have

TEST_CASE("a missing table is named together with the calibration") {
  const Calibration small = read_calibration_text(kSmallCalibration);
  const CalibratedCost cost(small, cluster());
  const auto time_of = [&](KernelClass kernel, DataType in = DataType::kBf16) {
    Op op;
    op.kernel = kernel;
    op.in = in;
    op.m = op.n = op.k = 1024;
    op.bytes = Bytes{1e6};
    op.flops = Flops{1e9};
    return cost.op_time(op, 100);
  };
  CHECK(time_of(KernelClass::kGemm, DataType::kFp8).value() > 0);
  CHECK(time_of(KernelClass::kGroupedGemm).value() > 0);  // the law
  CHECK_THROWS_WITH(time_of(KernelClass::kWgrad, DataType::kFp8),
                    Catch::Contains("'small' has no rows for kernel 'wgrad' in fp8"));
  CHECK_THROWS_WITH(
      time_of(KernelClass::kAttentionBackward),
      Catch::Contains("'small' has no attention_rows for kernel 'attention-backward'"));
  CHECK_THROWS_WITH(time_of(KernelClass::kNorm),
                    Catch::Contains("'small' has no stream_rows for kernel 'norm'"));
  CHECK_THROWS_AS(time_of(KernelClass::kNorm), InputError);
  CHECK_THROWS_WITH(cost.transfer(v3_exchange(Pattern::kCombine), false, 0),
                    Catch::Contains("'small' has no exchange 'combine'"));
  // Not measured beside computation: as alone.
  CHECK(alone_us(cost, v3_exchange(Pattern::kDispatch), true) ==
        alone_us(cost, v3_exchange(Pattern::kDispatch), false));
}

TEST_CASE("lending all SMs is refused") {
  const CalibratedCost cost(h800(), cluster());
  Work work;
  work.ops.resize(1);
  CHECK_THROWS_AS(cost.compute(work, 132), InputError);
  CHECK_THROWS_WITH(cost.compute(work, 140),
                    Catch::Contains("comm_sms=140") && Catch::Contains("132"));
}

// Assumed in the file: two reserves of memory, BF16 GEMMs; and three kernels, each counted only
// where a program runs it. What is used outside of what was measured counts too: here attention of
// another head width and exchanges among 4 GPUs, where 8 and more were measured.
TEST_CASE("the assumed figures behind a program are listed once each") {
  const CalibratedCost cost(h800(), cluster());
  const auto names = [&](const Program& program) {
    std::vector<std::string> all;
    for (const AssumedFigure& figure : cost.assumed(program)) {
      CHECK_FALSE(figure.reason.empty());
      all.push_back(figure.name);
    }
    return all;
  };
  const std::vector<std::string> always = {"h800: device.exchange_buffers", "h800: device.reserve",
                                           "h800: gemm.bf16_k_scale"};
  CHECK(names(Program{}) == always);
  const Plan plan = plan_of({small_mla_moe(), "1f1b", 2, sizes(2, 4, 4)});
  CHECK(names(lower(plan)) ==
        std::vector<std::string>{
            "h800: attention-backward", "h800: attention-forward", "h800: cross-entropy",
            "h800: device.exchange_buffers", "h800: device.reserve", "h800: embedding",
            "h800: exchange combine", "h800: exchange combine-gradient beside compute",
            "h800: exchange combine-gradient beside compute in a node", "h800: exchange dispatch",
            "h800: exchange dispatch-cached beside compute",
            "h800: exchange dispatch-cached beside compute in a node", "h800: gemm.bf16_k_scale",
            "h800: optimizer"});
}

TEST_CASE("every op of every model, precision and layout has a positive time") {
  const CalibratedCost cost(h800(), cluster());
  for (const PlanShape& shape : plan_shapes()) {
    for (const Precision precision : {Precision::kFp8, Precision::kBf16, Precision::kFp8Tensor}) {
      PlanShape each = shape;
      each.layout.precision = precision;
      for (const Work& work : lower(plan_of(each)).works) {
        CAPTURE(each.model.name, describe(each.layout), to_string(precision), work.name);
        for (const Op& op : work.ops) {
          CAPTURE(op.name, op.m, op.n, op.k);
          const double seconds = cost.op_time(op, 132).value();
          CHECK((std::isfinite(seconds) && seconds > 0));
        }
        if (work.is_compute()) continue;
        const double us = alone_us(cost, work);
        CHECK((std::isfinite(us) && us > 0));
      }
    }
  }
}

// 55 GB/s between a GPU and its host; 614 GB/s of host memory for the eight GPUs of a node.
TEST_CASE("what the CPUs of a node do takes the time of PCIe and of their memory") {
  Cluster cluster = read_cluster("topologies/h800-2048.toml");
  const Calibration calibration = read_calibration("calibration/h800.toml");
  Work work;
  Op op;
  op.kernel = KernelClass::kHostCopy;
  op.bytes = Bytes{5.5e9};
  op.launches = 0;
  work.ops = {op};
  CHECK(CalibratedCost(calibration, cluster).compute(work, 0).total().value() == Approx(0.1));
  work.ops[0].kernel = KernelClass::kHostUpdate;
  work.ops[0].bytes = Bytes{614e9 / 8};
  CHECK(CalibratedCost(calibration, cluster).compute(work, 0).total().value() == Approx(1));
  cluster.host.reset();
  CHECK_THROWS_AS(CalibratedCost(calibration, cluster).compute(work, 0), InputError);
}

}  // namespace
}  // namespace orrery
