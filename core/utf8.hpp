#pragma once
// The little UTF-8 that messages need: columns are counted in code points, and no byte of an input
// may disturb a terminal. Broken sequences are safe everywhere: a stray byte counts as one code
// point.
#include <string>
#include <string_view>

namespace orrery {

// Length in bytes of the code point at `offset`: 1 for a stray or truncated sequence.
std::size_t code_point_length(std::string_view text, std::size_t offset);
int count_code_points(std::string_view text);
// The byte offset of code point number `index` (from 0), or the size of the text.
std::size_t code_point_offset(std::string_view text, int index);
// The text with control characters as one space each and stray bytes as '?': same number of code
// points.
std::string printable(std::string_view text);

}  // namespace orrery
