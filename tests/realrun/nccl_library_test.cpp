// The loader and the shim library, by NCCL's calls alone. Ranks are threads: the shim lets several
// ranks live in one process.
#include "realrun/nccl_library.hpp"

#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include "core/error.hpp"
#include "tests/realrun/thread_ranks.hpp"

namespace orrery {
namespace {

using Catch::Matchers::Contains;

// Memory of the library's device with a copy of `values` in it.
class DeviceFloats {
 public:
  DeviceFloats(const CudaApi& cuda, void* stream, std::vector<float> values)
      : cuda_(cuda), stream_(stream), count_(values.size()) {
    cuda.check(cuda.malloc(&memory_, bytes()), "cudaMalloc");
    cuda.check(cuda.memcpy_async(memory_, values.data(), bytes(), kCudaHostToDevice, stream),
               "cudaMemcpyAsync");
    cuda.check(cuda.stream_synchronize(stream), "cudaStreamSynchronize");
  }
  ~DeviceFloats() { cuda_.free(memory_); }
  DeviceFloats(const DeviceFloats&) = delete;
  DeviceFloats& operator=(const DeviceFloats&) = delete;
  void* get() const { return memory_; }
  std::vector<float> read() const {
    std::vector<float> values(count_);
    cuda_.check(cuda_.memcpy_async(values.data(), memory_, bytes(), kCudaDeviceToHost, stream_),
                "cudaMemcpyAsync");
    cuda_.check(cuda_.stream_synchronize(stream_), "cudaStreamSynchronize");
    return values;
  }

 private:
  std::size_t bytes() const { return count_ * sizeof(float); }
  const CudaApi& cuda_;
  void* stream_;
  std::size_t count_;
  void* memory_ = nullptr;
};

// One rank of a communicator of the shim.
class Member {
 public:
  Member(const NcclLibrary& library, const NcclId& id, int ranks, int rank_of_member)
      : nccl(library.nccl), cuda(library.cuda), rank(rank_of_member) {
    cuda.check(cuda.stream_create(&stream, kCudaStreamNonBlocking), "cudaStreamCreate");
    NcclConfig config;
    const int code = nccl.comm_init_rank_config(&communicator, ranks, id, rank, &config);
    if (code != kNcclSuccess && code != kNcclInProgress) throw std::runtime_error("init");
    expect_state(kNcclSuccess);
  }
  ~Member() {
    nccl.comm_destroy(communicator);
    cuda.stream_destroy(stream);
  }
  // Waits for the calls so far; throws the communicator's error.
  void settle() { cuda.stream_synchronize(stream), expect_state(kNcclSuccess); }
  void expect_state(int wanted) {
    int state = kNcclInProgress;
    while (state == kNcclInProgress) {
      nccl.comm_get_async_error(communicator, &state);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (state != wanted) throw std::runtime_error(nccl.get_last_error(communicator));
  }

  const NcclApi& nccl;
  const CudaApi& cuda;
  int rank;
  void* communicator = nullptr;
  void* stream = nullptr;
};

std::vector<std::string> run_members(int ranks, const std::function<void(Member&)>& body) {
  const NcclLibrary library = open_nccl(ORRERY_NCCL_SHIM);
  NcclId id;
  library.nccl.get_unique_id(&id);
  return run_threads(ranks, [&](int rank) {
    Member member(library, id, ranks, rank);
    body(member);
  });
}

void expect(bool condition, const char* what) {
  if (!condition) throw std::runtime_error(what);
}

}  // namespace

TEST_CASE("the NCCL library named is loaded, with its version and its GPUs") {
  const NcclLibrary library = open_nccl(ORRERY_NCCL_SHIM);
  CHECK(nccl_version_text(library.version) == "2.28.9");
  CHECK(library.devices == 8);
}

TEST_CASE("a NCCL library that is not there is named") {
  CHECK_THROWS_WITH(open_nccl("no/libnccl.so"), Contains("no/libnccl.so"));
}

TEST_CASE("where NCCL is but no GPU, that is what the message says") {
  setenv("ORRERY_NCCL_SHIM_GPUS", "0", 1);
  CHECK_THROWS_WITH(open_nccl(ORRERY_NCCL_SHIM),
                    Contains("there is no GPU") && Contains("no CUDA-capable device"));
  unsetenv("ORRERY_NCCL_SHIM_GPUS");
}

TEST_CASE("the shim's collectives sum in the order of ranks and put blocks in their places") {
  const auto thrown = run_members(3, [](Member& member) {
    const auto own = static_cast<float>(member.rank);
    DeviceFloats in(member.cuda, member.stream, {own, own + 10, own + 20});
    DeviceFloats out(member.cuda, member.stream, std::vector<float>(3));
    DeviceFloats all(member.cuda, member.stream, std::vector<float>(9));
    DeviceFloats block(member.cuda, member.stream, std::vector<float>(1));
    const NcclApi& nccl = member.nccl;
    nccl.all_reduce(in.get(), out.get(), 3, kNcclFloat32, kNcclSum, member.communicator,
                    member.stream);
    nccl.all_gather(in.get(), all.get(), 3, kNcclFloat32, member.communicator, member.stream);
    nccl.reduce_scatter(in.get(), block.get(), 1, kNcclFloat32, kNcclSum, member.communicator,
                        member.stream);
    member.settle();
    expect(out.read() == std::vector<float>{3, 33, 63}, "all-reduce");
    expect(all.read() == std::vector<float>{0, 10, 20, 1, 11, 21, 2, 12, 22}, "all-gather");
    expect(block.read() == std::vector<float>{3 + 30 * own}, "reduce-scatter");
  });
  for (const std::string& text : thrown) CHECK(text == "");
}

TEST_CASE("grouped sends and receives of the shim exchange large messages without deadlock") {
  constexpr std::size_t kCount = 1 << 20;
  const auto thrown = run_members(3, [](Member& member) {
    DeviceFloats out(member.cuda, member.stream,
                     std::vector<float>(kCount, static_cast<float>(member.rank)));
    DeviceFloats from_left(member.cuda, member.stream, std::vector<float>(kCount));
    DeviceFloats from_right(member.cuda, member.stream, std::vector<float>(kCount));
    const int left = (member.rank + 2) % 3, right = (member.rank + 1) % 3;
    const NcclApi& nccl = member.nccl;
    nccl.group_start();
    for (int peer : {left, right})
      nccl.send(out.get(), kCount, kNcclFloat32, peer, member.communicator, member.stream);
    nccl.recv(from_left.get(), kCount, kNcclFloat32, left, member.communicator, member.stream);
    nccl.recv(from_right.get(), kCount, kNcclFloat32, right, member.communicator, member.stream);
    nccl.group_end();
    member.settle();
    expect(from_left.read() == std::vector<float>(kCount, static_cast<float>(left)), "left");
    expect(from_right.read() == std::vector<float>(kCount, static_cast<float>(right)), "right");
  });
  for (const std::string& text : thrown) CHECK(text == "");
}

TEST_CASE("calls of the shim that do not match fail on both sides and name both") {
  struct Case {
    const char* what;
    std::function<void(Member&, void*)> call;
    const char* message;
  };
  const Case cases[] = {
      {"size of a message",
       [](Member& m, void* memory) {
         if (m.rank == 0) m.nccl.send(memory, 4, kNcclFloat32, 1, m.communicator, m.stream);
         if (m.rank == 1) m.nccl.recv(memory, 8, kNcclFloat32, 0, m.communicator, m.stream);
       },
       "mismatched sizes: rank 0's call 1: ncclSend of 4 float32, but rank 1's call 1: ncclRecv of "
       "8 float32"},
      {"type",
       [](Member& m, void* memory) {
         m.nccl.all_reduce(memory, memory, 2, m.rank == 0 ? kNcclFloat32 : kNcclInt64, kNcclSum,
                           m.communicator, m.stream);
       },
       "mismatched types"},
      {"order",
       [](Member& m, void* memory) {
         for (int call = 0; call < 2; ++call) {
           if ((call == 0) == (m.rank == 0)) {
             m.nccl.all_reduce(memory, memory, 4, kNcclFloat32, kNcclSum, m.communicator, m.stream);
           } else {
             m.nccl.reduce_scatter(memory, memory, 4, kNcclFloat32, kNcclSum, m.communicator,
                                   m.stream);
           }
         }
       },
       "mismatched calls"}};
  for (const Case& wrong : cases) {
    CAPTURE(wrong.what);
    const auto thrown = run_members(2, [&](Member& member) {
      DeviceFloats memory(member.cuda, member.stream, std::vector<float>(16));
      wrong.call(member, memory.get());
      member.settle();
    });
    for (const std::string& text : thrown) CHECK_THAT(text, Contains(wrong.message));
  }
}

TEST_CASE("the shim refuses memory that is not the device's") {
  const auto thrown = run_members(1, [](Member& member) {
    float value = 1;
    const int code = member.nccl.all_reduce(&value, &value, 1, kNcclFloat32, kNcclSum,
                                            member.communicator, member.stream);
    expect(code != kNcclSuccess, "host memory was taken");
    expect(std::strstr(member.nccl.get_last_error(nullptr), "device memory") != nullptr, "text");
  });
  CHECK(thrown.front() == "");
}

}  // namespace orrery
