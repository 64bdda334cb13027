// The threads of a block as fibers.
#include <boost/context/fiber.hpp>
#include <boost/context/pooled_fixedsize_stack.hpp>
#include <cstdlib>
#include <cstring>
#include <map>
#include <set>
#include <vector>

#include "tests/cuda_emulation/emulation.hpp"
#include "tests/cuda_emulation/stream.hpp"

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

namespace cuda_emulation {
namespace {

using boost::context::fiber;

constexpr int kWarp = 32;
constexpr std::size_t kStack = std::size_t{64} << 10;

// Lanes of a warp that meet: each leaves a value and goes on when all of them have. A lane is at
// most one meeting ahead, so that two sets of values are enough.
struct Meeting {
  unsigned arrived = 0;
  unsigned generation = 0;
  std::uint64_t values[2][kWarp] = {};
};

struct Thread {
  fiber run;
  uint3 index{};
};

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "emulated block (%u, %u), thread %u: %s\n", blockIdx.x, blockIdx.y,
               threadIdx.x, what);
  std::abort();
}

class Block {
 public:
  Block(int threads, bool backwards, const std::function<void()>& body)
      : body_(body), threads_(threads), backwards_(backwards) {
    const int warps = (threads + kWarp - 1) / kWarp;
    meetings_.resize(static_cast<std::size_t>(warps));
    left_.resize(static_cast<std::size_t>(warps), 0);
  }

  void run() {
    static boost::context::pooled_fixedsize_stack stacks(kStack);  // launches take turns
    for (int number = 0; number < threads_; ++number) {
      all_.push_back({fiber(std::allocator_arg, stacks,
                            [this](fiber&& scheduler) {
                              scheduler_ = std::move(scheduler);
                              body_();
                              leave();
                              return std::move(scheduler_);
                            }),
                      index_of(number)});
    }
    while (ended_ < threads_) {
      moved_ = false;
      for (int turn = 0; turn < threads_; ++turn) {
        current_ = backwards_ ? threads_ - 1 - turn : turn;
        Thread& thread = all_[static_cast<std::size_t>(current_)];
        if (!thread.run) continue;
        threadIdx = thread.index;
        thread.run = std::move(thread.run).resume();
      }
      if (!moved_) stop("waits for threads that never come");
    }
  }

  void wait_for_block() {
    const unsigned generation = barriers_;
    if (++waiting_ == threads_ - ended_) open();
    while (barriers_ == generation) yield();
  }

  // The values of a meeting, one a lane.
  const std::uint64_t* meet(Exchange kind, unsigned mask, std::uint64_t value) {
    const int warp = current_ / kWarp, own = current_ % kWarp;
    if ((mask >> own & 1) == 0) stop("is no lane of the mask that it names");
    if ((mask & left_[static_cast<std::size_t>(warp)]) != 0)
      stop("exchanges with a lane that has left its kernel");
    if ((mask & ~lanes_of(warp)) != 0) stop("exchanges with a lane that the block does not have");
    Meeting& meeting = meetings_[static_cast<std::size_t>(warp)][{kind, mask}];
    const unsigned generation = meeting.generation;
    meeting.values[generation % 2][own] = value;
    meeting.arrived |= 1u << own;
    if (meeting.arrived == mask) {
      meeting.arrived = 0;
      ++meeting.generation;
      moved_ = true;
    }
    while (meeting.generation == generation) yield();
    return meeting.values[generation % 2];
  }

  // Filled by the first thread that comes to its declaration.
  void shared(void* memory, std::size_t bytes) {
    if (shared_.insert(memory).second) std::memset(memory, 0xff, bytes);
  }

  int lane() const { return current_ % kWarp; }

 private:
  static uint3 index_of(int number) {
    const auto at = static_cast<unsigned>(number);
    return {at % blockDim.x, at / blockDim.x % blockDim.y, at / blockDim.x / blockDim.y};
  }
  unsigned lanes_of(int warp) const {
    const int lanes = std::min(kWarp, threads_ - warp * kWarp);
    return lanes == kWarp ? 0xffffffffu : (1u << lanes) - 1;
  }
  void open() {
    waiting_ = 0;
    ++barriers_;
    moved_ = true;
  }
  void leave() {
    left_[static_cast<std::size_t>(current_ / kWarp)] |= 1u << current_ % kWarp;
    ++ended_;
    moved_ = true;
    // Threads that have left are not waited for.
    if (waiting_ > 0 && waiting_ == threads_ - ended_) open();
  }
  void yield() { scheduler_ = std::move(scheduler_).resume(); }

  const std::function<void()>& body_;
  int threads_ = 0, current_ = 0, ended_ = 0, waiting_ = 0;
  unsigned barriers_ = 0;
  bool backwards_ = false;
  bool moved_ = false;  // in this round of all threads
  std::vector<Thread> all_;
  std::vector<std::map<std::pair<Exchange, unsigned>, Meeting>> meetings_;  // by warp
  std::set<void*> shared_;
  std::vector<unsigned> left_;  // lanes, by warp
  fiber scheduler_;
};

Block* now = nullptr;

constexpr unsigned kMostThreads = 1024, kMostHigh = 65535;
constexpr std::size_t kMostShared = std::size_t{227} << 10;

bool refused(const Grid& grid, unsigned most_threads) {
  const auto threads =
      std::uint64_t{grid.threads.x} * std::uint64_t{grid.threads.y} * std::uint64_t{grid.threads.z};
  return threads == 0 || threads > std::min(kMostThreads, most_threads) || grid.blocks.x == 0 ||
         grid.blocks.y == 0 || grid.blocks.z == 0 || grid.blocks.x > 0x7fffffffu ||
         grid.blocks.y > kMostHigh || grid.blocks.z > kMostHigh || grid.shared > kMostShared;
}

}  // namespace

void launch(const Grid& grid, unsigned most_threads, const std::function<void()>& thread) {
  static unsigned blocks = 0;  // of all launches
  if (refused(grid, most_threads)) return set_last_error(cudaErrorInvalidConfiguration);
  const StreamTurn turn(grid.stream);
  blockDim = grid.threads;
  gridDim = grid.blocks;
  const auto threads = static_cast<int>(blockDim.x * blockDim.y * blockDim.z);
  for (unsigned z = 0; z < gridDim.z; ++z) {
    for (unsigned y = 0; y < gridDim.y; ++y) {
      for (unsigned x = 0; x < gridDim.x; ++x) {
        blockIdx = {x, y, z};
        begin_block();
        Block block(threads, ++blocks % 2 == 0, thread);
        now = &block;
        block.run();
        now = nullptr;
      }
    }
  }
}

void wait_for_block() {
  now->wait_for_block();
}

std::uint64_t exchange(unsigned mask, std::uint64_t value, int from) {
  if ((mask >> from & 1) == 0) stop("reads a lane that its mask does not name");
  return now->meet(Exchange::kValue, mask, value)[from];
}

unsigned vote(unsigned mask, bool value, Exchange kind) {
  const std::uint64_t* values = now->meet(kind, mask, value);
  unsigned votes = 0;
  for (int each = 0; each < kWarp; ++each) {
    if ((mask >> each & 1) != 0 && values[each] != 0) votes |= 1u << each;
  }
  return votes;
}

void shared(void* memory, std::size_t bytes) {
  now->shared(memory, bytes);
}

int lane() {
  return now->lane();
}

}  // namespace cuda_emulation
