#pragma once
// A NCCL communicator of some ranks of the run, with a CUDA stream of its own.
//
// Its calls are carried out in order, and all members must make the same ones in the same order:
// NCCL does not check that, it hangs or overwrites memory. Who uses it sees to it
// (realrun/channel_transport.hpp: both sides of a message, or all members of a group, have agreed
// on size and label before anyone calls NCCL).
//
// No call blocks for longer than the patience given: the communicator is a non-blocking one of
// NCCL, which is polled. Errors of NCCL and CUDA are EnvironmentErrors that name the call, the
// code, its text, and the ranks.
#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "realrun/group_call.hpp"
#include "realrun/nccl_device.hpp"

namespace orrery {

class NcclCommunicator {
 public:
  // Returns when all members have come. `ranks` in the members' order, `place` this one's.
  NcclCommunicator(NcclDevice& device, const NcclId& id, std::vector<int> ranks, int place,
                   std::chrono::milliseconds patience);
  // Waits for the other members to end too, at most for the patience.
  ~NcclCommunicator();
  NcclCommunicator(const NcclCommunicator&) = delete;
  NcclCommunicator& operator=(const NcclCommunicator&) = delete;

  // A call under way, with its memory on the device.
  class Flight {
   public:
    explicit Flight(NcclCommunicator& communicator) : communicator_(communicator) {}
    ~Flight();
    Flight(const Flight&) = delete;
    Flight& operator=(const Flight&) = delete;
    // Whether it is over; then what it received is in host memory. Throws what NCCL reports.
    bool landed();

   private:
    friend NcclCommunicator;
    struct Arrival {
      std::span<std::byte> to;
      const std::byte* from = nullptr;
    };
    NcclCommunicator& communicator_;
    void* event_ = nullptr;
    std::vector<NcclDevice::Block> blocks_;
    std::vector<Arrival> arrivals_;
  };

  // `peer`: a place. Spans are host memory and stay until the flight has landed.
  std::unique_ptr<Flight> send(int peer, std::span<const std::byte> data);
  std::unique_ptr<Flight> receive(int peer, std::span<std::byte> room);
  std::unique_ptr<Flight> start(const GroupCall& call);
  // A message, or one of each call of a group, of as little as possible: NCCL connects two ranks
  // when they first exchange something, and the members' calls then wait for each other; done at a
  // time when all members do the same.
  void connect_pair();
  void connect_group();
  // Ends what is under way; nothing but the destructor may be called after it.
  void abort();

 private:
  std::byte* uploaded(Flight& flight, std::span<const std::byte> data);
  std::byte* room_for(Flight& flight, std::span<std::byte> room);
  void start_all_to_all(Flight& flight, const GroupCall& call);
  std::unique_ptr<Flight> took_off(std::unique_ptr<Flight> flight);
  void land(std::unique_ptr<Flight> flight);
  void check(int code, const char* call);
  void check_state();

  NcclDevice& device_;
  const std::vector<int> ranks_;
  const int place_;
  const std::chrono::milliseconds patience_;
  void* communicator_ = nullptr;
  void* stream_ = nullptr;
};

}  // namespace orrery
