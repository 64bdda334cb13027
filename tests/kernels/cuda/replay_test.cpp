// The device of replays: gates count from when something ended, exchanges keep their pace, and
// every kind of op runs.
#include <catch2/catch.hpp>

#include "kernels/cuda/device.cuh"
#include "kernels/cuda/replay_device.hpp"
#include "workload/op_factory.hpp"

namespace orrery::cuda {
namespace {

using Lane = orrery::Stream;

constexpr std::int64_t kRoom = std::int64_t{1} << 22;  // of operands
constexpr Seconds kMillisecond{1e-3};
// What a gate, a launch and an event may add: far more than they do.
constexpr Seconds kLate{0.3e-3};

void between(Seconds time, Seconds least, Seconds most) {
  CHECK(time.value() >= least.value() - 2e-6);  // the clocks of events and gates are not one
  CHECK(time.value() <= most.value());
}

TEST_CASE("a stream that holds does nothing for so long", "[time]") {
  CudaReplayDevice device(ProductSms::kLeft, kRoom);
  device.prepare({}, {});
  device.begin(2);
  device.record(Lane::kCompute, 0, MarkUse::kTime);
  device.hold(Lane::kCompute, 2 * kMillisecond);
  device.record(Lane::kCompute, 1, MarkUse::kTime);
  device.synchronise();
  between(device.at(0), Seconds{}, kLate);
  between(device.at(1) - device.at(0), 2 * kMillisecond, 2 * kMillisecond + kLate);
}

TEST_CASE("a gate opens so long after what it counts from has ended, not after it was launched",
          "[time]") {
  CudaReplayDevice device(ProductSms::kLeft, kRoom);
  device.prepare({}, {});
  device.begin(4);
  device.hold(Lane::kCompute, 3 * kMillisecond);
  device.record(Lane::kCompute, 0, MarkUse::kGate);
  device.wait_until(Lane::kRecvNext, 0, 2 * kMillisecond);
  device.record(Lane::kRecvNext, 1, MarkUse::kTime);
  // One that is reached after it should have opened holds nothing up.
  device.hold(Lane::kRecvPrev, 6 * kMillisecond);
  device.record(Lane::kRecvPrev, 2, MarkUse::kTime);
  device.wait_until(Lane::kRecvPrev, 0, 1 * kMillisecond);
  device.record(Lane::kRecvPrev, 3, MarkUse::kTime);
  device.synchronise();
  between(device.at(0), 3 * kMillisecond, 3 * kMillisecond + kLate);
  between(device.at(1) - device.at(0), 2 * kMillisecond, 2 * kMillisecond + kLate);
  between(device.at(3) - device.at(2), Seconds{}, kLate);
}

TEST_CASE("an exchange of a replay lasts as long as it has to, beside computation", "[time]") {
  CudaReplayDevice device(ProductSms::kLeft, kRoom);
  const PacedCopy copy{Bytes{100e6}, 20, 4 * kMillisecond};
  const Op op = orrery::copy("copy", 1024, 4096);
  const KernelCall call{&op, 20, 0};
  device.prepare(std::span(&call, 1), std::span(&copy, 1));
  device.begin(2);
  device.record(Lane::kComm, 0, MarkUse::kTime);
  device.copy(Lane::kComm, copy);
  for (int each = 0; each < 20; ++each) device.launch(Lane::kCompute, call);
  device.record(Lane::kComm, 1, MarkUse::kTime);
  device.synchronise();
  between(device.at(1) - device.at(0), copy.lasts, copy.lasts * 1.05 + kLate);
}

TEST_CASE("every kind of op of a replay runs") {
  Op attention;
  attention.name = "attention";
  attention.kernel = KernelClass::kAttentionForward;
  attention.m = attention.n = 512;
  attention.k = 192;
  attention.groups = 4;
  attention.flops = Flops{512.0 * 512 * 4 * (192 + 128)};
  Op backward = attention;
  backward.kernel = KernelClass::kAttentionBackward;
  backward.flops = Flops{512.0 * 512 * 4 * (3 * 192 + 2 * 128)};
  std::vector<Op> ops = {gemm("product", Precision::kBf16, 256, 512, 384),
                         wgrad("weight gradient", Precision::kBf16, 512, 384, 256),
                         attention,
                         norm("norm", 256, 512),
                         norm_backward("norm backward", 256, 512),
                         cast("cast", 256, 512),
                         cast_transpose("cast and transpose", 256, 512),
                         streaming("SwiGLU", KernelClass::kSwiglu, DataType::kBf16, DataType::kBf16,
                                   256, 512, Bytes{256.0 * 512 * 6}),
                         streaming("SwiGLU to FP8", KernelClass::kSwiglu, DataType::kBf16,
                                   DataType::kFp8, 256, 512, Bytes{256.0 * 512 * 5}),
                         streaming("SwiGLU backward", KernelClass::kSwigluBackward, DataType::kBf16,
                                   DataType::kBf16, 256, 1024, Bytes{256.0 * 512 * 10}),
                         streaming("expand", KernelClass::kExpand, DataType::kBf16, DataType::kBf16,
                                   1024, 512, Bytes{(1024.0 + 300) * 1024}),
                         streaming("reduce", KernelClass::kReduce, DataType::kBf16, DataType::kBf16,
                                   1024, 512, Bytes{(1024.0 + 300) * 1024}),
                         rope("rope of heads", 256, 4 * 64),
                         rope("rope of one", 256, 64),
                         by_rows("router", KernelClass::kRouterSmall, 256),
                         streaming("cross-entropy", KernelClass::kCrossEntropy, DataType::kBf16,
                                   DataType::kBf16, 128, 1024, Bytes{128.0 * 1024 * 6}),
                         streaming("AdamW", KernelClass::kOptimizer, DataType::kFp32,
                                   DataType::kBf16, 100000, 1, Bytes{22e5}),
                         cast_back("cast back", 256, 512),
                         small("small", 3),
                         by_rows("norm weight gradient", KernelClass::kNormFinalize, 1)};
  if (multiplies_fp8()) {
    ops.push_back(backward);  // of such heads on Hopper alone
    ops.push_back(gemm("product in FP8", Precision::kFp8, 256, 576, 384));
    ops.push_back(grouped_gemm("products of experts", Precision::kFp8, 2, 500, 256, 384));
    ops.push_back(grouped_wgrad("their weight gradients", Precision::kFp8, 2, 256, 384, 250));
  }
  std::vector<KernelCall> calls;
  for (const Op& op : ops) {
    calls.push_back({&op, 0, 0});
    calls.push_back({&op, 20, 1});
  }
  CudaReplayDevice device(ProductSms::kLeft, kRoom);
  device.prepare(calls, {});
  device.begin(calls.size() + 1);
  device.record(Lane::kCompute, 0, MarkUse::kTime);
  for (std::size_t at = 0; at < calls.size(); ++at) {
    device.launch(Lane::kCompute, calls[at]);
    device.record(Lane::kCompute, at + 1, MarkUse::kTime);
  }
  device.synchronise();
  for (std::size_t at = 0; at < calls.size(); ++at) {
    CAPTURE(calls[at].op->name);
    CHECK(device.at(at + 1) >= device.at(at));
  }
}

}  // namespace
}  // namespace orrery::cuda
