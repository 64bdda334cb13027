// Training from files: it learns, it spreads its tokens over the experts, and it resumes bit for
// bit.
#include "realrun/training.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>

#include "core/file.hpp"
#include "core/model_reader.hpp"
#include "realrun/thread_transport.hpp"
#include "tests/realrun/tiny_runs.hpp"

namespace orrery {
namespace {

// The folder of a test's checkpoints, gone with it.
class CheckpointScratch {
 public:
  CheckpointScratch() {
    std::string name = (std::filesystem::temp_directory_path() / "orrery-XXXXXX").string();
    path_ = mkdtemp(name.data());
  }
  ~CheckpointScratch() { std::filesystem::remove_all(path_); }
  CheckpointScratch(const CheckpointScratch&) = delete;
  CheckpointScratch& operator=(const CheckpointScratch&) = delete;
  std::string folder(const char* name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

Plan plan_to_train(const Model& model, int sequence, int microbatches) {
  RunShape shape;
  shape.model = model;
  shape.layout = sizes(2, 2, 2);
  shape.layout.precision = Precision::kBf16;
  shape.sequence = sequence;
  shape.microbatches = microbatches;
  return tiny_plan(shape);
}

struct Trained {
  TrainingResult result;
  std::vector<double> evenness;  // most loaded expert over the mean, by step
};

Trained train_on_threads(const Plan& plan, const TrainingOptions& options) {
  static const Corpus corpus = make_default_corpus();
  ThreadWorld threads(plan.layout.gpus());
  std::vector<Transport*> transports;
  for (int rank = 0; rank < plan.layout.gpus(); ++rank)
    transports.push_back(&threads.endpoint(rank));
  Trained trained;
  TrainingCallbacks callbacks;
  callbacks.step = [&](const StepReport& report) {
    trained.evenness.push_back(expert_evenness(report.result.loads));
  };
  trained.result = train(plan, corpus, options, transports, callbacks);
  return trained;
}

// Steps of 32 sequences of 128 bytes: 200 take half a minute on two cores.
Trained train_tiny_moe(double bias_rate, int steps) {
  const Plan plan = plan_to_train(read_model("models/tiny-moe.toml"), 128, 16);
  TrainingOptions options;
  options.steps = steps;
  options.recipe.bias_rate = bias_rate;
  return train_on_threads(plan, options);
}

// Of `count` steps up to `last`.
double mean_before(const std::vector<double>& values, std::size_t last, std::size_t count) {
  double sum = 0;
  for (std::size_t at = last - count; at < last; ++at) sum += values.at(at);
  return sum / static_cast<double>(count);
}

// A uniform guess over 256 bytes costs ln 256 = 5.55 nats, the best guess from the two bytes before
// more than 1.2 (tests/realrun/corpus_test.cpp).
// A minute or more, so that it is a test of its own, begun first (tests/CMakeLists.txt).
TEST_CASE("tiny-moe learns within 200 steps, its experts loaded evenly by the bias update",
          "[.learns]") {
  const Trained with = train_tiny_moe(Recipe{}.bias_rate, 200);
  const Trained without = train_tiny_moe(0, 200);
  const double even = mean_before(with.evenness, 200, 20);
  const double uneven = mean_before(without.evenness, 200, 20);
  WARN("held-out loss " << with.result.held_out
                        << " nats a byte; most loaded expert over the mean, steps 181 to 200: "
                        << even << " with the bias update, " << uneven << " without");
  CHECK(with.result.held_out < 0.8);
  CHECK(uneven > 1.25 * even);
}

std::map<std::string, std::string> files_of(const std::string& folder) {
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(folder)) {
    if (entry.is_regular_file())
      files[std::filesystem::relative(entry.path(), folder).string()] =
          read_file(entry.path().string());
  }
  return files;
}

TEST_CASE("a resumed run goes on bit for bit, parameters, moments and biases included") {
  Model model = tiny_model();
  model.vocab = 256;
  const bool fp8 = GENERATE(false, true);
  Plan plan = plan_to_train(model, 16, 4);
  if (fp8) plan.layout.precision = Precision::kFp8;
  plan.training.moments = fp8 ? ScalarType::kBf16 : ScalarType::kFp32;
  const CheckpointScratch scratch;
  TrainingOptions options;
  options.evaluate_every = -1;
  options.steps = 6;
  options.checkpoint_folder = scratch.folder("whole");
  const TrainingResult whole = train_on_threads(plan, options).result;

  options.checkpoint_folder = scratch.folder("parts");
  options.steps = 3;
  TrainingResult parts = train_on_threads(plan, options).result;
  options.steps = 6;
  options.resume = true;
  const TrainingResult rest = train_on_threads(plan, options).result;
  CHECK(rest.first_step == 4);
  parts.losses.insert(parts.losses.end(), rest.losses.begin(), rest.losses.end());
  CHECK(parts.losses == whole.losses);

  // The checkpoints of step 6, byte for byte; the other run has that of step 3 beside it.
  const auto expected = files_of(scratch.folder("whole"));
  const auto found = files_of(scratch.folder("parts"));
  REQUIRE(expected.size() >= 5);
  for (const auto& [name, bytes] : expected) {
    CAPTURE(name);
    REQUIRE(found.contains(name));
    CHECK((found.at(name) == bytes));
  }
}

TEST_CASE("checkpoints of another run are refused") {
  Model model = tiny_model();
  model.vocab = 256;
  const Plan plan = plan_to_train(model, 16, 4);
  const CheckpointScratch scratch;
  TrainingOptions options;
  options.evaluate_every = -1;
  options.steps = 1;
  options.checkpoint_folder = scratch.folder("run");
  train_on_threads(plan, options);
  CHECK_THROWS_WITH(train_on_threads(plan, options), Catch::Contains("holds checkpoints already"));
  options.resume = true;
  TrainingOptions other = options;
  other.recipe.seed = 2;
  CHECK_THROWS_WITH(train_on_threads(plan, other), Catch::Contains("of another run"));
  other = options;
  other.recipe.learning_rate *= 2;
  CHECK_THROWS_WITH(train_on_threads(plan, other), Catch::Contains("of another run"));
}

TEST_CASE("a run that diverges says so instead of training on") {
  Model model = tiny_model();
  model.vocab = 256;
  const Plan plan = plan_to_train(model, 16, 4);
  TrainingOptions options;
  options.evaluate_every = -1;
  options.steps = 5;
  options.recipe.learning_rate = 1e30;
  CHECK_THROWS_AS(train_on_threads(plan, options), Diverged);
}

TEST_CASE("a place for checkpoints that cannot be written to is refused before the first step") {
  Model model = tiny_model();
  model.vocab = 256;
  const Plan plan = plan_to_train(model, 16, 4);
  const CheckpointScratch scratch;
  std::ofstream(scratch.folder("file")) << "not a folder";
  TrainingOptions options;
  options.steps = 1;
  options.checkpoint_folder = scratch.folder("file");
  bool stepped = false;
  ThreadWorld threads(plan.layout.gpus());
  std::vector<Transport*> transports;
  for (int rank = 0; rank < plan.layout.gpus(); ++rank)
    transports.push_back(&threads.endpoint(rank));
  TrainingCallbacks callbacks;
  callbacks.step = [&](const StepReport&) { stepped = true; };
  CHECK_THROWS_WITH(train(plan, make_default_corpus(), options, transports, callbacks),
                    Catch::Contains("file: "));
  CHECK_FALSE(stepped);
}

}  // namespace
}  // namespace orrery
