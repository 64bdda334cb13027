#include "core/fingerprint.hpp"

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <initializer_list>
#include <iterator>
#include <string_view>
#include <vector>

#include "core/hash.hpp"
#include "core/program.hpp"

namespace orrery {
namespace {

// A Program as text that differs wherever two programs do: counts before lists, names with their
// length.
class ProgramText {
 public:
  std::string take() { return std::move(text_); }

  void add(const Work& work) {
    number(static_cast<int>(work.component));
    number(static_cast<int>(work.pass));
    name(work.name);
    number(static_cast<int>(work.parameters));
    number(static_cast<std::int64_t>(work.ops.size()));
    for (const Op& op : work.ops) add(op);
    number(static_cast<int>(work.wire.pattern));
    number(work.wire.group);
    if (work.wire.all_to_all) number(-1);  // no group: fingerprints of other Programs stay
    for (Bytes amount : {work.wire.logical, work.wire.nic, work.wire.nvlink})
      this->amount(amount.value());
  }
  void add(const Op& op) {
    name(op.name);
    number(static_cast<int>(op.kernel));
    number(static_cast<int>(op.in));
    number(static_cast<int>(op.out));
    for (double value : {op.m, op.n, op.k, op.flops.value(), op.bytes.value()}) amount(value);
    for (int value : {op.groups, op.launches, op.recompute ? 1 : 0}) number(value);
  }
  void add(const Instruction& instruction) {
    for (std::int64_t value : std::initializer_list<std::int64_t>{
             instruction.id.value, instruction.work.value, instruction.rank.value,
             static_cast<int>(instruction.stream), instruction.lent_sms,
             instruction.overlapped ? 1 : 0, instruction.cell, instruction.stage.value,
             instruction.direction, instruction.layer, instruction.microbatch.value,
             instruction.partner.value, instruction.collective, instruction.first_dep,
             instruction.last_dep, instruction.first_event, instruction.last_event}) {
      number(value);
    }
  }
  void add(const Buffer& buffer) {
    number(static_cast<int>(buffer.kind));
    amount(buffer.bytes.value());
    number(buffer.stage.value);
    number(buffer.direction);
    number(buffer.layer);
    number(buffer.microbatch.value);
  }
  void add(const BufferEvent& event) {
    number(event.buffer);
    number(event.alloc ? 1 : 0);
  }
  void add(InstructionId id) { number(id.value); }
  template <class T>
  void add(const std::vector<T>& list) {
    number(static_cast<std::int64_t>(list.size()));
    for (const T& element : list) add(element);
  }
  template <class T, std::size_t size>
  void add(const std::array<T, size>& list) {
    for (const T& element : list) add(element);
  }
  void number(std::int64_t value) {
    const fmt::format_int digits(value);
    text_.append(digits.data(), digits.size());
    text_ += ' ';
  }

 private:
  void amount(double value) { fmt::format_to(std::back_inserter(text_), "{:.9g} ", value); }
  void name(std::string_view value) {
    number(static_cast<std::int64_t>(value.size()));
    text_ += value;
  }

  std::string text_;
};

}  // namespace

std::string fingerprint(const Program& program) {
  ProgramText text;
  text.number(program.pp);
  text.add(program.works);
  text.add(program.instructions);
  text.add(program.deps);
  text.add(program.buffers);
  text.add(program.buffer_events);
  text.add(program.collectives);
  text.add(program.streams);
  return hash_text(text.take());
}

}  // namespace orrery
