#pragma once
// The communication of one rank: what a send, a receive or a collective of the Program moves, as
// operations that the communication worker starts and advances (realrun/rank_worker.hpp).
//
// Messages between stages carry their identity (direction, stage, micro-batch, activation or
// gradient) in the tag, from each side's own instruction: a receive that the plan has put in the
// wrong order waits for its own message and not for whatever comes first.
#include <functional>
#include <memory>

#include "core/program.hpp"
#include "realrun/collectives.hpp"
#include "realrun/rank_state.hpp"
#include "realrun/transport.hpp"

namespace orrery {

// One instruction in flight.
class RankOperation {
 public:
  virtual ~RankOperation() = default;
  // True when finished; call after events. May use CPU time only where pending_work() > 0.
  virtual bool advance() = 0;
  virtual std::size_t pending_work() = 0;
  // Unpacks what arrived.
  virtual void finish() = 0;
  // When all sides were there.
  virtual std::optional<Seconds> started() = 0;
};

// Carries out the communication instructions of a world's Program for one rank.
template <class T>
class RankCommunication {
 public:
  RankCommunication(const Program& program, RankState<T>& rank, Transport& transport)
      : program_(program), rank_(rank), transport_(transport) {}

  // Posts the instruction's messages; packing them costs CPU time.
  std::unique_ptr<RankOperation> start(const Instruction& instruction);
  // Whether a receive (or send) carries an activation to the next stage, or a gradient back.
  bool is_activation(const Instruction& instruction) const;

 private:
  std::unique_ptr<RankOperation> start_send(const Instruction&);
  std::unique_ptr<RankOperation> start_receive(const Instruction&);
  std::unique_ptr<RankOperation> start_exchange(const Instruction&, const Group&, OperationName);
  std::unique_ptr<RankOperation> start_layer_collective(const Instruction&, const Group&,
                                                        OperationName);
  std::unique_ptr<RankOperation> start_parameters(const Instruction&, const Group&, OperationName);
  std::int64_t message_tag(const Instruction&, Stage to) const;
  Frame<T>& frame_of(const Instruction&);

  const Program& program_;
  RankState<T>& rank_;
  Transport& transport_;
};

extern template class RankCommunication<float>;
extern template class RankCommunication<double>;

}  // namespace orrery
