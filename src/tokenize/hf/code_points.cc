#include "src/tokenize/hf/code_points.h"

#include <algorithm>
#include <map>
#include <string>
#include <unordered_map>

#include "src/tokenize/hf/unicode_tables.h"

namespace countermark::hf {
namespace {

uint32_t Varint(std::span<const uint8_t>* bytes) {
  uint32_t value = 0;
  for (int shift = 0;; shift += 7) {
    const uint8_t byte = bytes->front();
    *bytes = bytes->subspan(1);
    value |= static_cast<uint32_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
}

CodePointSet RunsOf(std::span<const uint8_t> table, const std::vector<bool>& wanted) {
  std::vector<char32_t> flips;
  bool inside = false;
  for (const auto& [first, value] : ReadRuns(table)) {
    if (wanted[value] != inside) {
      inside = !inside;
      flips.push_back(first);
    }
  }
  if (inside) flips.push_back(kCodePoints);
  return CodePointSet::Flips(std::move(flips));
}

// Categories whose two-letter names begin so; "C" also takes what is not assigned.
CodePointSet Categories(std::string_view beginning) {
  std::vector<bool> wanted(kCategoryNames.size() + 1);
  wanted[0] = beginning == "C" || beginning == "Cn";
  for (size_t i = 0; i < kCategoryNames.size(); ++i) wanted[i + 1] = kCategoryNames[i].starts_with(beginning);
  CodePointSet set = RunsOf(kCategory, wanted);
  const CodePointSet surrogates = CodePointSet::Range(0xD800, 0xDFFF);
  return beginning == "Cn" ? set & ~surrogates : set;
}

std::string Plain(std::string_view name) {
  std::string plain;
  for (char c : name) {
    if (c != ' ' && c != '-' && c != '_') plain.push_back(c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c);
  }
  return plain;
}

CodePointSet Characters(std::string_view ascii) {
  CodePointSet set;
  for (char c : ascii) set = set | CodePointSet::Single(static_cast<char32_t>(c));
  return set;
}

constexpr std::pair<std::string_view, std::string_view> kLongCategories[] = {
    {"letter", "L"}, {"mark", "M"}, {"number", "N"}, {"punctuation", "P"}, {"symbol", "S"}, {"separator", "Z"}, {"other", "C"},
    {"uppercaseletter", "Lu"}, {"lowercaseletter", "Ll"}, {"titlecaseletter", "Lt"}, {"modifierletter", "Lm"}, {"otherletter", "Lo"},
    {"nonspacingmark", "Mn"}, {"spacingmark", "Mc"}, {"enclosingmark", "Me"}, {"decimalnumber", "Nd"}, {"letternumber", "Nl"}, {"othernumber", "No"},
    {"connectorpunctuation", "Pc"}, {"dashpunctuation", "Pd"}, {"openpunctuation", "Ps"}, {"closepunctuation", "Pe"}, {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"}, {"otherpunctuation", "Po"}, {"mathsymbol", "Sm"}, {"currencysymbol", "Sc"}, {"modifiersymbol", "Sk"},
    {"othersymbol", "So"}, {"spaceseparator", "Zs"}, {"lineseparator", "Zl"}, {"paragraphseparator", "Zp"}, {"control", "Cc"}, {"format", "Cf"},
    {"surrogate", "Cs"}, {"privateuse", "Co"}, {"unassigned", "Cn"}, {"digit", "Nd"}, {"cntrl", "Cc"}};

std::optional<CodePointSet> MakeProperty(const std::string& name) {
  for (const auto& [whole, brief] : kLongCategories) {
    if (name == whole || name == Plain(brief)) return Categories(brief);
  }
  for (size_t i = 0; i < kScriptNames.size(); ++i) {
    if (name != Plain(kScriptNames[i])) continue;
    std::vector<bool> wanted(kScriptNames.size() + 1);
    wanted[i + 1] = true;
    return RunsOf(kScript, wanted);
  }
  if (name == "lc" || name == "casedletter") return Categories("Lu") | Categories("Ll") | Categories("Lt");
  if (name == "alphabetic" || name == "alpha") return ReadSet(kAlphabetic);
  if (name == "alnum") return ReadSet(kAlphabetic) | Categories("Nd");
  if (name == "uppercase" || name == "upper") return ReadSet(kUppercase);
  if (name == "lowercase" || name == "lower") return ReadSet(kLowercase);
  if (name == "whitespace" || name == "space") return ReadSet(kSpace);
  if (name == "word") return ReadSet(kWord);
  if (name == "punct") return Categories("P");
  if (name == "xdigit") return Characters("0123456789abcdefABCDEF");
  if (name == "blank") return Categories("Zs") | CodePointSet::Single('\t');
  const CodePointSet graph = ~(Categories("Cn") | ReadSet(kSpace) | Categories("Cc") | Categories("Cs"));
  if (name == "graph") return graph;
  if (name == "print") return graph | Categories("Zs");
  if (name == "any") return CodePointSet::All();
  if (name == "assigned") return ~Categories("Cn");
  if (name == "ascii") return CodePointSet::Range(0, 0x7F);
  return std::nullopt;
}

std::unordered_map<char32_t, char32_t> ReadLower() {
  std::unordered_map<char32_t, char32_t> lower = {{0x130, U'i'}};
  std::span<const uint8_t> bytes = kLower;
  char32_t c = 0;
  while (!bytes.empty()) {
    c += Varint(&bytes);
    const uint32_t zigzag = Varint(&bytes);
    lower[c] = static_cast<char32_t>(static_cast<int32_t>(c) + static_cast<int32_t>(zigzag >> 1 ^ (0u - (zigzag & 1))));
  }
  return lower;
}

}  // namespace

CodePointSet CodePointSet::Range(char32_t first, char32_t last) {
  CodePointSet set;
  set.flips_ = {first, last + 1};
  return set;
}

CodePointSet CodePointSet::Flips(std::vector<char32_t> flips) {
  CodePointSet set;
  set.flips_ = std::move(flips);
  return set;
}

bool CodePointSet::Contains(char32_t c) const { return (std::upper_bound(flips_.begin(), flips_.end(), c) - flips_.begin()) % 2 == 1; }

CodePointSet CodePointSet::Merge(const CodePointSet& other, unsigned rule) const {
  CodePointSet merged;
  bool inside = false;
  size_t a = 0, b = 0;
  while (a < flips_.size() || b < other.flips_.size()) {
    const char32_t at = std::min(a < flips_.size() ? flips_[a] : kCodePoints, b < other.flips_.size() ? other.flips_[b] : kCodePoints);
    if (a < flips_.size() && flips_[a] == at) ++a;
    if (b < other.flips_.size() && other.flips_[b] == at) ++b;
    if ((rule >> (a % 2 + 2 * (b % 2)) & 1) != (inside ? 1u : 0u)) {
      inside = !inside;
      merged.flips_.push_back(at);
    }
  }
  return merged;
}

CodePointMap::CodePointMap(std::span<const std::pair<char32_t, uint8_t>> runs) {
  std::map<std::array<uint8_t, 256>, uint16_t> known;
  std::array<uint8_t, 256> block;
  size_t run = 0;
  uint8_t value = 0;
  for (char32_t c = 0; c < kCodePoints; ++c) {
    if (run < runs.size() && runs[run].first == c) value = runs[run++].second;
    block[c & 0xFF] = value;
    if ((c & 0xFF) != 0xFF) continue;
    const auto [entry, is_new] = known.try_emplace(block, static_cast<uint16_t>(known.size()));
    if (is_new) bytes_.insert(bytes_.end(), block.begin(), block.end());
    block_[c >> 8] = entry->second;
  }
}

namespace {
std::vector<std::pair<char32_t, uint8_t>> Alternating(const CodePointSet& set) {
  std::vector<std::pair<char32_t, uint8_t>> runs;
  for (size_t i = 0; i < set.flips().size(); ++i) runs.emplace_back(set.flips()[i], i % 2 == 0 ? 1 : 0);
  return runs;
}
}  // namespace

CodePointMap::CodePointMap(const CodePointSet& set) : CodePointMap(Alternating(set)) {}

CodePointSet ReadSet(std::span<const uint8_t> table) {
  std::vector<char32_t> flips;
  char32_t at = 0;
  while (!table.empty()) flips.push_back(at += Varint(&table));
  if (flips.size() % 2 == 1) flips.push_back(kCodePoints);
  return CodePointSet::Flips(std::move(flips));
}

std::vector<std::pair<char32_t, uint8_t>> ReadRuns(std::span<const uint8_t> table) {
  std::vector<std::pair<char32_t, uint8_t>> runs = {{0, 0}};
  char32_t at = 0;
  while (!table.empty()) {
    at += Varint(&table);
    const uint8_t value = static_cast<uint8_t>(Varint(&table));
    if (at == 0) runs.clear();
    runs.emplace_back(at, value);
  }
  return runs;
}

std::optional<CodePointSet> PropertySet(std::string_view name) { return MakeProperty(Plain(name)); }

std::optional<CodePointSet> PosixSet(std::string_view name) {
  static constexpr std::string_view kNames[] = {"alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "space", "upper", "xdigit", "word"};
  if (name == "punct") return Categories("P") | Categories("S");
  if (std::find(std::begin(kNames), std::end(kNames), name) == std::end(kNames)) return std::nullopt;
  return MakeProperty(std::string(name));
}

CodePointSet BareWordSet() {
  CodePointSet set = ReadSet(kWord);
  for (char32_t c : {0xB2, 0xB3, 0xB9, 0xBC, 0xBD, 0xBE}) set = set | CodePointSet::Single(c);
  return set;
}

#define CM_STATIC_MAP(name, table)                     \
  const CodePointMap& name() {                         \
    static const CodePointMap map(ReadSet(table));     \
    return map;                                        \
  }
CM_STATIC_MAP(SpaceMap, kSpace)
CM_STATIC_MAP(RegexWordMap, kRegexWord)
CM_STATIC_MAP(NumericMap, kNumeric)
CM_STATIC_MAP(PunctuationMap, kPunctuation)
CM_STATIC_MAP(OtherMap, kOther)
CM_STATIC_MAP(NonspacingMap, kNonspacing)
CM_STATIC_MAP(CombiningMap, kCombining)
CM_STATIC_MAP(GraphemeJoinMap, kGraphemeJoins)
CM_STATIC_MAP(GraphemePrependMap, kGraphemePrepends)
#undef CM_STATIC_MAP

const CodePointMap& JoinedScriptMap() {
  static const CodePointMap map(ReadRuns(kJoinedScripts));
  return map;
}

char32_t LowerCase(char32_t c) {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  static const std::unordered_map<char32_t, char32_t> lower = ReadLower();
  const auto found = lower.find(c);
  return found == lower.end() ? c : found->second;
}

}  // namespace countermark::hf
