#pragma once
// The wires of one communicator: a Unix socket from every member to every other one, in the
// abstract name space, so that nothing is left behind. Data flows from the opener of a link to its
// other end; the other way go verdicts: whether the two calls that met agree.
#include <atomic>
#include <cstddef>
#include <string>
#include <vector>

#include "tests/nccl_shim/call.hpp"

namespace orrery_shim {

// What one call gives to, or takes from, one other member.
struct Give {
  int peer = 0;
  Call call;
  const std::byte* data = nullptr;
  std::size_t bytes = 0;
};
struct Take {
  int peer = 0;
  Call call;
  std::byte* room = nullptr;
  std::size_t bytes = 0;
};

class Links {
 public:
  // Returns once all members are connected; throws std::runtime_error where they do not come within
  // `patience_s` seconds, disagree on how many they are, or once `given_up` is set.
  Links(const std::string& name, int ranks, int rank, double patience_s,
        const std::atomic<bool>& given_up);
  ~Links();
  Links(const Links&) = delete;
  Links& operator=(const Links&) = delete;

  // Carries out all of it at once; what has the same peer goes in order. Throws std::runtime_error
  // with both calls where two that meet disagree, on both sides; also where a member is gone or
  // nothing has moved for `patience_s`.
  void exchange(const std::vector<Give>& gives, const std::vector<Take>& takes);
  // Ends an exchange that is under way, here and at the others; any thread.
  void cut();

 private:
  void close_all();

  const int rank_;
  const double patience_s_;
  std::atomic<bool> cut_{false};
  std::vector<int> to_, from_;  // sockets by peer, -1 for the own place
};

}  // namespace orrery_shim
