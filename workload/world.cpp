#include "workload/world.hpp"

#include <map>

#include "core/error.hpp"
#include "workload/groups.hpp"

namespace orrery {
namespace {

class Expansion {
 public:
  Expansion(const Program& program, const Copies& copies) : program_(program), copies_(copies) {
    // Ids of an instruction's copies follow each other.
    first_id_.reserve(program.instructions.size() + 1);
    std::size_t next = 0;
    for (const Instruction& instruction : program.instructions) {
      first_id_.push_back(next);
      next += count(instruction.rank);
    }
    first_id_.push_back(next);
  }

  ExpandedProgram run() {
    Program& out = result_.program;
    out.pp = copies_.first.back();
    out.works = program_.works;
    copy_buffers();
    copy_instructions();
    copy_streams();
    make_collectives();
    return std::move(result_);
  }

 private:
  std::size_t count(Rank rank) const {
    return static_cast<std::size_t>(copies_.first[rank.index() + 1] - copies_.first[rank.index()]);
  }
  int first_copy(InstructionId id) const {
    return copies_.first[program_.instructions[id.index()].rank.index()];
  }
  InstructionId at(InstructionId id, int copy) const {
    return InstructionId(static_cast<std::int64_t>(first_id_[id.index()]) + copy - first_copy(id));
  }

  // A buffer has as many copies as the rank whose instructions name it.
  void copy_buffers() {
    first_buffer_.assign(program_.buffers.size() + 1, 0);
    for (const Instruction& instruction : program_.instructions) {
      for (const BufferEvent& event : program_.events_of(instruction))
        first_buffer_[static_cast<std::size_t>(event.buffer) + 1] = count(instruction.rank);
    }
    for (std::size_t buffer = 0; buffer < program_.buffers.size(); ++buffer) {
      result_.program.buffers.insert(result_.program.buffers.end(), first_buffer_[buffer + 1],
                                     program_.buffers[buffer]);
      first_buffer_[buffer + 1] += first_buffer_[buffer];
    }
  }

  void copy_instructions() {
    Program& out = result_.program;
    out.instructions.reserve(first_id_.back());
    result_.origin.reserve(first_id_.back());
    std::size_t deps = 0;
    std::size_t events = 0;
    for (const Instruction& origin : program_.instructions) {
      deps += program_.deps_of(origin).size() * count(origin.rank);
      events += program_.events_of(origin).size() * count(origin.rank);
    }
    out.deps.reserve(deps);
    out.buffer_events.reserve(events);
    for (const Instruction& origin : program_.instructions) {
      const int first = copies_.first[origin.rank.index()];
      for (std::size_t place = 0; place < count(origin.rank); ++place) {
        const int number = first + static_cast<int>(place);
        Instruction copy = origin;
        copy.id = at(origin.id, number);
        copy.rank = Rank(number);
        if (origin.partner.valid()) {
          const Rank to = program_.instructions[origin.partner.index()].rank;
          copy.partner = at(origin.partner, copies_.peer(number, to));
        }
        copy.collective = -1;
        copy.first_dep = static_cast<std::uint32_t>(out.deps.size());
        for (InstructionId before : program_.deps_of(origin)) {
          ORRERY_CHECK(program_.instructions[before.index()].rank == origin.rank,
                       "a dependency across ranks");
          out.deps.push_back(at(before, number));
        }
        copy.last_dep = static_cast<std::uint32_t>(out.deps.size());
        copy.first_event = static_cast<std::uint32_t>(out.buffer_events.size());
        for (const BufferEvent& event : program_.events_of(origin)) {
          const std::size_t buffer = first_buffer_[static_cast<std::size_t>(event.buffer)] + place;
          out.buffer_events.push_back({static_cast<std::int32_t>(buffer), event.alloc});
        }
        copy.last_event = static_cast<std::uint32_t>(out.buffer_events.size());
        out.instructions.push_back(copy);
        result_.origin.push_back(origin.id);
      }
    }
  }

  void copy_streams() {
    result_.program.streams.resize(static_cast<std::size_t>(copies_.first.back()));
    for (std::size_t rank = 0; rank < program_.streams.size(); ++rank) {
      for (int copy = copies_.first[rank]; copy < copies_.first[rank + 1]; ++copy) {
        auto& copied = result_.program.streams[static_cast<std::size_t>(copy)];
        for (std::size_t stream = 0; stream < copied.size(); ++stream) {
          copied[stream].reserve(program_.streams[rank][stream].size());
          for (InstructionId id : program_.streams[rank][stream])
            copied[stream].push_back(at(id, copy));
        }
      }
    }
  }

  void make_collectives() {
    for (const Instruction& instruction : program_.instructions) {
      const Work& work = program_.work(instruction);
      if (work.is_compute() || work.wire.pattern == Pattern::kSend) continue;
      if (instruction.collective < 0) {
        add_collective({instruction.id});
      } else if (const auto& members =
                     program_.collectives[static_cast<std::size_t>(instruction.collective)];
                 members.front() == instruction.id) {
        add_collective(members);
      }
    }
  }

  // The groups that copies of `origins`' pipeline ranks form.
  void add_collective(const std::vector<InstructionId>& origins) {
    Program& out = result_.program;
    std::map<int, std::vector<InstructionId>> groups;
    for (InstructionId origin : origins) {
      const Instruction& instruction = program_.instructions[origin.index()];
      for (int copy = copies_.first[instruction.rank.index()];
           copy < copies_.first[instruction.rank.index() + 1]; ++copy) {
        groups[copies_.group(instruction, copy)].push_back(at(origin, copy));
      }
    }
    for (auto& [key, members] : groups) {
      for (InstructionId id : members) {
        out.instructions[id.index()].collective = static_cast<std::int32_t>(out.collectives.size());
      }
      out.collectives.push_back(std::move(members));
    }
  }

  const Program& program_;
  const Copies& copies_;
  std::vector<std::size_t> first_id_;      // by instruction; one more at the end
  std::vector<std::size_t> first_buffer_;  // by buffer; one more at the end
  ExpandedProgram result_;
};

}  // namespace

GpuPlace gpu_place(const Layout& layout, int gpu) {
  GpuPlace place;
  const int gpus_per_rank = layout.tp * layout.cp * layout.dp;
  place.pipeline = gpu / gpus_per_rank;
  const int inside = gpu % gpus_per_rank;
  place.tensor = inside % layout.tp;
  place.replica = inside / layout.tp;
  place.context = place.replica % layout.cp;
  place.data = place.replica / layout.cp;
  const int fold = expert_fold(layout);
  place.expert = place.replica % (layout.ep / fold) * fold + place.tensor / layout.etp % fold;
  place.expert_tensor = place.tensor % layout.etp;
  return place;
}

ExpandedProgram expand(const Program& program, const Copies& copies) {
  return Expansion(program, copies).run();
}

World expand(const Program& program, const Layout& layout) {
  World world;
  world.gpus_per_rank = layout.tp * layout.cp * layout.dp;
  Copies copies;
  for (int rank = 0; rank <= program.pp; ++rank) copies.first.push_back(rank * world.gpus_per_rank);
  copies.group = [&](const Instruction& origin, int copy) {
    return group_key(group_kind(program.work(origin), layout), layout, copy % world.gpus_per_rank);
  };
  copies.peer = [&](int copy, Rank to) {
    return to.value * world.gpus_per_rank + copy % world.gpus_per_rank;
  };
  ExpandedProgram expanded = expand(program, copies);
  for (const Instruction& instruction : expanded.program.instructions) {
    if (instruction.collective < 0) continue;
    const Work& work = expanded.program.work(instruction);
    const auto members =
        expanded.program.collectives[static_cast<std::size_t>(instruction.collective)].size();
    ORRERY_CHECK(static_cast<int>(members) == work.wire.group,
                 "{} has {} members, its wire says {}", work.name, members, work.wire.group);
  }
  world.program = std::move(expanded.program);
  world.origin = std::move(expanded.origin);
  return world;
}

}  // namespace orrery
