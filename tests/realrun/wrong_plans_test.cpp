// A Program that is wrong is not carried out: the run ends with an error that names the rank and
// the instruction, or, where ranks wait for what never comes, with what each of them waits for.
#include <regex.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <functional>

#include "core/error.hpp"
#include "tests/realrun/tiny_runs.hpp"

namespace orrery {
namespace {

using Condition = std::function<bool(const Instruction&)>;

struct Wrong {
  const char* what;
  std::function<void(Program&)> mutate;
  std::vector<const char*> says;  // patterns, each found in a line of the error
};

std::vector<InstructionId>& list(Program& program, int rank, Stream stream) {
  return program.streams[static_cast<std::size_t>(rank)][static_cast<std::size_t>(stream)];
}

// The first instruction of the list that the condition holds for.
std::vector<InstructionId>::iterator find(Program& program, int rank, Stream stream,
                                          const Condition& condition) {
  std::vector<InstructionId>& ids = list(program, rank, stream);
  const auto found = std::find_if(ids.begin(), ids.end(), [&](InstructionId id) {
    return condition(program.instructions[id.index()]);
  });
  REQUIRE(found != ids.end());
  return found;
}

Instruction& first(Program& program, int rank, Stream stream, const Condition& condition) {
  return program.instructions[find(program, rank, stream, condition)->index()];
}

Condition of(const Program& program, Component component, Pass pass) {
  return [&program, component, pass](const Instruction& instruction) {
    const Work& work = program.work(instruction);
    return work.component == component && work.pass == pass;
  };
}

Condition named(const Program& program, const char* name) {
  return [&program, name](const Instruction& instruction) {
    return program.work(instruction).name == name;
  };
}

Condition any() {
  return [](const Instruction&) { return true; };
}

// Replaces what the instruction waits for by what `keep` leaves of it.
void filter_dependencies(Program& program, Instruction& instruction,
                         const std::function<bool(InstructionId)>& keep) {
  const auto before = program.deps_of(instruction);
  const std::vector<InstructionId> old(before.begin(), before.end());
  instruction.first_dep = static_cast<std::uint32_t>(program.deps.size());
  std::copy_if(old.begin(), old.end(), std::back_inserter(program.deps), keep);
  instruction.last_dep = static_cast<std::uint32_t>(program.deps.size());
}

// Takes the instruction out of its list; what waits for it waits for the one before it there.
void leave_out(Program& program, int rank, Stream stream, const Condition& condition) {
  const auto place = find(program, rank, stream, condition);
  const InstructionId gone = *place;
  const auto before =
      place == list(program, rank, stream).begin() ? InstructionId() : *std::prev(place);
  list(program, rank, stream).erase(place);
  for (InstructionId& dependency : program.deps) {
    if (dependency == gone && before.valid()) dependency = before;
  }
  for (Instruction& instruction : program.instructions)
    filter_dependencies(program, instruction, [&](InstructionId id) { return id != gone; });
}

// The events of the instruction, with those that `change` says in their place.
void change_events(Program& program, Instruction& instruction,
                   const std::function<void(std::vector<BufferEvent>&)>& change) {
  const auto before = program.events_of(instruction);
  std::vector<BufferEvent> events(before.begin(), before.end());
  change(events);
  instruction.first_event = static_cast<std::uint32_t>(program.buffer_events.size());
  program.buffer_events.insert(program.buffer_events.end(), events.begin(), events.end());
  instruction.last_event = static_cast<std::uint32_t>(program.buffer_events.size());
}

// The buffer of that kind which the instruction frees.
int freed_buffer(const Program& program, const Instruction& instruction, BufferKind kind) {
  for (const BufferEvent& event : program.events_of(instruction)) {
    if (!event.alloc && program.buffers[static_cast<std::size_t>(event.buffer)].kind == kind)
      return event.buffer;
  }
  return -1;
}

Condition frees(const Program& program, BufferKind kind) {
  return [&program, kind](const Instruction& instruction) {
    return freed_buffer(program, instruction, kind) >= 0;
  };
}

Condition allocates(const Program& program, BufferKind kind) {
  return [&program, kind](const Instruction& instruction) {
    const auto events = program.events_of(instruction);
    return std::any_of(events.begin(), events.end(), [&](const BufferEvent& event) {
      return event.alloc && program.buffers[static_cast<std::size_t>(event.buffer)].kind == kind;
    });
  };
}

// The work of an instruction for itself alone, to be changed.
Work& own_work(Program& program, Instruction& instruction) {
  program.works.push_back(program.work(instruction));
  instruction.work = WorkId(static_cast<std::int64_t>(program.works.size()) - 1);
  return program.works.back();
}

Condition microbatch(int number) {
  return
      [number](const Instruction& instruction) { return instruction.microbatch.value == number; };
}

const std::vector<Wrong> kWrongs = {
    // Who waits for whom.
    {"two receives in each other's place",
     [](Program& program) {
       auto& receives = list(program, 1, Stream::kRecvPrev);
       std::swap(receives[0], receives[1]);
     },
     {"nothing has happened for 0.5 s",
      "rank 2: attn.F.* waits for rank 2: pipeline transfer .recv-prev",
      "rank 0: .*send to rank 2, .*activation"}},
    {"a receive of another micro-batch",
     [](Program& program) {
       first(program, 1, Stream::kRecvPrev, microbatch(0)).microbatch = Microbatch(1);
     },
     {"rank [23]: pipeline transfer .recv-prev.*'received tensor'"}},
    {"a send without its receive",
     [](Program& program) { leave_out(program, 0, Stream::kRecvNext, microbatch(2)); },
     {"rank [01]:"}},
    {"a receive without its send",
     [](Program& program) { leave_out(program, 1, Stream::kSendPrev, microbatch(1)); },
     {"nothing has happened for 0.5 s", "rank 0: mlp.I.* waits for rank 0: combine",
      "rank 0: receive from rank 2, .*gradient"}},
    {"a dispatch after the combine that waits for it",
     [](Program& program) {
       const auto dispatch =
           find(program, 0, Stream::kComm, of(program, Component::kDispatch, Pass::kF));
       std::swap(*dispatch, *(dispatch + 1));
     },
     {"nothing has happened for 0.5 s",
      "rank 0: mlp.F.* waits for rank 0: dispatch.F. .comm., micro-batch 0"}},
    {"a reduction that one pipeline rank leaves out",
     [](Program& program) {
       leave_out(program, 0, Stream::kComm, named(program, "gradient reduction, embedding"));
     },
     {"rank [01]: gradient norm .*gradients that 4 ranks hold .* have not been reduced"}},
    {"the sums of two pipeline ranks in different orders",
     [](Program& program) {
       const auto sum =
           find(program, 0, Stream::kComm, named(program, "gradient reduction, embedding"));
       const auto norm =
           find(program, 0, Stream::kComm, named(program, "gradient norm all-reduce"));
       std::swap(*sum, *norm);
     },
     {"nothing has happened for 0.5 s", "rank 2: receive from rank 0, operation",
      "rank 0: gradient norm"}},
    {"expert counts that are not summed",
     [](Program& program) {
       leave_out(program, 1, Stream::kComm, named(program, "expert count all-reduce"));
     },
     {"rank [23]: optimizer .*expert counts have not been summed"}},
    {"a gradient norm of one rank alone",
     [](Program& program) {
       for (int rank : {0, 1})
         leave_out(program, rank, Stream::kComm, named(program, "gradient norm all-reduce"));
     },
     {"rank [0-3]: optimizer .*gradient norm has not been summed"}},
    {"shards of parameters that are not gathered",
     [](Program& program) {
       leave_out(program, 1, Stream::kComm, named(program, "parameter gather, the rest"));
     },
     {"rank [23]: parameters that 2 ranks share .* were not gathered"}},
    // What is carried out.
    {"an attention without its weight gradient",
     [](Program& program) {
       leave_out(program, 1, Stream::kCompute, of(program, Component::kAttention, Pass::kW));
     },
     {"rank [23]: gradient reduction, the rest .*'mtp 0 attention.*2 gradients of micro-batches, 3 "
      "are due"}},
    {"experts without their weight gradient",
     [](Program& program) {
       leave_out(program, 1, Stream::kCompute, of(program, Component::kMlp, Pass::kW));
     },
     {"rank [23]: gradient reduction, the rest .*'mtp 0 experts.*a weight gradient is missing"}},
    {"a weight gradient twice",
     [](Program& program) {
       const auto place =
           find(program, 1, Stream::kCompute, of(program, Component::kMlp, Pass::kW));
       list(program, 1, Stream::kCompute).insert(place, *place);
     },
     {"rank [23]: gradient reduction, the rest .*4 gradients of micro-batches, 3 are due"}},
    {"an input gradient in the place of a weight gradient",
     [](Program& program) {
       const WorkId other =
           first(program, 0, Stream::kCompute, named(program, "dense mlp(I)")).work;
       first(program, 0, Stream::kCompute, named(program, "dense mlp(W)")).work = other;
     },
     {"rank [01]: dense mlp.I. .*'input gradient' is"}},
    {"a forward that does not wait for its dispatch",
     [](Program& program) {
       Instruction& forward =
           first(program, 0, Stream::kCompute, of(program, Component::kMlp, Pass::kF));
       filter_dependencies(program, forward, [](InstructionId) { return false; });
       auto& compute = list(program, 0, Stream::kCompute);
       const auto place = std::find(compute.begin(), compute.end(), forward.id);
       std::swap(*place, *(place - 1));
     },
     {"rank [01]: dense mlp.F.*is used before it was made"}},
    {"the reduction before the last weight gradients",
     [](Program& program) {
       Instruction& sum =
           first(program, 1, Stream::kComm, named(program, "gradient reduction, the rest"));
       auto& comm = list(program, 1, Stream::kComm);
       comm.erase(std::find(comm.begin(), comm.end(), sum.id));
       comm.insert(comm.begin() + 6, sum.id);
       filter_dependencies(program, sum, [](InstructionId) { return false; });
     },
     {"rank [23]: gradient reduction, the rest .*0 gradients of micro-batches, 3 are due"}},
    // Buffers.
    {"activations freed before they are used",
     [](Program& program) {
       Instruction& last =
           first(program, 0, Stream::kCompute, frees(program, BufferKind::kActivation));
       const int buffer = freed_buffer(program, last, BufferKind::kActivation);
       change_events(program, last, [&](auto& events) {
         std::erase_if(events, [&](const BufferEvent& event) { return event.buffer == buffer; });
       });
       Instruction& maker = first(program, 0, Stream::kCompute, [&](const Instruction& each) {
         const auto events = program.events_of(each);
         return std::any_of(events.begin(), events.end(),
                            [&](const BufferEvent& event) { return event.buffer == buffer; });
       });
       change_events(program, maker, [&](auto& events) { events.push_back({buffer, false}); });
     },
     {"rank [01]: dispatch.F.*is used after its buffer was freed"}},
    {"operands of a weight gradient never freed",
     [](Program& program) {
       Instruction& last =
           first(program, 1, Stream::kCompute, frees(program, BufferKind::kWeightGradientInput));
       change_events(program, last, [](auto& events) { events.clear(); });
     },
     {"rank [23]: activations for the weight gradient of micro-batch 0.* were never freed"}},
    {"a buffer allocated twice",
     [](Program& program) {
       Instruction& maker = first(program, 1, Stream::kCompute,
                                  allocates(program, BufferKind::kActivationForWeights));
       change_events(program, maker, [](auto& events) {
         const std::vector<BufferEvent> again(events);
         for (const BufferEvent& event : again) {
           if (event.alloc) events.push_back(event);
         }
       });
     },
     {"rank [23]: attn.F. .*twice"}},
    {"a received tensor freed twice",
     [](Program& program) {
       Instruction& last =
           first(program, 1, Stream::kCompute, frees(program, BufferKind::kCommunication));
       const int buffer = freed_buffer(program, last, BufferKind::kCommunication);
       change_events(program, last, [&](auto& events) { events.push_back({buffer, false}); });
     },
     {"rank [23]: attn.F. .*twice"}},
    // Sizes.
    {"half of an activation sent",
     [](Program& program) {
       Instruction& send = first(program, 0, Stream::kSendNext, any());
       own_work(program, send).wire.logical = own_work(program, send).wire.logical / 2;
     },
     {"rank [01]: pipeline transfer .*moves 128 B, the tensor has 256 B"}},
    {"a ZeRO shard that is half of it",
     [](Program& program) {
       Instruction& update = first(program, 1, Stream::kCompute, named(program, "optimizer"));
       own_work(program, update).ops.front().m /= 2;
     },
     {"rank [23]: optimizer .*updates 3540.0 parameters, .* is 7080.0"}},
    {"a reduction of fewer bytes than there are gradients",
     [](Program& program) {
       Instruction& sum =
           first(program, 0, Stream::kComm, named(program, "gradient reduction, the rest"));
       own_work(program, sum).wire.logical = own_work(program, sum).wire.logical * 0.9;
     },
     {"rank [01]: gradient reduction, the rest .*moves 5702 B, .* need 6336 B"}},
    {"a gather of parameters that the rank does not hold",
     [](Program& program) {
       Instruction& gather =
           first(program, 0, Stream::kComm, named(program, "parameter gather, the rest"));
       own_work(program, gather).parameters = ParameterSet::kReplicated;
     },
     {"rank [01]: parameter gather, the rest .*asks for parameters that the rank does not hold"}},
};

// Whether the extended regular expression matches within a line of the text.
bool is_in_a_line(const std::string& text, const char* pattern) {
  regex_t compiled{};
  REQUIRE(regcomp(&compiled, pattern, REG_EXTENDED | REG_NOSUB | REG_NEWLINE) == 0);
  const bool found = regexec(&compiled, text.c_str(), 0, nullptr, 0) == 0;
  regfree(&compiled);
  return found;
}

Plan plan_to_break() {
  RunShape shape;
  shape.layout = sizes(2, 2, 2);
  shape.layout.precision = Precision::kBf16;
  shape.microbatches = 3;
  return tiny_plan(shape);
}

TEST_CASE("a wrong plan fails with the rank and the instruction, and none hangs") {
  const Wrong wrong = GENERATE(from_range(kWrongs));
  CAPTURE(wrong.what);
  const Plan plan = plan_to_break();
  Program program = lower(plan);
  wrong.mutate(program);
  HostRunOptions options;
  options.patience = Seconds{0.5};
  TinyRun<double> run(plan, program, options);
  std::string why;
  try {
    run.step(0);
  } catch (const ProgramError& error) {
    why = error.what();
  }
  INFO(why);
  for (const char* part : wrong.says) {
    CAPTURE(part);
    CHECK(is_in_a_line(why, part));
  }
}

}  // namespace
}  // namespace orrery
