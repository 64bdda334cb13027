#include "planner/forked.hpp"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>

#include "core/error.hpp"

namespace orrery {
namespace {

TEST_CASE("children give their results in order, however many run at once") {
  for (const std::size_t at_once : {1, 3, 20}) {
    const auto results = in_children(7, at_once, [](std::size_t number) {
      // Longer than a pipe holds.
      return std::string(100000 * number, static_cast<char>('a' + number));
    });
    REQUIRE(results.size() == 7);
    for (std::size_t number = 0; number < results.size(); ++number) {
      CHECK(results[number].size() == 100000 * number);
      CHECK(results[number].find_first_not_of(static_cast<char>('a' + number)) ==
            std::string::npos);
    }
  }
  CHECK(in_children(0, 2, [](std::size_t) { return std::string(); }).empty());
}

TEST_CASE("what a child does is gone with it") {
  int changed = 0;
  in_children(2, 2, [&](std::size_t) {
    changed = 1;
    return std::string();
  });
  CHECK(changed == 0);
}

TEST_CASE("what goes wrong in a child goes wrong in its parent") {
  const auto fails = [](auto failure) {
    return [failure](std::size_t number) {
      if (number == 1) failure();
      return std::string("done");
    };
  };
  CHECK_THROWS_AS(in_children(3, 2, fails([] { throw InputError("no"); })), InputError);
  CHECK_THROWS_AS(in_children(3, 2, fails([] { throw EnvironmentError("no"); })), EnvironmentError);
  CHECK_THROWS_AS(in_children(3, 1, fails([] { std::raise(SIGKILL); })), EnvironmentError);
  CHECK_THROWS_AS(in_children(3, 3, fails([] { throw std::runtime_error("no"); })), Bug);
}

}  // namespace
}  // namespace orrery
