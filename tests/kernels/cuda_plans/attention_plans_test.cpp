// Plans of cuDNN for GPUs that are not there, as far as they get: which engines it proposes for the
// graphs of kernels/cuda/attention.cpp. A graph that is wrong gets none.
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>

#include "kernels/cuda/attention.hpp"

namespace orrery::cuda {
namespace {

// In the keys of cuDNN 9's device properties; figures of NVIDIA's data sheets and of the CUDA
// programming guide's table of compute capabilities.
std::string device(const char* name, int version, int sms, int shared_kib, const char* more) {
  const std::string shared = std::to_string(shared_kib << 10);
  return std::string(R"({"deviceName":")") + name + R"(","deviceVer":)" + std::to_string(version) +
         R"(,"multiProcessorCount":)" + std::to_string(sms) +
         R"(,"maxSharedMemoryPerBlockOptin":)" + shared + "," + more +
         R"("maxGridSize":[2147483647,65535,65535],"maxBlockSize":[1024,1024,64],"warpSize":32,
"regsPerBlock":65536,"maxSharedMemoryPerBlock":49152,"reservedSharedMemoryPerBlock":1024,
"maxRegistersPerSM":65536,"maxCtasPerSM":32,"maxThreadsPerBlock":1024,"maxThreadsPerSM":2048,
"isTccDriver":0,"supportCoopLaunch":1,"driverVer":13000,"cudaDeviceId":0})";
}

std::string h200() {
  return device("NVIDIA H200", 900, 132, 227,
                R"("smClockRateKHz":1980000,"memClockRateKHz":3201000,"l2CacheSize":62914560,
"totalGlobalMem":150754820096,"pciDeviceId":9013,)");
}
std::string a100() {
  return device("NVIDIA A100-SXM4-80GB", 800, 108, 163,
                R"("smClockRateKHz":1410000,"memClockRateKHz":1593000,"l2CacheSize":41943040,
"totalGlobalMem":85899345920,"pciDeviceId":8370,)");
}

TEST_CASE("for Hopper cuDNN has engines for attention with DeepSeek-V3's heads, of any length") {
  const std::int64_t length = GENERATE(1, 127, 4096);
  const bool backward = GENERATE(false, true);
  const ProposedEngines found = attention_engines({1, length, 128, 192, 128}, backward, h200());
  CAPTURE(length, backward, found.count, found.plans, found.stopped);
  CHECK(found.count > 0);
  if (length == 4096)
    WARN((backward ? "backward: " : "forward: ")
         << found.count << " engines, " << found.plans << " plans finished; " << found.stopped);
}

// Heads of 192 are more than its backward takes (kernels/README.md).
TEST_CASE("for Ampere it has engines for the forward alone, for heads of 128 for both") {
  CHECK(attention_engines({1, 4096, 128, 192, 128}, false, a100()).count > 0);
  CHECK(attention_engines({1, 4096, 128, 128, 128}, true, a100()).count > 0);
  std::int64_t wide = 0;
  try {
    wide = attention_engines({1, 4096, 128, 192, 128}, true, a100()).count;
  } catch (const std::exception&) {
  }
  CHECK(wide == 0);
}

}  // namespace
}  // namespace orrery::cuda
