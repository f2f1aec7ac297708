#include "src/tokenize/hf/decoder.h"

#include <algorithm>
#include <optional>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/hf/byte_chars.h"
#include "src/tokenize/hf/pattern.h"
#include "src/tokenize/hf/utf8.h"

namespace countermark::hf {
namespace {

using Tokens = std::vector<std::string>;

std::string Replaced(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  if (from.empty()) {  // Rust's str::replace: between all characters, before and after them
    out = to;
    for (size_t at = 0; at < text.size(); at += CharacterLength(text[at])) out.append(text.substr(at, CharacterLength(text[at]))).append(to);
    return out;
  }
  size_t at = 0;
  for (size_t found; (found = text.find(from, at)) != std::string_view::npos; at = found + from.size()) out.append(text.substr(at, found - at)).append(to);
  return out.append(text.substr(at));
}

std::string Lossy(std::string bytes) {
  ValidText valid = MakeValid(bytes);
  return valid.changed ? std::move(valid.text) : bytes;
}

std::string CleanedUp(std::string_view text) {
  std::string clean(text);
  static constexpr std::pair<std::string_view, std::string_view> kRules[] = {
      {" .", "."}, {" ?", "?"}, {" !", "!"}, {" ,", ","}, {" ' ", "'"}, {" n't", "n't"}, {" 'm", "'m"}, {" do not", " don't"}, {" 's", "'s"}, {" 've", "'ve"}, {" 're", "'re"}};
  for (const auto& [from, to] : kRules) clean = Replaced(clean, from, to);
  return clean;
}

class ByteLevel final : public Decoder {
 public:
  void Apply(Tokens* tokens) const override {
    std::string bytes;
    for (const std::string& token : *tokens) bytes += BytesOf(token).value_or(token);
    *tokens = {Lossy(std::move(bytes))};
  }
};

class BpeDecoder final : public Decoder {
 public:
  explicit BpeDecoder(std::string suffix) : suffix_(std::move(suffix)) {}
  void Apply(Tokens* tokens) const override {
    for (size_t i = 0; i < tokens->size(); ++i) (*tokens)[i] = Replaced((*tokens)[i], suffix_, i + 1 == tokens->size() ? "" : " ");
  }

 private:
  std::string suffix_;
};

class WordPiece final : public Decoder {
 public:
  WordPiece(std::string prefix, bool clean) : prefix_(std::move(prefix)), clean_(clean) {}
  void Apply(Tokens* tokens) const override {
    for (size_t i = 0; i < tokens->size(); ++i) {
      std::string& token = (*tokens)[i];
      if (i != 0) token = token.starts_with(prefix_) ? token.substr(prefix_.size()) : " " + token;
      if (clean_) token = CleanedUp(token);
    }
  }

 private:
  std::string prefix_;
  bool clean_;
};

class Metaspace final : public Decoder {
 public:
  Metaspace(std::string mark, bool prepends) : mark_(std::move(mark)), prepends_(prepends) {}
  void Apply(Tokens* tokens) const override {
    for (size_t i = 0; i < tokens->size(); ++i) (*tokens)[i] = Replaced((*tokens)[i], mark_, i == 0 && prepends_ ? "" : " ");
  }

 private:
  std::string mark_;
  bool prepends_;
};

class Ctc final : public Decoder {
 public:
  Ctc(std::string pad, std::string delimiter, bool clean) : pad_(std::move(pad)), delimiter_(std::move(delimiter)), clean_(clean) {}
  void Apply(Tokens* tokens) const override {
    tokens->erase(std::unique(tokens->begin(), tokens->end()), tokens->end());
    Tokens kept;
    for (const std::string& token : *tokens) {
      std::string text = Replaced(token, pad_, "");
      if (clean_) text = Replaced(CleanedUp(text), delimiter_, " ");
      if (!text.empty()) kept.push_back(std::move(text));
    }
    *tokens = std::move(kept);
  }

 private:
  std::string pad_, delimiter_;
  bool clean_;
};

class Replace final : public Decoder {
 public:
  Replace(std::unique_ptr<Regex> pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void Apply(Tokens* tokens) const override {
    std::vector<Match> matches;
    for (std::string& token : *tokens) {
      if (token.empty() || !pattern_->FindAll(token, &matches).ok()) continue;
      std::string out;
      size_t at = 0;
      for (const Match& match : matches) {
        out.append(token, at, match.begin - at).append(content_);
        at = match.end;
      }
      token = out.append(token, at);
    }
  }

 private:
  std::unique_ptr<Regex> pattern_;
  std::string content_;
};

class Fuse final : public Decoder {
 public:
  void Apply(Tokens* tokens) const override {
    std::string all;
    for (const std::string& token : *tokens) all += token;
    *tokens = {std::move(all)};
  }
};

class Strip final : public Decoder {
 public:
  Strip(char32_t character, size_t start, size_t stop) : start_(start), stop_(stop) { AppendCharacter(character, &character_); }
  void Apply(Tokens* tokens) const override {
    for (std::string& token : *tokens) {
      std::string_view text = token;
      size_t trailing = 0;  // counted before any is taken away in front, as there
      while (trailing < stop_ && text.substr(0, text.size() - trailing * character_.size()).ends_with(character_)) ++trailing;
      size_t leading = 0;
      while (leading < start_ && text.substr(leading * character_.size()).starts_with(character_)) ++leading;
      const size_t begin = leading * character_.size(), end = text.size() - trailing * character_.size();
      token = begin < end ? std::string(text.substr(begin, end - begin)) : std::string();
    }
  }

 private:
  std::string character_;
  size_t start_, stop_;
};

class ByteFallback final : public Decoder {
 public:
  void Apply(Tokens* tokens) const override {
    Tokens out;
    std::string bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (MakeValid(bytes).changed) {
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      } else {
        out.push_back(bytes);
      }
      bytes.clear();
    };
    for (std::string& token : *tokens) {
      if (const std::optional<char> byte = ByteOf(token)) {
        bytes.push_back(*byte);
      } else {
        flush();
        out.push_back(std::move(token));
      }
    }
    flush();
    *tokens = std::move(out);
  }

 private:
  static std::optional<char> ByteOf(std::string_view token) {  // "<0x0A>"
    if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
    int value = 0;
    for (char c : token.substr(3, 2)) {
      const int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10 : -1;
      if (digit < 0) return std::nullopt;
      value = value * 16 + digit;
    }
    return static_cast<char>(value);
  }
};

class Sequence final : public Decoder {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Decoder>> parts) : parts_(std::move(parts)) {}
  void Apply(Tokens* tokens) const override {
    for (const auto& part : parts_) part->Apply(tokens);
  }

 private:
  std::vector<std::unique_ptr<Decoder>> parts_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Decoder>> ReadDecoder(const Json& json, const std::string& where) {
  using Made = std::unique_ptr<Decoder>;
  Fields fields(json, where);
  const std::string type = fields.String("type");
  Made made;
  if (type == "ByteLevel") {
    fields.Bool("add_prefix_space");
    fields.Bool("trim_offsets");
    fields.Bool("use_regex", true);
    made = std::make_unique<ByteLevel>();
  } else if (type == "BPEDecoder") {
    made = std::make_unique<BpeDecoder>(fields.String("suffix"));
  } else if (type == "WordPiece") {
    const std::string prefix = fields.String("prefix");
    made = std::make_unique<WordPiece>(prefix, fields.Bool("cleanup"));
  } else if (type == "Metaspace") {
    std::string mark;
    AppendCharacter(fields.Character("replacement"), &mark);
    const bool legacy = fields.Bool("add_prefix_space", true);
    const std::string scheme = fields.String("prepend_scheme", "always");
    fields.Bool("split", true);
    fields.Ignore("str_rep");
    if (scheme != "always" && scheme != "never" && scheme != "first") fields.Fail(Unknown(fields.Place("prepend_scheme"), Cat("'", scheme, "' is not known")));
    made = std::make_unique<Metaspace>(mark, legacy && scheme != "never");
  } else if (type == "CTC") {
    const std::string pad = fields.String("pad_token"), delimiter = fields.String("word_delimiter_token");
    made = std::make_unique<Ctc>(pad, delimiter, fields.Bool("cleanup"));
  } else if (type == "Replace") {
    CM_ASSIGN_OR_RETURN(std::unique_ptr<Regex> pattern, ReadPattern(fields.Any("pattern"), fields.Place("pattern")));
    made = std::make_unique<Replace>(std::move(pattern), fields.String("content"));
  } else if (type == "Fuse") {
    made = std::make_unique<Fuse>();
  } else if (type == "Strip") {
    const char32_t character = fields.Character("content");
    const uint32_t start = fields.Whole("start"), stop = fields.Whole("stop");
    made = std::make_unique<Strip>(character, start, stop);
  } else if (type == "ByteFallback") {
    made = std::make_unique<ByteFallback>();
  } else if (type == "Sequence") {
    std::vector<Made> parts;
    for (const Json& part : fields.Array("decoders")) {
      CM_ASSIGN_OR_RETURN(Made read, ReadDecoder(part, Cat(where, "/decoders/", parts.size())));
      parts.push_back(std::move(read));
    }
    made = std::make_unique<Sequence>(std::move(parts));
  } else if (json.kind == Json::kObject && json.Find("type") != nullptr) {
    return Unknown(fields.Place("type"), Cat("the decoder '", type, "' is not known"));
  }
  CM_RETURN_IF_ERROR(fields.Done());
  return made;
}

}  // namespace countermark::hf
