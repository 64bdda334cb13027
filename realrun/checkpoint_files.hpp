#pragma once
// Private to the checkpoint: files that are whole or not there, with a hash at their end, and what
// a rank's file holds (realrun/checkpoint.hpp has the format).
//
// Errors are InputError with the path and the reason.
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <system_error>
#include <utility>

#include "core/error.hpp"
#include "realrun/checkpoint.hpp"

namespace orrery::checkpoint_files {

static_assert(std::endian::native == std::endian::little, "numbers are written as they lie");

struct Header {
  std::array<char, 8> magic = {'o', 'r', 'r', 'e', 'r', 'y', 'c', 'p'};
  std::uint32_t version = 1;
  std::uint32_t zero = 0;
  std::uint64_t entries = 0;
};

[[noreturn]] inline void refuse_write(const std::string& path, int error) {
  throw InputError(fmt::format("error: cannot write {}: {}", path, std::strerror(error)));
}

[[noreturn]] inline void refuse_read(const std::string& path, std::string_view why) {
  throw InputError(fmt::format("error: cannot read {}: {}", path, why));
}

template <class T>
std::span<const std::byte> bytes_of(const T& number) {
  return std::as_bytes(std::span(&number, 1));
}

// 64-bit FNV-1a of a text that comes in pieces. Each step maps the state one to one, so two texts
// that differ in one byte only never have the same hash.
class Hash {
 public:
  void add(std::span<const std::byte> bytes) {
    for (const std::byte byte : bytes)
      value_ = (value_ ^ std::to_integer<std::uint64_t>(byte)) * 0x100000001b3;
  }
  std::uint64_t value() const { return value_; }

 private:
  std::uint64_t value_ = 0xcbf29ce484222325;
};

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }
  int close() { return number_ < 0 ? 0 : ::close(std::exchange(number_, -1)); }

 private:
  int number_;
};

// Not every file system can sync a folder, so failing is no error.
inline void sync_folder(const std::string& path) {
  const Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder.number() >= 0) ::fsync(folder.number());
}

// A file that gets its name when it is whole; until then, and after an error, there is none.
class NewFile {
 public:
  // The process id keeps two writers of one path apart.
  explicit NewFile(std::string path)
      : path_(std::move(path)),
        temporary_(fmt::format("{}.{}.tmp", path_, ::getpid())),
        file_(::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666)) {
    if (file_.number() < 0) refuse_write(path_, errno);
  }
  ~NewFile() {
    if (!committed_) ::unlink(temporary_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(std::span<const std::byte> bytes) {
    hash_.add(bytes);
    while (!bytes.empty()) {
      const ssize_t count = ::write(file_.number(), bytes.data(), bytes.size());
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) refuse_write(path_, errno);
      bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  std::uint64_t hash() const { return hash_.value(); }

  void commit() {
    if (::fsync(file_.number()) != 0 || file_.close() != 0 ||
        ::rename(temporary_.c_str(), path_.c_str()) != 0) {
      refuse_write(path_, errno);
    }
    committed_ = true;
    sync_folder(std::filesystem::path(path_).parent_path());
  }

 private:
  std::string path_;
  std::string temporary_;
  Descriptor file_;
  Hash hash_;
  bool committed_ = false;
};

// What complete.json says of a rank's file.
struct Stamp {
  std::uint64_t bytes = 0;
  std::string hash;  // 16 hexadecimal digits
  bool operator==(const Stamp&) const = default;
};

// A rank's file, read from its beginning to the hash at its end.
class RankFile {
 public:
  explicit RankFile(std::string path) : path_(std::move(path)) {
    std::error_code error;
    size_ = std::filesystem::file_size(path_, error);
    if (error) refuse(error.message());
    if (size_ < sizeof stored_) refuse(fmt::format("it is truncated, it has {} bytes", size_));
    left_ = size_ - sizeof stored_;
    file_.open(path_, std::ios::binary);
    file_.seekg(static_cast<std::streamoff>(left_));
    if (!file_.read(reinterpret_cast<char*>(&stored_), sizeof stored_))
      refuse(std::strerror(errno));
    file_.seekg(0);
  }

  Stamp stamp() const { return {size_, fmt::format("{:016x}", stored_)}; }

  std::vector<CheckpointEntry> entries() {
    const auto header = number<Header>();
    if (header.magic != Header{}.magic) refuse("it does not begin as a checkpoint does");
    if (header.version != Header{}.version)
      refuse(fmt::format("its format is version {}, not {}", header.version, Header{}.version));
    std::vector<CheckpointEntry> entries;
    for (std::uint64_t left = header.entries; left > 0; --left) {
      CheckpointEntry& entry = entries.emplace_back();
      entry.name.resize(length());
      take(std::as_writable_bytes(std::span(entry.name)));
      entry.data.resize(length());
      take(entry.data);
    }
    if (left_ > 0) refuse(fmt::format("it is corrupted, {} bytes are left over", left_));
    if (hash_.value() != stored_) {
      refuse(fmt::format("it is corrupted, its hash is {:016x} instead of {:016x}", hash_.value(),
                         stored_));
    }
    return entries;
  }

 private:
  [[noreturn]] void refuse(const std::string& why) const { refuse_read(path_, why); }

  template <class T>
  T number() {
    T value = {};
    take(std::as_writable_bytes(std::span(&value, 1)));
    return value;
  }

  // The length of what follows, which has to fit: nothing is allocated for a corrupted one.
  std::size_t length() {
    const auto length = number<std::uint64_t>();
    check_left(length);
    return length;
  }

  void check_left(std::uint64_t bytes) const {
    if (bytes <= left_) return;
    refuse(fmt::format("it is truncated or corrupted, {} bytes are expected where {} are left",
                       bytes, left_));
  }

  void take(std::span<std::byte> bytes) {
    check_left(bytes.size());
    left_ -= bytes.size();
    const auto count = static_cast<std::streamsize>(bytes.size());
    if (!file_.read(reinterpret_cast<char*>(bytes.data()), count)) refuse(std::strerror(errno));
    hash_.add(bytes);
  }

  std::string path_;
  std::ifstream file_;
  std::uint64_t size_ = 0;
  std::uint64_t left_ = 0;    // bytes before the hash that are not read yet
  std::uint64_t stored_ = 0;  // the hash at the end
  Hash hash_;
};

}  // namespace orrery::checkpoint_files
