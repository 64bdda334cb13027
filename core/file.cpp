#include "core/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.hpp"

namespace orrery {
namespace {

constexpr std::size_t kLargestFile = std::size_t{1} << 30;

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

[[noreturn]] void refuse_input(const std::string& path, std::string_view why) {
  throw InputError(fmt::format("error: cannot read {}: {}", path, why));
}

[[noreturn]] void refuse_output(const std::string& path, int error) {
  throw EnvironmentError(fmt::format("error: cannot write {}: {}", path, std::strerror(error)));
}

std::string directory_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

// 0 or the errno of the first step that failed.
int write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return ::fsync(file) == 0 ? 0 : errno;
}

}  // namespace

std::string read_file(const std::string& path) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (file.number() < 0)
    refuse_input(path, errno == ENOENT ? "no such file" : std::strerror(errno));
  struct stat status = {};
  if (::fstat(file.number(), &status) != 0) refuse_input(path, std::strerror(errno));
  if (S_ISDIR(status.st_mode)) refuse_input(path, "it is a directory, expected a file");
  std::string text;
  char block[65536];
  while (true) {
    const ssize_t count = ::read(file.number(), block, sizeof block);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) refuse_input(path, std::strerror(errno));
    if (count == 0) return text;
    text.append(block, static_cast<std::size_t>(count));
    if (text.size() > kLargestFile) refuse_input(path, "it is larger than 1 GiB");
  }
}

void check_writable(const std::string& path) {
  struct stat status = {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) refuse_output(path, EISDIR);
  const std::string place = exists && !S_ISREG(status.st_mode) ? path : directory_of(path);
  if (::access(place.c_str(), W_OK) != 0) refuse_output(path, errno);
}

void write_file_atomically(const std::string& path, std::string_view text) {
  const auto refuse = [&path](int error) { refuse_output(path, error); };
  struct stat status = {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (exists && S_ISDIR(status.st_mode)) refuse(EISDIR);
  // Nothing can be renamed over a pipe or a device such as /dev/stdout.
  if (exists && !S_ISREG(status.st_mode)) {
    const Descriptor file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
    if (file.number() < 0) refuse(errno);
    const int error = write_all(file.number(), text);
    if (error != 0 && error != EINVAL && error != EROFS) refuse(error);
    return;
  }
  // Beside the target, since a rename does not cross file systems; the process id keeps two writers
  // apart.
  const std::string temporary = fmt::format("{}.{}.tmp", path, ::getpid());
  int error = 0;
  {
    const Descriptor file(
        ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666));
    if (file.number() < 0) refuse(errno);
    error = write_all(file.number(), text);
  }
  if (error == 0 && ::rename(temporary.c_str(), path.c_str()) != 0) error = errno;
  if (error != 0) {
    ::unlink(temporary.c_str());
    refuse(error);
  }
  // So that the new name survives a power cut; not every file system can sync a directory.
  const Descriptor directory(
      ::open(directory_of(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.number() >= 0) ::fsync(directory.number());
}

}  // namespace orrery
