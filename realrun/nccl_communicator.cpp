#include "realrun/nccl_communicator.hpp"

#include <array>
#include <thread>

#include "core/error.hpp"

namespace orrery {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::microseconds kPoll(100);

int type_code(ElementType type) {
  switch (type) {
    case ElementType::kInt64: return kNcclInt64;
    case ElementType::kFloat: return kNcclFloat32;
    case ElementType::kDouble: return kNcclFloat64;
    default: return kNcclUint8;
  }
}

std::size_t type_bytes(ElementType type) {
  switch (type) {
    case ElementType::kInt64:
    case ElementType::kDouble: return 8;
    case ElementType::kFloat: return 4;
    default: return 1;
  }
}

}  // namespace

NcclCommunicator::NcclCommunicator(NcclDevice& device, const NcclId& id, std::vector<int> ranks,
                                   int place, std::chrono::milliseconds patience)
    : device_(device), ranks_(std::move(ranks)), place_(place), patience_(patience) {
  device_.select();
  device_.cuda().check(device_.cuda().stream_create(&stream_, kCudaStreamNonBlocking),
                       "cudaStreamCreateWithFlags");
  NcclConfig config;
  try {
    check(device_.nccl().comm_init_rank_config(&communicator_, static_cast<int>(ranks_.size()), id,
                                               place_, &config),
          "ncclCommInitRankConfig");
  } catch (...) {
    abort();
    device_.cuda().stream_destroy(stream_);
    throw;
  }
}

NcclCommunicator::~NcclCommunicator() {
  if (communicator_ != nullptr) {
    try {
      device_.select();
      check(device_.nccl().comm_finalize(communicator_), "ncclCommFinalize");
      device_.nccl().comm_destroy(communicator_);
    } catch (const EnvironmentError&) {
      abort();
    }
  }
  device_.cuda().stream_destroy(stream_);
}

void NcclCommunicator::abort() {
  if (communicator_ == nullptr) return;
  device_.nccl().comm_abort(communicator_);
  communicator_ = nullptr;
}

// The one place that waits for NCCL. A call in progress is through when the communicator says so.
void NcclCommunicator::check(int code, const char* call) {
  const NcclApi& nccl = device_.nccl();
  const auto deadline = steady_clock::now() + patience_;
  while (code == kNcclInProgress && communicator_ != nullptr) {
    if (steady_clock::now() > deadline) {
      throw EnvironmentError(fmt::format(
          "NCCL: {} of ranks {} has not ended in {} s\n  hint: a rank has failed, or the network "
          "does not let them meet; NCCL_DEBUG=INFO says more",
          call, fmt::join(ranks_, ","), patience_.count() / 1000));
    }
    std::this_thread::sleep_for(kPoll);
    const int asked = nccl.comm_get_async_error(communicator_, &code);
    if (asked != kNcclSuccess) code = asked;
  }
  if (code == kNcclSuccess) return;
  throw EnvironmentError(
      fmt::format("NCCL error {} in {} of ranks {}, on rank {}: {}\n  {}", code, call,
                  fmt::join(ranks_, ","), ranks_[static_cast<std::size_t>(place_)],
                  nccl.get_error_string(code), nccl.get_last_error(communicator_)));
}

void NcclCommunicator::check_state() {
  int code = kNcclSuccess;
  const int asked = device_.nccl().comm_get_async_error(communicator_, &code);
  if (asked != kNcclSuccess) code = asked;
  if (code != kNcclInProgress) check(code, "a call under way");
}

NcclCommunicator::Flight::~Flight() {
  if (event_ != nullptr) communicator_.device_.cuda().event_destroy(event_);
}

bool NcclCommunicator::Flight::landed() {
  NcclCommunicator& own = communicator_;
  const CudaApi& cuda = own.device_.cuda();
  own.device_.select();
  const int code = cuda.event_query(event_);
  if (code != kCudaNotReady) cuda.check(code, "cudaEventQuery");
  own.check_state();  // a call that failed looks over, too
  if (code == kCudaNotReady) return false;
  for (const Arrival& arrival : arrivals_) own.device_.download(arrival.to, arrival.from);
  return true;
}

std::byte* NcclCommunicator::uploaded(Flight& flight, std::span<const std::byte> data) {
  std::byte* memory = flight.blocks_.emplace_back(device_, data.size()).get();
  device_.upload(memory, data);
  return memory;
}

std::byte* NcclCommunicator::room_for(Flight& flight, std::span<std::byte> room) {
  std::byte* memory = flight.blocks_.emplace_back(device_, room.size()).get();
  flight.arrivals_.push_back({room, memory});
  return memory;
}

std::unique_ptr<NcclCommunicator::Flight> NcclCommunicator::took_off(
    std::unique_ptr<Flight> flight) {
  const CudaApi& cuda = device_.cuda();
  cuda.check(cuda.event_create(&flight->event_, kCudaEventNoTiming), "cudaEventCreateWithFlags");
  cuda.check(cuda.event_record(flight->event_, stream_), "cudaEventRecord");
  return flight;
}

std::unique_ptr<NcclCommunicator::Flight> NcclCommunicator::send(int peer,
                                                                 std::span<const std::byte> data) {
  device_.select();
  auto flight = std::make_unique<Flight>(*this);
  check(device_.nccl().send(uploaded(*flight, data), data.size(), kNcclUint8, peer, communicator_,
                            stream_),
        "ncclSend");
  return took_off(std::move(flight));
}

std::unique_ptr<NcclCommunicator::Flight> NcclCommunicator::receive(int peer,
                                                                    std::span<std::byte> room) {
  device_.select();
  auto flight = std::make_unique<Flight>(*this);
  check(device_.nccl().recv(room_for(*flight, room), room.size(), kNcclUint8, peer, communicator_,
                            stream_),
        "ncclRecv");
  return took_off(std::move(flight));
}

void NcclCommunicator::start_all_to_all(Flight& flight, const GroupCall& call) {
  const NcclApi& nccl = device_.nccl();
  // Copies first: between the start and the end of a group there should be calls of NCCL alone.
  std::vector<std::byte*> out(ranks_.size(), nullptr), in(ranks_.size(), nullptr);
  for (std::size_t member = 0; member < ranks_.size(); ++member) {
    if (!call.to_each[member].empty()) out[member] = uploaded(flight, call.to_each[member]);
    if (!call.from_each[member].empty()) in[member] = room_for(flight, call.from_each[member]);
  }
  check(nccl.group_start(), "ncclGroupStart");
  for (std::size_t member = 0; member < ranks_.size(); ++member) {
    const int peer = static_cast<int>(member);
    if (out[member] != nullptr) {
      check(nccl.send(out[member], call.to_each[member].size(), kNcclUint8, peer, communicator_,
                      stream_),
            "ncclSend");
    }
    if (in[member] != nullptr) {
      check(nccl.recv(in[member], call.from_each[member].size(), kNcclUint8, peer, communicator_,
                      stream_),
            "ncclRecv");
    }
  }
  check(nccl.group_end(), "ncclGroupEnd");
}

std::unique_ptr<NcclCommunicator::Flight> NcclCommunicator::start(const GroupCall& call) {
  device_.select();
  const NcclApi& nccl = device_.nccl();
  const int type = type_code(call.element);
  const std::size_t in_count = call.in.size() / type_bytes(call.element);
  const std::size_t out_count = call.out.size() / type_bytes(call.element);
  auto flight = std::make_unique<Flight>(*this);
  if (call.kind == GroupCall::Kind::kAllToAll) {
    start_all_to_all(*flight, call);
    return took_off(std::move(flight));
  }
  const std::byte* in = uploaded(*flight, call.in);
  std::byte* out = room_for(*flight, call.out);
  switch (call.kind) {
    case GroupCall::Kind::kAllReduce:
      check(nccl.all_reduce(in, out, in_count, type, kNcclSum, communicator_, stream_),
            "ncclAllReduce");
      break;
    case GroupCall::Kind::kAllGather:
      check(nccl.all_gather(in, out, in_count, type, communicator_, stream_), "ncclAllGather");
      break;
    default:
      check(nccl.reduce_scatter(in, out, out_count, type, kNcclSum, communicator_, stream_),
            "ncclReduceScatter");
  }
  return took_off(std::move(flight));
}

void NcclCommunicator::land(std::unique_ptr<Flight> flight) {
  const auto deadline = steady_clock::now() + patience_;
  while (!flight->landed()) {
    if (steady_clock::now() > deadline) {
      throw EnvironmentError(
          fmt::format("NCCL: the first transfer between ranks {} has not ended in {} s",
                      fmt::join(ranks_, ","), patience_.count() / 1000));
    }
    std::this_thread::sleep_for(kPoll);
  }
}

void NcclCommunicator::connect_pair() {
  std::array<std::byte, 1> byte{};
  land(place_ == 0 ? send(1, byte) : receive(0, byte));
}

void NcclCommunicator::connect_group() {
  std::vector<std::byte> one(1), all(ranks_.size()), from(ranks_.size());
  GroupCall call;
  call.kind = GroupCall::Kind::kAllReduce;
  call.in = call.out = one;
  land(start(call));
  call.kind = GroupCall::Kind::kAllGather;
  call.out = all;
  land(start(call));
  call.kind = GroupCall::Kind::kReduceScatter;
  call.in = all;
  call.out = one;
  land(start(call));
  call.kind = GroupCall::Kind::kAllToAll;
  call.to_each.resize(ranks_.size());
  call.from_each.resize(ranks_.size());
  for (std::size_t member = 0; member < ranks_.size(); ++member) {
    if (static_cast<int>(member) == place_) continue;
    call.to_each[member] = std::span(all).subspan(member, 1);
    call.from_each[member] = std::span(from).subspan(member, 1);
  }
  land(start(call));
}

}  // namespace orrery
