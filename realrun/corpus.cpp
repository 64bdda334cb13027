#include "realrun/corpus.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

#include "core/error.hpp"
#include "core/file.hpp"
#include "workload/random.hpp"

namespace orrery {
namespace {

constexpr std::size_t kTrainingBytes = std::size_t{1} << 20;
constexpr std::size_t kHeldOutBytes = std::size_t{64} << 10;
constexpr std::uint64_t kTrainingSeed = 1;
constexpr std::uint64_t kHeldOutSeed = 2;
constexpr std::size_t kHeldOutPart = 20;  // one byte in twenty: 5 %

// ------------------------------------------------------------------------------------------------
// The vocabulary, each class by falling frequency. No noun or adjective begins with a vowel letter
// that is spoken as a consonant, and every verb takes a plain "s", so two rules of spelling are
// enough.

constexpr std::string_view kNouns =
    "wheel gear clock moon star dial planet spring lens comet orbit hand sphere tower ring weight "
    "mirror shadow pinion pendulum bell chain key crank telescope axle arm globe pointer cog "
    "ratchet "
    "meteor eclipse drum lever plate map compass chart escapement sundial barrel spindle horizon "
    "crater arc screw bearing lantern prism pivot cabinet frame tooth flywheel satellite calendar "
    "ledger hammer winch governor chronometer astrolabe nebula cluster quadrant meridian equinox "
    "transit parallax corona tide pulley socket rivet bracket spoke hinge gasket";
constexpr std::string_view kAdjectives =
    "brass small old slow bright silver first great outer heavy inner round second pale polished "
    "distant golden narrow quiet third broken copper hidden steady tall dusty wooden curved iron "
    "red "
    "hollow careful blue northern patient worn southern exact eastern faint crooked western oiled "
    "double loose cold humming engraved tilted spare";
constexpr std::string_view kVerbs =
    "turn drive move hold follow mark lift meet measure guide balance circle strike pull show "
    "need light lead hide slow trace shadow keep steer raise count warm lock reflect "
    "outrun govern release engage eclipse correct";
constexpr std::string_view kMotions =
    "turn wait rise stop shine swing fall move spin stand tick drift settle return wobble hum rest "
    "glow descend tremble rattle";
constexpr std::string_view kAdverbs =
    "slowly|again|at night|every day|without a sound|twice an hour|at dawn|once a year|in the dark|"
    "backwards|before noon|with great care|for a moment|all winter";
constexpr std::string_view kPrepositions =
    "behind above beside near below inside against across beyond around toward beneath";
constexpr std::string_view kPlaces =
    "workshop observatory window hall garden roof harbour library market bridge cellar gallery "
    "museum balcony island valley foundry school chapel attic courtyard lighthouse";
constexpr std::string_view kNames =
    "Ada Tycho Clara Johan Maria Edmund Sofia Hugo Nora Pavel Ines Anton Greta Felix Rosa Otto "
    "Lena "
    "Basil Wanda Cyril";
constexpr std::string_view kWorkers =
    "astronomer clockmaker apprentice captain keeper student watchman engraver librarian pilot "
    "smith mechanic surveyor";
constexpr std::string_view kPastVerbs =
    "saw found repaired measured drew lost oiled sold polished studied dropped bought copied "
    "borrowed weighed";
constexpr std::string_view kPlanets = "Mercury Venus Earth Mars Jupiter Saturn Uranus Neptune";
constexpr std::string_view kMonths =
    "January February March April May June July August September October November December";
constexpr std::string_view kDigits =
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
    "sixteen seventeen eighteen nineteen";
constexpr std::string_view kTens = "twenty thirty forty fifty sixty seventy eighty ninety";

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> words;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(separator), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return words;
}

// The words of a class, the one at place r (from 1) drawn with a probability proportional to 1/r:
// Zipf's law.
class WordClass {
 public:
  explicit WordClass(std::string_view words, char separator = ' ')
      : words_(split(words, separator)) {
    double sum = 0;
    for (std::size_t place = 1; place <= words_.size(); ++place)
      cumulative_.push_back(sum += 1 / static_cast<double>(place));
  }
  std::string_view draw(Random& random) const {
    const double point = random.uniform() * cumulative_.back();
    const auto found = std::upper_bound(cumulative_.begin(), cumulative_.end(), point);
    return words_[std::min(static_cast<std::size_t>(found - cumulative_.begin()),
                           words_.size() - 1)];
  }
  std::string_view operator[](int place) const { return words_[static_cast<std::size_t>(place)]; }
  int size() const { return static_cast<int>(words_.size()); }

 private:
  std::vector<std::string_view> words_;
  std::vector<double> cumulative_;
};

struct Vocabulary {
  WordClass nouns{kNouns}, adjectives{kAdjectives}, verbs{kVerbs}, motions{kMotions},
      adverbs{kAdverbs, '|'}, prepositions{kPrepositions}, places{kPlaces}, names{kNames},
      workers{kWorkers}, past_verbs{kPastVerbs}, planets{kPlanets}, months{kMonths},
      digits{kDigits}, tens{kTens};

  // 0 to 99: "forty-one".
  std::string number(int value) const {
    if (value < digits.size()) return std::string(digits[value]);
    const std::string_view ten = tens[value / 10 - 2];
    return value % 10 == 0 ? std::string(ten) : fmt::format("{}-{}", ten, digits[value % 10]);
  }
};

// ------------------------------------------------------------------------------------------------
// The grammar

std::string_view article(std::string_view word) {
  return std::string_view("aeiou").find(word.front()) == std::string_view::npos ? "a" : "an";
}

std::string capitalized(std::string text) {
  if (text.front() >= 'a' && text.front() <= 'z')
    text.front() = static_cast<char>(text.front() - 32);
  return text;
}

class Storyteller {
 public:
  explicit Storyteller(std::uint64_t seed) : random_(seed) {}

  // Some sentences around one topic, without the newline.
  std::string paragraph() {
    const std::string_view quality = adjective();
    topic_ = fmt::format("{} {}", quality, noun());
    std::string text;
    const int sentences = 3 + random_.below(6);
    for (int sentence = 0; sentence < sentences; ++sentence) {
      if (sentence > 0) text += ' ';
      text += this->sentence();
    }
    return text;
  }

 private:
  struct Choice {
    int weight;
    std::string (Storyteller::*rule)();
  };

  std::string sentence() {
    static constexpr std::array kChoices = {
        Choice{24, &Storyteller::action},          Choice{14, &Storyteller::motion},
        Choice{12, &Storyteller::dated_event},     Choice{10, &Storyteller::dialogue},
        Choice{8, &Storyteller::sum_in_words},     Choice{6, &Storyteller::sum_in_digits},
        Choice{6, &Storyteller::gear_ratio},       Choice{6, &Storyteller::teeth_question},
        Choice{5, &Storyteller::sum_question},     Choice{5, &Storyteller::order_of_planets},
        Choice{4, &Storyteller::day_after_another}};
    int weights = 0;
    for (const Choice& choice : kChoices) weights += choice.weight;
    int point = random_.below(weights);
    for (const Choice& choice : kChoices) {
      if (point < choice.weight) return (this->*choice.rule)();
      point -= choice.weight;
    }
    ORRERY_CHECK(false, "drew {} of {}", point, weights);
  }

  bool chance(double probability) { return random_.uniform() < probability; }
  int between(int least, int most) { return least + random_.below(most - least + 1); }
  // No call has two arguments that draw: their order would be the compiler's choice, and the text
  // must be the same with every compiler.
  std::string_view noun() { return words_.nouns.draw(random_); }
  std::string_view adjective() { return words_.adjectives.draw(random_); }
  std::string_view name() { return words_.names.draw(random_); }

  std::string thing() {
    if (chance(0.35)) return "the " + topic_;
    std::string described(noun());
    if (chance(0.5)) described = fmt::format("{} {}", adjective(), described);
    if (chance(0.25)) return fmt::format("{} {}", article(described), described);
    return fmt::format("{} {}", chance(0.1) ? "each" : "the", described);
  }

  std::string place() {
    const std::string_view preposition = words_.prepositions.draw(random_);
    const std::string_view where = chance(0.6) ? words_.places.draw(random_) : noun();
    return fmt::format("{} the {}", preposition, where);
  }

  std::string action() {
    const std::string subject = chance(0.25) ? std::string(words_.planets.draw(random_)) : thing();
    const std::string_view verb = words_.verbs.draw(random_);
    const std::string object = thing();
    const std::string where = chance(0.4) ? " " + place() : "";
    return capitalized(fmt::format("{} {}s {}{}.", subject, verb, object, where));
  }

  std::string motion() {
    const std::string subject = thing();
    const std::string_view verb = words_.motions.draw(random_);
    const std::string_view how = words_.adverbs.draw(random_);
    const std::string rest = chance(0.3) ? ", and " + clause() : "";
    return capitalized(fmt::format("{} {}s {}{}.", subject, verb, how, rest));
  }

  std::string clause() {
    const std::string subject = thing();
    const std::string_view verb = words_.motions.draw(random_);
    return fmt::format("{} {}s {}", subject, verb, place());
  }

  std::string dated_event() {
    const int day = between(1, 28);
    const std::string_view month = words_.months[random_.below(words_.months.size())];
    const int year = between(1650, 1899);
    const std::string who =
        chance(0.5) ? std::string(name()) : fmt::format("the {}", words_.workers.draw(random_));
    const std::string_view verb = words_.past_verbs.draw(random_);
    const std::string what = thing();
    return fmt::format("On {} {} {} {} {} {} {}.", day, month, year, who, verb, what, place());
  }

  std::string day_after_another() {
    const int day = between(1, 27);
    const std::string_view month = words_.months[random_.below(words_.months.size())];
    return fmt::format("The day after {0} {1} is {2} {1}.", day, month, day + 1);
  }

  // The answer repeats what was asked, so it can be copied.
  std::string dialogue() {
    const std::string_view asking = name();
    const std::string_view answering = name();
    const std::string_view verb = words_.verbs.draw(random_);
    const std::string subject = thing();
    const std::string object = thing();
    const std::string_view how = words_.adverbs.draw(random_);
    if (chance(0.5)) {
      return fmt::format("\"Does {0} {1} {2}?\" asked {3}. \"Yes, {0} {1}s {2} {4},\" said {5}.",
                         subject, verb, object, asking, how, answering);
    }
    return fmt::format("\"Look {0}, {1},\" said {2}. \"I see {3},\" said {1}.", place(), answering,
                       asking, object);
  }

  struct Sum {
    int left, right, result;
    std::string_view word;
    char sign;
  };
  Sum sum() {
    switch (random_.below(4)) {
      case 0: {
        const int left = between(2, 9);
        const int right = between(2, 9);
        return {left, right, left * right, "times", '*'};
      }
      case 1: {
        const int right = between(0, 20);
        const int result = between(0, 20);
        return {right + result, right, result, "minus", '-'};
      }
      default: {
        const int left = between(0, 30);
        const int right = between(0, 20);
        return {left, right, left + right, "plus", '+'};
      }
    }
  }

  std::string sum_in_words() {
    const Sum drawn = sum();
    return capitalized(fmt::format("{} {} {} is {}.", words_.number(drawn.left), drawn.word,
                                   words_.number(drawn.right), words_.number(drawn.result)));
  }

  std::string sum_in_digits() {
    const Sum drawn = sum();
    return fmt::format("{} {} {} = {}.", drawn.left, drawn.sign, drawn.right, drawn.result);
  }

  std::string sum_question() {
    const Sum drawn = sum();
    return fmt::format("Question: what is {} {} {}? Answer: {}.", words_.number(drawn.left),
                       drawn.word, words_.number(drawn.right), words_.number(drawn.result));
  }

  // A wheel of n k teeth is driven once by k turns of a pinion of n teeth.
  std::string gear_ratio() {
    const int teeth = between(6, 20);
    const int turns = between(2, 12);
    return fmt::format(
        "A pinion of {0} teeth drives a wheel of {1} teeth, so {2} turns of the "
        "pinion turn the wheel once.",
        teeth, teeth * turns, words_.number(turns));
  }

  std::string teeth_question() {
    const std::string_view first = noun();
    std::string_view second = noun();
    while (second == first) second = noun();
    const int first_teeth = between(8, 60);
    const int difference = between(1, 30);
    const bool first_has_more = chance(0.5);
    const int second_teeth = first_has_more ? first_teeth : first_teeth + difference;
    return fmt::format(
        "Question: the {} has {} teeth and the {} has {}, which has more? "
        "Answer: the {}.",
        first, words_.number(first_has_more ? first_teeth + difference : first_teeth), second,
        words_.number(second_teeth), first_has_more ? first : second);
  }

  std::string order_of_planets() {
    const int place = random_.below(words_.planets.size() - 1);
    const std::string_view inner = words_.planets[place];
    const std::string_view outer = words_.planets[place + 1];
    return chance(0.5) ? fmt::format("After {} comes {}.", inner, outer)
                       : fmt::format("Before {} comes {}.", outer, inner);
  }

  Vocabulary words_;
  Random random_;
  std::string topic_;
};

}  // namespace

std::string make_corpus(std::uint64_t seed, std::size_t bytes) {
  Storyteller storyteller(seed);
  std::string text;
  while (text.size() < bytes) text += storyteller.paragraph() + "\n";
  text.resize(bytes);
  return text;
}

Corpus make_default_corpus() {
  return {make_corpus(kTrainingSeed, kTrainingBytes), make_corpus(kHeldOutSeed, kHeldOutBytes)};
}

Corpus read_corpus(const std::string& path, std::size_t sequence_tokens) {
  std::string text = read_file(path);
  const auto refuse = [&path](const std::string& why) {
    throw InputError(fmt::format("error: cannot train on {}: {}", path, why));
  };
  if (text.empty()) refuse("it is empty");
  if (text.size() < 2 * sequence_tokens) {
    refuse(
        fmt::format("it has {} bytes, at least {} are needed: a sequence of {} to train on and "
                    "one held out",
                    text.size(), 2 * sequence_tokens, sequence_tokens));
  }
  const std::size_t held_out = std::max(text.size() / kHeldOutPart, sequence_tokens);
  Corpus corpus;
  corpus.held_out = text.substr(text.size() - held_out);
  text.resize(text.size() - held_out);
  corpus.training = std::move(text);
  return corpus;
}

double conditional_entropy(std::string_view text, int order) {
  ORRERY_CHECK(order >= 0 && order <= 3, "order {}", order);
  const auto length = static_cast<std::size_t>(order) + 1;
  if (text.size() < length) return 0;
  // Each run of `order` + 1 bytes as one number, the byte that is predicted last: sorted, equal
  // runs and equal contexts stand together.
  std::vector<std::uint32_t> runs;
  runs.reserve(text.size());
  for (std::size_t at = 0; at + length <= text.size(); ++at) {
    std::uint32_t run = 0;
    for (const char c : text.substr(at, length)) run = run << 8 | static_cast<unsigned char>(c);
    runs.push_back(run);
  }
  std::sort(runs.begin(), runs.end());
  // -sum n ln(n / c) = sum c ln c - sum n ln n.
  const auto sum_of_logs = [&runs](int shift) {
    double sum = 0;
    for (std::size_t begin = 0, end = 0; begin < runs.size(); begin = end) {
      while (end < runs.size() && runs[end] >> shift == runs[begin] >> shift) ++end;
      const auto count = static_cast<double>(end - begin);
      sum += count * std::log(count);
    }
    return sum;
  };
  const auto total = static_cast<double>(runs.size());
  const double contexts = order == 0 ? total * std::log(total) : sum_of_logs(8);
  return (contexts - sum_of_logs(0)) / total;
}

}  // namespace orrery
