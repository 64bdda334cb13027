#include "core/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <span>
#include <vector>

#include "core/suggest.hpp"

namespace orrery {
namespace {

struct Unit {
  std::string_view name;
  Dimension dimension;
  double factor;
  bool shown = true;  // a unit that format_quantity writes
};

// Within a dimension in rising order, so that the largest fitting unit is found from the end.
constexpr Unit kUnits[] = {
    {"ns", Dimension::kTime, 1e-9},
    {"us", Dimension::kTime, 1e-6},
    {"ms", Dimension::kTime, 1e-3},
    {"s", Dimension::kTime, 1},
    {"min", Dimension::kTime, 60, false},
    {"h", Dimension::kTime, 3600, false},
    {"d", Dimension::kTime, 86400, false},

    {"b", Dimension::kSize, 0.125, false},
    {"Kb", Dimension::kSize, 1.25e2, false},
    {"Mb", Dimension::kSize, 1.25e5, false},
    {"Gb", Dimension::kSize, 1.25e8, false},
    {"Tb", Dimension::kSize, 1.25e11, false},
    {"KiB", Dimension::kSize, 1024.0, false},
    {"MiB", Dimension::kSize, 1048576.0, false},
    {"GiB", Dimension::kSize, 1073741824.0, false},
    {"TiB", Dimension::kSize, 1099511627776.0, false},
    {"B", Dimension::kSize, 1},
    {"KB", Dimension::kSize, 1e3},
    {"kB", Dimension::kSize, 1e3, false},
    {"MB", Dimension::kSize, 1e6},
    {"GB", Dimension::kSize, 1e9},
    {"TB", Dimension::kSize, 1e12},
    {"PB", Dimension::kSize, 1e15},

    {"b/s", Dimension::kBandwidth, 0.125, false},
    {"Kb/s", Dimension::kBandwidth, 1.25e2, false},
    {"Mb/s", Dimension::kBandwidth, 1.25e5, false},
    {"Gb/s", Dimension::kBandwidth, 1.25e8, false},
    {"Tb/s", Dimension::kBandwidth, 1.25e11, false},
    {"Mbps", Dimension::kBandwidth, 1.25e5, false},
    {"Gbps", Dimension::kBandwidth, 1.25e8, false},
    {"Tbps", Dimension::kBandwidth, 1.25e11, false},
    {"KiB/s", Dimension::kBandwidth, 1024.0, false},
    {"MiB/s", Dimension::kBandwidth, 1048576.0, false},
    {"GiB/s", Dimension::kBandwidth, 1073741824.0, false},
    {"TiB/s", Dimension::kBandwidth, 1099511627776.0, false},
    {"B/s", Dimension::kBandwidth, 1},
    {"KB/s", Dimension::kBandwidth, 1e3},
    {"MB/s", Dimension::kBandwidth, 1e6},
    {"GB/s", Dimension::kBandwidth, 1e9},
    {"TB/s", Dimension::kBandwidth, 1e12},

    {"FLOP", Dimension::kWork, 1},
    {"MFLOP", Dimension::kWork, 1e6},
    {"GFLOP", Dimension::kWork, 1e9},
    {"TFLOP", Dimension::kWork, 1e12},
    {"PFLOP", Dimension::kWork, 1e15},

    {"FLOP/s", Dimension::kRate, 1, false},
    {"GFLOP/s", Dimension::kRate, 1e9, false},
    {"TFLOP/s", Dimension::kRate, 1e12, false},
    {"PFLOP/s", Dimension::kRate, 1e15, false},
    {"FLOPS", Dimension::kRate, 1},
    {"MFLOPS", Dimension::kRate, 1e6},
    {"GFLOPS", Dimension::kRate, 1e9},
    {"TFLOPS", Dimension::kRate, 1e12},
    {"PFLOPS", Dimension::kRate, 1e15},

    {"USD", Dimension::kMoney, 1},
    {"USD/h", Dimension::kPrice, 1},
};

constexpr std::string_view noun(Dimension dimension) {
  switch (dimension) {
    case Dimension::kTime: return "a time";
    case Dimension::kSize: return "a size";
    case Dimension::kBandwidth: return "a bandwidth";
    case Dimension::kWork: return "an amount of work";
    case Dimension::kRate: return "a compute rate";
    case Dimension::kMoney: return "an amount of money";
    case Dimension::kPrice: return "a price";
  }
  return "?";
}

constexpr std::string_view example_unit(Dimension dimension) {
  switch (dimension) {
    case Dimension::kTime: return "us";
    case Dimension::kSize: return "GB";
    case Dimension::kBandwidth: return "GB/s";
    case Dimension::kWork: return "TFLOP";
    case Dimension::kRate: return "TFLOPS";
    case Dimension::kMoney: return "USD";
    case Dimension::kPrice: return "USD/h";
  }
  return "?";
}

constexpr std::string_view example(Dimension dimension) {
  switch (dimension) {
    case Dimension::kTime: return "3.7 us";
    case Dimension::kSize: return "80 GiB";
    case Dimension::kBandwidth: return "50 GB/s";
    case Dimension::kWork: return "250 GFLOP";
    case Dimension::kRate: return "989 TFLOPS";
    case Dimension::kMoney: return "1000 USD";
    case Dimension::kPrice: return "2 USD/h";
  }
  return "?";
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.remove_suffix(1);
  return text;
}

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

// What a misspelt unit was meant to be. Bits and bytes differ only in case: where both fit, name
// both.
std::string unit_hint(std::string_view unit, Dimension expected) {
  std::vector<std::string> candidates;
  std::string bytes, bits;
  for (const Unit& known : kUnits) {
    if (known.dimension != expected) continue;
    candidates.emplace_back(known.name);
    if (lower(known.name) == lower(unit))
      (known.name.find('b') == std::string_view::npos ? bytes : bits) = known.name;
  }
  if (!bytes.empty() && !bits.empty())
    return fmt::format("did you mean '{}' (bytes) or '{}' (bits)?", bytes, bits);
  const std::string suggestion = did_you_mean(unit, candidates);
  return suggestion.empty() ? fmt::format("units: {}", fmt::join(candidates, ", ")) : suggestion;
}

struct Number {
  double value = 0;
  std::string_view digits;      // as written
  std::string_view rest;        // behind the number, trimmed
  std::size_t rest_offset = 0;  // in the text
};

std::variant<Number, UnitProblem> parse_number(std::string_view text, std::string_view expected) {
  const std::string_view trimmed = trim(text);
  const auto start = static_cast<std::size_t>(trimmed.data() - text.data());
  Number number;
  const auto [end, error] =
      std::from_chars(trimmed.data(), trimmed.data() + trimmed.size(), number.value);
  const auto used = static_cast<std::size_t>(end - trimmed.data());
  if (error == std::errc::result_out_of_range) {
    return UnitProblem{
        fmt::format("\"{}\" is too large or too small to compute with", trimmed.substr(0, used)),
        "", start, used};
  }
  if (error != std::errc()) {
    return UnitProblem{fmt::format("expected {}, found \"{}\"", expected, text), "", 0,
                       text.size()};
  }
  if (!std::isfinite(number.value)) {
    return UnitProblem{
        fmt::format("expected {}, found \"{}\", which is not a finite number", expected, text), "",
        start, used};
  }
  if (std::signbit(number.value)) {
    return UnitProblem{fmt::format("expected {}, found \"{}\", which is negative", expected, text),
                       "", start, used};
  }
  number.digits = trimmed.substr(0, used);
  number.rest = trim(trimmed.substr(used));
  number.rest_offset = number.rest.empty()
                           ? text.size()
                           : static_cast<std::size_t>(number.rest.data() - text.data());
  return number;
}

// The double nearest to what is written, where multiplying would round twice: "859.7 us" is
// 8.597e-4.
double scaled(const Number& number, double factor) {
  constexpr std::pair<double, std::string_view> kSmall[] = {
      {1e-3, "e-3"}, {1e-6, "e-6"}, {1e-9, "e-9"}};
  for (const auto& [small, exponent] : kSmall) {
    if (factor != small || number.digits.find_first_of("eE") != std::string_view::npos) continue;
    const std::string text = std::string(number.digits) + std::string(exponent);
    double value = 0;
    if (std::from_chars(text.data(), text.data() + text.size(), value).ec == std::errc())
      return value;
  }
  return number.value * factor;
}

std::string shortest(double value) {
  char buffer[64];
  const auto [end, error] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return error == std::errc() ? std::string(buffer, end) : "0";
}

}  // namespace

std::string describe(Dimension dimension) {
  return fmt::format("{} such as \"{}\"", noun(dimension), example(dimension));
}

std::variant<double, UnitProblem> parse_quantity(std::string_view text, Dimension expected) {
  const auto parsed = parse_number(text, describe(expected));
  if (const auto* problem = std::get_if<UnitProblem>(&parsed)) return *problem;
  const Number& number = std::get<Number>(parsed);
  if (number.rest.empty()) {
    return UnitProblem{
        fmt::format("expected {}, found \"{}\" without a unit", describe(expected), text),
        fmt::format("add the unit, as in \"{} {}\"", trim(text), example_unit(expected)), 0,
        text.size()};
  }
  for (const Unit& unit : kUnits) {
    if (unit.name != number.rest) continue;
    if (unit.dimension != expected) {
      return UnitProblem{fmt::format("expected {}, found {} \"{}\"", describe(expected),
                                     noun(unit.dimension), text),
                         "", 0, text.size()};
    }
    const double value = scaled(number, unit.factor);
    if (std::isfinite(value)) return value;
    return UnitProblem{fmt::format("\"{}\" is too large to compute with", text), "", 0,
                       text.size()};
  }
  return UnitProblem{fmt::format("unknown unit '{}': expected {}", number.rest, describe(expected)),
                     unit_hint(number.rest, expected), number.rest_offset, number.rest.size()};
}

std::variant<double, UnitProblem> parse_count(std::string_view text) {
  constexpr std::string_view kExpected = "a count such as \"14.8T\"";
  const auto parsed = parse_number(text, kExpected);
  if (const auto* problem = std::get_if<UnitProblem>(&parsed)) return *problem;
  const Number& number = std::get<Number>(parsed);
  constexpr std::pair<std::string_view, double> kSuffixes[] = {
      {"", 1}, {"K", 1e3}, {"k", 1e3}, {"M", 1e6}, {"B", 1e9}, {"G", 1e9}, {"T", 1e12}};
  for (const auto& [suffix, factor] : kSuffixes) {
    if (number.rest != suffix) continue;
    if (const double value = number.value * factor; std::isfinite(value)) return value;
  }
  return UnitProblem{fmt::format("expected {}, found \"{}\"", kExpected, text),
                     "K, M, B and T stand for 1e3, 1e6, 1e9 and 1e12", number.rest_offset,
                     number.rest.size()};
}

std::string format_quantity(double value, Dimension dimension) {
  std::string fallback;
  for (const Unit& unit : std::span(kUnits)) {
    if (unit.dimension == dimension && unit.factor == 1)
      fallback = fmt::format("{} {}", shortest(value), unit.name);
  }
  for (auto unit = std::rbegin(kUnits); unit != std::rend(kUnits); ++unit) {
    if (unit->dimension != dimension || !unit->shown || value < unit->factor) continue;
    const std::string text = fmt::format("{} {}", shortest(value / unit->factor), unit->name);
    const auto back = parse_quantity(text, dimension);
    // Scaling may lose the last bit; then a smaller unit, in the end the base unit, is exact.
    // Numbers that became long have only gained digits of rounding.
    if (std::holds_alternative<double>(back) && std::get<double>(back) == value &&
        text.size() <= fallback.size()) {
      return text;
    }
  }
  return fallback;
}

}  // namespace orrery
