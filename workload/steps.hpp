#pragma once
// A component of a layer as a chain of steps: kernels on the compute stream, with the collectives
// of tensor and context parallelism between them. Without those a component is one compute step.
#include <vector>

#include "core/op.hpp"
#include "core/program.hpp"
#include "workload/shard.hpp"

namespace orrery {

struct Step {
  std::vector<Op> ops;  // empty for communication
  Wire wire;            // pattern kNone for compute
  Component component =
      Component::kAttention;  // kTensorParallel or kContextParallel for their collectives
  std::string tensor;         // what a collective moves: "latents"
};

using Steps = std::vector<Step>;

// What one GPU sends when its tensor-parallel group gathers (or reduces and scatters) `width` BF16
// columns of all its tokens.
Bytes gathered(const Shard& shard, double width);
// The same of the operand of a linear layer: with one scale a tensor it is gathered in FP8.
Bytes gathered_operand(const Shard& shard, double width);

// Collects the ops of one component; consecutive ops make one compute step.
class StepBuilder {
 public:
  StepBuilder(const Shard& shard, Component component) : shard_(shard), component_(component) {}

  void add(Op op);
  void add_if(bool wanted, Op op) {
    if (wanted) add(std::move(op));
  }
  // The FP8 operand of a linear layer. With 1x128 scales: cast, then its scales transposed for the
  // GEMM; what its weight gradient needs is cast by itself, later. With one scale a tensor: cast
  // both ways at once. Nothing in BF16.
  void cast_operand(std::string name, double rows, double columns, bool recompute = false);
  // Where a norm made it, which with one scale a tensor writes FP8 itself.
  void cast_normed(std::string name, double rows, double columns);
  // The gradient of a linear layer's output, `width` wide, from which the tensor-parallel GPUs have
  // tokens / tp each: gathered, and cast where it is gathered in FP8; cast_gathered makes the
  // operand.
  void gather_gradient(std::string name, double width);
  void cast_gathered(std::string name, double width);
  // The normed input of a linear layer, gathered again for its weight gradient.
  void transpose_normed(std::string name, double rows, double columns);
  // A collective among the tp (or cp) GPUs in which each GPU sends `sent` bytes in all.
  void tensor_parallel(Pattern pattern, Bytes sent, std::string tensor);
  void context_parallel(Pattern pattern, Bytes sent, std::string tensor);
  // Among the etp GPUs that share an expert: each other's `rows` of received tokens, in all.
  void expert_tensor_parallel(Pattern pattern, double rows, DataType type, std::string tensor);
  Steps take() { return std::move(steps_); }

 private:
  const Shard& shard_;
  Component component_;
  Steps steps_;
};

}  // namespace orrery
