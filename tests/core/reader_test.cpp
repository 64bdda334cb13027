#include "core/reader.hpp"

#include <catch2/catch.hpp>

#include "core/error.hpp"

namespace orrery {
namespace {

// A document with everything a Reader needs around it.
struct Fixture {
  explicit Fixture(const std::string& text)
      : document(parse_toml("test.toml", text, diagnostics)) {}
  Diagnostics diagnostics;
  Document document;
  ReadContext context{"test.toml", "test", diagnostics};
  Reader reader{document.root, context};
};

}  // namespace

TEST_CASE("a figure may be plain, sourced or assumed, and the assumed ones are listed") {
  Fixture fixture(
      "a = 1\nb = { value = 2, source = \"a report\" }\n[s]\nc = { value = \"3.7 us\", assumed = "
      "\"a guess\" }\n");
  CHECK(fixture.reader.required_int("a") == 1);
  CHECK(fixture.reader.required_int("b") == 2);
  auto section = fixture.reader.required_table("s");
  REQUIRE(section);
  CHECK(section->required_quantity<Seconds>("c", Zero::kForbidden) == microseconds(3.7));
  section->finish();
  fixture.reader.finish();
  CHECK_NOTHROW(fixture.diagnostics.throw_if_errors());
  REQUIRE(fixture.context.assumed.size() == 1);
  CHECK(fixture.context.assumed[0] == AssumedFigure{"test: s.c", "a guess"});
}

TEST_CASE("a misspelt required key gives one error, not a missing and an unknown one") {
  Fixture fixture("hiden = 1\n");
  fixture.reader.required_int("hidden");
  fixture.reader.finish();
  CHECK(fixture.diagnostics.errors() == 1);
  CHECK(fixture.diagnostics.all()[0].hint == "did you mean 'hidden'?");
}

TEST_CASE("absent optional keys give their fallback") {
  Fixture fixture("x = 1\n");
  CHECK(fixture.reader.optional_int("a", 7) == 7);
  CHECK(fixture.reader.optional_double("b", 0.5, 0, 1) == 0.5);
  CHECK(fixture.reader.optional_bool("c", true));
  CHECK_FALSE(fixture.reader.optional_string("d").has_value());
  CHECK(fixture.reader.optional_quantity<Bytes>("e", gigabytes(1), Zero::kAllowed) == gigabytes(1));
  CHECK_FALSE(fixture.reader.optional_table("f").has_value());
  CHECK(fixture.reader.tables("g").empty());
  CHECK(fixture.diagnostics.errors() == 0);
}

TEST_CASE("NaN and infinity are out of every range") {
  Fixture fixture("a = nan\nb = inf\n");
  fixture.reader.required_double("a", 0, 1e300);
  fixture.reader.required_double("b", 0, 1e300);
  CHECK(fixture.diagnostics.errors() == 2);
}

TEST_CASE("arrays of tables are read one by one, with their index in messages") {
  Fixture fixture("[[row]]\nn = 1\n[[row]]\nm = 2\n");
  const auto rows = fixture.reader.tables("row");
  REQUIRE(rows.size() == 2);
  Reader second = rows[1];
  second.required_int("number");
  second.finish();
  CHECK(fixture.diagnostics.render().find("in [row[1]]") != std::string::npos);
}

TEST_CASE("a newer minor version may hold unknown keys, a newer major one is refused at once") {
  Fixture minor("format_version = \"1.7\"\nnew_key = 1\n");
  minor.reader.format_version(1, 0);
  minor.reader.finish();
  CHECK(minor.diagnostics.errors() == 0);
  Fixture major("format_version = \"2.0\"\n");
  CHECK_THROWS_AS(major.reader.format_version(1, 0), InputError);
  for (const std::string version :
       {"\"1\"", "\"1.\"", "\"1.0.0\"", "\"v1.0\"", "\"-1.0\"", "\"1.-2\"", "1"}) {
    CAPTURE(version);
    Fixture bad("format_version = " + version + "\n");
    bad.reader.format_version(1, 0);
    CHECK(bad.diagnostics.errors() == 1);
  }
}

}  // namespace orrery
