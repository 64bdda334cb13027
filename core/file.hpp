#pragma once
// Whole files in and out.
#include <string>
#include <string_view>

namespace orrery {

// The bytes of a file. Throws InputError naming the path when it is missing, a directory,
// unreadable or larger than 1 GiB.
std::string read_file(const std::string& path);

// Writes a temporary file in the same directory, syncs it and renames it over `path`: a reader sees
// the old file or the new one, never a part. Throws EnvironmentError with the system's reason; then
// nothing is left behind.
void write_file_atomically(const std::string& path, std::string_view text);

// Throws what write_file_atomically would throw for a folder that is not there or may not be
// written to: for asking before hours of work, not after. Writes nothing.
void check_writable(const std::string& path);

}  // namespace orrery
