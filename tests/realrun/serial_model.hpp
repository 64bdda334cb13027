#pragma once
// A training step of a DeepSeek-V3-shaped model, written once more and as plainly as it goes: what
// real runs of any layout are compared with. One sequence at a time, scalar by scalar in double
// (tests/realrun/serial_forward.hpp), gradients by automatic differentiation. It shares with real
// runs the names, shapes and initial values of the parameters (realrun/parameters.hpp) and nothing
// else.
//
// With B sequences of S tokens in the global batch a step minimises
//
//   1/(B S) sum cross-entropy + mtp_weight 1/(B S) sum MTP cross-entropy + 1/B sum balance loss
//
// then clips the gradients to clip_norm over all parameters, updates by AdamW (Loshchilov & Hutter,
// "Decoupled Weight Decay Regularization", ICLR 2019, algorithm 2; norms are not decayed), and
// moves the routing bias by the counts of the batch.
//
//   SerialModel serial(model, sequence, recipe);
//   const SerialModel::Losses losses = serial.step(sequences);  // ids, S + 1 + mtp_depth each
//   serial.gradients().at("layer 1 experts.router");            // [experts, hidden] by rows
//
// Cost: a tape of about 28 bytes a multiply-add of one sequence; for models of some thousand
// parameters.
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.hpp"
#include "core/model.hpp"
#include "realrun/parameters.hpp"
#include "tests/realrun/serial_forward.hpp"
#include "tests/realrun/tape.hpp"
#include "tests/workload/example_programs.hpp"

namespace orrery {

class SerialModel {
 public:
  SerialModel(const Model& model, int sequence, const Recipe& recipe)
      : model_(model), sequence_(static_cast<std::size_t>(sequence)), recipe_(recipe) {
    const Plan plan = plan_of({model, "1f1b", 1, sizes(1, 1)});
    blocks_ = gpu_parameters(plan, gpu_place(plan.layout, 0)).blocks;
    for (const ParameterBlock& block : blocks_) {
      const auto elements = static_cast<std::size_t>(block.rows * block.columns);
      std::vector<double>& values = parameters_[block.name];
      values.resize(elements);
      initialise(block, recipe, values.data());
      moments_[block.name].resize(elements);
    }
    const std::vector<double> even(static_cast<std::size_t>(model.moe.experts), 0);
    for (int layer = model.dense_layers; layer < model.layers; ++layer)
      bias_[fmt::format("layer {}", layer)] = even;
    if (model.mtp_depth > 0) bias_["mtp 0"] = even;
  }

  // Means over the tokens of the batch, in nats, and over its sequences; weights are not in them.
  // The norm is of the gradients before clipping.
  struct Losses {
    double loss = 0, mtp_loss = 0, balance_loss = 0, gradient_norm = 0;
  };
  using Sequences = std::vector<std::vector<std::int32_t>>;

  // Forward alone: nothing changes but the counts.
  Losses evaluate(const Sequences& sequences) { return pass(sequences, false); }
  // Forward, backward, update.
  Losses step(const Sequences& sequences) {
    Losses losses = pass(sequences, true);
    double squares = 0;
    for (const auto& [name, gradient] : gradients_)
      squares = std::inner_product(gradient.begin(), gradient.end(), gradient.begin(), squares);
    losses.gradient_norm = std::sqrt(squares);
    update(losses.gradient_norm);
    return losses;
  }
  // What a step minimises.
  double objective(const Losses& losses) const {
    return losses.loss + recipe_.mtp_weight * losses.mtp_loss + losses.balance_loss;
  }

  // Of the last step, not clipped; whole tensors by name.
  const std::map<std::string, std::vector<double>>& gradients() const { return gradients_; }
  const std::map<std::string, std::vector<double>>& parameters() const { return parameters_; }
  void set_parameter(const std::string& name, std::size_t element, double value) {
    parameters_.at(name).at(element) = value;
  }
  // Of a unit with experts, "layer 2" or "mtp 0"; the counts are those of the last batch.
  const std::vector<double>& bias(const std::string& unit) const { return bias_.at(unit); }
  const std::vector<std::int64_t>& counts(const std::string& unit) const {
    return counts_.at(unit);
  }
  std::vector<std::string> expert_units() const {
    std::vector<std::string> units;
    for (const auto& [unit, bias] : bias_) units.push_back(unit);
    return units;
  }

 private:
  struct Moments {
    void resize(std::size_t elements) {
      first.resize(elements);
      second.resize(elements);
    }
    std::vector<double> first, second;
  };

  Losses pass(const Sequences& sequences, bool backward) {
    const auto batch = static_cast<double>(sequences.size());
    const double tokens = batch * static_cast<double>(sequence_);
    counts_.clear();
    if (backward) gradients_.clear();
    Losses losses;
    for (const std::vector<std::int32_t>& sequence : sequences) {
      ORRERY_CHECK(sequence.size() == sequence_ + 1 + static_cast<std::size_t>(model_.mtp_depth),
                   "{} ids for {} tokens", sequence.size(), sequence_);
      tape_.clear();
      SerialWeights weights;
      for (const ParameterBlock& block : blocks_) {
        SerialWeight& weight = weights[block.name];
        weight.columns = block.columns;
        for (double value : parameters_.at(block.name))
          weight.elements.push_back(tape_.leaf(value));
      }
      SerialForward forward(model_, recipe_, weights, bias_);
      const SequenceLoss loss = forward.run(sequence);
      losses.loss += loss.cross_entropy.value / tokens;
      losses.mtp_loss += loss.mtp_cross_entropy.value / tokens;
      losses.balance_loss += loss.balance.value / batch;
      for (const auto& [unit, counts] : forward.counts()) {
        counts_[unit].resize(counts.size());
        for (std::size_t expert = 0; expert < counts.size(); ++expert)
          counts_[unit][expert] += counts[expert];
      }
      if (!backward) continue;
      tape_.backward(loss.cross_entropy / tokens +
                     recipe_.mtp_weight * loss.mtp_cross_entropy / tokens + loss.balance / batch);
      for (const auto& [name, weight] : weights) {
        std::vector<double>& gradient = gradients_[name];
        gradient.resize(weight.elements.size());
        for (std::size_t at = 0; at < gradient.size(); ++at)
          gradient[at] += tape_.adjoint(weight.elements[at]);
      }
    }
    return losses;
  }

  void update(double norm) {
    ++steps_;
    const Recipe& r = recipe_;
    const double clip = r.clip_norm > 0 && norm > r.clip_norm ? r.clip_norm / norm : 1;
    for (const ParameterBlock& block : blocks_) {
      const double decay = block.is_norm ? 0 : r.weight_decay;
      const std::vector<double>& gradient = gradients_.at(block.name);
      std::vector<double>& values = parameters_.at(block.name);
      Moments& moments = moments_.at(block.name);
      for (std::size_t at = 0; at < values.size(); ++at) {
        const double g = clip * gradient[at];
        double& m = moments.first[at];
        double& v = moments.second[at];
        m = r.beta1 * m + (1 - r.beta1) * g;
        v = r.beta2 * v + (1 - r.beta2) * g * g;
        const double m_hat = m / (1 - std::pow(r.beta1, steps_));
        const double v_hat = v / (1 - std::pow(r.beta2, steps_));
        values[at] -=
            r.learning_rate * (m_hat / (std::sqrt(v_hat) + r.epsilon) + decay * values[at]);
      }
    }
    // bias_i += rate sign(mean - count_i), the sign in integers (Wang et al., arXiv 2408.15664,
    // algorithm 1).
    for (auto& [unit, bias] : bias_) {
      const std::vector<std::int64_t>& counts = counts_.at(unit);
      const auto experts = static_cast<std::int64_t>(counts.size());
      const std::int64_t total = std::accumulate(counts.begin(), counts.end(), std::int64_t{0});
      for (std::size_t expert = 0; expert < counts.size(); ++expert) {
        const std::int64_t lacking = total - counts[expert] * experts;
        if (lacking != 0) bias[expert] += lacking > 0 ? r.bias_rate : -r.bias_rate;
      }
    }
  }

  Model model_;
  std::size_t sequence_;
  Recipe recipe_;
  std::vector<ParameterBlock> blocks_;
  std::map<std::string, std::vector<double>> parameters_, gradients_;
  std::map<std::string, Moments> moments_;
  SerialForward::Bias bias_;
  SerialForward::Counts counts_;
  int steps_ = 0;
  Tape tape_;
};

}  // namespace orrery
