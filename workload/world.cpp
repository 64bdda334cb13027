#include "workload/world.hpp"

#include <map>

#include "core/error.hpp"

namespace orrery {
namespace {

// GPUs of one pipeline rank with the same key exchange `work` among themselves.
int group_key(const Work& work, const Layout& layout, const GpuPlace& place) {
  switch (work.component) {
    case Component::kDispatch:
    case Component::kCombine: return place.tensor + layout.tp * (place.replica / layout.ep);
    case Component::kTensorParallel:
      // A group of etp GPUs lies inside one of tp; where both are equal they are the same.
      return work.wire.group == layout.tp ? place.replica
                                          : place.tensor / layout.etp + layout.tp * place.replica;
    case Component::kContextParallel: return place.tensor + layout.tp * place.data;
    default: break;
  }
  switch (work.parameters) {
    case ParameterSet::kExpert: return place.expert * layout.etp + place.expert_tensor;
    case ParameterSet::kDense:
    case ParameterSet::kEmbedding:
    case ParameterSet::kHead: return place.tensor;
    case ParameterSet::kReplicated:
    case ParameterSet::kNone: break;
  }
  return 0;
}

class Expansion {
 public:
  Expansion(const Program& program, const Layout& layout) : program_(program), layout_(layout) {
    world_.gpus_per_rank = layout.tp * layout.cp * layout.dp;
    gpus_ = static_cast<std::size_t>(world_.gpus_per_rank);
  }

  World run() {
    Program& out = world_.program;
    out.pp = program_.pp * world_.gpus_per_rank;
    out.works = program_.works;
    copy_buffers();
    copy_instructions();
    copy_streams();
    make_collectives();
    return std::move(world_);
  }

 private:
  InstructionId at(InstructionId id, std::size_t gpu) const {
    return id.valid() ? InstructionId(static_cast<std::int64_t>(id.index() * gpus_ + gpu)) : id;
  }

  void copy_buffers() {
    for (const Buffer& buffer : program_.buffers)
      world_.program.buffers.insert(world_.program.buffers.end(), gpus_, buffer);
  }

  void copy_instructions() {
    Program& out = world_.program;
    out.instructions.reserve(program_.instructions.size() * gpus_);
    for (const Instruction& origin : program_.instructions) {
      for (std::size_t gpu = 0; gpu < gpus_; ++gpu) {
        Instruction copy = origin;
        copy.id = at(origin.id, gpu);
        copy.rank = Rank(origin.rank.value * world_.gpus_per_rank + static_cast<int>(gpu));
        copy.partner = at(origin.partner, gpu);
        copy.collective = -1;
        copy.first_dep = static_cast<std::uint32_t>(out.deps.size());
        for (InstructionId before : program_.deps_of(origin)) out.deps.push_back(at(before, gpu));
        copy.last_dep = static_cast<std::uint32_t>(out.deps.size());
        copy.first_event = static_cast<std::uint32_t>(out.buffer_events.size());
        for (const BufferEvent& event : program_.events_of(origin)) {
          const std::size_t buffer = static_cast<std::size_t>(event.buffer) * gpus_ + gpu;
          out.buffer_events.push_back({static_cast<std::int32_t>(buffer), event.alloc});
        }
        copy.last_event = static_cast<std::uint32_t>(out.buffer_events.size());
        out.instructions.push_back(copy);
        world_.origin.push_back(origin.id);
      }
    }
  }

  void copy_streams() {
    for (const auto& streams : program_.streams) {
      for (std::size_t gpu = 0; gpu < gpus_; ++gpu) {
        auto& copies = world_.program.streams.emplace_back();
        for (std::size_t stream = 0; stream < streams.size(); ++stream) {
          for (InstructionId id : streams[stream]) copies[stream].push_back(at(id, gpu));
        }
      }
    }
  }

  void make_collectives() {
    for (const Instruction& instruction : program_.instructions) {
      const Work& work = program_.work(instruction);
      if (work.is_compute() || work.wire.pattern == Pattern::kSend) continue;
      if (instruction.collective < 0) {
        add_collective({instruction.id}, work);
      } else if (const auto& members =
                     program_.collectives[static_cast<std::size_t>(instruction.collective)];
                 members.front() == instruction.id) {
        add_collective(members, work);
      }
    }
  }

  // The groups that GPUs of `origins`' pipeline ranks form.
  void add_collective(const std::vector<InstructionId>& origins, const Work& work) {
    Program& out = world_.program;
    std::map<int, std::vector<InstructionId>> groups;
    for (InstructionId origin : origins) {
      for (std::size_t gpu = 0; gpu < gpus_; ++gpu) {
        const GpuPlace place = gpu_place(layout_, static_cast<int>(gpu));
        groups[group_key(work, layout_, place)].push_back(at(origin, gpu));
      }
    }
    for (auto& [key, members] : groups) {
      ORRERY_CHECK(static_cast<int>(members.size()) == work.wire.group,
                   "{} has {} members, its wire says {}", work.name, members.size(),
                   work.wire.group);
      for (InstructionId id : members) {
        out.instructions[id.index()].collective = static_cast<std::int32_t>(out.collectives.size());
      }
      out.collectives.push_back(std::move(members));
    }
  }

  const Program& program_;
  const Layout& layout_;
  std::size_t gpus_ = 1;
  World world_;
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
  place.expert = place.replica % layout.ep;
  place.expert_tensor = place.tensor % layout.etp;
  return place;
}

World expand(const Program& program, const Layout& layout) {
  return Expansion(program, layout).run();
}

}  // namespace orrery
