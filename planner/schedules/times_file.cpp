#include "planner/schedules/times_file.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/document.hpp"
#include "core/reader.hpp"

namespace orrery {
namespace {

constexpr double kMost = 1e12;

class TimesReader {
 public:
  TimesReader(ReadContext& context, const Schedule& placement)
      : context_(context), placement_(placement) {}

  TimesFile read(Reader& root) {
    root.format_version(1, 0);
    const double hop = root.optional_double("hop", 0, 0, kMost);
    file_.times.hop = Seconds{hop};
    if (const Node* limits = root.node("limits")) read_limits(root, *limits);
    std::vector<Reader> directions = root.tables("directions");
    if (static_cast<int>(directions.size()) != placement_.directions) {
      root.error("directions", fmt::format("{} directions, the schedule has {}", directions.size(),
                                           placement_.directions));
    }
    for (Reader& direction : directions) read_direction(direction);
    root.finish();
    if (offsets_ > 0 && offsets_ != stages_) {
      root.error(
          "directions", "some stages say when the outputs of a pair are ready, some do not",
          "give needs_gradient, forward_ready and gradient_ready for all stages or for none");
    }
    if (offsets_ == 0) file_.times.pairs.clear();
    if (!sends_) file_.times.sends.clear();
    if (!backwards_) file_.times.backwards.clear();
    return std::move(file_);
  }

 private:
  void read_limits(Reader& root, const Node& list) {
    auto& limits = file_.limits.emplace();
    for (const Node& value : list.children) {
      const bool number = value.kind == NodeKind::kInteger || value.kind == NodeKind::kFloat;
      if (!number || !(value.number > 0) || value.number > kMost) {
        context_.diagnostics.error(value.place(context_.file), "expected a number above 0");
        return;
      }
      limits.push_back(value.number);
    }
    if (limits.size() != placement_.ranks.size()) {
      root.error("limits", fmt::format("{} limits, the schedule has {} ranks", limits.size(),
                                       placement_.ranks.size()));
    }
  }

  void read_direction(Reader& direction) {
    auto& stages = file_.times.stages.emplace_back();
    auto& pairs = file_.times.pairs.emplace_back();
    auto& sends = file_.times.sends.emplace_back();
    auto& backwards = file_.times.backwards.emplace_back();
    std::vector<Reader> list = direction.tables("stages");
    if (static_cast<int>(list.size()) != placement_.stages()) {
      direction.error("stages", fmt::format("{} stages, the schedule has {}", list.size(),
                                            placement_.stages()));
    }
    for (Reader& stage : list) {
      const double F = stage.required_double("F", 0, kMost);
      const double I = stage.required_double("I", 0, kMost);
      const double W = stage.required_double("W", 0, kMost);
      const double B = stage.optional_double("B", I + W, 0, kMost);
      const double sent = stage.optional_double("B_gradient_ready", B, 0, B);
      backwards.push_back({Seconds{B}, Seconds{sent}});
      backwards_ = backwards_ || stage.has("B") || stage.has("B_gradient_ready");
      const double FB = stage.optional_double("FB", F + B, 0, kMost);
      const double FI = stage.optional_double("FI", F + I, 0, kMost);
      stages.push_back({Seconds{F}, Seconds{I}, Seconds{W}, Seconds{FB}, Seconds{FI}});
      // What runs beside each other takes no less than the longer of them.
      const auto no_less = [&](const char* name, double value, double than, const char* which) {
        if (value >= than * (1 - 1e-9)) return;
        stage.error(name, fmt::format("{} is {}, less than {}, {}", name, value, which, than),
                    "work that overlaps takes as long as its longest part at the least");
      };
      no_less("B", B, std::max(I, W), "the longer of I and W");
      no_less("FB", FB, std::max(F, B), "the longer of F and B");
      no_less("FI", FI, std::max(F, I), "the longer of F and I");
      const int given = (stage.has("needs_gradient") ? 1 : 0) +
                        (stage.has("forward_ready") ? 1 : 0) +
                        (stage.has("gradient_ready") ? 1 : 0);
      if (given != 0 && given != 3) {
        stage.error(stage.has("needs_gradient")  ? "needs_gradient"
                    : stage.has("forward_ready") ? "forward_ready"
                                                 : "gradient_ready",
                    "needs_gradient, forward_ready and gradient_ready belong together",
                    "give all three or none");
      }
      const double needs = stage.optional_double("needs_gradient", 0, 0, std::min(FB, FI));
      const double forward = stage.optional_double("forward_ready", FB, 0, FB);
      const double gradient = stage.optional_double("gradient_ready", FB, 0, FB);
      pairs.push_back({Seconds{needs}, Seconds{forward}, Seconds{gradient}});
      sends_ = sends_ || stage.has("send_activation") || stage.has("send_gradient");
      const double hop = file_.times.hop.value();
      sends.push_back({Seconds{stage.optional_double("send_activation", hop, 0, kMost)},
                       Seconds{stage.optional_double("send_gradient", hop, 0, kMost)}});
      stage.finish();
      ++stages_;
      offsets_ += given == 3 ? 1 : 0;
    }
    direction.finish();
  }

  ReadContext& context_;
  const Schedule& placement_;
  TimesFile file_;
  int stages_ = 0, offsets_ = 0;
  bool sends_ = false, backwards_ = false;
};

}  // namespace

TimesFile read_times(const std::string& path, const Schedule& placement) {
  Diagnostics diagnostics;
  const Document document = parse_file(path, diagnostics);
  ReadContext context{path, "", diagnostics};
  Reader root(document.root, context);
  TimesFile file = TimesReader(context, placement).read(root);
  diagnostics.throw_if_errors();
  return file;
}

}  // namespace orrery
