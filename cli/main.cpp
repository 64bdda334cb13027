#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <new>
#include <string>
#include <vector>

#include "cli/commands.hpp"
#include "core/error.hpp"
#include "core/suggest.hpp"

namespace {

using namespace orrery::cli;

void print_error(const std::string& message) {
  // What comes from a file is already rendered, with its place.
  const bool rendered = message.starts_with("error");
  std::fprintf(stderr, "%s%s\n", rendered ? "" : "error: ", message.c_str());
}

// The nearest of the names that could have stood where `word` stands.
std::string near(const std::string& word, const std::vector<std::string>& known) {
  const std::string hint = orrery::did_you_mean(word, known);
  return "\n   = " + (hint.empty() ? "--help lists what there is" : hint);
}

// A word that no option or subcommand takes.
[[noreturn]] void reject_word(const CLI::App& app, const std::string& word) {
  const auto chosen = app.get_subcommands();
  if (chosen.empty() && !word.starts_with("-")) {
    std::vector<std::string> names;
    for (const CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
      names.push_back(command->get_name());
    }
    throw orrery::InputError("error: unknown command '" + word + "'" + near(word, names));
  }
  std::vector<std::string> names;
  for (const CLI::Option* option : (chosen.empty() ? app : *chosen.front()).get_options()) {
    for (const std::string& name : option->get_lnames()) names.push_back("--" + name);
  }
  throw orrery::InputError("error: unknown option '" + word + "'" + near(word, names));
}

// An empty value (`-o "$UNSET"`) would be taken as none given.
void refuse_empty_values(CLI::App& app) {
  for (CLI::Option* option : app.get_options()) {
    if (option->get_items_expected_max() == 0) continue;
    option->check([](const std::string& value) {
      return std::string(value.find_first_not_of(' ') == std::string::npos ? "the value is empty"
                                                                           : "");
    });
  }
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; }))
    refuse_empty_values(*command);
}

int run(int argc, char** argv) {
  CLI::App app{
      "Predicts what training a mixture-of-experts model on a GPU cluster takes: step time, "
      "GPU-hours, dollars, and "
      "where every second goes."};
  app.name("orrery");
  app.set_version_flag("--version", "orrery " ORRERY_VERSION);
  app.require_subcommand(1);
  app.footer(
      "Exit codes: 0 yes; 1 the answer is no (infeasible); 2 bad input; 3 environment missing; 70 "
      "a bug.");
  std::map<std::string, Command> commands;
  commands["simulate"] = add_simulate(app);
  commands["plan"] = add_plan(app);
  commands["schedule"] = add_schedule(app);
  commands["validate"] = add_validate(app);
  commands["realrun"] = add_realrun(app);
  commands["compare"] = add_compare(app);
  commands["calibrate"] = add_calibrate(app);
  commands["topology"] = add_topology(app);
  commands["campaign"] = add_campaign(app);
  commands["catalog"] = add_catalog(app);
  refuse_empty_values(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& wanted) {  // --help, --version
    return app.exit(wanted);
  } catch (const CLI::ExtrasError&) {
    reject_word(app, app.remaining(true).front());
  } catch (const CLI::RequiredError& error) {
    // An unknown command is found missing before it is found superfluous.
    if (app.get_subcommands().empty() && argc > 1) reject_word(app, argv[1]);
    throw orrery::InputError(std::string("error: ") + error.what() +
                             "\n   = --help lists what there is");
  } catch (const CLI::ParseError& error) {
    throw orrery::InputError(std::string("error: ") + error.what());
  }
  return commands.at(app.get_subcommands().front()->get_name())();
}

}  // namespace

int main(int argc, char** argv) {
  // A reader that has seen enough (`| head`) is no failure.
  std::signal(SIGPIPE, [](int) { std::_Exit(kYes); });
  try {
    const int code = run(argc, argv);
    if (std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
      print_error("cannot write to standard output");
      return kEnvironment;
    }
    return code;
  } catch (const orrery::InputError& error) {
    print_error(error.what());
    return kBadInput;
  } catch (const orrery::EnvironmentError& error) {
    print_error(error.what());
    return kEnvironment;
  } catch (const std::bad_alloc&) {
    print_error("not enough memory: fewer micro-batches (a smaller global batch) need less");
    return kEnvironment;
  } catch (const std::exception& error) {
    std::fprintf(stderr,
                 "orrery has a bug: %s\nPlease report it with the command that showed it.\n",
                 error.what());
    return kBug;
  }
}
