#pragma once
// What is wrong with an input, and where: collected over a whole file, then thrown as one
// InputError.
//
//   error: unknown key 'hiden' in [model]
//     --> models/x.toml:3:1
//      |
//    3 | hiden = 7168
//      | ^^^^^ did you mean 'hidden'?
//
//   Diagnostics diagnostics;
//   diagnostics.add_source("models/x.toml", text);   // for the line above the caret
//   diagnostics.error({"models/x.toml", 3, 1, 5}, "unknown key 'hiden' in [model]", "did you mean
//   'hidden'?"); diagnostics.throw_if_errors();
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "core/suggest.hpp"

namespace orrery {

enum class Severity { kError, kWarning };

// A place in an input. Lines and columns count from 1, columns in code points; line 0: no
// particular line.
struct Place {
  std::string file;  // as the user named it; "command line" for an argument; "" = nowhere
  int line = 0;
  int col = 0;
  int length = 1;       // code points that the caret underlines
  std::string snippet;  // the text itself, for a value that is in no file (then line is 0 and col
                        // counts in it)
  bool operator==(const Place&) const = default;
};

// A place within a text given on the command line.
Place command_line_place(std::string_view text, int col, int length);

struct Diagnostic {
  Severity severity = Severity::kError;
  std::string message;  // one sentence, no full stop, with the numbers
  Place place;
  std::string hint;  // what to do; may be empty
};

class Diagnostics {
 public:
  // The text of a file, so that its lines can be shown.
  void add_source(std::string file, std::string text);

  void add(Diagnostic diagnostic);
  void error(Place place, std::string message, std::string hint = "");
  void warning(Place place, std::string message, std::string hint = "");

  bool has_errors() const { return errors_ > 0; }
  int errors() const { return errors_; }
  const std::vector<Diagnostic>& all() const { return diagnostics_; }

  // All of them, in the order of their lines, a blank line between two; no colours, no final
  // newline.
  std::string render() const;
  // Throws InputError(render()) if there is an error.
  void throw_if_errors() const;

 private:
  std::map<std::string, std::string> sources_;
  std::vector<Diagnostic> diagnostics_;
  int errors_ = 0;
};

}  // namespace orrery
