#pragma once
// Compressed files. The header holds neither a time of day nor a file name nor the system, so that
// the same text and the same zlib give the same bytes.
#include <string>
#include <string_view>

namespace orrery {

// `text` as one gzip member (RFC 1952), as gunzip, browsers and Perfetto read it. About 80 MB/s.
std::string gzip(std::string_view text);

// Writes a trace at once or not at all; compressed where the path ends in ".gz". Throws
// EnvironmentError.
void write_trace(const std::string& path, std::string_view text);

}  // namespace orrery
