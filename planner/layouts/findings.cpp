#include "planner/layouts/findings.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "core/stage_map.hpp"

namespace orrery {
namespace {

using Json = nlohmann::json;

Json to_json(const Layout& layout) {
  return {layout.pp,
          layout.tp,
          layout.cp,
          layout.ep,
          layout.etp,
          layout.dp,
          layout.vpp,
          layout.zero_stage,
          layout.micro_batch,
          layout.comm_sms,
          static_cast<int>(layout.precision),
          static_cast<int>(layout.recompute),
          static_cast<int>(layout.optimizer),
          static_cast<int>(layout.ema),
          format_stage_map(layout.stage_map)};
}

Layout layout_of(const Json& json) {
  Layout layout;
  std::size_t at = 0;
  for (int* field : {&layout.pp, &layout.tp, &layout.cp, &layout.ep, &layout.etp, &layout.dp,
                     &layout.vpp, &layout.zero_stage, &layout.micro_batch, &layout.comm_sms})
    *field = json.at(at++).get<int>();
  layout.precision = static_cast<Precision>(json.at(at++).get<int>());
  layout.recompute = static_cast<Recompute>(json.at(at++).get<int>());
  layout.optimizer = static_cast<Keep>(json.at(at++).get<int>());
  layout.ema = static_cast<Keep>(json.at(at++).get<int>());
  const auto map = json.at(at).get<std::string>();
  if (map.empty()) return layout;
  Diagnostics diagnostics;
  layout.stage_map = parse_stage_map(map, diagnostics);
  diagnostics.throw_if_errors();
  return layout;
}

constexpr Bytes MemoryTable::*kParts[] = {
    &MemoryTable::weights,          &MemoryTable::gradients, &MemoryTable::optimizer,
    &MemoryTable::activations,      &MemoryTable::buffers,   &MemoryTable::reserve,
    &MemoryTable::capacity,         &MemoryTable::ema,       &MemoryTable::fp8_copies,
    &MemoryTable::exchange_buffers, &MemoryTable::received};

Json to_json(const MemoryTable& table) {
  Json json;
  for (const auto part : kParts) json.push_back((table.*part).value());
  return json;
}

MemoryTable memory_of(const Json& json) {
  MemoryTable table;
  std::size_t at = 0;
  for (const auto part : kParts) table.*part = Bytes{json.at(at++).get<double>()};
  return table;
}

Json to_json(const BestOfRow& best) {
  const FoundLayout& found = best.found;
  return {to_json(found.layout), found.schedule,      found.score.value(),
          to_json(found.memory), found.fullest.value, best.number};
}

BestOfRow best_of(const Json& json) {
  return {{layout_of(json.at(0)), json.at(1).get<std::string>(), Seconds{json.at(2).get<double>()},
           memory_of(json.at(3)), Rank{json.at(4).get<int>()}},
          json.at(5).get<std::int64_t>()};
}

}  // namespace

RowKey row_key(const Layout& layout, const std::string& schedule, int vpp) {
  return {layout.pp, layout.tp, layout.cp, layout.ep, layout.etp, vpp, schedule};
}

void Findings::reject(const char* reason, std::int64_t points, const Layout& layout,
                      const std::string& schedule) {
  rejected[reason] += points;
  examples.try_emplace(reason, RejectedPoint{layout, schedule, {}});
}

void Findings::reject_memory(std::int64_t points, const Layout& layout, const std::string& schedule,
                             const MemoryTable& memory, Rank rank) {
  rejected[kExceedsMemory] += points;
  if (least && *least <= memory.total()) return;
  least = memory.total();
  examples[kExceedsMemory] = {layout, schedule, memory_arithmetic(memory, rank)};
}

void Findings::take(const RowKey& key, BestOfRow best) {
  const auto [row, is_new] = rows.try_emplace(key, std::move(best));
  if (!is_new && best < row->second) row->second = std::move(best);
}

const BestOfRow* Findings::front_from(int headroom_class) const {
  const auto entry = front.lower_bound(headroom_class);
  return entry == front.end() ? nullptr : &entry->second;
}

void Findings::take_front(int headroom_class, BestOfRow best) {
  const BestOfRow* const shortest = front_from(headroom_class);
  if (shortest != nullptr && *shortest < best) return;
  // It takes the place of those with no more headroom that are no shorter.
  auto end = front.upper_bound(headroom_class);
  auto begin = end;
  while (begin != front.begin() && best < std::prev(begin)->second) --begin;
  front.erase(begin, end);
  front.emplace(headroom_class, std::move(best));
}

void Findings::merge(Findings&& other) {
  for (const auto& [reason, count] : other.rejected) rejected[reason] += count;
  if (other.least && (!least || *other.least < *least)) {
    least = other.least;
    examples[kExceedsMemory] = other.examples.at(kExceedsMemory);
  }
  examples.merge(std::move(other.examples));
  pruned += other.pruned;
  scored += other.scored;
  for (auto& [key, best] : other.rows) take(key, std::move(best));
  for (auto& [headroom_class, best] : other.front) take_front(headroom_class, std::move(best));
}

std::string pack(const Findings& findings) {
  Json json = {{"rejected", findings.rejected}, {"pruned", findings.pruned},
               {"scored", findings.scored},     {"examples", Json::object()},
               {"rows", Json::array()},         {"front", Json::array()}};
  if (findings.least) json["least"] = findings.least->value();
  for (const auto& [reason, point] : findings.examples)
    json["examples"][reason] = {to_json(point.layout), point.schedule, point.arithmetic};
  for (const auto& [key, best] : findings.rows) json["rows"].push_back(to_json(best));
  for (const auto& [headroom_class, best] : findings.front)
    json["front"].push_back({headroom_class, to_json(best)});
  return json.dump();
}

Findings unpack_findings(const std::string& packed) {
  const Json json = Json::parse(packed);
  Findings findings;
  findings.rejected = json.at("rejected").get<std::map<std::string, std::int64_t>>();
  findings.pruned = json.at("pruned").get<std::int64_t>();
  findings.scored = json.at("scored").get<std::int64_t>();
  if (json.contains("least")) findings.least = Bytes{json.at("least").get<double>()};
  for (const auto& [reason, point] : json.at("examples").items()) {
    findings.examples[reason] = {layout_of(point.at(0)), point.at(1).get<std::string>(),
                                 point.at(2).get<std::string>()};
  }
  for (const Json& row : json.at("rows")) {
    BestOfRow best = best_of(row);
    const RowKey key = row_key(best.found.layout, best.found.schedule, best.found.layout.vpp);
    findings.rows.emplace(key, std::move(best));
  }
  for (const Json& entry : json.at("front"))
    findings.front.emplace(entry.at(0).get<int>(), best_of(entry.at(1)));
  return findings;
}

std::string memory_arithmetic(const MemoryTable& memory, Rank rank) {
  const auto gib = [](Bytes bytes) { return fmt::format("{:.2f}", in_gibibytes(bytes)); };
  std::string text = fmt::format("rank {}: weights {} + gradients {} + optimizer {}", rank.value,
                                 gib(memory.weights), gib(memory.gradients), gib(memory.optimizer));
  if (memory.ema.value() > 0) text += fmt::format(" + EMA {}", gib(memory.ema));
  return text +
         fmt::format(" + activations {} + buffers {} + reserve {} = {} GiB, the GPU has {} GiB",
                     gib(memory.activations), gib(memory.buffers), gib(memory.reserve),
                     gib(memory.total()), gib(memory.capacity));
}

}  // namespace orrery
