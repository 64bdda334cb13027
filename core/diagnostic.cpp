#include "core/diagnostic.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "core/document_text.hpp"
#include "core/error.hpp"
#include "core/utf8.hpp"

namespace orrery {
namespace {

constexpr int kLongestLine = 100;       // code points of a source line that are shown
constexpr std::size_t kMostShown = 40;  // diagnostics that are printed in full

// The window of `line` around the caret, and the caret's column in it. Minified JSON has lines of
// megabytes.
struct Snippet {
  std::string text;
  int col = 1;
  int length = 1;
};

Snippet snippet(std::string_view line, int col, int length) {
  const int total = count_code_points(line);
  col = std::clamp(col, 1, total + 1);
  length = std::clamp(length, 1, std::max(1, total + 1 - col));
  if (total <= kLongestLine) return {printable(line), col, length};
  const int first = std::clamp(col - kLongestLine / 3, 1, std::max(1, total - kLongestLine + 1));
  const int shown = std::min(kLongestLine, total + 1 - first);
  const std::size_t begin = code_point_offset(line, first - 1);
  const std::size_t end = code_point_offset(line, first - 1 + shown);
  Snippet result{printable(line.substr(begin, end - begin)), col - first + 1, length};
  if (first > 1) {
    result.text = fmt::format("...{}", result.text);
    result.col += 3;
  }
  if (first - 1 + shown < total) result.text += "...";
  result.length = std::min(result.length, std::max(1, first + shown - col));
  return result;
}

std::string render_one(const Diagnostic& diagnostic,
                       const std::map<std::string, std::string>& sources) {
  const Place& place = diagnostic.place;
  std::string out = diagnostic.severity == Severity::kError ? "error: " : "warning: ";
  out += printable(diagnostic.message);
  const std::string number = place.line > 0 ? std::to_string(place.line) : "";
  const std::string margin(std::max<std::size_t>(1, number.size()) + 1, ' ');
  if (!place.file.empty()) {
    out += fmt::format("\n{}--> {}", margin, printable(place.file));
    if (place.line > 0) out += fmt::format(":{}:{}", place.line, place.col);
  }
  std::string_view line = place.snippet;
  bool has_line = !place.snippet.empty();
  if (place.line > 0) {
    if (const auto source = sources.find(place.file); source != sources.end()) {
      line = line_of(source->second, place.line);
      has_line = true;
    }
  }
  if (has_line) {
    const Snippet shown = snippet(line, place.col, place.length);
    const std::string gutter = number.empty() ? margin : fmt::format(" {}", number);
    out += fmt::format("\n{0} |\n{1} | {2}\n{0} | {3:{4}}{5:^<{6}}", margin, gutter, shown.text, "",
                       shown.col - 1, "", shown.length);
    if (!diagnostic.hint.empty()) out.append(" ").append(printable(diagnostic.hint));
    return out;
  }
  if (!diagnostic.hint.empty()) out += fmt::format("\n{} = {}", margin, printable(diagnostic.hint));
  return out;
}

}  // namespace

Place command_line_place(std::string_view text, int col, int length) {
  return {"command line", 0, col, length, std::string(text)};
}

void Diagnostics::add_source(std::string file, std::string text) {
  sources_.insert_or_assign(std::move(file), std::move(text));
}

void Diagnostics::add(Diagnostic diagnostic) {
  if (diagnostic.severity == Severity::kError) ++errors_;
  diagnostics_.push_back(std::move(diagnostic));
}

void Diagnostics::error(Place place, std::string message, std::string hint) {
  add({Severity::kError, std::move(message), std::move(place), std::move(hint)});
}

void Diagnostics::warning(Place place, std::string message, std::string hint) {
  add({Severity::kWarning, std::move(message), std::move(place), std::move(hint)});
}

std::string Diagnostics::render() const {
  std::vector<const Diagnostic*> order;
  for (const Diagnostic& diagnostic : diagnostics_) order.push_back(&diagnostic);
  // Readers check keys in the order of the schema; a person reads the file from top to bottom.
  std::stable_sort(order.begin(), order.end(), [](const Diagnostic* a, const Diagnostic* b) {
    return std::tie(a->place.file, a->place.line, a->place.col) <
           std::tie(b->place.file, b->place.line, b->place.col);
  });
  std::string out;
  for (std::size_t index = 0; index < order.size(); ++index) {
    if (index > 0) out += "\n\n";
    if (index == kMostShown) return out + fmt::format("... and {} more", order.size() - kMostShown);
    out += render_one(*order[index], sources_);
  }
  return out;
}

void Diagnostics::throw_if_errors() const {
  if (has_errors()) throw InputError(render());
}

}  // namespace orrery
