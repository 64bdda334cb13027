#pragma once
// The state of a training run on disk, so that it can go on after an interruption. What is stored
// is the caller's matter: named blobs of bytes, one set a rank.
//
//   run/step-00000042/rank-0000.bin     every rank writes its own
//   run/step-00000042/rank-0001.bin
//   run/step-00000042/complete.json     written last: step, ranks, identity, size and hash of each
//
//   CheckpointFolder folder("run");
//   folder.write_rank(42, rank, entries);             // every rank, at the same time
//   barrier();                                        // the caller's
//   if (rank == 0) folder.complete(42, ranks, identity);
//   ...
//   if (auto found = folder.newest_valid(std::cerr))  // after a restart
//     entries = folder.read_rank(found->step, rank);
//
// A checkpoint without complete.json does not count, so whatever moment a run is killed at, the one
// before stays the newest. Each file is written under a temporary name, synced and renamed, then
// its folder is synced: what has its name is whole, also after a power cut.
//
// A rank's file, numbers in little-endian order:
//   "orrerycp", u32 version = 1, u32 zero, u64 count,
//   count x { u64 length of the name, name, u64 length of the data, data },
//   u64 hash of all bytes before it: FNV-1a, which tells accidents, not attacks; a change of one
//   byte is always noticed, any other with probability 1 - 2^-64 or so
//
// Errors are InputError with the path and the reason (the system's for a full disk or a folder that
// cannot be written).
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace orrery {

struct CheckpointEntry {
  std::string name;
  std::vector<std::byte> data;
  bool operator==(const CheckpointEntry&) const = default;
};

struct Checkpoint {
  std::int64_t step = 0;
  int ranks = 0;
  std::string identity;  // of model, plan and seed: as given to complete()
  bool operator==(const Checkpoint&) const = default;
};

class CheckpointFolder {
 public:
  // Nothing is read or written yet. `keep` >= 1: how many checkpoints stay.
  explicit CheckpointFolder(std::string folder, int keep = 2);

  // Makes the folder where it is missing, so that a place that cannot be written to is known before
  // the training.
  void prepare() const;
  // Whether there is no checkpoint of any step, whole or not.
  bool empty() const { return steps().empty(); }

  // Makes the folders that are missing. Ranks may call this at the same time, from threads or
  // processes. A complete checkpoint of the same step stops being one.
  void write_rank(std::int64_t step, int rank, const std::vector<CheckpointEntry>& entries) const;

  // Once, when ranks 0 to `ranks` - 1 have all written. Then deletes the steps before this one, but
  // for the newest complete ones that `keep` leaves; later steps, of a run that went further, stay.
  void complete(std::int64_t step, int ranks, std::string_view identity) const;

  // The complete checkpoint of the highest step whose files are all as they were written; nothing
  // when there is none, or no folder. Reads every file of those it tries. `log` gets a line for
  // each one that is skipped, with the file and the reason.
  std::optional<Checkpoint> newest_valid(std::ostream& log) const;

  // The entries in the order they were written, checked against the file's hash.
  std::vector<CheckpointEntry> read_rank(std::int64_t step, int rank) const;

 private:
  std::string step_folder(std::int64_t step) const;
  std::string rank_path(std::int64_t step, int rank) const;
  // Steps with a folder, in rising order.
  std::vector<std::int64_t> steps() const;
  Checkpoint validated(std::int64_t step) const;
  void delete_old(std::int64_t newest) const;

  std::string folder_;
  int keep_;
};

}  // namespace orrery
