#pragma once
// The transport between ranks that are threads of one process. The receiver copies, in move(); the
// copy is the only one, straight from the sender's buffer.
//
//   ThreadWorld world(4);
//   std::jthread rank_2([&] { work(world.endpoint(2)); });
//
// One lock for the whole world guards the bookkeeping, never a copy.
#include <memory>

#include "realrun/transport.hpp"

namespace orrery {

class ThreadWorld {
 public:
  explicit ThreadWorld(int ranks);
  // All threads that use an endpoint must have ended.
  ~ThreadWorld();
  ThreadWorld(const ThreadWorld&) = delete;
  ThreadWorld& operator=(const ThreadWorld&) = delete;

  Transport& endpoint(int rank);

 private:
  struct State;
  class Endpoint;
  std::unique_ptr<State> state_;
};

}  // namespace orrery
