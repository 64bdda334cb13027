#pragma once
// A Program with every GPU explicit. `lower` writes one instruction list per pipeline rank, which
// stands for all dp x cp x tp GPUs of that rank; here each of them has its own, and every
// collective names its members. This is what real runs carry out and what a prediction of them
// simulates.
//
// GPU numbers: pipeline rank outermost, then data, context, tensor index (workload/placement.hpp).
// Groups of a GPU with tensor index t and replica j = data * cp + context:
//   tensor parallel    all t of the same j
//   expert tensor      the block of etp neighbours among them
//   expert parallel    the block of ep / f consecutive j, of each f consecutive blocks of etp
//                      neighbours, same t % etp; f = expert_fold, 1 (same t) unless ep is more than
//                      the replicas hold
//   context parallel   same t and data index
//   replicas           of experts: same place in the expert-parallel group and t % etp; of divided
//                      parameters: same t; of whole ones: all; over the mirrored pipeline ranks too
// A GPU talks to the GPUs with its own number in the neighbouring pipeline ranks.
//
// Size: gpus / pp times the Program's; made for up to a few hundred GPUs.
#include <functional>

#include "core/layout.hpp"
#include "core/program.hpp"

namespace orrery {

// Where a GPU sits in the layout.
struct GpuPlace {
  int pipeline = 0;
  int data = 0;
  int context = 0;
  int tensor = 0;
  int replica = 0;        // data * cp + context
  int expert = 0;         // place in its expert-parallel group
  int expert_tensor = 0;  // place among the GPUs that share an expert
};

GpuPlace gpu_place(const Layout& layout, int gpu);

struct World {
  Program program;                    // its ranks are GPUs
  int gpus_per_rank = 1;              // of one pipeline rank
  std::vector<InstructionId> origin;  // by instruction: the one of the Plan's Program

  int gpus() const { return program.pp; }
};

World expand(const Program& program, const Layout& layout);

// Which copies of its pipeline ranks' instruction lists a Program is expanded to: every GPU, or one
// for each class of GPUs that do the same at the same times.
struct Copies {
  std::vector<int> first;  // by pipeline rank, its first copy; one more at the end
  // Copies with the same key take part in a transfer of `origin` together.
  std::function<int(const Instruction& origin, int copy)> group;
  // The copy on pipeline rank `to` with which this one exchanges pipeline transfers.
  std::function<int(int copy, Rank to)> peer;
};

struct ExpandedProgram {
  Program program;                    // its ranks are copies
  std::vector<InstructionId> origin;  // by instruction
};

ExpandedProgram expand(const Program& program, const Copies& copies);

}  // namespace orrery
