#include "planner/forked.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <exception>

#include "core/error.hpp"

namespace orrery {
namespace {

enum ExitCode { kDone = 0, kInput = 2, kEnvironment = 3, kOther = 70 };

struct Child {
  pid_t id = -1;
  int from = -1;  // its results
};

void write_all(int to, const std::string& text) {
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t written = write(to, text.data() + at, text.size() - at);
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) _exit(kEnvironment);
    at += static_cast<std::size_t>(written);
  }
}

std::string read_all(int from) {
  std::string text;
  std::array<char, 4096> part;
  for (;;) {
    const ssize_t got = read(from, part.data(), part.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(part.data(), static_cast<std::size_t>(got));
  }
}

// In the child: its result, or what went wrong.
[[noreturn]] void carry_out(int to, const std::function<std::string(std::size_t)>& work,
                            std::size_t number) {
  int code = kDone;
  std::string text;
  try {
    text = work(number);
  } catch (const InputError& error) {
    code = kInput;
    text = error.what();
  } catch (const EnvironmentError& error) {
    code = kEnvironment;
    text = error.what();
  } catch (const std::exception& error) {
    code = kOther;
    text = error.what();
  }
  write_all(to, text);
  close(to);
  // Without the parent's buffers and destructors.
  _exit(code);
}

Child start(const std::function<std::string(std::size_t)>& work, std::size_t number) {
  std::array<int, 2> ends{};
  if (pipe(ends.data()) != 0)
    throw EnvironmentError(std::string("cannot make a pipe: ") + std::strerror(errno));
  std::fflush(nullptr);  // what is buffered would be written twice
  const pid_t id = fork();
  if (id < 0) {
    const int why = errno;
    close(ends[0]);
    close(ends[1]);
    throw EnvironmentError(std::string("cannot start a process: ") + std::strerror(why));
  }
  if (id == 0) {
    close(ends[0]);
    carry_out(ends[1], work, number);
  }
  close(ends[1]);
  return {id, ends[0]};
}

std::string finish(const Child& child) {
  std::string text = read_all(child.from);
  close(child.from);
  int status = 0;
  while (waitpid(child.id, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) {
    throw EnvironmentError(std::string("a simulation was killed: ") + strsignal(WTERMSIG(status)));
  }
  switch (WEXITSTATUS(status)) {
    case kDone: return text;
    case kInput: throw InputError(text);
    case kEnvironment: throw EnvironmentError(text);
    default: throw Bug(text);
  }
}

}  // namespace

std::vector<std::string> in_children(std::size_t count, std::size_t at_once,
                                     const std::function<std::string(std::size_t)>& work) {
  std::vector<std::string> results(count);
  std::vector<Child> children(count);
  std::size_t begun = 0;
  std::exception_ptr failure;
  for (std::size_t next = 0; next < count; ++next) {
    try {
      while (!failure && begun < std::min(count, next + std::max<std::size_t>(1, at_once))) {
        children[begun] = start(work, begun);
        ++begun;
      }
      if (next >= begun) break;
      results[next] = finish(children[next]);
    } catch (...) {
      // The others are waited for all the same.
      if (!failure) failure = std::current_exception();
      if (next >= begun) break;
    }
  }
  if (failure) std::rethrow_exception(failure);
  return results;
}

}  // namespace orrery
