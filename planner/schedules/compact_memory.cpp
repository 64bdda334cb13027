#include <algorithm>
#include <array>
#include <cmath>

#include "core/error.hpp"
#include "planner/schedules/compact.hpp"

namespace orrery {
namespace {

// In the order of CellKind.
constexpr CellKind kKinds[] = {CellKind::kF, CellKind::kB,  CellKind::kI,
                               CellKind::kW, CellKind::kFB, CellKind::kFI};

TokenBytes bytes_of_token(CellKind kind, const StageBytes& forward, const StageBytes& backward) {
  const Lifetimes &made_of = forward.all, &freed_of = backward.all;
  const double made = (made_of.until_input_gradient + made_of.until_weight_gradient).value();
  const double freed = (freed_of.until_input_gradient + freed_of.until_weight_gradient).value();
  const double operands = freed_of.weight_operands.value();
  const double traded = operands - freed_of.until_input_gradient.value();  // by I
  const double layer = forward.largest_activations.value();
  const double layer_operands = backward.largest_operands.value();
  // Halves of several layers go through them one by one, freeing as they make.
  const auto several = [](double kept, double first) { return std::max(0.0, kept) + first; };
  switch (kind) {
    case CellKind::kF: return {made, made};
    case CellKind::kB: return {std::max(layer_operands, backward.backward_peak.value()), -freed};
    case CellKind::kI: return {several(traded, layer_operands), traded};
    case CellKind::kW: return {0, -(freed_of.until_weight_gradient.value() + operands)};
    case CellKind::kFB: return {several(made - freed, layer + layer_operands), made - freed};
    case CellKind::kFI: return {several(made + traded, layer + layer_operands), made + traded};
  }
  return {};
}

}  // namespace

std::vector<TokenBytes> token_bytes(std::span<const StageBytes> chunks) {
  std::vector<TokenBytes> bytes;
  for (const CellKind kind : kKinds) {
    for (const StageBytes& forward : chunks) {
      for (const StageBytes& backward : chunks)
        bytes.push_back(bytes_of_token(kind, forward, backward));
    }
  }
  return bytes;
}

void count_bytes(CompactProblem& problem, const Schedule& placement, const ActivationBytes& bytes) {
  static_assert(static_cast<int>(CellKind::kFI) + 1 == std::size(kKinds));
  problem.bytes.clear();
  problem.byte_limits.clear();
  for (std::size_t rank = 0; rank < placement.chunks.size(); ++rank) {
    const auto& chunks = placement.chunks[rank];
    const auto stage = [&](std::size_t chunk) -> const StageBytes& {
      const ChunkPlace& place = chunks[chunk];
      return bytes.stages[static_cast<std::size_t>(place.direction)][place.stage.index()];
    };
    std::vector<StageBytes> own;
    for (std::size_t chunk = 0; chunk < chunks.size(); ++chunk) own.push_back(stage(chunk));
    problem.bytes.push_back(token_bytes(own));
    const double limit = bytes.limits[rank].value();
    problem.byte_limits.push_back(limit);
    // So many fit at the most, whichever they are.
    double least = std::numeric_limits<double>::infinity();
    for (std::size_t chunk = 0; chunk < chunks.size(); ++chunk) {
      const Lifetimes& of = stage(chunk).all;
      least = std::min(
          least, (of.until_weight_gradient + std::min(of.until_input_gradient, of.weight_operands))
                     .value());
    }
    if (least > 0 && std::isfinite(least)) {
      int& count = problem.limits[rank];
      count = std::min(count, static_cast<int>(std::floor(limit / least + 1e-9)));
    }
  }
}

double peak_bytes(std::span<const TokenBytes> bytes, std::size_t chunks,
                  std::span<const Token> tokens) {
  double live = 0, peak = 0;
  for (const Token& token : tokens) {
    const TokenBytes& own = bytes[token.place(chunks)];
    peak = std::max(peak, live + own.peak);
    live += own.kept;
  }
  return peak;
}

double peak_bytes(const CompactProblem& problem, std::size_t rank, std::span<const Token> tokens) {
  return peak_bytes(problem.bytes[rank], problem.of_rank[rank].size(), tokens);
}

bool keeps_limit(std::span<const Token> tokens, int limit) {
  std::array<int, kMostChunks> forwards{}, gradients{}, weights{};
  int live = 0;
  for (const Token& token : tokens) {
    // The backward of a pair cannot be that of its own forward.
    if (token.has_input_gradient() && ++gradients[token.backward] > forwards[token.backward])
      return false;
    if (token.has_forward()) {
      ++forwards[token.forward];
      if (++live > limit) return false;
    }
    if (token.has_weight_gradient()) {
      if (++weights[token.backward] > gradients[token.backward]) return false;
      --live;
    }
  }
  return true;
}

bool keeps_limit(const CompactProblem& problem, std::size_t rank, std::span<const Token> tokens) {
  constexpr double kRounding = 1e-9;
  if (!keeps_limit(tokens, problem.limits[rank])) return false;
  return problem.bytes.empty() ||
         peak_bytes(problem, rank, tokens) <= problem.byte_limits[rank] * (1 + kRounding);
}

}  // namespace orrery
