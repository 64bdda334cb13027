#pragma once
// What several subcommands share: the options that name a model, a cluster and a training set-up.
#include <cstdio>
#include <initializer_list>
#include <string>

#include "planner/device_model.hpp"
#include "planner/plan_builder.hpp"

namespace CLI {
class App;
}

namespace orrery::cli {

struct SetupOptions {
  std::string model;
  std::string cluster;
  std::string calibration;  // default: the cluster's device
  int sequence = 4096;
  int global_batch = 15360;
  std::string tokens;
};

void add_setup_options(CLI::App& command, SetupOptions& options);

// The files the options name, read and checked.
struct Setup {
  Model model;
  Cluster cluster;
  Training training;
  DeviceModel device;
};
Setup read_setup(const SetupOptions& options);
DeviceModel find_device(const std::string& name_or_path, const Cluster& cluster);

// Sets the tokens of the run, "14.8T" -> 14.8e12; empty: leaves them. Throws InputError, also where
// they are less than one step.
void set_tokens(Training& training, const std::string& text);

// Writes an output file (atomically) or, for "-", to standard output.
void write_output(const std::string& path, const std::string& text);
// Tells on stderr where a plan that names its calibration gets another one than it was made with.
void warn_of_other_calibration(const Plan& plan, const DeviceModel& device);
// Throws EnvironmentError where one of the files could not be written, and InputError where two are
// the same or one is an input; empty paths and "-" are fine.
void check_outputs(std::initializer_list<std::string> paths,
                   std::initializer_list<std::string> inputs = {});
// Where the answer for people goes when the files go to `paths`: not between the bytes of a file on
// standard output.
std::FILE* answer_stream(std::initializer_list<std::string> paths);

// Wall and processor time since it was made.
class Stopwatch {
 public:
  Stopwatch();
  double wall_s() const;
  double cpu_s() const;

 private:
  double wall_start_;
};

}  // namespace orrery::cli
