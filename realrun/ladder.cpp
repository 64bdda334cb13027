#include "realrun/ladder.hpp"

#include <algorithm>
#include <cmath>

#include "realrun/whole_tensors.hpp"

namespace orrery {
namespace {

std::vector<Transport*> endpoints(ThreadWorld& threads, int ranks) {
  std::vector<Transport*> all;
  for (int rank = 0; rank < ranks; ++rank) all.push_back(&threads.endpoint(rank));
  return all;
}

// Beyond every limit where it is no number.
double relative(double value, double reference) {
  const double error = std::abs(value / reference - 1);
  return std::isfinite(error) ? error : INFINITY;
}

}  // namespace

double Ladder::worst_loss() const {
  double worst = 0;
  for (std::size_t step = 0; step < losses.size(); ++step)
    worst = std::max(worst, relative(losses[step], reference[step]));
  return worst;
}

double Ladder::worst_gradient() const {
  return gradients.empty() ? 0 : gradients.front().error;
}

bool Ladder::passes() const {
  return worst_loss() <= kLossLimit && worst_gradient() <= gradient_limit;
}

Recipe ladder_recipe() {
  Recipe recipe;
  recipe.init_std = 0.006;
  recipe.learning_rate = 1e-3;
  return recipe;
}

LadderRun::LadderRun(const Plan& plan, const Program& program, const Recipe& recipe,
                     const HostRunOptions& options, kernels::KernelSet<float>& set)
    : threads_(plan.layout.gpus()), reference_threads_(plan.layout.gpus()) {
  const int ranks = plan.layout.gpus();
  tested_ = std::make_unique<HostRun<float>>(plan, program, recipe, options,
                                             endpoints(threads_, ranks), set);
  HostRunOptions own;
  own.patience = options.patience;
  reference_ = std::make_unique<HostRun<float>>(plan, program, recipe, own,
                                                endpoints(reference_threads_, ranks));
  ladder_.gradient_limit = plan.layout.precision == Precision::kFp8 ? 0.05 : 0.01;
}

void LadderRun::follow(std::vector<RoutingLog>& logs, HostRun<float>& run) const {
  for (std::size_t rank = 0; rank < logs.size(); ++rank) run.ranks()[rank]->routing = &logs[rank];
}

StepResult LadderRun::step(const TokenSource& tokens) {
  const bool first = ladder_.losses.empty();
  std::vector<RoutingLog> logs(first ? reference_->ranks().size() : 0);
  follow(logs, *reference_);
  ladder_.reference.push_back(reference_->step(tokens).loss);
  for (RoutingLog& log : logs) log.follow();
  follow(logs, *tested_);
  StepResult result = tested_->step(tokens);
  ladder_.losses.push_back(result.loss);
  if (!first) return result;
  for (std::size_t rank = 0; rank < logs.size(); ++rank) {
    ladder_.choices += logs[rank].choices();
    ladder_.changed += logs[rank].changed();
    tested_->ranks()[rank]->routing = reference_->ranks()[rank]->routing = nullptr;
  }
  compare_gradients();
  return result;
}

void LadderRun::compare_gradients() {
  const WholeTensors expected = whole_gradients(*reference_), found = whole_gradients(*tested_);
  for (const auto& [name, tensor] : expected)
    ladder_.gradients.push_back({name, frobenius_error(found.at(name), tensor)});
  std::stable_sort(
      ladder_.gradients.begin(), ladder_.gradients.end(),
      [](const GradientError& a, const GradientError& b) { return a.error > b.error; });
}

}  // namespace orrery
