// NCCL's entry points over host memory and Unix sockets, for tests: the ranks of a communicator may
// be processes or threads of this machine.
//
// What it is strict about, because NCCL is not: every two calls that meet are compared, and where
// function, type, size or reduction differ, both sides' communicators fail with both calls in
// ncclGetLastError (NCCL hangs or overwrites memory); a buffer that cudaMalloc did not give is an
// invalid argument; a call that finds no counterpart for ORRERY_NCCL_SHIM_PATIENCE seconds (60)
// fails. Sums are taken in the order of ranks: ((v0 + v1) + v2) + ..., NCCL's is its own.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <thread>

#include "tests/nccl_shim/links.hpp"
#include "tests/nccl_shim/stream.hpp"

namespace orrery_shim {
namespace {

constexpr int kSuccess = 0, kInvalidArgument = 4, kInvalidUsage = 5, kInProgress = 7;
constexpr int kVersion = 22809;
constexpr int kSum = 0;

double patience() {
  const char* text = std::getenv("ORRERY_NCCL_SHIM_PATIENCE");
  return text != nullptr ? std::atof(text) : 60;
}

thread_local std::string last_error;

int refuse(int code, const std::string& why) {
  last_error = why;
  return code;
}

struct Communicator {
  int ranks = 0;
  int rank = 0;
  std::unique_ptr<Links> links;  // once joined
  std::uint64_t calls = 0;       // of the thread that calls NCCL
  std::thread joining;
  std::mutex mutex;
  int state = kInProgress;
  std::atomic<bool> given_up{false};
  std::string error;  // the first one

  ~Communicator() {
    if (joining.joinable()) joining.join();
  }
  void fail(const std::string& why) {
    const std::lock_guard lock(mutex);
    if (error.empty()) error = "rank " + std::to_string(rank) + ": " + why;
    state = kInvalidUsage;
    given_up = true;
    if (links) links->cut();
  }
  int current_state() {
    const std::lock_guard lock(mutex);
    return state;
  }
};
using Handle = std::shared_ptr<Communicator>;

Handle& handle_of(void* communicator) {
  return *static_cast<Handle*>(communicator);
}

// One call as given, until its group ends.
struct Request {
  Handle communicator;
  Stream* stream = nullptr;
  Call call;
  int peer = 0;
  const std::byte* in = nullptr;
  std::byte* out = nullptr;
};

thread_local int group_depth = 0;
thread_local std::vector<Request> group;

template <class T>
void add(std::byte* sum, const std::byte* values, std::size_t count) {
  for (std::size_t element = 0; element < count; ++element) {
    T left, right;
    std::memcpy(&left, sum + element * sizeof(T), sizeof(T));
    std::memcpy(&right, values + element * sizeof(T), sizeof(T));
    left += right;
    std::memcpy(sum + element * sizeof(T), &left, sizeof(T));
  }
}

void add(int type, std::byte* sum, const std::byte* values, std::size_t count) {
  switch (type) {
    case 1: return add<std::uint8_t>(sum, values, count);
    case 4: return add<std::int64_t>(sum, values, count);
    case 7: return add<float>(sum, values, count);
    default: return add<double>(sum, values, count);
  }
}

void copy_bytes(std::byte* to, const std::byte* from, std::size_t bytes) {
  if (bytes > 0 && to != from) std::memmove(to, from, bytes);
}

// Each member's block goes to its owner, which puts them together.
void carry_out_collective(const Request& request) {
  const Communicator& own = *request.communicator;
  const std::size_t bytes = request.call.count * type_bytes(request.call.type);
  const bool scatters = request.call.function == Function::kReduceScatter;
  const bool gathers = request.call.function == Function::kAllGather;
  const auto place = [&](int rank) { return static_cast<std::size_t>(rank) * bytes; };
  std::vector<std::vector<std::byte>> parts(static_cast<std::size_t>(own.ranks));
  std::vector<Give> gives;
  std::vector<Take> takes;
  for (int peer = 0; peer < own.ranks; ++peer) {
    std::vector<std::byte>& part = parts[static_cast<std::size_t>(peer)];
    part.resize(bytes);
    const std::byte* theirs = scatters ? request.in + place(peer) : request.in;
    if (peer == own.rank) {
      copy_bytes(part.data(), theirs, bytes);
    } else {
      gives.push_back({peer, request.call, theirs, bytes});
      takes.push_back({peer, request.call, part.data(), bytes});
    }
  }
  own.links->exchange(gives, takes);
  if (!gathers) {
    for (int peer = 1; peer < own.ranks; ++peer)
      add(request.call.type, parts[0].data(), parts[static_cast<std::size_t>(peer)].data(),
          request.call.count);
    copy_bytes(request.out, parts[0].data(), bytes);
    return;
  }
  for (int peer = 0; peer < own.ranks; ++peer)
    copy_bytes(request.out + place(peer), parts[static_cast<std::size_t>(peer)].data(), bytes);
}

// The sends and receives of one group, all at once; those of a rank with itself are copies.
void carry_out_messages(const std::vector<Request>& requests) {
  const Communicator& own = *requests.front().communicator;
  std::vector<Give> gives, own_gives;
  std::vector<Take> takes, own_takes;
  for (const Request& request : requests) {
    const std::size_t bytes = request.call.count * type_bytes(request.call.type);
    const bool itself = request.peer == own.rank;
    if (request.call.function == Function::kSend) {
      (itself ? own_gives : gives).push_back({request.peer, request.call, request.in, bytes});
    } else {
      (itself ? own_takes : takes).push_back({request.peer, request.call, request.out, bytes});
    }
  }
  if (own_gives.size() != own_takes.size())
    throw std::runtime_error("a message of the rank to itself has no counterpart in its group");
  for (std::size_t at = 0; at < own_gives.size(); ++at) {
    const std::string text = disagreement(own_gives[at].call, own_takes[at].call);
    if (!text.empty()) throw std::runtime_error(text);
    copy_bytes(own_takes[at].room, own_gives[at].data, own_gives[at].bytes);
  }
  own.links->exchange(gives, takes);
}

void carry_out(const std::vector<Request>& requests) {
  Communicator& own = *requests.front().communicator;
  if (own.current_state() != kSuccess) return;
  try {
    if (requests.front().call.function <= Function::kRecv) {
      carry_out_messages(requests);
    } else {
      for (const Request& request : requests) carry_out_collective(request);
    }
  } catch (const std::exception& error) {
    own.fail(error.what());
  }
}

// What has the same communicator goes to its stream as one piece of work.
int launch_group() {
  std::vector<Request> requests;
  requests.swap(group);
  while (!requests.empty()) {
    std::vector<Request> together, others;
    for (Request& request : requests) {
      const bool same = request.communicator == requests.front().communicator;
      (same ? together : others).push_back(request);
    }
    const bool messages = together.front().call.function <= Function::kRecv;
    for (const Request& request : together) {
      if (request.stream != together.front().stream ||
          (request.call.function <= Function::kRecv) != messages)
        return refuse(kInvalidUsage, "a group mixes streams, or messages and collectives");
    }
    together.front().stream->push([together] { carry_out(together); });
    requests.swap(others);
  }
  return kSuccess;
}

int enqueue(void* communicator, void* stream, Function function, const void* in,
            std::size_t in_parts, void* out, std::size_t out_parts, std::size_t count, int type,
            int reduction, int peer) {
  if (communicator == nullptr) return refuse(kInvalidArgument, "no communicator");
  Handle& own = handle_of(communicator);
  if (const int state = own->current_state(); state != kSuccess) {
    return refuse(kInvalidUsage, state == kInProgress ? "the communicator is not ready yet"
                                                      : "the communicator has failed");
  }
  const std::size_t bytes = count * type_bytes(type);
  if (type_bytes(type) == 0 || reduction != kSum || peer < 0 || peer >= own->ranks)
    return refuse(kInvalidArgument, "the shim has no such type, reduction or peer");
  if (!is_device_memory(in, bytes * in_parts) || !is_device_memory(out, bytes * out_parts))
    return refuse(kInvalidArgument, "a buffer is not in device memory, or longer than it");
  Request request;
  request.communicator = own;
  request.stream = static_cast<Stream*>(stream);
  request.call = {function, type, reduction, own->rank, count, ++own->calls};
  request.peer = peer;
  request.in = static_cast<const std::byte*>(in);
  request.out = static_cast<std::byte*>(out);
  group.push_back(std::move(request));
  return group_depth > 0 ? kSuccess : launch_group();
}

}  // namespace
}  // namespace orrery_shim

using namespace orrery_shim;

extern "C" {

struct ShimId {
  char bytes[128];
};
struct ShimConfig {
  std::size_t size;
  unsigned magic, version;
  int blocking;
};

int ncclGetVersion(int* version) {
  *version = kVersion;
  return kSuccess;
}

const char* ncclGetErrorString(int code) {
  switch (code) {
    case kSuccess: return "no error";
    case kInvalidArgument: return "invalid argument (run with NCCL_DEBUG=WARN for details)";
    case kInvalidUsage: return "invalid usage (run with NCCL_DEBUG=WARN for details)";
    case kInProgress: return "NCCL operation in progress";
    default: return "unknown result code";
  }
}

const char* ncclGetLastError(void* communicator) {
  if (communicator != nullptr) {
    Communicator& own = *handle_of(communicator);
    const std::lock_guard lock(own.mutex);
    if (!own.error.empty()) last_error = own.error;
  }
  return last_error.c_str();
}

int ncclGetUniqueId(ShimId* id) {
  std::random_device random;
  *id = {};
  std::snprintf(id->bytes, sizeof id->bytes, "orrery-nccl-shim-%d-%08x%08x",
                static_cast<int>(getpid()), random(), random());
  return kSuccess;
}

int ncclCommInitRankConfig(void** communicator, int ranks, ShimId id, int rank,
                           ShimConfig* config) {
  *communicator = nullptr;
  if (config == nullptr || config->magic != 0xcafebeef)
    return refuse(kInvalidArgument, "the config has not been initialised");
  if (ranks < 1 || rank < 0 || rank >= ranks) return refuse(kInvalidArgument, "no such rank");
  auto own = std::make_shared<Communicator>();
  own->ranks = ranks;
  own->rank = rank;
  *communicator = new Handle(own);
  own->joining = std::thread([raw = own.get(), name = std::string(id.bytes)] {
    try {
      auto links = std::make_unique<Links>(name, raw->ranks, raw->rank, patience(), raw->given_up);
      const std::lock_guard lock(raw->mutex);
      raw->links = std::move(links);
      if (!raw->given_up) raw->state = kSuccess;
    } catch (const std::exception& error) {
      raw->fail(error.what());
    }
  });
  if (config->blocking == 0) return kInProgress;
  own->joining.join();
  return own->current_state();
}

int ncclCommGetAsyncError(void* communicator, int* code) {
  *code = handle_of(communicator)->current_state();
  return kSuccess;
}

int ncclCommFinalize(void*) {
  return kSuccess;
}

int ncclCommDestroy(void* communicator) {
  delete &handle_of(communicator);
  return kSuccess;
}

int ncclCommAbort(void* communicator) {
  handle_of(communicator)->fail("the communicator has been aborted");
  return ncclCommDestroy(communicator);
}

int ncclGroupStart() {
  ++group_depth;
  return kSuccess;
}

int ncclGroupEnd() {
  if (group_depth == 0) return refuse(kInvalidUsage, "ncclGroupEnd without ncclGroupStart");
  return --group_depth > 0 ? kSuccess : launch_group();
}

int ncclSend(const void* data, std::size_t count, int type, int peer, void* communicator,
             void* stream) {
  return enqueue(communicator, stream, Function::kSend, data, 1, nullptr, 0, count, type, kSum,
                 peer);
}

int ncclRecv(void* room, std::size_t count, int type, int peer, void* communicator, void* stream) {
  return enqueue(communicator, stream, Function::kRecv, nullptr, 0, room, 1, count, type, kSum,
                 peer);
}

int ncclAllReduce(const void* in, void* out, std::size_t count, int type, int reduction,
                  void* communicator, void* stream) {
  return enqueue(communicator, stream, Function::kAllReduce, in, 1, out, 1, count, type, reduction,
                 0);
}

int ncclReduceScatter(const void* in, void* out, std::size_t count, int type, int reduction,
                      void* communicator, void* stream) {
  const auto ranks = static_cast<std::size_t>(handle_of(communicator)->ranks);
  return enqueue(communicator, stream, Function::kReduceScatter, in, ranks, out, 1, count, type,
                 reduction, 0);
}

int ncclAllGather(const void* in, void* out, std::size_t count, int type, void* communicator,
                  void* stream) {
  const auto ranks = static_cast<std::size_t>(handle_of(communicator)->ranks);
  return enqueue(communicator, stream, Function::kAllGather, in, 1, out, ranks, count, type, kSum,
                 0);
}

}  // extern "C"
