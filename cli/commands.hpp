#pragma once
// One function per subcommand: declares its options on the application and returns what runs it,
// which gives the process's exit code.
#include <functional>

namespace CLI {
class App;
}

namespace orrery::cli {

// Exit codes (the README lists them): the answer is yes; no; bad input; environment missing; a bug.
inline constexpr int kYes = 0;
inline constexpr int kNo = 1;
inline constexpr int kBadInput = 2;
inline constexpr int kEnvironment = 3;
inline constexpr int kBug = 70;

using Command = std::function<int()>;

Command add_simulate(CLI::App& app);
Command add_plan(CLI::App& app);
Command add_schedule(CLI::App& app);
Command add_validate(CLI::App& app);
Command add_realrun(CLI::App& app);
Command add_calibrate(CLI::App& app);
Command add_compare(CLI::App& app);
Command add_campaign(CLI::App& app);
Command add_catalog(CLI::App& app);
Command add_topology(CLI::App& app);

}  // namespace orrery::cli
