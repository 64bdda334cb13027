#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <memory>

#include "cli/commands.hpp"
#include "cli/options.hpp"
#include "core/catalog.hpp"
#include "core/cluster_reader.hpp"
#include "core/error.hpp"
#include "core/model_reader.hpp"
#include "core/plan_json.hpp"
#include "core/units.hpp"
#include "planner/campaign/goodput.hpp"
#include "reports/campaign_text.hpp"
#include "reports/simulate_json.hpp"

namespace orrery::cli {
namespace {

struct Options {
  std::string plan_file, recipe;
  std::string model, cluster, calibration;  // over the recipe's
  std::string fix;
  std::string interval;
  std::string tokens;
  int finalists = 2;
  int runs = 2000;
  std::uint64_t seed = 1;
  bool json = false;
};

CampaignProgress progress_line() {
  if (isatty(STDERR_FILENO) == 0) return {};
  return [](const std::string& phase, int batch, std::int64_t done, std::int64_t of) {
    std::fprintf(stderr, "\r\033[K%s, batch %d: %3.0f %%", phase.c_str(), batch,
                 of > 0 ? 100.0 * static_cast<double>(done) / static_cast<double>(of) : 100.0);
    if (done == of) std::fprintf(stderr, "\r\033[K");
  };
}

Campaign of_recipe(const Options& options) {
  CampaignRequest request;
  request.recipe = read_campaign_recipe(resolve(options.recipe, CatalogKind::kRecipe));
  if (!options.model.empty()) request.recipe.model = options.model;
  if (!options.cluster.empty()) request.recipe.cluster = options.cluster;
  request.model = read_model(resolve(request.recipe.model, CatalogKind::kModel));
  request.cluster = read_cluster(resolve(request.recipe.cluster, CatalogKind::kCluster));
  request.fix = options.fix;
  request.finalists = options.finalists;
  request.device = [&](const Cluster& cluster) {
    return find_device(options.calibration.empty() ? cluster.device : options.calibration, cluster);
  };
  return price_campaign(request, progress_line());
}

Campaign of_plan(const Options& options) {
  if (!options.model.empty() || !options.cluster.empty() || !options.fix.empty())
    throw InputError(
        "error: the plan file already decides model, cluster and layout\n"
        "  = leave --model, --cluster and --fix out, or give --recipe");
  Plan plan = read_plan(options.plan_file);
  set_tokens(plan.training, options.tokens);
  if (plan.training.tokens <= 0)
    throw InputError(
        "error: the plan does not say how many tokens the run has\n"
        "  = add --tokens, such as --tokens 14.8T");
  const bool own = options.calibration.empty();
  const DeviceModel device =
      find_device(own ? plan.calibration.name : options.calibration, plan.cluster);
  if (own) warn_of_other_calibration(plan, device);
  return price_plan(plan, device);
}

std::optional<Seconds> interval_of(const Options& options) {
  if (options.interval.empty()) return std::nullopt;
  const auto parsed = read_quantity<Seconds>(options.interval);
  if (const auto* problem = std::get_if<UnitProblem>(&parsed))
    throw InputError("error: --checkpoint-every " + options.interval + ": " + problem->message +
                     "\n  = such as \"30 min\", \"2 h\" or \"1 d\"");
  if (std::get<Seconds>(parsed) <= Seconds{})
    throw InputError("error: --checkpoint-every must be more than 0");
  return std::get<Seconds>(parsed);
}

int campaign(const Options& options) {
  const Stopwatch stopwatch;
  if (options.plan_file.empty() == options.recipe.empty())
    throw InputError(
        "error: give a plan file or --recipe NAME\n"
        "  = `orrery catalog list` names the recipes");
  const GoodputOptions failures{interval_of(options), options.runs, options.seed};
  const Campaign priced = options.recipe.empty() ? of_plan(options) : of_recipe(options);
  std::optional<CampaignGoodput> goodput;
  if (priced.feasible()) goodput = campaign_goodput(priced, failures);
  const CampaignGoodput* const with_failures = goodput ? &*goodput : nullptr;
  const std::string text =
      options.json ? campaign_json(priced, with_failures, {stopwatch.wall_s(), stopwatch.cpu_s()})
                   : campaign_text(priced, with_failures);
  std::fputs(text.c_str(), stdout);
  return priced.feasible() ? kYes : kNo;
}

}  // namespace

Command add_campaign(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "campaign", "Price a model's whole training: every phase, with failures and restarts");
  command->add_option("PLAN", options->plan_file, "A plan file: its own run is priced");
  CLI::Option* const recipe = command->add_option(
      "--recipe", options->recipe,
      "Recipe: a name in recipes/ or a TOML file; each phase gets its own layout");
  command->add_option("--model", options->model, "Another model than the recipe's");
  command->add_option("--cluster", options->cluster, "Another cluster than the recipe's");
  command->add_option("--calibration", options->calibration,
                      "Kernel rates: a name in calibration/ or a TOML file");
  command->add_option("--fix", options->fix, "Fix dimensions of every layout, such as tp=1,mbs=1")
      ->join(',');
  command->add_option("--tokens", options->tokens, "Tokens of the plan's run, such as 14.8T")
      ->excludes(recipe);
  command
      ->add_option("--finalists", options->finalists,
                   "Best plans of each phase to simulate with contention")
      ->capture_default_str()
      ->needs(recipe)
      ->check(CLI::Range(1, 100));
  command->add_option("--checkpoint-every", options->interval,
                      "Work between two checkpoints, such as \"30 min\" (default: Daly's optimum)");
  command->add_option("--runs", options->runs, "Runs with failures to draw")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000000));
  command->add_option("--seed", options->seed, "Of the failures")->capture_default_str();
  command->add_flag("--json", options->json, "Print one JSON object");
  return [options] { return campaign(*options); };
}

}  // namespace orrery::cli
