#include "src/tokenize/hf/pre_tokenizer.h"

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/hf/byte_chars.h"
#include "src/tokenize/hf/code_points.h"
#include "src/tokenize/hf/cutting.h"
#include "src/tokenize/hf/pattern.h"
#include "src/tokenize/hf/regex.h"

namespace countermark::hf {
namespace {

using Cuts = std::vector<Pieces::Cut>;

constexpr std::string_view kGpt2Words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

class RegexCutter final : public Cutter {
 public:
  RegexCutter(std::unique_ptr<Regex> regex, bool invert, Behavior behavior) : regex_(std::move(regex)), invert_(invert), behavior_(behavior) {}
  absl::Status Cut(std::string_view text, Cuts* cuts) const override {
    std::vector<Match> matches;
    CM_RETURN_IF_ERROR(regex_->FindAll(text, &matches));
    CutAtMatches(text.size(), matches, invert_, behavior_, cuts);
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<Regex> regex_;
  bool invert_;
  Behavior behavior_;
};

// At characters of a kind.
class CharacterCutter final : public Cutter {
 public:
  CharacterCutter(const CodePointMap& map, Behavior behavior) : map_(map), behavior_(behavior) {}
  absl::Status Cut(std::string_view text, Cuts* cuts) const override {
    CutAtMatches(text.size(), MatchCharacters(text, map_), false, behavior_, cuts);
    return absl::OkStatus();
  }

 private:
  const CodePointMap& map_;
  Behavior behavior_;
};

// Words of \w, and runs of what is neither \w nor white space.
class WhitespaceCutter final : public Cutter {
 public:
  absl::Status Cut(std::string_view text, Cuts* cuts) const override {
    int last = 0;  // 0 white space, 1 word, 2 other
    for (size_t at = 0; at < text.size();) {
      const size_t length = CharacterLength(text[at]);
      const char32_t c = DecodeCharacter(text.data() + at);
      const int kind = RegexWordMap()[c] != 0 ? 1 : SpaceMap()[c] != 0 ? 0 : 2;
      if (kind != 0 && kind == last) {
        cuts->back().end = at + length;
      } else if (kind != 0) {
        cuts->push_back({.begin = at, .end = at + length});
      }
      last = kind;
      at += length;
    }
    return absl::OkStatus();
  }
};

// Where the script changes. What stands before the first character of a script is dropped, as there.
class ScriptCutter final : public Cutter {
 public:
  absl::Status Cut(std::string_view text, Cuts* cuts) const override {
    int last = -1;  // none yet; 0 joins to any
    bool begun = false;
    for (size_t at = 0; at < text.size(); at += CharacterLength(text[at])) {
      const int script = JoinedScriptMap()[DecodeCharacter(text.data() + at)];
      if (script == 0) continue;
      if (script != last) {
        if (begun) cuts->back().end = at;
        cuts->push_back({.begin = at, .end = text.size()});
        begun = true;
      }
      last = script;
    }
    return absl::OkStatus();
  }
};

class FixedLengthCutter final : public Cutter {
 public:
  explicit FixedLengthCutter(size_t length) : length_(length) {}
  absl::Status Cut(std::string_view text, Cuts* cuts) const override {
    for (size_t at = 0; at < text.size();) {
      const size_t begin = at;
      for (size_t k = 0; k < length_ && at < text.size(); ++k) at += CharacterLength(text[at]);
      cuts->push_back({.begin = begin, .end = at});
    }
    return absl::OkStatus();
  }

 private:
  size_t length_;
};

class Metaspace final : public PreTokenizer {
 public:
  enum Scheme { kFirst, kNever, kAlways };
  Metaspace(std::string mark, Scheme scheme, bool split) : mark_(std::move(mark)), regex_(Regex::Literal(mark_)), scheme_(scheme), split_(split) {}

  absl::Status Apply(Pieces* pieces) const override {
    const auto rewrite = [this](Rewriter* rewriter) -> absl::Status {
      std::vector<std::pair<size_t, size_t>> spaces;
      for (size_t at = 0; (at = rewriter->text().find(' ', at)) != std::string_view::npos; ++at) spaces.emplace_back(at, at + 1);
      rewriter->Replace(spaces, mark_);
      const bool wanted = scheme_ == kAlways || (scheme_ == kFirst && rewriter->original().begin == 0);
      return wanted && !rewriter->text().starts_with(mark_) ? rewriter->Prepend(mark_) : absl::OkStatus();
    };
    CM_RETURN_IF_ERROR(pieces->RewriteAll(rewrite, /*drop_empty=*/true));
    if (!split_) return absl::OkStatus();
    return pieces->CutAll([this](std::string_view text, const Piece&, Cuts* cuts) -> absl::Status {
      std::vector<Match> matches;
      CM_RETURN_IF_ERROR(regex_->FindAll(text, &matches));
      CutAtMatches(text.size(), matches, false, Behavior::kMergedWithNext, cuts);
      return absl::OkStatus();
    });
  }

 private:
  std::string mark_;
  std::unique_ptr<Regex> regex_;
  Scheme scheme_;
  bool split_;
};

absl::StatusOr<std::unique_ptr<PreTokenizer>> ReadMetaspace(Fields* fields) {
  const char32_t mark = fields->Character("replacement");
  const std::string scheme = fields->String("prepend_scheme", "always");
  const bool split = fields->Bool("split", true), legacy = fields->Bool("add_prefix_space", true);
  fields->Ignore("str_rep");
  CM_RETURN_IF_ERROR(fields->Done());
  if (scheme != "always" && scheme != "never" && scheme != "first") return Unknown(fields->Place("prepend_scheme"), Cat("'", scheme, "' is not known"));
  if (!legacy && scheme != "never") return Broken(fields->Place("add_prefix_space"), "does not match prepend_scheme");
  std::string text;
  AppendCharacter(mark, &text);
  return std::make_unique<Metaspace>(text, scheme == "first" ? Metaspace::kFirst : scheme == "never" ? Metaspace::kNever : Metaspace::kAlways, split);
}

Behavior ReadBehavior(Fields* fields, std::string name) {
  const std::optional<Behavior> behavior = BehaviorOf(name);
  if (!behavior.has_value()) fields->Fail(Unknown(fields->Place("behavior"), Cat("'", name, "' is not known")));
  return behavior.value_or(Behavior::kIsolated);
}

}  // namespace

absl::Status ByteLevelPreTokenizer::Apply(Pieces* pieces) const {
  if (add_prefix_space_) {
    const auto prepend = [](Rewriter* rewriter) { return rewriter->text().starts_with(' ') ? absl::OkStatus() : rewriter->Prepend(" "); };
    CM_RETURN_IF_ERROR(pieces->RewriteAll(prepend, /*drop_empty=*/true));
  }
  if (words_ != nullptr) CM_RETURN_IF_ERROR(words_->Apply(pieces));
  return pieces->RewriteAll(ToByteChars, /*drop_empty=*/false);
}

absl::Status ReadPreTokenizers(const Json& json, const std::string& where, std::vector<std::unique_ptr<PreTokenizer>>* out) {
  Fields fields(json, where);
  const std::string type = fields.String("type");
  if (type == "Sequence") {
    int number = 0;
    for (const Json& part : fields.Array("pretokenizers")) CM_RETURN_IF_ERROR(ReadPreTokenizers(part, Cat(where, "/pretokenizers/", number++), out));
  } else if (type == "ByteLevel") {
    const bool prefix = fields.Bool("add_prefix_space");
    fields.Bool("trim_offsets");  // of its post-processor
    std::unique_ptr<Cutter> words;
    if (fields.Bool("use_regex", true)) words = std::make_unique<RegexCutter>(*Regex::Compile(kGpt2Words), false, Behavior::kIsolated);
    out->push_back(std::make_unique<ByteLevelPreTokenizer>(prefix, std::move(words)));
  } else if (type == "Split") {
    CM_ASSIGN_OR_RETURN(std::unique_ptr<Regex> regex, ReadPattern(fields.Any("pattern"), fields.Place("pattern")));
    const bool invert = fields.Bool("invert");
    out->push_back(std::make_unique<RegexCutter>(std::move(regex), invert, ReadBehavior(&fields, fields.String("behavior"))));
  } else if (type == "Whitespace") {
    out->push_back(std::make_unique<WhitespaceCutter>());
  } else if (type == "WhitespaceSplit") {
    out->push_back(std::make_unique<CharacterCutter>(SpaceMap(), Behavior::kRemoved));
  } else if (type == "BertPreTokenizer") {
    out->push_back(std::make_unique<CharacterCutter>(SpaceMap(), Behavior::kRemoved));
    out->push_back(std::make_unique<CharacterCutter>(PunctuationMap(), Behavior::kIsolated));
  } else if (type == "Punctuation") {
    out->push_back(std::make_unique<CharacterCutter>(PunctuationMap(), ReadBehavior(&fields, fields.String("behavior", "Isolated"))));
  } else if (type == "Digits") {
    const Behavior behavior = fields.Bool("individual_digits") ? Behavior::kIsolated : Behavior::kContiguous;
    out->push_back(std::make_unique<CharacterCutter>(NumericMap(), behavior));
  } else if (type == "CharDelimiterSplit") {
    std::string delimiter;
    AppendCharacter(fields.Character("delimiter"), &delimiter);
    out->push_back(std::make_unique<RegexCutter>(Regex::Literal(delimiter), false, Behavior::kRemoved));
  } else if (type == "UnicodeScripts") {
    out->push_back(std::make_unique<ScriptCutter>());
  } else if (type == "FixedLength") {
    const uint32_t length = fields.Whole("length", 5);
    if (length == 0) return Broken(fields.Place("length"), "must be 1 or more");
    out->push_back(std::make_unique<FixedLengthCutter>(length));
  } else if (type == "Metaspace") {
    CM_ASSIGN_OR_RETURN(std::unique_ptr<PreTokenizer> metaspace, ReadMetaspace(&fields));
    out->push_back(std::move(metaspace));
  } else if (json.kind == Json::kObject && json.Find("type") != nullptr) {
    return Unknown(fields.Place("type"), Cat("the pre-tokenizer '", type, "' is not known"));
  }
  return fields.Done();
}

}  // namespace countermark::hf
