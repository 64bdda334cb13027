#pragma once
// A schedule as arrays, for searches that time hundreds of thousands of orders a second. The
// micro-batches of a chunk go through it in the order in which they come (which loses nothing: they
// are all alike), and a weight gradient of its own is that of the micro-batch that has waited
// longest, so that a rank's order is a string of tokens "forward of chunk 0", "weight gradient of
// chunk 1", without numbers. Times as in planner/schedules/timing.hpp, messages eager.
//
// Chunks are numbered over all ranks ("slots"); a token names a chunk of its rank.
#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <vector>

#include "core/schedule.hpp"
#include "planner/schedules/activation_bytes.hpp"
#include "planner/schedules/times.hpp"

namespace orrery {

struct Slot {
  int rank = 0;
  int previous = -1, next = -1;  // slots of the stages beside it; -1 at an end
  int microbatches = 0;
  double F = 0, I = 0, W = 0;
  double B = 0, gradient_ready = 0;  // of a full backward: length, and when its output is there
  double needs_gradient = 0;         // of B and I without a partner, from their start
  double send_activation = 0, send_gradient = 0;  // 0 to a stage on the same rank
};

struct Token {
  CellKind kind = CellKind::kF;
  std::uint8_t forward = 0;   // chunk of the rank; where the kind has a forward
  std::uint8_t backward = 0;  // where it has a backward
  bool operator==(const Token&) const = default;

  bool has_forward() const {
    return kind == CellKind::kF || kind == CellKind::kFB || kind == CellKind::kFI;
  }
  bool has_input_gradient() const { return kind != CellKind::kF && kind != CellKind::kW; }
  bool has_weight_gradient() const {
    return kind == CellKind::kB || kind == CellKind::kW || kind == CellKind::kFB;
  }
  // In a table of all tokens of a rank with so many chunks.
  std::size_t place(std::size_t chunks) const {
    return (static_cast<std::size_t>(kind) * chunks + forward) * chunks + backward;
  }
};
// A forward and a backward of a rank at once.
struct CompactPair {
  double length = 0;        // F&B
  double input_length = 0;  // F&I
  // From its start; -1: at its end.
  double needs_gradient = 0, forward_ready = -1, gradient_ready = -1;

  double forward_at(double start, double end) const {
    return forward_ready < 0 ? end : std::min(end, start + forward_ready);
  }
  double gradient_at(double start, double end) const {
    return gradient_ready < 0 ? end : std::min(end, start + gradient_ready);
  }
  bool operator==(const CompactPair&) const = default;
};

// What a token adds to the memory of its rank: at its worst moment, and when it has ended.
struct TokenBytes {
  double peak = 0, kept = 0;
};

struct CompactProblem {
  std::vector<Slot> slots;
  std::vector<std::vector<int>> of_rank;        // [rank][chunk]: slot
  std::vector<std::vector<CompactPair>> pairs;  // [rank][forward chunk x chunks + backward chunk]
  std::vector<int> limits;                      // [rank] chunk activations
  int microbatches = 0;                         // of the slot that has most
  // Empty: only the number of activations counts.
  std::vector<std::vector<TokenBytes>> bytes;  // [rank][(kind x chunks + forward) x chunks + back]
  std::vector<double> byte_limits;             // [rank]

  int ranks() const { return static_cast<int>(of_rank.size()); }
  const CompactPair& pair(std::size_t rank, std::size_t forward, std::size_t backward) const {
    return pairs[rank][forward * of_rank[rank].size() + backward];
  }
  const TokenBytes& bytes_of(std::size_t rank, const Token& token) const {
    return bytes[rank][token.place(of_rank[rank].size())];
  }
  // Whether a full backward takes less time than I and W.
  bool backward_helps(const Slot& slot) const { return slot.B < (slot.I + slot.W) * (1 - 1e-9); }
  // Whether the halves take less time together than one after the other, with the weight gradient
  // (F&B) and without (F&I).
  bool pair_helps(std::size_t rank, std::size_t forward, std::size_t backward) const;
  bool input_pair_helps(std::size_t rank, std::size_t forward, std::size_t backward) const;
  const Slot& slot(int rank, int chunk) const {
    return slots[static_cast<std::size_t>(
        of_rank[static_cast<std::size_t>(rank)][static_cast<std::size_t>(chunk)])];
  }
};

// How many chunk activations so many shares of 1/pp are on a placement.
int chunk_limit(const Schedule& placement, double shares);

// Of the placement of `schedule`; its cells do not matter. `limits`: chunk activations, by rank.
CompactProblem compact_problem(const Schedule& placement, const CellTimes& times,
                               std::vector<int> limits);
// Of the tokens of a rank whose chunks hold these stages: [(kind x chunks + forward) x chunks +
// backward].
std::vector<TokenBytes> token_bytes(std::span<const StageBytes> chunks);
// Limits in bytes besides; those in numbers are lowered to what they allow at the most.
void count_bytes(CompactProblem& problem, const Schedule& placement, const ActivationBytes& bytes);

using CompactOrder = std::vector<std::vector<Token>>;  // [rank]

// Nothing where a chunk takes its micro-batches out of order.
std::optional<CompactOrder> compact_order(const Schedule& schedule);
// The cells of `order` on the placement of `placement`.
Schedule expand_order(const Schedule& placement, const CompactOrder& order);

// Whether every W has its I and every I its F before it on the rank, and no moment needs more than
// `limit` activations.
bool keeps_limit(std::span<const Token> tokens, int limit);
// The same for the limits of a rank, in numbers and bytes.
bool keeps_limit(const CompactProblem& problem, std::size_t rank, std::span<const Token> tokens);
// The most that a rank holds at any moment, where the problem counts bytes.
double peak_bytes(const CompactProblem& problem, std::size_t rank, std::span<const Token> tokens);
// The same from the token_bytes() of its `chunks` chunks.
double peak_bytes(std::span<const TokenBytes> bytes, std::size_t chunks,
                  std::span<const Token> tokens);

double token_duration(const CompactProblem& problem, int rank, const Token& token);

// Mean length of F, I and W over all slots: the unit of what is as long as a cell, or as nothing.
double mean_cell(const CompactProblem& problem);

class CompactTimer {
 public:
  explicit CompactTimer(const CompactProblem& problem);

  static constexpr double kDeadlock = std::numeric_limits<double>::infinity();
  // kDeadlock also where it is clear that the makespan exceeds `give_up`.
  double makespan(const CompactOrder& order, double give_up = kDeadlock);
  // Of the order timed last: when each rank was through.
  const std::vector<double>& ends() const { return free_; }

  struct Place {
    int rank = -1, token = -1;
  };
  // The chain of tokens that made the last rank end when it did, from the end backwards.
  void critical_path(const CompactOrder& order, std::vector<Place>& path);
  // Of the order that critical_path() was last asked about: [rank][token].
  const std::vector<std::vector<double>>& starts() const { return starts_; }

 private:
  template <bool kTrace>
  bool run(const CompactOrder& order, double give_up);

  const CompactProblem& problem_;
  std::size_t stride_;
  // [slot * stride + n]: when the n-th activation arrives at the next slot, gradient at the
  // previous.
  std::vector<double> activation_, gradient_;
  std::vector<Place> activation_from_, gradient_from_;
  std::vector<int> forwards_, gradients_, weights_;  // [slot] done
  std::vector<std::size_t> at_;                      // [rank]
  std::vector<double> free_;                         // [rank]
  std::vector<std::vector<double>> starts_;
  std::vector<std::vector<Place>> before_;  // what each start waited for
};

}  // namespace orrery
