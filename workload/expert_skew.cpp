#include "workload/expert_skew.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <numeric>

#include "core/error.hpp"
#include "workload/random.hpp"
#include "workload/routing.hpp"

namespace orrery {
namespace {

std::uint64_t combined(std::uint64_t seed, std::uint64_t a, std::uint64_t b, std::uint64_t c) {
  Random random(seed);
  for (std::uint64_t part : {a, b, c}) random = Random(random.next() ^ (part + 1));
  return random.next();
}

}  // namespace

Skew parse_skew(const std::string& text, std::uint64_t seed) {
  Skew skew;
  skew.seed = seed;
  const std::size_t equals = text.find('=');
  const std::string word = text.substr(0, equals);
  double value = 0;
  if (equals != std::string::npos) {
    const char* first = text.data() + equals + 1;
    const char* last = text.data() + text.size();
    const auto [end, error] = std::from_chars(first, last, value);
    if (error != std::errc() || end != last || !(value > 0) || value > 1e12) {
      throw InputError(fmt::format("error: expected a number above 0 in --skew {}", text));
    }
  }
  const bool has_value = value > 0;
  if (word == "none" && !has_value) return skew;
  if (word == "iid") {
    skew.kind = SkewKind::kIid;
    skew.independent_tokens = value;
    return skew;
  }
  constexpr double kSteepest = 20;
  if (word == "zipf" && value > kSteepest)
    throw InputError(fmt::format("error: --skew zipf={:g}: the exponent must be at most {:g}",
                                 value, kSteepest));
  if (word == "zipf" && has_value) {
    skew.kind = SkewKind::kZipf;
    skew.exponent = value;
    return skew;
  }
  throw InputError(fmt::format(
      "error: unknown --skew '{}'\n  = none, iid (chance alone), iid=4096 (as if so many "
      "tokens of a group were routed independently) or zipf=0.5 (popularity falls with "
      "the rank to that power)",
      text));
}

void parse_expert_placement(const std::string& text, Skew& skew) {
  if (text == "in-order") return;
  const std::string word = "balanced";
  const char* last = text.data() + text.size();
  skew.balanced = text.starts_with(word);
  bool good = text == word;
  if (text.starts_with(word + "=")) {
    const auto [end, error] = std::from_chars(text.data() + word.size() + 1, last, skew.spare);
    constexpr int kMostSpare = 1024;
    good = error == std::errc() && end == last && skew.spare >= 1 && skew.spare <= kMostSpare;
  }
  if (good) return;
  throw InputError(fmt::format(
      "error: unknown --experts '{}'\n  = in-order, balanced (by how much they are wanted), or "
      "balanced=1 (with a slot more on each GPU for copies of the most wanted)",
      text));
}

namespace {

std::string loads_text(const Skew& skew) {
  switch (skew.kind) {
    case SkewKind::kNone: return "even";
    case SkewKind::kMeasured: return "as measured";
    case SkewKind::kIid:
      return skew.independent_tokens > 0
                 ? fmt::format("iid, {:g} independent tokens a group", skew.independent_tokens)
                 : "iid, every token independent";
    case SkewKind::kZipf: return fmt::format("Zipf, exponent {:g}", skew.exponent);
  }
  return "?";
}

}  // namespace

std::string describe(const Skew& skew) {
  std::string text = loads_text(skew);
  if (skew.balanced) text += ", experts placed by it";
  if (skew.spare > 0) text += fmt::format(" with {} more a GPU for copies", skew.spare);
  return text;
}

ExpertSkew::ExpertSkew(const Moe& moe, int ep, double tokens, const Skew& skew)
    : moe_(moe), ep_(ep), skew_(skew) {
  if (moe.experts == 0 || skew.kind == SkewKind::kNone) return;
  ORRERY_CHECK(ep > 0 && moe.experts % ep == 0, "ep {} experts {}", ep, moe.experts);
  tokens_ = skew.independent_tokens > 0 ? skew.independent_tokens : tokens * ep;
  // An expert is chosen with probability p; choices within a gate group vary together by as much as
  // the number of choices in the group does beyond independence; over all experts they add up to
  // top_k.
  const double p = static_cast<double>(moe.top_k) / moe.experts;
  const double variance = p * (1 - p);
  double within = -variance / (moe.experts - 1);
  double across = within;
  if (moe.groups > 1) {
    const double size = static_cast<double>(moe.experts) / moe.groups;
    const double of_group = RoutingSample(moe, skew.seed).choices_in_group_variance();
    within = (of_group - size * variance) / (size * (size - 1));
    across = -(variance + (size - 1) * within) / (moe.experts - size);
  }
  own_ = std::sqrt(std::max(0.0, variance - within));
  shared_ = std::sqrt(std::max(0.0, within - across));
  const double experts = static_cast<double>(moe.experts) / ep;  // of a GPU
  deviation_ = std::sqrt(experts * (variance + (experts - 1) * within) / tokens_) / (experts * p);
}

const ExpertPlacement& ExpertSkew::placement(int layer) const {
  const int key = skew_.kind == SkewKind::kZipf && skew_.balanced ? layer : 0;
  ExpertPlacement& found = placement_[key];
  if (found.empty()) {
    found = skew_.balanced ? balanced_experts(popularity(layer), ep_, skew_.spare, moe_.groups)
                           : experts_in_order(moe_.experts, ep_);
  }
  return found;
}

const std::vector<double>& ExpertSkew::popularity(int layer) const {
  const int key = skew_.kind == SkewKind::kZipf ? layer : 0;
  std::vector<double>& found = popularity_[key];
  if (!found.empty()) return found;
  if (skew_.kind != SkewKind::kZipf)
    return found = std::vector<double>(static_cast<std::size_t>(moe_.experts), 1.0);
  std::vector<double> wanted(static_cast<std::size_t>(moe_.experts));
  double sum = 0;
  for (int rank = 0; rank < moe_.experts; ++rank)
    sum += wanted[static_cast<std::size_t>(rank)] = std::pow(rank + 1, -skew_.exponent);
  for (double& each : wanted) each *= moe_.experts / sum;
  // A token takes an expert once: none is wanted by more than every token.
  const double most = static_cast<double>(moe_.experts) / moe_.top_k;
  for (int pass = 0; pass < 64; ++pass) {
    double excess = 0, rest = 0;
    for (double& each : wanted) {
      if (each >= most) {
        excess += each - most;
        each = most;
      } else {
        rest += each;
      }
    }
    if (excess <= 1e-12 || rest <= 0) break;
    for (double& each : wanted) {
      if (each < most) each *= 1 + excess / rest;
    }
  }
  Random random(combined(skew_.seed, 0x21bf, static_cast<std::uint64_t>(layer), 0));
  for (std::size_t last = wanted.size(); last > 1; --last)
    std::swap(wanted[last - 1],
              wanted[static_cast<std::size_t>(random.below(static_cast<int>(last)))]);
  return found = std::move(wanted);
}

std::vector<double> ExpertSkew::rows(int microbatch, int layer, int group) const {
  std::vector<double> rows(static_cast<std::size_t>(ep_), 1.0);
  if (moe_.experts == 0 || skew_.kind == SkewKind::kNone) return rows;
  const double p = static_cast<double>(moe_.top_k) / moe_.experts;
  const int per_group = moe_.experts / std::max(1, moe_.groups);
  Random random(combined(skew_.seed, static_cast<std::uint64_t>(microbatch),
                         static_cast<std::uint64_t>(layer), static_cast<std::uint64_t>(group)));
  std::vector<double> shared(static_cast<std::size_t>(std::max(1, moe_.groups)));
  for (double& each : shared) each = random.normal();
  std::vector<double> experts(static_cast<std::size_t>(moe_.experts));
  const std::vector<double>& wanted = popularity(layer);
  for (int expert = 0; expert < moe_.experts; ++expert) {
    const auto at = static_cast<std::size_t>(expert);
    const double mean = wanted[at];
    const double noise =
        (own_ * random.normal() + shared_ * shared[static_cast<std::size_t>(expert / per_group)]) /
        (p * std::sqrt(tokens_));
    experts[at] = std::max(0.0, mean + std::sqrt(mean) * noise);
  }
  const double sum = std::accumulate(experts.begin(), experts.end(), 0.0);
  if (sum <= 0) return rows;
  rows = loads_of(placement(layer), experts);
  for (double& own : rows) own *= ep_ / sum;
  return rows;
}

}  // namespace orrery
