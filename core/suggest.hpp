#pragma once
// "did you mean ...?": the nearest of the words that would have been right.
#include <span>
#include <string>
#include <string_view>

namespace orrery {

// Optimal-string-alignment distance (Damerau-Levenshtein in which no letter is moved twice):
// insertions, deletions, substitutions and swaps of neighbours each cost 1. Letters are compared as
// they are. Time and memory grow with the product and the sum of the lengths.
int edit_distance(std::string_view a, std::string_view b);

// The candidate nearest to `word`, or "" when none is near: at most one edit in three letters of
// the longer word (one edit in short words); a candidate that differs only in case is always near.
// Ties: the earlier.
std::string suggest(std::string_view word, std::span<const std::string> candidates);

// "did you mean 'hidden'?", or "" without a suggestion.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace orrery
