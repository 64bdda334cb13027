#include "realrun/nccl_channel.hpp"

#include <algorithm>
#include <cstring>
#include <deque>
#include <map>
#include <thread>
#include <utility>

#include "core/error.hpp"
#include "realrun/nccl_communicator.hpp"

namespace orrery {
namespace {

using std::chrono::steady_clock;

constexpr char kMagic[8] = {'n', 'c', 'c', 'l', '-', 'r', 'u', 'n'};
constexpr std::int64_t kReady = -1;
constexpr std::chrono::seconds kWordsArrive(2);

// What ranks say before the run: the id of a communicator, or that they have made theirs.
struct Greeting {
  char magic[8] = {};
  std::int64_t communicator = kReady;  // in the order in which they are made
  NcclId id;
};

class NcclChannel final : public MessageChannel {
 public:
  NcclChannel(std::unique_ptr<MessageChannel> messages, const NcclLibrary& library, int device,
              const Communicators& communicators, std::chrono::milliseconds patience);
  ~NcclChannel() override { flights_.clear(); }

  int rank() const override { return messages_->rank(); }
  int size() const override { return messages_->size(); }
  Seconds now() const override { return messages_->now(); }

  void send(int target, std::vector<std::byte> message) override {
    messages_->send(target, std::move(message));
  }
  std::optional<Message> receive() override {
    if (early_.empty()) return messages_->receive();
    Message message = std::move(early_.front());
    early_.pop_front();
    return message;
  }
  Transfer start_send(int target, int tag, std::span<const std::byte> data) override {
    const auto pair = pairs_.find({rank(), target});
    if (pair == pairs_.end()) return forward(messages_->start_send(target, tag, data));
    return start([&] { return pair->second->send(1, data); });
  }
  Transfer start_receive(int source, int tag, std::span<std::byte> room) override {
    const auto pair = pairs_.find({source, rank()});
    if (pair == pairs_.end()) return forward(messages_->start_receive(source, tag, room));
    return start([&] { return pair->second->receive(0, room); });
  }
  bool carries(std::span<const int> ranks) const override {
    return groups_.contains(std::vector<int>(ranks.begin(), ranks.end()));
  }
  Transfer start_group(const GroupCall& call) override {
    return start([&] { return groups_.at(call.ranks)->start(call); });
  }
  bool finished(Transfer transfer) override;
  bool idle() override { return messages_->idle(); }
  void cancel() override;
  void give_up() override {
    cancel();
    messages_->give_up();
  }

 private:
  using Owned = std::unique_ptr<NcclCommunicator>;
  struct Wanted {
    std::vector<int> ranks;
    bool is_pair = false;
  };

  template <class Start>
  Transfer start(Start flight) {
    // After cancel() a transfer is over before it begins.
    if (!cancelled_) flights_[next_transfer_] = flight();
    return next_transfer_++;
  }
  Transfer forward(Transfer transfer) {
    forwarded_[next_transfer_] = transfer;
    return next_transfer_++;
  }

  bool landed(NcclCommunicator::Flight& flight);
  std::vector<NcclId> exchange_ids(const std::vector<Wanted>& wanted);
  void make(const Wanted& wanted, const NcclId& id);
  void wait_for_all();
  void greet(int target, Greeting greeting);
  template <class Done>
  void hear(std::vector<Greeting>& heard, const char* what, Done done);

  std::unique_ptr<MessageChannel> messages_;
  NcclDevice device_;
  const std::chrono::milliseconds patience_;
  std::map<std::vector<int>, Owned> groups_;
  std::map<std::pair<int, int>, Owned> pairs_;  // by (sender, receiver)
  std::deque<Message> early_;                   // of ranks that had begun before this one
  bool cancelled_ = false;
  std::optional<EnvironmentError> failed_;  // of the first transfer that NCCL has not carried out
  steady_clock::time_point failed_at_;
  Transfer next_transfer_ = 0;
  std::map<Transfer, Transfer> forwarded_;  // to the channel of messages
  std::map<Transfer, std::unique_ptr<NcclCommunicator::Flight>> flights_;
};

NcclChannel::NcclChannel(std::unique_ptr<MessageChannel> messages, const NcclLibrary& library,
                         int device, const Communicators& communicators,
                         std::chrono::milliseconds patience)
    : messages_(std::move(messages)), device_(library, device), patience_(patience) {
  std::vector<Wanted> wanted;
  for (const std::vector<int>& ranks : communicators.groups) wanted.push_back({ranks, false});
  for (const auto& [sender, receiver] : communicators.pairs)
    wanted.push_back({{sender, receiver}, true});
  try {
    const std::vector<NcclId> ids = exchange_ids(wanted);
    // All ranks go through them in the same order, so they meet.
    for (std::size_t number = 0; number < wanted.size(); ++number)
      make(wanted[number], ids[number]);
    wait_for_all();
  } catch (...) {
    give_up();
    throw;
  }
}

// The first member of each makes its id and gives it to the others.
std::vector<NcclId> NcclChannel::exchange_ids(const std::vector<Wanted>& wanted) {
  std::vector<NcclId> ids(wanted.size());
  std::size_t missing = 0;
  for (std::size_t number = 0; number < wanted.size(); ++number) {
    const std::vector<int>& ranks = wanted[number].ranks;
    if (ranks.front() != rank()) {
      missing += std::count(ranks.begin(), ranks.end(), rank()) > 0 ? 1 : 0;
      continue;
    }
    const int code = device_.nccl().get_unique_id(&ids[number]);
    if (code != kNcclSuccess) {
      throw EnvironmentError(fmt::format("NCCL error {} in ncclGetUniqueId on rank {}: {}\n  {}",
                                         code, rank(), device_.nccl().get_error_string(code),
                                         device_.nccl().get_last_error(nullptr)));
    }
    for (int member : ranks) {
      if (member != rank()) greet(member, {{}, static_cast<std::int64_t>(number), ids[number]});
    }
  }
  std::vector<Greeting> heard;
  hear(heard, "the ids of its communicators",
       [&] { return heard.size() == missing && messages_->idle(); });
  for (const Greeting& greeting : heard)
    ids.at(static_cast<std::size_t>(greeting.communicator)) = greeting.id;
  return ids;
}

void NcclChannel::make(const Wanted& wanted, const NcclId& id) {
  const std::vector<int>& ranks = wanted.ranks;
  const auto own = std::find(ranks.begin(), ranks.end(), rank());
  if (own == ranks.end()) return;
  auto communicator = std::make_unique<NcclCommunicator>(
      device_, id, ranks, static_cast<int>(own - ranks.begin()), patience_);
  if (wanted.is_pair) {
    communicator->connect_pair();
    pairs_[{ranks[0], ranks[1]}] = std::move(communicator);
  } else {
    communicator->connect_group();
    groups_[ranks] = std::move(communicator);
  }
}

// Rank 0 hears of all, then tells all: the run begins when every rank can take part.
void NcclChannel::wait_for_all() {
  std::vector<Greeting> heard;
  if (rank() == 0) {
    const auto others = static_cast<std::size_t>(size() - 1);
    hear(heard, "the other ranks' communicators", [&] { return heard.size() == others; });
    for (int other = 1; other < size(); ++other) greet(other, {});
  } else {
    greet(0, {});
    hear(heard, "the other ranks' communicators", [&] { return heard.size() == 1; });
  }
}

void NcclChannel::greet(int target, Greeting greeting) {
  std::copy(std::begin(kMagic), std::end(kMagic), greeting.magic);
  std::vector<std::byte> bytes(sizeof greeting);
  std::memcpy(bytes.data(), &greeting, sizeof greeting);
  messages_->send(target, std::move(bytes));
}

// Collects greetings until done(). A rank that has been told to begin may send messages of the run
// before this one has been: those wait.
template <class Done>
void NcclChannel::hear(std::vector<Greeting>& heard, const char* what, Done done) {
  const auto deadline = steady_clock::now() + patience_;
  while (!done()) {
    std::optional<Message> message = messages_->receive();
    if (!message) {
      if (steady_clock::now() > deadline) {
        throw EnvironmentError(fmt::format("rank {} has waited {} s for {}: a rank has failed",
                                           rank(), patience_.count() / 1000, what));
      }
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      continue;
    }
    Greeting greeting;
    if (message->bytes.size() == sizeof greeting)
      std::memcpy(&greeting, message->bytes.data(), sizeof greeting);
    if (std::equal(std::begin(kMagic), std::end(kMagic), greeting.magic)) {
      heard.push_back(greeting);
    } else {
      early_.push_back(std::move(*message));
    }
  }
}

// A rank that gives up says why and then ends its communicators: what NCCL reports of that here may
// come before what the rank has said, and says less. So there is a while for its words to arrive.
bool NcclChannel::landed(NcclCommunicator::Flight& flight) {
  if (!failed_) {
    try {
      return flight.landed();
    } catch (const EnvironmentError& error) {
      failed_.emplace(error);
      failed_at_ = steady_clock::now();
    }
  }
  if (steady_clock::now() - failed_at_ > kWordsArrive) throw *failed_;
  return false;
}

bool NcclChannel::finished(Transfer transfer) {
  if (const auto forwarded = forwarded_.find(transfer); forwarded != forwarded_.end()) {
    if (!messages_->finished(forwarded->second)) return false;
    forwarded_.erase(forwarded);
    return true;
  }
  const auto flight = flights_.find(transfer);
  if (flight == flights_.end()) return true;
  if (!cancelled_ && !landed(*flight->second)) return false;
  flights_.erase(flight);
  return true;
}

void NcclChannel::cancel() {
  if (cancelled_) return;
  cancelled_ = true;
  for (const auto& [ranks, communicator] : groups_) communicator->abort();
  for (const auto& [pair, communicator] : pairs_) communicator->abort();
}

}  // namespace

std::unique_ptr<MessageChannel> nccl_channel(std::unique_ptr<MessageChannel> messages,
                                             const NcclLibrary& library, int device,
                                             const Communicators& communicators,
                                             std::chrono::milliseconds patience) {
  return std::make_unique<NcclChannel>(std::move(messages), library, device, communicators,
                                       patience);
}

}  // namespace orrery
