#include "realrun/mpi_channel.hpp"

#include <cstdlib>
#include <string_view>

#include "core/error.hpp"

#ifdef ORRERY_HAVE_MPI
// Without the C++ bindings, which MPI-3 removed.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <list>
#include <map>
#endif

namespace orrery {

bool launched_by_mpi() {
  // Open MPI; Hydra (MPICH, Intel MPI); any PMIx launcher.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK"}) {
    if (std::getenv(name) != nullptr) return true;
  }
  // srun without PMI. A batch script has SLURM_PROCID too, but it is not the task of a step.
  const char* tasks = std::getenv("SLURM_STEP_NUM_TASKS");
  return std::getenv("SLURM_PROCID") != nullptr && tasks != nullptr &&
         std::string_view(tasks) != "1";
}

#ifndef ORRERY_HAVE_MPI

std::unique_ptr<MessageChannel> mpi_channel(int*, char***) {
  throw EnvironmentError(
      "this build of orrery has no MPI\n"
      "  hint: install libopenmpi-dev or another MPI and configure again, or run without mpirun: "
      "ranks are then threads of one process");
}

#else

namespace {

void check_mpi(int code, const char* call) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = "";
  int length = 0;
  int rank = -1;
  MPI_Error_string(code, text, &length);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  throw EnvironmentError(fmt::format("MPI error {} on rank {}: {}\n  in {}", code, rank,
                                     std::string_view(text, static_cast<std::size_t>(length)),
                                     call));
}

#define ORRERY_MPI(call) check_mpi(call, #call)

// Counts of MPI are ints, so a payload goes in pieces.
constexpr std::size_t kPieceBytes = std::size_t{1} << 26;

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

class MpiChannel final : public MessageChannel {
 public:
  MpiChannel(int* argc, char*** argv);
  ~MpiChannel() override;

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  Seconds now() const override { return Seconds{steady_seconds() - epoch_}; }

  void send(int target, std::vector<std::byte> message) override;
  std::optional<Message> receive() override;
  Transfer start_send(int target, int tag, std::span<const std::byte> data) override;
  Transfer start_receive(int source, int tag, std::span<std::byte> room) override;
  bool finished(Transfer transfer) override;
  bool idle() override;
  void give_up() override { given_up_ = true; }

 private:
  struct Outgoing {
    std::vector<std::byte> bytes;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  void find_epoch();
  // Calls start(begin, count, request) for every piece.
  template <class Start>
  Transfer start_pieces(std::size_t bytes, Start start);

  MPI_Comm messages_ = MPI_COMM_NULL;
  MPI_Comm payloads_ = MPI_COMM_NULL;
  bool finalizes_ = false;
  bool given_up_ = false;
  int rank_ = 0;
  int size_ = 0;
  double epoch_ = 0;  // of the run, on this rank's steady clock
  std::list<Outgoing> outgoing_;
  std::map<Transfer, std::vector<MPI_Request> > transfers_;
  Transfer next_transfer_ = 0;
};

MpiChannel::MpiChannel(int* argc, char*** argv) {
  int initialized = 0;
  ORRERY_MPI(MPI_Initialized(&initialized));
  int level = MPI_THREAD_SINGLE;
  if (initialized) {
    ORRERY_MPI(MPI_Query_thread(&level));
  } else {
    ORRERY_MPI(MPI_Init_thread(argc, argv, MPI_THREAD_SERIALIZED, &level));
    finalizes_ = true;
  }
  if (level < MPI_THREAD_SERIALIZED)
    throw EnvironmentError("this MPI library does not support MPI_THREAD_SERIALIZED");
  for (MPI_Comm* communicator : {&messages_, &payloads_}) {
    ORRERY_MPI(MPI_Comm_dup(MPI_COMM_WORLD, communicator));
    ORRERY_MPI(MPI_Comm_set_errhandler(*communicator, MPI_ERRORS_RETURN));
  }
  ORRERY_MPI(MPI_Comm_rank(messages_, &rank_));
  ORRERY_MPI(MPI_Comm_size(messages_, &size_));
  find_epoch();
}

MpiChannel::~MpiChannel() {
  // A process that ends without MPI_Finalize is a failure to the launcher, which ends the others.
  if (given_up_) return;
  MPI_Comm_free(&messages_);
  MPI_Comm_free(&payloads_);
  if (finalizes_) MPI_Finalize();
}

// The epoch is rank 0's time of start. Another node's clock is compared with rank 0's, rank by
// rank: offset = (rank 0's time in its answer) - (middle between question and answer).
void MpiChannel::find_epoch() {
  constexpr int kRoundTrips = 32;
  double start = steady_seconds();
  ORRERY_MPI(MPI_Bcast(&start, 1, MPI_DOUBLE, 0, messages_));

  MPI_Comm node = MPI_COMM_NULL;
  ORRERY_MPI(MPI_Comm_split_type(messages_, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node));
  int first = rank_;  // of this node
  ORRERY_MPI(MPI_Bcast(&first, 1, MPI_INT, 0, node));
  ORRERY_MPI(MPI_Comm_free(&node));
  std::vector<int> firsts(static_cast<std::size_t>(size_));
  ORRERY_MPI(MPI_Allgather(&first, 1, MPI_INT, firsts.data(), 1, MPI_INT, messages_));

  double offset = 0;
  double fastest = std::numeric_limits<double>::infinity();
  for (int other = 1; other < size_; ++other) {
    if (firsts[static_cast<std::size_t>(other)] == 0 || (rank_ != 0 && rank_ != other)) continue;
    for (int trip = 0; trip < kRoundTrips; ++trip) {
      double theirs = 0;
      if (rank_ == 0) {
        ORRERY_MPI(MPI_Recv(&theirs, 1, MPI_DOUBLE, other, 0, messages_, MPI_STATUS_IGNORE));
        const double answer = steady_seconds();
        ORRERY_MPI(MPI_Send(&answer, 1, MPI_DOUBLE, other, 0, messages_));
      } else {
        const double question = steady_seconds();
        ORRERY_MPI(MPI_Send(&question, 1, MPI_DOUBLE, 0, 0, messages_));
        ORRERY_MPI(MPI_Recv(&theirs, 1, MPI_DOUBLE, 0, 0, messages_, MPI_STATUS_IGNORE));
        const double answered = steady_seconds();
        if (answered - question < fastest) {
          fastest = answered - question;
          offset = theirs - (question + answered) / 2;
        }
      }
    }
  }
  epoch_ = start - offset;
}

void MpiChannel::send(int target, std::vector<std::byte> message) {
  Outgoing& outgoing = outgoing_.emplace_back();
  outgoing.bytes = std::move(message);
  ORRERY_MPI(MPI_Isend(outgoing.bytes.data(), static_cast<int>(outgoing.bytes.size()), MPI_BYTE,
                       target, 0, messages_, &outgoing.request));
}

std::optional<MessageChannel::Message> MpiChannel::receive() {
  int arrived = 0;
  MPI_Status status;
  ORRERY_MPI(MPI_Iprobe(MPI_ANY_SOURCE, 0, messages_, &arrived, &status));
  if (!arrived) return std::nullopt;
  int bytes = 0;
  ORRERY_MPI(MPI_Get_count(&status, MPI_BYTE, &bytes));
  Message message{status.MPI_SOURCE, std::vector<std::byte>(static_cast<std::size_t>(bytes))};
  ORRERY_MPI(MPI_Recv(message.bytes.data(), bytes, MPI_BYTE, message.source, 0, messages_,
                      MPI_STATUS_IGNORE));
  return message;
}

template <class Start>
MessageChannel::Transfer MpiChannel::start_pieces(std::size_t bytes, Start start) {
  const Transfer transfer = next_transfer_++;
  std::vector<MPI_Request>& pieces = transfers_[transfer];
  for (std::size_t begin = 0; begin < bytes; begin += kPieceBytes) {
    pieces.push_back(MPI_REQUEST_NULL);
    start(begin, static_cast<int>(std::min(kPieceBytes, bytes - begin)), &pieces.back());
  }
  return transfer;
}

MessageChannel::Transfer MpiChannel::start_send(int target, int tag,
                                                std::span<const std::byte> data) {
  return start_pieces(data.size(), [&](std::size_t begin, int count, MPI_Request* request) {
    ORRERY_MPI(MPI_Isend(&data[begin], count, MPI_BYTE, target, tag, payloads_, request));
  });
}

MessageChannel::Transfer MpiChannel::start_receive(int source, int tag, std::span<std::byte> room) {
  return start_pieces(room.size(), [&](std::size_t begin, int count, MPI_Request* request) {
    ORRERY_MPI(MPI_Irecv(&room[begin], count, MPI_BYTE, source, tag, payloads_, request));
  });
}

bool MpiChannel::finished(Transfer transfer) {
  std::vector<MPI_Request>& pieces = transfers_.at(transfer);
  int all = 0;
  ORRERY_MPI(
      MPI_Testall(static_cast<int>(pieces.size()), pieces.data(), &all, MPI_STATUSES_IGNORE));
  if (all) transfers_.erase(transfer);
  return all != 0;
}

bool MpiChannel::idle() {
  std::erase_if(outgoing_, [](Outgoing& message) {
    int sent = 0;
    ORRERY_MPI(MPI_Test(&message.request, &sent, MPI_STATUS_IGNORE));
    return sent != 0;
  });
  return outgoing_.empty();
}

}  // namespace

std::unique_ptr<MessageChannel> mpi_channel(int* argc, char*** argv) {
  return std::make_unique<MpiChannel>(argc, argv);
}

#endif

}  // namespace orrery
