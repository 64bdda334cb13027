#include "planner/schedules/slide_pairs.hpp"

#include <algorithm>

namespace orrery {
namespace {

bool is_pair(const Token& token) {
  return token.kind == CellKind::kFB;
}

std::vector<Token> slide(const std::vector<Token>& tokens) {
  auto left = std::count_if(tokens.begin(), tokens.end(), is_pair);
  std::vector<Token> slid;
  std::optional<std::uint8_t> backward;  // of the pair before
  for (const Token& token : tokens) {
    if (!is_pair(token)) {
      slid.push_back(token);
      continue;
    }
    slid.push_back(backward ? Token{CellKind::kFB, token.forward, *backward}
                            : Token{CellKind::kF, token.forward, token.forward});
    backward = token.backward;
    if (--left > 0) continue;
    slid.push_back({CellKind::kI, *backward, *backward});
    slid.push_back({CellKind::kW, *backward, *backward});
  }
  return slid;
}

}  // namespace

std::optional<CompactOrder> slide_pairs(const CompactOrder& order) {
  CompactOrder slid;
  bool any = false;
  for (const std::vector<Token>& tokens : order) {
    any = any || std::count_if(tokens.begin(), tokens.end(), is_pair) > 1;
    slid.push_back(slide(tokens));
  }
  if (!any) return std::nullopt;
  return slid;
}

}  // namespace orrery
