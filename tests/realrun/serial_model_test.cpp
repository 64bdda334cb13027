#include "tests/realrun/serial_model.hpp"

#include <catch2/catch.hpp>

#include "workload/random.hpp"

namespace orrery {
namespace {

constexpr int kSequence = 8;

// DeepSeek-V3 in the smallest sizes that still have all of its parts.
Model small_model(int q_lora_rank = 8, int mtp_depth = 1) {
  Model model;
  model.name = "serial";
  model.layers = 3;
  model.dense_layers = 1;
  model.hidden = 16;
  model.dense_inter = 24;
  model.vocab = 24;
  model.mtp_depth = mtp_depth;
  model.attention = {AttentionKind::kMla, 2, 2, q_lora_rank, 8, 4, 4, 4};
  model.moe = {8, 1, 2, 8, 4, 2};
  return model;
}

// Weights large enough that every part of the model matters.
Recipe strong_recipe() {
  Recipe recipe;
  recipe.init_std = 0.3;
  recipe.learning_rate = 1e-2;
  recipe.bias_rate = 1e-2;
  recipe.balance_weight = 1e-2;
  return recipe;
}

SerialModel::Sequences random_sequences(int count, const Model& model, std::uint64_t seed) {
  Random random(seed);
  SerialModel::Sequences sequences(static_cast<std::size_t>(count));
  for (std::vector<std::int32_t>& sequence : sequences) {
    for (int token = 0; token < kSequence + 1 + model.mtp_depth; ++token)
      sequence.push_back(random.below(model.vocab));
  }
  return sequences;
}

std::map<std::string, std::vector<std::int64_t>> counts_of(const SerialModel& serial) {
  std::map<std::string, std::vector<std::int64_t>> counts;
  for (const std::string& unit : serial.expert_units()) counts[unit] = serial.counts(unit);
  return counts;
}

// f'(x) = (8 (f(x + h) - f(x - h)) - (f(x + 2h) - f(x - 2h))) / 12h + O(h^4), of the objective; NaN
// where a step changes which experts are chosen from `counts`: there is no derivative.
double difference_quotient(SerialModel& serial, const SerialModel::Sequences& sequences,
                           const std::map<std::string, std::vector<std::int64_t>>& counts,
                           const std::string& name, std::size_t element) {
  constexpr double kStep = 1e-3;
  const double value = serial.parameters().at(name)[element];
  bool same_choice = true;
  const auto objective = [&](double steps) {
    serial.set_parameter(name, element, value + steps * kStep);
    const double result = serial.objective(serial.evaluate(sequences));
    same_choice = same_choice && counts_of(serial) == counts;
    return result;
  };
  const double near = objective(1) - objective(-1);
  const double far = objective(2) - objective(-2);
  serial.set_parameter(name, element, value);
  return same_choice ? (8 * near - far) / (12 * kStep) : std::nan("");
}

TEST_CASE("A tape differentiates sums, products, quotients and functions of shared operands") {
  // z = log(x y) / sqrt(x) + exp(-y) + (x, y, 2) . (y, y, x)
  // dz/dx = 1 / x^(3/2) - log(x y) / (2 x^(3/2)) + y + 2
  // dz/dy = 1 / (y sqrt(x)) - exp(-y) + x + 2 y
  Tape tape;
  const double x = 1.7, y = 0.6;
  const Var a = tape.leaf(x), b = tape.leaf(y), unused = tape.leaf(3);
  const std::vector<Var> left = {a, b, 2}, right = {b, b, a};
  const Var z = sum(std::vector<Var>{log(a * b) / sqrt(a), exp(-b), dot(left, right)});
  CHECK(
      z.value ==
      Approx(std::log(x * y) / std::sqrt(x) + std::exp(-y) + x * y + y * y + 2 * x).epsilon(1e-14));
  tape.backward(z);
  const double cube = std::pow(x, 1.5);
  CHECK(tape.adjoint(a) == Approx(1 / cube - std::log(x * y) / (2 * cube) + y + 2).epsilon(1e-13));
  CHECK(tape.adjoint(b) ==
        Approx(1 / (y * std::sqrt(x)) - std::exp(-y) + x + 2 * y).epsilon(1e-13));
  CHECK(tape.adjoint(unused) == 0);
  CHECK(tape.adjoint(Var(5) - 3) == 0);
  // Backward from elsewhere starts anew.
  tape.backward(a - b);
  CHECK(tape.adjoint(a) == 1);
  CHECK(tape.adjoint(b) == -1);
  CHECK_THROWS_AS(tape.backward(5), Bug);
  Tape other;
  CHECK_THROWS_AS(a + other.leaf(1), Bug);
}

TEST_CASE("The gradient of every tensor is the difference quotient of what a step minimises") {
  const int q_lora_rank = GENERATE(8, 0);
  CAPTURE(q_lora_rank);
  const Model model = small_model(q_lora_rank);
  SerialModel serial(model, kSequence, strong_recipe());
  const SerialModel::Sequences sequences = random_sequences(2, model, 7);
  // Updates first: norms are no longer ones, the routing bias no longer zeros.
  serial.step(sequences);
  serial.step(sequences);
  SerialModel at_gradient = serial;
  at_gradient.step(sequences);
  const auto counts = counts_of(at_gradient);
  Random random(11);
  int tensors = 0, felt = 0;
  for (const auto& [name, gradient] : at_gradient.gradients()) {
    int compared = 0;
    for (int draw = 0; draw < 10 && compared < 2; ++draw) {
      const auto element =
          static_cast<std::size_t>(random.below(static_cast<int>(gradient.size())));
      const double quotient = difference_quotient(serial, sequences, counts, name, element);
      if (std::isnan(quotient)) continue;
      ++compared;
      felt += std::abs(quotient) > 1e-4;
      CAPTURE(name, element);
      CHECK_THAT(gradient[element], Catch::WithinAbs(quotient, 1e-6 * std::abs(quotient) + 1e-9));
    }
    CAPTURE(name);
    CHECK(compared == 2);
    ++tensors;
  }
  // Few of the elements are of words and experts that the batch does not use.
  CAPTURE(tensors, felt);
  CHECK(felt > tensors);
}

TEST_CASE("A model that knows nothing yet pays the logarithm of the vocabulary") {
  // Logits of weights with deviation 0.02 lie within a few hundredths of 0.
  const Model model = small_model();
  Recipe recipe;
  SerialModel serial(model, kSequence, recipe);
  const SerialModel::Losses losses = serial.evaluate(random_sequences(8, model, 3));
  CHECK_THAT(losses.loss, Catch::WithinAbs(std::log(24), 0.05));
  CHECK_THAT(losses.mtp_loss, Catch::WithinAbs(std::log(24), 0.05));
  // sum_i f_i P_i = 1 in each of three layers when all scores are about equal.
  CHECK(losses.balance_loss == Approx(3 * recipe.balance_weight).epsilon(0.02));
}

TEST_CASE("Both losses fall while a batch is repeated") {
  const int q_lora_rank = GENERATE(8, 0);
  CAPTURE(q_lora_rank);
  const Model model = small_model(q_lora_rank);
  SerialModel serial(model, kSequence, strong_recipe());
  const SerialModel::Sequences sequences = random_sequences(8, model, 3);
  SerialModel::Losses before = serial.step(sequences);
  for (int step = 1; step < 5; ++step) {
    CAPTURE(step);
    const SerialModel::Losses losses = serial.step(sequences);
    CHECK(losses.loss < before.loss);
    CHECK(losses.mtp_loss < before.mtp_loss);
    before = losses;
  }
}

TEST_CASE("The first update follows from gradient, clipping and decay alone") {
  // m / (1 - beta1) = g and v / (1 - beta2) = g^2 in the first step, g after clipping:
  // p <- p - rate (g / (|g| + epsilon) + decay p). A large epsilon makes it depend on the size of
  // g.
  const double clip_norm = GENERATE(0.0, 0.1, 1e9);
  CAPTURE(clip_norm);
  const Model model = small_model();
  Recipe recipe = strong_recipe();
  recipe.clip_norm = clip_norm;
  recipe.epsilon = 0.1;
  SerialModel serial(model, kSequence, recipe);
  const auto before = serial.parameters();
  const SerialModel::Losses losses = serial.step(random_sequences(2, model, 5));
  REQUIRE(losses.gradient_norm > 0.1);
  double squares = 0;
  for (const auto& [name, gradient] : serial.gradients()) {
    for (std::size_t element = 0; element < gradient.size(); ++element) {
      squares += gradient[element] * gradient[element];
      const double g = gradient[element] * (clip_norm == 0.1 ? 0.1 / losses.gradient_norm : 1);
      const double p = before.at(name)[element];
      const double decay = name.find("norm") == std::string::npos ? recipe.weight_decay : 0;
      const double expected =
          p - recipe.learning_rate * (g / (std::abs(g) + recipe.epsilon) + decay * p);
      if (std::abs(serial.parameters().at(name)[element] - expected) > 1e-14) {
        CAPTURE(name, element, expected);
        CHECK(serial.parameters().at(name)[element] == expected);
      }
    }
  }
  CHECK(std::sqrt(squares) == Approx(losses.gradient_norm).epsilon(1e-12));
}

TEST_CASE("Experts with more than the mean load are chosen less gladly, the others more") {
  const Model model = small_model();
  const Recipe recipe = strong_recipe();
  SerialModel serial(model, kSequence, recipe);
  const SerialModel::Sequences sequences = random_sequences(3, model, 9);
  serial.step(sequences);
  CHECK(serial.expert_units() == std::vector<std::string>{"layer 1", "layer 2", "mtp 0"});
  // 3 sequences x 8 tokens x 2 choices over 8 experts: 6 on average.
  bool uneven = false;
  for (const std::string& unit : serial.expert_units()) {
    std::int64_t total = 0;
    for (std::size_t expert = 0; expert < 8; ++expert) {
      const std::int64_t count = serial.counts(unit)[expert];
      CAPTURE(unit, expert, count);
      CHECK(serial.bias(unit)[expert] == (count == 6  ? 0
                                          : count < 6 ? recipe.bias_rate
                                                      : -recipe.bias_rate));
      total += count;
      uneven = uneven || count != 6;
    }
    CHECK(total == 48);
  }
  CHECK(uneven);
}

TEST_CASE("Inputs, targets and targets of the MTP module lie one token apart") {
  // Ids 0 .. 9: the last one is a target only; the one before it is read by the MTP module, as the
  // embedding of the next token of the last position.
  const int mtp_depth = GENERATE(0, 1);
  CAPTURE(mtp_depth);
  const Model model = small_model(8, mtp_depth);
  SerialModel serial(model, kSequence, strong_recipe());
  std::vector<std::int32_t> ids(static_cast<std::size_t>(kSequence + 1 + mtp_depth));
  std::iota(ids.begin(), ids.end(), 0);
  serial.step({ids});
  const auto read = [&](std::int32_t id) {
    const std::vector<double>& gradient = serial.gradients().at("embedding weight");
    return std::any_of(gradient.begin() + id * model.hidden,
                       gradient.begin() + (id + 1) * model.hidden,
                       [](double value) { return value != 0; });
  };
  for (std::int32_t id = 0; id < model.vocab; ++id) {
    CAPTURE(id);
    CHECK(read(id) == (id < kSequence + mtp_depth));
  }
  // A missing id is a mistake of the caller.
  ids.pop_back();
  CHECK_THROWS_AS(serial.step({ids}), Bug);
}

TEST_CASE("A sequence's losses do not depend on the sequences beside it") {
  const Model model = small_model();
  const SerialModel::Sequences sequences = random_sequences(2, model, 13);
  SerialModel serial(model, kSequence, strong_recipe());
  const SerialModel::Losses both = serial.evaluate(sequences);
  const SerialModel::Losses first = serial.evaluate({sequences[0]});
  const SerialModel::Losses second = serial.evaluate({sequences[1]});
  CHECK(both.loss == Approx((first.loss + second.loss) / 2).epsilon(1e-14));
  CHECK(both.mtp_loss == Approx((first.mtp_loss + second.mtp_loss) / 2).epsilon(1e-14));
  CHECK(both.balance_loss == Approx((first.balance_loss + second.balance_loss) / 2).epsilon(1e-14));
}

}  // namespace
}  // namespace orrery
