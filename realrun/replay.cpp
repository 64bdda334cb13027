#include "realrun/replay.hpp"

#include <algorithm>

#include "core/error.hpp"

namespace orrery {
namespace {

// Marks of a script: the start, then two of each action, then those between ops.
struct Marks {
  static constexpr std::size_t kStart = 0;
  static std::size_t begin(std::size_t action) { return 1 + 2 * action; }
  static std::size_t end(std::size_t action) { return 2 + 2 * action; }

  Marks(const ReplayScript& script, Detail detail) : count(1 + 2 * script.actions.size()) {
    for (const ReplayAction& action : script.actions) {
      first_op.push_back(count);
      if (detail == Detail::kOps) count += action.kernels.size();
    }
  }

  std::size_t count;
  std::vector<std::size_t> first_op;  // by action: the end of its first op
};

void enqueue(ReplayDevice& device, const ReplayAction& action, Gates gates) {
  if (action.copy) {
    device.copy(action.stream, *action.copy);
  } else if (action.lasts > Seconds{} && !(action.arrives && gates == Gates::kOpen)) {
    device.hold(action.stream, action.lasts);
  }
}

std::vector<MarkUse> uses(const ReplayScript& script) {
  std::vector<MarkUse> use(script.actions.size(), MarkUse::kTime);
  for (const ReplayAction& action : script.actions) {
    if (action.gate && action.gate->after) use[*action.gate->after] = MarkUse::kGate;
  }
  return use;
}

// The one of the median length, the longer of two.
const ReplayedStep& median(const std::vector<ReplayedStep>& steps) {
  std::vector<const ReplayedStep*> order;
  for (const ReplayedStep& step : steps) order.push_back(&step);
  std::stable_sort(order.begin(), order.end(), [](const ReplayedStep* a, const ReplayedStep* b) {
    return a->length() < b->length();
  });
  return *order[order.size() / 2];
}

}  // namespace

Seconds ReplayedStep::length() const {
  Seconds length;
  for (const Span& span : spans) length = std::max(length, span.end);
  return length;
}

ReplayedStep replay(ReplayDevice& device, const ReplayScript& script, Gates gates, Detail detail) {
  const Marks marks(script, detail);
  const std::vector<MarkUse> use = uses(script);
  device.begin(marks.count);
  // Every stream begins empty: any of them stands for the start.
  device.record(Stream::kCompute, Marks::kStart, MarkUse::kGate);
  for (std::size_t at = 0; at < script.actions.size(); ++at) {
    const ReplayAction& action = script.actions[at];
    for (const std::size_t after : action.after) device.wait(action.stream, Marks::end(after));
    if (action.gate && gates == Gates::kPredicted) {
      device.wait_until(action.stream,
                        action.gate->after ? Marks::end(*action.gate->after) : Marks::kStart,
                        action.gate->delay);
    }
    device.record(action.stream, Marks::begin(at), MarkUse::kTime);
    std::size_t op = marks.first_op[at];
    for (const KernelCall& call : action.kernels) {
      device.launch(action.stream, call);
      if (detail == Detail::kOps) device.record(action.stream, op++, MarkUse::kTime);
    }
    enqueue(device, action, gates);
    device.record(action.stream, Marks::end(at), use[at]);
  }
  device.synchronise();

  ReplayedStep step;
  for (std::size_t at = 0; at < script.actions.size(); ++at) {
    step.spans.push_back({device.at(Marks::begin(at)), device.at(Marks::end(at))});
    if (detail != Detail::kOps) continue;
    Seconds before = step.spans.back().start;
    std::vector<Seconds>& ops = step.ops.emplace_back();
    for (std::size_t op = 0; op < script.actions[at].kernels.size(); ++op) {
      const Seconds end = device.at(marks.first_op[at] + op);
      ops.push_back(end - before);
      before = end;
    }
  }
  return step;
}

MeasuredReplay measure_replay(ReplayDevice& device, const ReplayScript& script,
                              const ReplaySamples& samples) {
  ORRERY_CHECK(samples.kept > 0, "{} samples", samples.kept);
  std::vector<KernelCall> kernels;
  std::vector<PacedCopy> copies;
  for (const ReplayAction& action : script.actions) {
    kernels.insert(kernels.end(), action.kernels.begin(), action.kernels.end());
    if (action.copy) copies.push_back(*action.copy);
  }
  device.prepare(kernels, copies);
  const auto repeated = [&](Gates gates, std::vector<Seconds>& lengths) {
    for (int run = 0; run < samples.warm_up; ++run)
      replay(device, script, gates, Detail::kInstructions);
    std::vector<ReplayedStep> steps;
    for (int run = 0; run < samples.kept; ++run) {
      steps.push_back(replay(device, script, gates, Detail::kInstructions));
      lengths.push_back(steps.back().length());
    }
    return median(steps);
  };
  MeasuredReplay measured;
  measured.gated = repeated(Gates::kPredicted, measured.gated_lengths);
  measured.open = repeated(Gates::kOpen, measured.open_lengths);
  measured.detailed = replay(device, script, Gates::kPredicted, Detail::kOps);
  return measured;
}

}  // namespace orrery
