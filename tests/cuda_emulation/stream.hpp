#pragma once
// Streams of the emulation: work is done when it is handed out, each stream has a clock.
#include <cuda_runtime.h>

#include <cstdint>
#include <mutex>

namespace cuda_emulation {

void set_last_error(cudaError_t error);

// A launch: one at a time, on the stream's clock. Its blocks begin together; the stream goes on
// when the last of them has ended.
class StreamTurn {
 public:
  explicit StreamTurn(cudaStream_t stream);
  ~StreamTurn();
  StreamTurn(const StreamTurn&) = delete;
  StreamTurn& operator=(const StreamTurn&) = delete;

 private:
  std::lock_guard<std::recursive_mutex> taken_;
  std::uint64_t& clock_;
};

void begin_block();

}  // namespace cuda_emulation
