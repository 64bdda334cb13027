#include "cli/schedule_options.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <sstream>

#include "core/diagnostic.hpp"
#include "planner/reject_input.hpp"
#include "planner/schedules/compact.hpp"
#include "planner/schedules/families.hpp"
#include "planner/schedules/times_file.hpp"

namespace orrery::cli {
namespace {

struct ShareTimes {
  StageTimes share;
  Seconds hop;
};

// "F=1,I=1.2,W=0.6,FB=2.4,comm=0.1"
ShareTimes parse_times(const std::string& text) {
  std::map<std::string, double> values;
  std::stringstream items(text);
  for (std::string item; std::getline(items, item, ',');) {
    std::erase(item, ' ');
    const std::size_t equals = item.find('=');
    const std::string key = item.substr(0, equals);
    const std::string number = equals == std::string::npos ? "" : item.substr(equals + 1);
    char* end = nullptr;
    const double value = std::strtod(number.c_str(), &end);
    const bool known = key == "F" || key == "I" || key == "W" || key == "FB" || key == "comm";
    if (!known) {
      reject_input(fmt::format("--times: unknown time '{}'", key),
                   "there are F, I, W, FB (a co-scheduled pair) and comm (a message); a full "
                   "backward, B, takes I + W, or what a --times-file says");
    }
    if (number.empty() || *end != '\0' || !std::isfinite(value) || value < 0 || value > 1e12) {
      reject_input(fmt::format("--times: '{}' is no time for {}", number, key),
                   "write numbers from 0, such as F=1,I=1.2,W=0.6");
    }
    if (!values.emplace(key, value).second)
      reject_input(fmt::format("--times: {} is given twice", key));
  }
  for (const char* key : {"F", "I", "W"}) {
    if (!values.contains(key))
      reject_input(fmt::format("--times: {} is missing", key),
                   "give F, I and W, FB and comm if wanted");
  }
  const Seconds F{values["F"]}, I{values["I"]}, W{values["W"]};
  if (F + I + W <= Seconds{}) reject_input("--times: F, I and W are all 0");
  StageTimes share = without_overlap(F, I, W);
  if (values.contains("FB")) {
    share.FB = Seconds{values["FB"]};
    if (share.FB < F) reject_input("--times: a pair, FB, takes at least as long as its forward, F");
    share.FI = std::min(share.FI, share.FB);
  }
  return {share, Seconds{values.contains("comm") ? values["comm"] : 0}};
}

}  // namespace

ScheduleRequest request_of(const ScheduleOptions& options) {
  const ShareTimes times = parse_times(options.times);
  ScheduleRequest request;
  request.pp = options.pp;
  request.microbatches = options.microbatches;
  request.chunks = options.chunks;
  request.share = times.share;
  request.hop = times.hop;
  request.memory = options.memory_limit;
  return request;
}

CellTimes times_for(const ScheduleOptions& options, const Schedule& schedule,
                    std::optional<std::vector<double>>* limits) {
  if (options.times_file.empty()) {
    const ShareTimes times = parse_times(options.times);
    return times_of_share(schedule, times.share, times.hop);
  }
  TimesFile file = read_times(options.times_file, schedule);
  if (limits != nullptr) *limits = std::move(file.limits);
  return file.times;
}

std::vector<int> given_limits(const ScheduleOptions& options, const Schedule& schedule,
                              const std::optional<std::vector<double>>& of_file) {
  std::vector<int> limits;
  for (std::size_t rank = 0; rank < schedule.ranks.size(); ++rank) {
    if (options.memory_limit > 0) {
      limits.push_back(chunk_limit(schedule, options.memory_limit));
    } else if (of_file) {
      limits.push_back(chunk_limit(schedule, (*of_file)[rank]));
    }
    if (!limits.empty() && limits.back() < 1) {
      const int chunks = chunks_of_direction(schedule);
      throw ScheduleFaults(fmt::format(
          "error: the limit of rank {} is less than what one micro-batch leaves on one stage, {}\n"
          "   = raise the limit",
          rank, chunks == 1 ? "1" : fmt::format("1/{}", chunks)));
    }
  }
  return limits;
}

ScheduleRequest request_for(const ScheduleOptions& options, const Schedule& placement,
                            const CellTimes& times,
                            const std::optional<std::vector<double>>& limits) {
  ScheduleRequest request = request_of(options);
  if (options.times_file.empty()) return request;
  StageTimes sum{};
  Seconds ways;
  double stages = 0;
  for (int direction = 0; direction < placement.directions; ++direction) {
    for (int stage = 0; stage < placement.stages(); ++stage) {
      const ChunkPlace place{Stage{stage}, direction};
      const StageTimes& own = times.at(place);
      sum = {sum.F + own.F, sum.I + own.I, sum.W + own.W, sum.FB + own.FB, sum.FI + own.FI};
      ways += (times.latency(place, false) + times.latency(place, true)) / 2.0;
      ++stages;
    }
  }
  const double share = chunks_of_direction(placement) / stages;
  request.share = {sum.F * share, sum.I * share, sum.W * share, sum.FB * share, sum.FI * share};
  request.hop = ways / stages;
  if (limits && options.memory_limit <= 0)
    request.memory = *std::min_element(limits->begin(), limits->end());
  return request;
}

void check_options(const ScheduleOptions& options) {
  Diagnostics diagnostics;
  const bool from_file = !options.file.empty();
  if (from_file && (!options.kind.empty() || options.pp > 0 || options.microbatches > 0)) {
    diagnostics.error({}, "the schedule file already decides kind, pp and micro-batches",
                      "leave --kind, --pp and --microbatches out");
  }
  if (!from_file && (options.pp == 0 || options.microbatches == 0)) {
    diagnostics.error({}, "the size of the schedule is missing",
                      "give --pp and --microbatches, or a schedule with --file");
  }
  if (!from_file && options.kind.empty() && options.compare.empty())
    diagnostics.error({}, "no schedule is named", "give --kind, --file or --compare all");
  if (options.kind == "searched") {
    diagnostics.error({}, "a searched schedule needs a placement",
                      "write --search with the kind whose stages it shall have: zb-h1 (one chunk), "
                      "zb-v (V), dualpipe (both directions)");
  }
  if (!options.compare.empty() &&
      (from_file || options.search || options.draw || options.critical_path ||
       !options.output.empty() || !options.times_file.empty())) {
    diagnostics.error({}, "--compare is for families of one size and times alike",
                      "leave --file, --times-file, --search, --draw and -o out");
  }
  if (options.chunks > 0 && options.compare.empty() &&
      (from_file || options.kind.empty() ||
       schedule_family(options.kind).placement != StagePlacement::kWave)) {
    diagnostics.error({}, "--chunks is of the interleaved kinds: others have a number of their own",
                      "leave --chunks out");
  }
  if (std::isnan(options.memory_limit))
    diagnostics.error({}, "--memory-limit is not a number", "write one, such as 8.5");
  if (options.search && options.p2p == "rendezvous") {
    diagnostics.error({}, "the search times messages as eager",
                      "search first (-o), then time the file with --p2p rendezvous");
  }
  if (options.critical_path && options.p2p == "rendezvous") {
    diagnostics.error({}, "the critical path is that of eager messages",
                      "leave --critical-path or --p2p rendezvous out");
  }
  diagnostics.throw_if_errors();
}

}  // namespace orrery::cli
