#pragma once
// A complete calibration file in small, and temporary files to read calibrations from.
#include <stdlib.h>  // mkdtemp

#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

#include "sim/calibration.hpp"

namespace orrery {

inline const std::string kSmallCalibration = R"(format_version = "1.0"
name = "small"
[device]
sms = 100
memory = "80 GB"
bf16_peak = "1000 TFLOPS"
launch_gap = "2 us"
reserve = "1 GiB"
exchange_buffers = { value = "1 GiB", assumed = "a guess" }
[[gemm_laws]]
name = "tiles"
tile = [128, 128]
sms = 100
source = "a table"
columns = ["m", "n", "k", "groups", "us"]
rows = [[12800, 128, 1000, 1, 10], [12800, 128, 2000, 1, 18]]
[gemm]
fp8 = ["tiles"]
bf16 = ["tiles"]
bf16_k_scale = 2
[[gemm_rows]]
kernel = "gemm"
dtype = "fp8"
sms = 80
source = "a trace"
columns = ["m", "n", "k", "groups", "us"]
rows = [[4096, 4096, 1000, 1, 150]]
[[attention_rows]]
kernel = "attention-forward"
sms = 100
source = "a trace"
columns = ["sequence", "gflop", "us"]
rows = [[4096, 600, 1000]]
[[stream_rows]]
kernel = "cast"
source = "a trace"
columns = ["bytes", "us"]
rows = [[1e6, 5], [1e8, 50]]
[[stream_rows]]
kernel = "optimizer"
assumed = "like a cast"
columns = ["bytes", "us"]
rows = [[1e8, 40]]
[[exchanges]]
pattern = "dispatch"
sms = 24
source = "a README"
columns = ["group", "gbps", "copies", "nic", "nvlink"]
rows = [[8, 150, 5, 0, 4], [64, 45, 4, 3, 6]]
overhead = "100 us"
[attention]
qk_dim = 192

[transport]
nic = "40 GB/s"
nvlink = "160 GB/s"
)";

// The text with its only occurrence of `from` replaced.
inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  if (at == std::string::npos) throw std::logic_error("the text does not hold: " + from);
  if (text.find(from, at + 1) != std::string::npos) throw std::logic_error("not unique: " + from);
  return text.replace(at, from.size(), to);
}

// A directory of its own that is removed with everything in it.
class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "orrery-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make " + pattern);
    path_ = pattern;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  std::string write(const std::string& name, const std::string& text) const {
    const std::string path = (path_ / name).string();
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }
  std::string path_of(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
};

inline Calibration read_calibration_text(const std::string& text) {
  const TemporaryDirectory directory;
  return read_calibration(directory.write("small.toml", text));
}

}  // namespace orrery
