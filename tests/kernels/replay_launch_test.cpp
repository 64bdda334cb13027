#include "kernels/replay_launch.hpp"

#include <catch2/catch.hpp>

#include "workload/op_factory.hpp"

namespace orrery {
namespace {

void check_product(const ReplayLaunch& launch, std::int64_t m, std::int64_t n, std::int64_t k,
                   int groups) {
  CHECK(launch.kind == LaunchKind::kProduct);
  CHECK(launch.m == m);
  CHECK(launch.n == n);
  CHECK(launch.k == k);
  CHECK(launch.groups == groups);
}

// Shapes of one DeepSeek-V3 layer of 4096 tokens, as kernels/cuda/bench_case.cuh has them.
TEST_CASE("products are those of the benchmarks") {
  const ReplayLaunch q_up = replay_launch(gemm("q_up", Precision::kFp8, 4096, 24576, 1536));
  check_product(q_up, 4096, 24576, 1536, 1);
  CHECK(q_up.fp8);
  CHECK_FALSE(q_up.weight_gradient);
  CHECK(q_up.stand_in.empty());
  // 32768 rows in all, 8192 of each of four experts.
  check_product(replay_launch(grouped_gemm("fc1", Precision::kFp8, 4, 32768, 4096, 7168)), 8192,
                4096, 7168, 4);
  const ReplayLaunch weight =
      replay_launch(grouped_wgrad("fc1 W", Precision::kFp8, 4, 4096, 7168, 8192));
  check_product(weight, 4096, 7168, 8192, 4);
  CHECK(weight.weight_gradient);
  const ReplayLaunch gate = replay_launch(gemm("gate", Precision::kBf16, 4096, 256, 7168));
  check_product(gate, 4096, 256, 7168, 1);
  CHECK_FALSE(gate.fp8);
}

TEST_CASE("shapes that FP8 has no kernel for are padded, and say so") {
  // kv_down has 512 + 64 outputs.
  const ReplayLaunch forward = replay_launch(gemm("kv_down", Precision::kFp8, 4096, 576, 7168));
  check_product(forward, 4096, 640, 7168, 1);
  CHECK_FALSE(forward.stand_in.empty());
  check_product(replay_launch(gemm("kv_down I", Precision::kFp8, 4096, 7168, 576)), 4096, 7168, 640,
                1);
  // A result of 576 columns and an inner dimension of whole tiles need no padding.
  const ReplayLaunch weight = replay_launch(wgrad("kv_down W", Precision::kFp8, 576, 7168, 4096));
  check_product(weight, 576, 7168, 4096, 1);
  CHECK(weight.stand_in.empty());
  // Rows of experts that are unevenly loaded: 1001 of each of two.
  check_product(replay_launch(grouped_gemm("fc1", Precision::kFp8, 2, 2002, 256, 128)), 1008, 256,
                128, 2);
  check_product(replay_launch(gemm("kv_down", Precision::kBf16, 4096, 576, 7168)), 4096, 576, 7168,
                1);
}

// 2 h T S (d_qk + d_v) / 2 forward, 2 h T S (3 d_qk + 2 d_v) / 2 backward: the value's size
// follows.
TEST_CASE("attention has its dimensions from its FLOPs") {
  Op op;
  op.name = "attention";
  op.m = 8192;  // two sequences
  op.n = 4096;
  op.k = 192;
  op.groups = 128;
  op.kernel = KernelClass::kAttentionForward;
  op.flops = Flops{op.m * op.n * op.groups * (192 + 128)};
  const ReplayLaunch forward = replay_launch(op);
  CHECK(forward.kind == LaunchKind::kAttentionForward);
  CHECK(forward.qk_dim == 192);
  CHECK(forward.v_dim == 128);
  op.kernel = KernelClass::kAttentionBackward;
  op.flops = Flops{op.m * op.n * op.groups * (3 * 192 + 2 * 128)};
  const ReplayLaunch backward = replay_launch(op);
  CHECK(backward.kind == LaunchKind::kAttentionBackward);
  CHECK(backward.v_dim == 128);
  op.m = 2048;  // half a sequence
  CHECK_THROWS_WITH(replay_launch(op), Catch::Contains("context parallelism"));
}

// 32768 rows of 7168 codes and 56 scales each, from 30000 tokens, in BF16 of as many bytes.
TEST_CASE("rows of experts move as many bytes as the op counts") {
  const double row = 7168 + 56 * 4;
  const ReplayLaunch expand =
      replay_launch(streaming("expand", KernelClass::kExpand, DataType::kFp8, DataType::kFp8, 32768,
                              7168, Bytes{(30000 + 32768) * row}));
  CHECK(expand.kind == LaunchKind::kExpandRows);
  CHECK(expand.m == 32768);
  CHECK(expand.n == 3696);
  CHECK(expand.k == 30000);
  const ReplayLaunch reduce =
      replay_launch(streaming("reduce", KernelClass::kReduce, DataType::kBf16, DataType::kBf16,
                              32768, 7168, Bytes{(30000 + 32768) * 7168.0 * 2}));
  CHECK(reduce.kind == LaunchKind::kReduceRows);
  CHECK(reduce.n == 7168);
  CHECK(reduce.k == 30000);
}

TEST_CASE("what has no kernel of its own is a copy of as many bytes, and says so") {
  const Op back = cast_back("cast back", 4096, 4096);
  const ReplayLaunch launch = replay_launch(back);
  CHECK(launch.kind == LaunchKind::kCopy);
  CHECK(2 * launch.bytes == Approx(back.bytes.value()));
  CHECK(launch.bytes % 16 == 0);
  CHECK(launch.stand_in == "a copy of as many bytes");
  // A copy is no stand-in of itself.
  CHECK(replay_launch(copy("copy", 4096, 512)).stand_in.empty());
  const ReplayLaunch small_ones = replay_launch(small("small", 5));
  CHECK(small_ones.times == 5);
  CHECK(small_ones.bytes == 16);
}

TEST_CASE("what another kernel does along is nothing of its own") {
  CHECK(replay_launch(by_rows("norm weight gradient", KernelClass::kNormFinalize, 1)).kind ==
        LaunchKind::kNothing);
  CHECK(replay_launch(by_rows("top-k", KernelClass::kRouterTopk, 4096)).kind ==
        LaunchKind::kNothing);
  CHECK(replay_launch(by_rows("scores", KernelClass::kRouterSmall, 4096, 34)).kind ==
        LaunchKind::kRouter);
}

TEST_CASE("an update of parameters is AdamW, a look at gradients is not") {
  const auto op = [](double bytes) {
    return streaming("optimizer", KernelClass::kOptimizer, DataType::kFp32, DataType::kBf16, 1001,
                     1, Bytes{1001 * bytes});
  };
  const ReplayLaunch update = replay_launch(op(22));
  CHECK(update.kind == LaunchKind::kAdamw);
  CHECK(update.m == 1008);
  CHECK(replay_launch(op(4)).kind == LaunchKind::kCopy);
}

}  // namespace
}  // namespace orrery
