#include "reports/chrome_trace.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <optional>

#include "core/error.hpp"
#include "planner/step_summary.hpp"
#include "reports/trace_text.hpp"

#ifndef ORRERY_VERSION
#define ORRERY_VERSION "development"
#endif

namespace orrery {
namespace {

struct Slot {
  Nanoseconds start = 0;
  Nanoseconds end = 0;
};

// The threads of a process, in the order in which they are shown.
enum class Track { kCells, kCompute, kWaits, kComm, kSendNext, kSendPrev, kRecvNext, kRecvPrev };
constexpr auto kTrackNames = std::to_array<std::string_view>(
    {"cells", "compute", "waits", "communication", "send to next", "send to previous",
     "receive from next", "receive from previous"});

Track track_of(Stream stream) {
  switch (stream) {
    case Stream::kCompute: return Track::kCompute;
    case Stream::kComm: return Track::kComm;
    case Stream::kSendNext: return Track::kSendNext;
    case Stream::kSendPrev: return Track::kSendPrev;
    case Stream::kRecvNext: return Track::kRecvNext;
    case Stream::kRecvPrev: return Track::kRecvPrev;
  }
  return Track::kCompute;
}

// Perfetto names threads by their tid alone and takes one that equals its pid for the main thread:
// tids are unique in the trace and never equal to the pid.
int tid(int process, Track track) {
  return 100 * (process + 1) + static_cast<int>(track);
}

// Which of several timelines of one Program this is: their processes stand side by side.
struct Place {
  int number = 0;
  int of = 1;
  std::string label = "";  // of its processes; empty where it is alone
};

class TraceWriter {
 public:
  // `ranks` is empty where all pipeline ranks have equally many in `program`.
  TraceWriter(const Plan& plan, const Program& program, const Timeline& timeline, Place place,
              const std::vector<TraceRank>& ranks)
      : plan_(plan),
        program_(program),
        timeline_(timeline),
        place_(std::move(place)),
        ranks_(ranks) {
    ORRERY_CHECK(timeline.spans.size() == program.instructions.size(),
                 "{} spans of {} instructions", timeline.spans.size(), program.instructions.size());
    ORRERY_CHECK(!ranks.empty() || program.pp % plan.schedule.pp() == 0,
                 "schedule of {} ranks, program of {}", plan.schedule.pp(), program.pp);
    for (const Work& work : program.works) works_.push_back(describe_work(work));
  }

  // The events, a line each.
  std::string events() {
    round_spans();
    for (int number = 0; number < program_.pp; ++number) write_rank(Rank(number));
    // After the spans that they are bound to.
    for (const Instruction& instruction : program_.instructions) {
      if (is_send(instruction)) write_flow(instruction);
    }
    return std::move(out_);
  }
  // Spans that overlapped the one before by more than a nanosecond.
  int cut() const { return cut_; }

 private:
  int process(Rank rank) const { return rank.value * place_.of + place_.number; }
  // Of the pipeline that a rank belongs to: where every GPU has its own list, several are alike.
  std::size_t pipeline(Rank rank) const {
    if (!ranks_.empty()) return ranks_[rank.index()].pipeline_rank.index();
    return rank.index() / static_cast<std::size_t>(program_.pp / plan_.schedule.pp());
  }
  const std::vector<InstructionId>& list(Rank rank, Stream stream) const {
    return program_.streams[rank.index()][static_cast<std::size_t>(stream)];
  }
  const Slot& slot(InstructionId id) const { return slots_[id.index()]; }
  Rank partner_rank(const Instruction& transfer) const {
    return program_.instructions[transfer.partner.index()].rank;
  }
  static bool is_send(const Instruction& instruction) {
    return instruction.partner.valid() &&
           (instruction.stream == Stream::kSendNext || instruction.stream == Stream::kSendPrev);
  }

  // Start and end in nanoseconds, each rounded, so that what touches still touches. The floor is
  // where the span before ended.
  Slot rounded(const Span& span, Nanoseconds floor) {
    Slot result{to_nanoseconds(span.start), to_nanoseconds(span.end)};
    if (result.start + 1 < floor) ++cut_;
    result.start = std::max(result.start, floor);
    result.end = std::max(result.end, result.start);
    return result;
  }

  void round_spans() {
    slots_.resize(program_.instructions.size());
    for (const auto& streams : program_.streams) {
      for (const auto& ids : streams) {
        Nanoseconds floor = 0;
        for (InstructionId id : ids) {
          slots_[id.index()] = rounded(timeline_.at(id), floor);
          floor = slot(id).end;
        }
      }
    }
  }

  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    out_ += is_first_ ? "\n" : ",\n";
    is_first_ = false;
    fmt::format_to(std::back_inserter(out_), format, std::forward<Args>(args)...);
  }

  // An X event; `head` gives name and category, `args` is the inside of the object.
  void span(Rank rank, Track track, const Slot& at, std::string_view head, std::string_view args) {
    line(R"({{"ph":"X","pid":{},"tid":{},"ts":{},"dur":{},{},"args":{{{}}}}})", process(rank),
         tid(process(rank), track), microseconds_text(at.start),
         microseconds_text(at.end - at.start), head, args);
  }

  void write_rank(Rank rank) {
    std::vector<int> stages;
    for (const ChunkPlace& place : plan_.schedule.chunks[pipeline(rank)])
      stages.push_back(place.stage.value);
    std::string name = fmt::format(
        "{} {} (stage{} {})", program_.pp == plan_.schedule.pp() ? "pipeline rank" : "rank",
        rank.value, stages.size() == 1 ? "" : "s", fmt::join(stages, ", "));
    if (!ranks_.empty())
      name = fmt::format("pipeline rank {} (stage{} {}): {}", pipeline(rank),
                         stages.size() == 1 ? "" : "s", fmt::join(stages, ", "),
                         ranks_[rank.index()].label);
    if (!place_.label.empty()) name += ", " + place_.label;
    line(R"({{"ph":"M","pid":{},"name":"process_name","args":{{"name":"{}"}}}})", process(rank),
         name);
    line(R"({{"ph":"M","pid":{0},"name":"process_sort_index","args":{{"sort_index":{0}}}}})",
         process(rank));
    write_cells(rank);
    write_stream(rank, Stream::kCompute);
    write_waits(rank);
    for (Stream stream : {Stream::kComm, Stream::kSendNext, Stream::kSendPrev, Stream::kRecvNext,
                          Stream::kRecvPrev}) {
      write_stream(rank, stream);
    }
    write_memory(rank, "activation memory",
                 [](BufferKind kind) { return kind != BufferKind::kCommunication; });
    write_memory(rank, "communication buffers",
                 [](BufferKind kind) { return kind == BufferKind::kCommunication; });
  }

  void name_thread(Rank rank, Track track) {
    const auto place = static_cast<std::size_t>(track);
    line(R"({{"ph":"M","pid":{},"tid":{},"name":"thread_name","args":{{"name":"{}"}}}})",
         process(rank), tid(process(rank), track), kTrackNames[place]);
    line(R"({{"ph":"M","pid":{},"tid":{},"name":"thread_sort_index","args":{{"sort_index":{}}}}})",
         process(rank), tid(process(rank), track), place);
  }

  void write_cells(Rank rank) {
    const std::vector<Cell>& cells = plan_.schedule.ranks[pipeline(rank)];
    const std::vector<Span> spans = cell_spans(program_, timeline_, rank, cells.size());
    name_thread(rank, Track::kCells);
    Nanoseconds floor = 0;
    for (std::size_t number = 0; number < cells.size(); ++number) {
      if (spans[number].length().value() <= 0) continue;  // nothing to run
      const Slot at = rounded(spans[number], floor);
      floor = at.end;
      span(rank, Track::kCells, at,
           fmt::format(R"("name":"{}","cat":"cell")", cell_name(cells[number])),
           fmt::format(R"("cell":{})", number));
    }
    if (const std::optional<Span> optimizer = optimizer_span(rank))
      span(rank, Track::kCells, rounded(*optimizer, floor), R"("name":"optimizer","cat":"cell")",
           "");
  }

  std::optional<Span> optimizer_span(Rank rank) const {
    std::optional<Span> whole;
    for (Stream stream : {Stream::kCompute, Stream::kComm}) {
      for (InstructionId id : list(rank, stream)) {
        if (program_.instructions[id.index()].cell >= 0) continue;
        const Span& part = timeline_.at(id);
        if (!whole) whole = part;
        whole = Span{std::min(whole->start, part.start), std::max(whole->end, part.end)};
      }
    }
    return whole;
  }

  void write_stream(Rank rank, Stream stream) {
    const std::vector<InstructionId>& ids = list(rank, stream);
    if (ids.empty()) return;
    name_thread(rank, track_of(stream));
    std::string args;
    for (InstructionId id : ids) {
      const Instruction& instruction = program_.instructions[id.index()];
      const WorkText& work = works_[instruction.work.index()];
      args = fmt::format(R"("id":{})", id.value);
      const auto add = [&args](std::string_view key, int value) {
        fmt::format_to(std::back_inserter(args), R"(,"{}":{})", key, value);
      };
      if (instruction.microbatch.valid()) add("microbatch", instruction.microbatch.value);
      if (instruction.stage.valid()) {
        add("stage", instruction.stage.value);
        if (instruction.layer >= 0) add("layer", instruction.layer);
        add("direction", instruction.direction);
      }
      if (instruction.partner.valid()) add("peer", partner_rank(instruction).value);
      args += work.sizes;
      if (instruction.lent_sms > 0) add("lent_SMs", instruction.lent_sms);
      span(rank, track_of(stream), slot(id), work.head, args);
    }
  }

  // Gaps of the compute stream: until what the next instruction depends on has ended, and idle time
  // after that.
  void write_waits(Rank rank) {
    bool is_named = false;
    Nanoseconds free = 0;  // since when the stream could have run the next instruction
    for (InstructionId id : list(rank, Stream::kCompute)) {
      Slot gap{free, slot(id).start};
      free = slot(id).end;
      if (gap.end <= gap.start) continue;
      if (!is_named) name_thread(rank, Track::kWaits);
      is_named = true;
      InstructionId last;
      for (InstructionId on : program_.deps_of(program_.instructions[id.index()])) {
        if (!last.valid() || timeline_.at(on).end > timeline_.at(last).end) last = on;
      }
      if (last.valid() && slot(last).end > gap.start) {
        const Slot wait{gap.start, std::min(slot(last).end, gap.end)};
        write_wait(rank, wait, program_.instructions[last.index()], id);
        gap.start = wait.end;
      }
      if (gap.end > gap.start) {
        span(rank, Track::kWaits, gap, R"("name":"idle","cat":"wait")",
             fmt::format(R"("next":{})", id.value));
      }
    }
  }

  void write_wait(Rank rank, const Slot& at, const Instruction& cause, InstructionId next) {
    const Work& work = program_.work(cause);
    const std::string what =
        cause.partner.valid() ? fmt::format("rank {}", partner_rank(cause).value) : work.name;
    span(rank, Track::kWaits, at,
         fmt::format(R"("name":{},"cat":"wait")", json_string("wait for " + what)),
         fmt::format(R"("for":{},"next":{},"component":"{}")", cause.id.value, next.value,
                     to_string(work.component)));
  }

  // Live bytes of some kinds of buffers: allocated when an instruction starts, freed when it ends.
  template <class Wanted>
  void write_memory(Rank rank, std::string_view name, Wanted wanted) {
    struct Change {
      Nanoseconds when = 0;
      std::int64_t bytes = 0;
    };
    std::vector<Change> changes;
    for (const auto& ids : program_.streams[rank.index()]) {
      for (InstructionId id : ids) {
        for (const BufferEvent& event : program_.events_of(program_.instructions[id.index()])) {
          const Buffer& buffer = program_.buffers[static_cast<std::size_t>(event.buffer)];
          if (!wanted(buffer.kind)) continue;
          const auto bytes = static_cast<std::int64_t>(std::llround(buffer.bytes.value()));
          changes.push_back(event.alloc ? Change{slot(id).start, bytes}
                                        : Change{slot(id).end, -bytes});
        }
      }
    }
    if (changes.empty()) return;
    std::stable_sort(changes.begin(), changes.end(),
                     [](const Change& a, const Change& b) { return a.when < b.when; });
    const auto sample = [&](Nanoseconds when, std::int64_t live) {
      line(R"({{"ph":"C","pid":{},"tid":{},"ts":{},"name":"{}","args":{{"GiB":{:.6g}}}}})",
           process(rank), tid(process(rank), Track::kCompute), microseconds_text(when), name,
           in_gibibytes(Bytes{static_cast<double>(live)}));
    };
    std::int64_t shown = 0;
    std::int64_t live = 0;
    if (changes.front().when > 0) sample(0, live);
    // One sample a moment, of what remains after all its changes.
    for (std::size_t index = 0; index < changes.size(); ++index) {
      live += changes[index].bytes;
      const bool more =
          index + 1 < changes.size() && changes[index + 1].when == changes[index].when;
      if (more || live == shown) continue;
      sample(changes[index].when, live);
      shown = live;
    }
  }

  // An arrow from a send to its receive. Both ends must lie within their spans, the head not before
  // the tail.
  void write_flow(const Instruction& send) {
    const Instruction& recv = program_.instructions[send.partner.index()];
    const Slot& from = slot(send.id);
    const Slot& to = slot(recv.id);
    const auto end = [&](const Instruction& at, std::string_view phase, Nanoseconds when) {
      line(
          R"({{"ph":"{}","id":{},"pid":{},"tid":{},"ts":{},"name":"transfer","cat":"pipeline"{}}})",
          phase, send.id.value * place_.of + place_.number, process(at.rank),
          tid(process(at.rank), track_of(at.stream)), microseconds_text(when),
          phase == "f" ? R"(,"bp":"e")" : "");
    };
    end(send, "s", from.start);
    end(recv, "f", std::clamp(from.start, to.start, std::max(to.start, to.end - 1)));
  }

  const Plan& plan_;
  const Program& program_;
  const Timeline& timeline_;
  const Place place_;
  const std::vector<TraceRank>& ranks_;
  std::vector<WorkText> works_;  // by WorkId
  std::vector<Slot> slots_;      // by InstructionId
  int cut_ = 0;                  // spans that overlapped the one before
  std::string out_;
  bool is_first_ = true;
};

// Of one timeline, or of several of the same Program side by side.
std::string trace_of(const Plan& plan, const Program& program,
                     const std::vector<std::pair<std::string, const Timeline*>>& timelines,
                     const std::vector<TraceRank>& ranks) {
  const auto count = static_cast<int>(timelines.size());
  std::string out = "{\"traceEvents\":[";
  std::string steps;
  int cut = 0;
  for (int number = 0; number < count; ++number) {
    const auto& [label, timeline] = timelines[static_cast<std::size_t>(number)];
    TraceWriter writer(plan, program, *timeline, {number, count, label}, ranks);
    if (number > 0) out += ",";
    out += writer.events();
    cut += writer.cut();
    const std::string prefix = label.empty() ? "" : label + "_";
    steps += fmt::format(R"("{}source":{},"{}step_time_s":{},)", prefix,
                         json_string(timeline->source), prefix, timeline->step.value());
  }
  const std::string name = fmt::format("{} on {}: {}, {}", plan.model.name, plan.cluster.name,
                                       describe(plan.layout), plan.schedule.family);
  out += "\n],\n\"otherData\":{";
  out += fmt::format(R"("orrery_version":{},"plan":{},{}"gpus":{},)"
                     R"("times":"microseconds, rounded to nanoseconds","sizes":"MB = 1e6 bytes",)"
                     R"("memory":"GiB = 2^30 bytes","spans_cut":{})",
                     json_string(ORRERY_VERSION), json_string(name), steps,
                     timelines.front().second->gpus, cut);
  return out + "}}\n";
}

}  // namespace

std::string chrome_trace(const Plan& plan, const Program& program, const Timeline& timeline) {
  return trace_of(plan, program, {{"", &timeline}}, {});
}

std::string chrome_trace(const Plan& plan, const Program& program, const Timeline& timeline,
                         const std::vector<TraceRank>& ranks) {
  return trace_of(plan, program, {{"", &timeline}}, ranks);
}

std::string comparison_trace(const Plan& plan, const Program& program, const Timeline& predicted,
                             const Timeline& measured) {
  return trace_of(plan, program, {{"predicted", &predicted}, {"measured", &measured}}, {});
}

}  // namespace orrery
