#include "reports/step_page.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <map>

#include "planner/step_summary.hpp"
#include "reports/cluster_text.hpp"
#include "reports/number.hpp"
#include "sim/waits.hpp"

namespace orrery {
namespace {

constexpr double kWidth = 1200, kLeft = 330, kRow = 20, kBar = 14;
constexpr int kMostRows = 40;

enum Colour { kForward, kBackward, kWeight, kPair, kOptimizer, kWait, kColours };
constexpr std::array<std::pair<const char*, const char*>, kColours> kLegend{{
    {"forward", "#4c78a8"},
    {"backward", "#54a24b"},
    {"weight gradient", "#b279a2"},
    {"co-scheduled pair", "#72b7b2"},
    {"optimizer", "#9d9d9d"},
    {"waiting for the last GPU of an exchange", "#e45756"},
}};

Colour colour_of(const Cell& cell) {
  switch (cell.kind) {
    case CellKind::kF: return kForward;
    case CellKind::kI:
    case CellKind::kB: return kBackward;
    case CellKind::kW: return kWeight;
    case CellKind::kFB:
    case CellKind::kFI: return kPair;
  }
  return kPair;
}

std::string escaped(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '&': out += "&amp;"; break;
      default: out += c;
    }
  }
  return out;
}

// All classes where they are few; else the largest and the smallest of each pipeline rank.
std::vector<int> shown_classes(const FoldedStep& folding) {
  std::vector<int> shown;
  const auto size = [&](int number) {
    return folding.classes[static_cast<std::size_t>(number)].size;
  };
  for (std::size_t rank = 0; rank + 1 < folding.first_class.size(); ++rank) {
    std::vector<int> own;
    for (int number = folding.first_class[rank]; number < folding.first_class[rank + 1]; ++number)
      own.push_back(number);
    if (static_cast<int>(folding.classes.size()) > kMostRows && own.size() > 2) {
      const auto smaller = [&](int a, int b) { return size(a) < size(b); };
      const int largest = *std::max_element(own.begin(), own.end(), smaller);
      const int smallest = *std::min_element(own.begin(), own.end(), smaller);
      own = {largest};
      if (smallest != largest) own.push_back(smallest);
    }
    shown.insert(shown.end(), own.begin(), own.end());
  }
  return shown;
}

class Picture {
 public:
  Picture(const Plan& plan, const ClusterStep& step)
      : plan_(plan), step_(step), program_(step.folding.expanded.program) {}

  std::string svg() {
    const std::vector<int> rows = shown_classes(step_.folding);
    const double height = kRow * static_cast<double>(rows.size() + 3);
    std::string body;
    double top = kRow;
    for (int number : rows) {
      body += row(number, top);
      top += kRow;
    }
    body += axis(top);
    return fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1:.0f}\" "
        "viewBox=\"0 0 {0} {1:.0f}\" font-family=\"sans-serif\" font-size=\"11\">\n{2}</svg>\n",
        kLeft + kWidth + 20, height, body);
  }

 private:
  double x(Seconds time) const { return kLeft + kWidth * (time / step_.classes.step); }

  std::string row(int number, double top) {
    const RankClass& own = step_.folding.classes[static_cast<std::size_t>(number)];
    const Rank copy(number);
    const std::vector<Cell>& cells = plan_.schedule.ranks[own.pipeline_rank.index()];
    const std::vector<Span> spans = cell_spans(program_, step_.classes, copy, cells.size());
    const std::vector<double> waited = waits(copy, cells.size());
    // One path a colour: a step has hundreds of cells.
    std::array<std::string, kColours> paths;
    const auto bar = [&](Colour colour, double from, double to, double y, double height) {
      paths[colour] += fmt::format("M{:.1f} {:.1f}h{:.1f}v{:.1f}h-{:.1f}z", from, y,
                                   std::max(0.1, to - from), height, std::max(0.1, to - from));
    };
    for (std::size_t cell = 0; cell < cells.size(); ++cell) {
      if (spans[cell].length().value() <= 0) continue;
      bar(colour_of(cells[cell]), x(spans[cell].start), x(spans[cell].end), top, kBar);
      if (waited[cell] > 0)
        bar(kWait,
            x(spans[cell].end - Seconds{std::min(waited[cell], spans[cell].length().value())}),
            x(spans[cell].end), top + kBar / 2, kBar / 2);
    }
    for (Stream stream : {Stream::kCompute, Stream::kComm}) {
      for (InstructionId id : program_.streams[copy.index()][static_cast<std::size_t>(stream)]) {
        if (program_.instructions[id.index()].cell >= 0) continue;
        const Span& span = step_.classes.at(id);
        bar(kOptimizer, x(span.start), x(span.end), top, kBar);
      }
    }
    std::string text = fmt::format(
        "<text x=\"{}\" y=\"{:.0f}\" text-anchor=\"end\">pipeline rank {}: "
        "{}</text>\n",
        kLeft - 8, top + kBar - 3, own.pipeline_rank.value,
        class_name(plan_, step_.folding, number));
    for (std::size_t colour = 0; colour < paths.size(); ++colour) {
      if (!paths[colour].empty())
        text +=
            fmt::format("<path fill=\"{}\" d=\"{}\"/>\n", kLegend[colour].second, paths[colour]);
    }
    return text;
  }

  // By cell: seconds that its exchanges began after their GPU was ready for them.
  std::vector<double> waits(Rank copy, std::size_t cells) const {
    std::vector<double> waited(cells, 0);
    const auto& list = program_.streams[copy.index()][static_cast<std::size_t>(Stream::kComm)];
    for (std::size_t place = 0; place < list.size(); ++place) {
      const Instruction& instruction = program_.instructions[list[place].index()];
      if (instruction.cell < 0) continue;
      Seconds ready = place == 0 ? Seconds{} : step_.classes.at(list[place - 1]).end;
      for (InstructionId before : program_.deps_of(instruction))
        ready = std::max(ready, step_.classes.at(before).end);
      waited[static_cast<std::size_t>(instruction.cell)] +=
          std::max(0.0, (step_.classes.at(instruction.id).start - ready).value());
    }
    return waited;
  }

  std::string axis(double top) const {
    const TimeUnit unit = time_unit(step_.classes.step);
    const double length = step_.classes.step / unit.time;
    double tick = 1;
    while (length / tick > 12) tick *= length / tick > 60 ? 10 : 2;
    std::string text;
    for (double at = 0; at <= length; at += tick) {
      const double place = kLeft + kWidth * at / length;
      text += fmt::format(
          "<path stroke=\"#888\" d=\"M{0:.1f} {1:.0f}v5\"/><text x=\"{0:.1f}\" "
          "y=\"{2:.0f}\" text-anchor=\"middle\">{3:g} {4}</text>\n",
          place, top, top + 18, at, unit.name);
    }
    return text;
  }

  const Plan& plan_;
  const ClusterStep& step_;
  const Program& program_;
};

}  // namespace

std::string headline(const Plan& plan, const Faults* faults, const Skew& skew, Seconds base,
                     const ClusterStep& step) {
  const TimeUnit unit = time_unit(step.classes.step);
  std::string text;
  if (faults != nullptr && skew.kind == SkewKind::kNone) {
    text = fault_list(plan, *faults);
  } else if (skew.kind != SkewKind::kNone) {
    text = fmt::format("The experts are unevenly loaded ({})", describe(skew));
    if (faults != nullptr) text += ", and " + fault_list(plan, *faults);
  } else {
    text = "All GPUs and links are sound and the experts evenly loaded";
  }
  text += fmt::format(": the step takes {:.3f} {}", step.classes.step / unit.time, unit.name);
  if (base.value() > 0 && base != step.classes.step)
    text += fmt::format(" in the place of {:.3f} {} ({})", base / unit.time, unit.name,
                        signed_percent(step.classes.step / base - 1));
  text += ".";
  text.front() = static_cast<char>(std::toupper(static_cast<unsigned char>(text.front())));
  if (step.straggler_wait.value() > 0)
    text += fmt::format(
        " Before exchanges a GPU waits {:.3f} {} a step for the last of its group, "
        "in the mean.",
        step.straggler_wait / unit.time, unit.name);
  const std::vector<std::string> who = who_waits(plan, step, 1);
  if (!who.empty()) text += " " + who.front() + ".";
  return text;
}

std::string step_page(const Plan& plan, const ClusterStep& step, const std::string& headline_text,
                      const std::string& text) {
  std::string legend;
  for (const auto& [name, colour] : kLegend)
    legend += fmt::format("<span style=\"background:{}\">&nbsp;&nbsp;&nbsp;</span> {} &nbsp; ",
                          colour, name);
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
      "<title>{0} on {1}: one training step</title>\n"
      "<style>body{{font-family:sans-serif;margin:2em}}pre{{font-size:12px;line-height:1.3}}"
      "p.headline{{font-size:1.2em;max-width:70em}}</style></head><body>\n"
      "<h1>{0} on {1}: one training step</h1>\n<p class=\"headline\">{2}</p>\n"
      "<h2>Timeline</h2>\n<p>{3}</p>\n{4}<h2>In numbers</h2>\n<pre>{5}</pre>\n</body></html>\n",
      escaped(plan.model.name), escaped(plan.cluster.name), escaped(headline_text), legend,
      Picture(plan, step).svg(), escaped(text));
}

}  // namespace orrery
