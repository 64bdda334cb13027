#pragma once
// A fingerprint of a text, to tell whether two results used the same input. Not cryptographic.
#include <string>
#include <string_view>

namespace orrery {

// 64-bit FNV-1a as 16 hexadecimal digits: hash_text("") == "cbf29ce484222325".
std::string hash_text(std::string_view text);

}  // namespace orrery
