#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <map>
#include <string>

#include "cli/commands.hpp"
#include "core/error.hpp"

namespace {

using namespace orrery::cli;

int run(int argc, char** argv) {
  CLI::App app{
      "Predicts what training a mixture-of-experts model on a GPU cluster takes: step time, GPU-hours, dollars, and "
      "where every second goes."};
  app.name("orrery");
  app.set_version_flag("--version", "orrery " ORRERY_VERSION);
  app.require_subcommand(1);
  app.footer("Exit codes: 0 yes; 1 the answer is no (infeasible); 2 bad input; 3 environment missing; 70 a bug.");
  std::map<std::string, Command> commands;
  commands["simulate"] = add_simulate(app);
  commands["plan"] = add_plan(app);
  commands["validate"] = add_validate(app);
  commands["catalog"] = add_catalog(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted);
  } catch (const CLI::ParseError& error) {
    app.exit(error);
    return kBadInput;
  }
  return commands.at(app.get_subcommands().front()->get_name())();
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const orrery::InputError& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return kBadInput;
  } catch (const orrery::EnvironmentError& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return kEnvironment;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "orrery has a bug: %s\nPlease report it with the command that showed it.\n", error.what());
    return kBug;
  }
}
