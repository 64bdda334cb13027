#include "realrun/replay_record.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "core/error.hpp"
#include "core/fingerprint.hpp"
#include "core/json_column.hpp"
#include "core/json_writer.hpp"
#include "core/plan_json.hpp"
#include "core/reader.hpp"
#include "core/run_record.hpp"

namespace orrery {
namespace {

constexpr const char* kKind = "cuda-replay";
constexpr int kMostInstructions = 50'000'000;

class Ops {
 public:
  Ops(const Program& program, const ReplayDevice& device, const CostSource& costs)
      : program_(program), device_(device), costs_(costs) {}

  void add(const ReplayAction& action, const std::vector<Seconds>& times) {
    const Work& work = program_.work(program_.instructions[action.instruction.index()]);
    for (std::size_t at = 0; at < action.kernels.size(); ++at) {
      const KernelCall& call = action.kernels[at];
      const auto [entry, fresh] = places_.try_emplace({work.name, call.op->name}, list_.size());
      if (fresh) list_.push_back({work.name, call.op->name, 0, {}, {}, device_.stand_in(*call.op)});
      MeasuredOp& op = list_[entry->second];
      ++op.launches;
      op.predicted += predicted(call);
      op.measured += times[at];
    }
  }
  std::vector<MeasuredOp> take() { return std::move(list_); }

 private:
  // Ops repeat: one lookup each.
  Seconds predicted(const KernelCall& call) {
    const auto [entry, fresh] = known_.try_emplace({call.op, call.lent_sms});
    if (fresh) {
      Work alone;
      alone.ops = {*call.op};
      entry->second = costs_.compute(alone, call.lent_sms).total();
    }
    return entry->second;
  }

  const Program& program_;
  const ReplayDevice& device_;
  const CostSource& costs_;
  std::vector<MeasuredOp> list_;
  std::map<std::pair<std::string, std::string>, std::size_t> places_;
  std::map<std::pair<const Op*, int>, Seconds> known_;
};

std::string list(const std::vector<Seconds>& times) {
  std::string text;
  for (const Seconds time : times) text += (text.empty() ? "" : ", ") + shortest(time.value());
  return "[" + text + "]";
}

std::vector<Seconds> times(Reader& from, std::string_view key) {
  std::vector<Seconds> read;
  const Node* node = from.required_array(key);
  if (node == nullptr) return read;
  for (const Node& entry : node->children) {
    if (const auto value = read_amount(entry, key, from.context())) read.emplace_back(*value);
  }
  return read;
}

std::vector<Span> spans(Reader& from, std::string_view starts, std::string_view ends) {
  const std::vector<Seconds> start = times(from, starts), end = times(from, ends);
  std::vector<Span> read;
  for (std::size_t at = 0; at < std::min(start.size(), end.size()); ++at) {
    read.push_back({start[at], end[at]});
    if (end[at] < start[at]) from.error(ends, fmt::format("entry {} ends before it starts", at));
  }
  if (start.size() != end.size())
    from.error(ends,
               fmt::format("'{}' has {} entries, '{}' {}", ends, end.size(), starts, start.size()));
  return read;
}

std::vector<InstructionId> ids(Reader& from, int instructions) {
  std::vector<InstructionId> read;
  const Node* node = from.required_array("id");
  if (node == nullptr) return read;
  for (const Node& entry : node->children) {
    const bool known =
        entry.kind == NodeKind::kInteger && entry.integer >= 0 && entry.integer < instructions;
    if (!known) {
      from.error("id", fmt::format("expected instructions of 0 to {}, found {}", instructions - 1,
                                   entry.text));
      return read;
    }
    read.emplace_back(entry.integer);
  }
  return read;
}

}  // namespace

ReplayRecord replay_record(const Plan& plan, const Program& program, const ReplayScript& script,
                           const MeasuredReplay& measured, const ReplayDevice& device,
                           const CostSource& costs, std::string calibration) {
  ReplayRecord record{device.name(),
                      device.simulated(),
                      std::move(calibration),
                      fingerprint(program),
                      script.rank,
                      script.pairs,
                      measured.gated_lengths,
                      measured.open_lengths,
                      {},
                      measured.gated.spans,
                      measured.open.spans,
                      {},
                      plan};
  Ops ops(program, device, costs);
  for (std::size_t at = 0; at < script.actions.size(); ++at) {
    record.ids.push_back(script.actions[at].instruction);
    ops.add(script.actions[at], measured.detailed.ops[at]);
  }
  record.ops = ops.take();
  return record;
}

std::string to_json(const ReplayRecord& record) {
  std::string out = fmt::format(
      "{{\n  \"format_version\": \"1.0\",\n  \"kind\": \"{}\",\n  \"device\": {},\n"
      "  \"simulated\": {},\n  \"calibration\": {},\n"
      "  \"program\": {{\"fingerprint\": {}}},\n  \"rank\": {},\n  \"pairs\": {},\n"
      "  \"runs\": {{\"gated_s\": {}, \"open_s\": {}}},\n  \"spans\": {{\n",
      kKind, json_string(record.device), record.simulated, json_string(record.calibration),
      json_string(record.fingerprint), record.rank.value, record.pairs, list(record.gated_lengths),
      list(record.open_lengths));
  const auto column = [&](std::string_view key, auto text, bool last = false) {
    write_column(out, key, record.ids.size(), text);
    out += last ? "\n" : ",\n";
  };
  const auto time = [](Seconds value) { return shortest(value.value()); };
  column("id", [&](std::size_t at) { return std::to_string(record.ids[at].value); });
  column("start_s", [&](std::size_t at) { return time(record.gated[at].start); });
  column("end_s", [&](std::size_t at) { return time(record.gated[at].end); });
  column("open_start_s", [&](std::size_t at) { return time(record.open[at].start); });
  column(
      "open_end_s", [&](std::size_t at) { return time(record.open[at].end); }, true);
  out += "  },\n  \"ops\": " + to_json(record.ops);
  out += ",\n  \"plan\": " + to_json(record.plan);
  if (out.back() == '\n') out.pop_back();
  return out + "\n}\n";
}

bool is_replay_record(const Document& document) {
  const Node* kind = document.root.find("kind");
  return kind != nullptr && kind->kind == NodeKind::kString && kind->text == kKind;
}

ReplayRecord read_replay_record(const Document& document, Diagnostics& diagnostics) {
  ReadContext context{document.file, "replay", diagnostics};
  Reader root(document.root, context);
  root.format_version(1, 0);
  ReplayRecord record;
  root.required_string("kind");
  record.device = root.required_string("device");
  record.simulated = root.optional_bool("simulated", false);
  record.calibration = root.required_string("calibration");
  if (auto program = root.required_table("program")) {
    record.fingerprint = program->required_string("fingerprint");
    program->finish();
  }
  record.rank = Rank(root.required_int("rank"));
  record.pairs = root.required_int("pairs");
  if (auto runs = root.required_table("runs")) {
    record.gated_lengths = times(*runs, "gated_s");
    record.open_lengths = times(*runs, "open_s");
    runs->finish();
  }
  if (auto table = root.required_table("spans")) {
    record.ids = ids(*table, kMostInstructions);
    record.gated = spans(*table, "start_s", "end_s");
    record.open = spans(*table, "open_start_s", "open_end_s");
    if (record.gated.size() != record.ids.size() || record.open.size() != record.ids.size())
      table->error("id", "the columns of 'spans' are not of one length");
    table->finish();
  }
  record.ops = read_measured_ops(root);
  const Node* plan = root.node("plan");
  root.finish();
  diagnostics.throw_if_errors();
  if (plan == nullptr || record.gated_lengths.empty() || record.open_lengths.empty()) {
    diagnostics.error(Place{document.file, 0, 0, 1, ""}, "the replay has no plan or no runs",
                      "`orrery realrun PLAN --mode cuda-replay -o FILE` writes one");
    diagnostics.throw_if_errors();
  }
  record.plan = read_plan(Document{document.file, *plan}, diagnostics);
  return record;
}

void check_same_program(const ReplayRecord& record, const std::string& path,
                        const Program& program) {
  Diagnostics diagnostics;
  const Place place{path, 0, 0, 1, ""};
  const std::string own = fingerprint(program);
  if (record.fingerprint != own) {
    diagnostics.error(place,
                      fmt::format("the replay is of another plan: its program is {}, this one {}",
                                  record.fingerprint, own),
                      "both must come from the same plan file");
  }
  diagnostics.throw_if_errors();
  const bool ours = std::all_of(record.ids.begin(), record.ids.end(), [&](InstructionId id) {
    return id.index() < program.instructions.size() &&
           program.instructions[id.index()].rank == record.rank;
  });
  const bool computes = std::any_of(record.ids.begin(), record.ids.end(), [&](InstructionId id) {
    return id.index() < program.instructions.size() &&
           program.instructions[id.index()].stream == Stream::kCompute;
  });
  if (!ours || !computes)
    diagnostics.error(
        place, fmt::format("the spans are not of instructions of rank {}", record.rank.value));
  diagnostics.throw_if_errors();
}

}  // namespace orrery
