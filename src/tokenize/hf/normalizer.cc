#include "src/tokenize/hf/normalizer.h"

#include <algorithm>

#include "src/base/status_macros.h"
#include "src/base/strings.h"
#include "src/tokenize/hf/byte_chars.h"
#include "src/tokenize/hf/charsmap.h"
#include "src/tokenize/hf/code_points.h"
#include "src/tokenize/hf/normal_forms.h"
#include "src/tokenize/hf/regex.h"
#include "src/tokenize/hf/pattern.h"

namespace countermark::hf {
namespace {

class Form final : public Normalizer {
 public:
  explicit Form(NormalForm form) : form_(form) {}
  absl::Status Apply(Rewriter* rewriter) const override { return rewriter->Transform(Normalize(rewriter->text(), form_), 0); }
  bool Keeps(std::string_view text) const override { return IsPlainlyNormal(text, form_); }

 private:
  NormalForm form_;
};

absl::Status ToLower(Rewriter* rewriter) {
  std::vector<Change> changes;
  for (char32_t c : Decode(rewriter->text())) {
    changes.push_back({LowerCase(c), 0});
    if (c == 0x130) changes.push_back({0x307, 1});
  }
  return rewriter->Transform(changes, 0);
}

class Lowercase final : public Normalizer {
 public:
  absl::Status Apply(Rewriter* rewriter) const override { return ToLower(rewriter); }
};

class StripAccents final : public Normalizer {
 public:
  absl::Status Apply(Rewriter* rewriter) const override {
    return rewriter->Filter([](char32_t c) { return CombiningMap()[c] == 0; });
  }
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  absl::Status Apply(Rewriter* rewriter) const override {
    if (left_ && right_) return Cut(rewriter, true, true);
    if (left_) CM_RETURN_IF_ERROR(Cut(rewriter, true, false));
    return right_ ? Cut(rewriter, false, true) : absl::OkStatus();
  }

 private:
  // lrstrip(). What stands last takes the dropped after it only where the number of bytes is that of characters, as there.
  static absl::Status Cut(Rewriter* rewriter, bool left, bool right) {
    const std::u32string text = Decode(rewriter->text());
    size_t leading = 0, trailing = 0;
    while (left && leading < text.size() && SpaceMap()[text[leading]] != 0) ++leading;
    while (right && trailing < text.size() && SpaceMap()[text[text.size() - 1 - trailing]] != 0) ++trailing;
    if (leading == 0 && trailing == 0) return absl::OkStatus();
    std::vector<Change> changes;
    const size_t bytes = rewriter->text().size();
    for (size_t i = leading; i + trailing < text.size(); ++i) changes.push_back({text[i], i == bytes - trailing - 1 ? -static_cast<int>(trailing) : 0});
    return rewriter->Transform(changes, leading);
  }
  bool left_, right_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string text) : text_(std::move(text)) {}
  absl::Status Apply(Rewriter* rewriter) const override { return rewriter->Prepend(text_); }

 private:
  std::string text_;
};

class Replace final : public Normalizer {
 public:
  Replace(std::unique_ptr<Regex> pattern, std::string content) : pattern_(std::move(pattern)), content_(std::move(content)) {}
  absl::Status Apply(Rewriter* rewriter) const override {
    if (rewriter->text().empty()) return absl::OkStatus();
    std::vector<Match> matches;
    CM_RETURN_IF_ERROR(pattern_->FindAll(rewriter->text(), &matches));
    std::vector<std::pair<size_t, size_t>> ranges;
    for (const Match& match : matches) ranges.emplace_back(match.begin, match.end);
    rewriter->Replace(ranges, content_);
    return absl::OkStatus();
  }

 private:
  std::unique_ptr<Regex> pattern_;
  std::string content_;
};

class Precompiled final : public Normalizer {
 public:
  explicit Precompiled(Charsmap map) : map_(std::move(map)) {}
  absl::Status Apply(Rewriter* rewriter) const override { return map_.Apply(rewriter); }

 private:
  Charsmap map_;
};

bool IsChinese(char32_t c) {
  return (c >= 0x4E00 && c <= 0x9FFF) || (c >= 0x3400 && c <= 0x4DBF) || (c >= 0x20000 && c <= 0x2A6DF) || (c >= 0x2A700 && c <= 0x2B73F) ||
         (c >= 0x2B740 && c <= 0x2B81F) || (c >= 0x2B920 && c <= 0x2CEAF) || (c >= 0xF900 && c <= 0xFAFF) || (c >= 0x2F800 && c <= 0x2FA1F);
}

class Bert final : public Normalizer {
 public:
  Bert(bool clean, bool chinese, bool accents, bool lower) : clean_(clean), chinese_(chinese), accents_(accents), lower_(lower) {}
  absl::Status Apply(Rewriter* rewriter) const override {
    if (clean_) {
      const auto control = [](char32_t c) { return c == 0 || c == 0xFFFD || (c != '\t' && c != '\n' && c != '\r' && OtherMap()[c] != 0); };
      CM_RETURN_IF_ERROR(rewriter->Filter([&](char32_t c) { return !control(c); }));
      CM_RETURN_IF_ERROR(rewriter->Map([](char32_t c) { return SpaceMap()[c] != 0 ? U' ' : c; }));
    }
    if (chinese_) {
      std::vector<Change> changes;
      for (char32_t c : Decode(rewriter->text())) {
        if (IsChinese(c)) {
          changes.insert(changes.end(), {{U' ', 0}, {c, 1}, {U' ', 1}});
        } else {
          changes.push_back({c, 0});
        }
      }
      CM_RETURN_IF_ERROR(rewriter->Transform(changes, 0));
    }
    if (accents_) {
      CM_RETURN_IF_ERROR(rewriter->Transform(Normalize(rewriter->text(), {}), 0));
      CM_RETURN_IF_ERROR(rewriter->Filter([](char32_t c) { return NonspacingMap()[c] == 0; }));
    }
    return lower_ ? ToLower(rewriter) : absl::OkStatus();
  }

 private:
  bool clean_, chinese_, accents_, lower_;
};

class Nmt final : public Normalizer {
 public:
  absl::Status Apply(Rewriter* rewriter) const override {
    CM_RETURN_IF_ERROR(rewriter->Filter([](char32_t c) {
      return !((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F || c == 0x9F);
    }));
    return rewriter->Map([](char32_t c) {
      const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 || (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                         c == 0xFEFF || c == 0xFFFD;
      return space ? U' ' : c;
    });
  }
};

class ByteLevel final : public Normalizer {
 public:
  absl::Status Apply(Rewriter* rewriter) const override { return ToByteChars(rewriter); }
};

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  absl::Status Apply(Rewriter* rewriter) const override {
    for (const auto& part : parts_) CM_RETURN_IF_ERROR(part->Apply(rewriter));
    return absl::OkStatus();
  }
  bool Keeps(std::string_view text) const override {
    return std::all_of(parts_.begin(), parts_.end(), [&](const auto& part) { return part->Keeps(text); });
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Normalizer>> ReadNormalizer(const Json& json, const std::string& where) {
  using Made = std::unique_ptr<Normalizer>;
  Fields fields(json, where);
  const std::string type = fields.String("type");
  Made made;
  if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    made = std::make_unique<Form>(NormalForm{.compatible = type.size() == 4, .composed = type.back() == 'C'});
  } else if (type == "Lowercase") {
    made = std::make_unique<Lowercase>();
  } else if (type == "StripAccents") {
    made = std::make_unique<StripAccents>();
  } else if (type == "Nmt") {
    made = std::make_unique<Nmt>();
  } else if (type == "ByteLevel") {
    made = std::make_unique<ByteLevel>();
  } else if (type == "Strip") {
    const bool left = fields.Bool("strip_left"), right = fields.Bool("strip_right");
    made = std::make_unique<Strip>(left, right);
  } else if (type == "Prepend") {
    made = std::make_unique<Prepend>(fields.String("prepend"));
  } else if (type == "Replace") {
    CM_ASSIGN_OR_RETURN(std::unique_ptr<Regex> pattern, ReadPattern(fields.Any("pattern"), fields.Place("pattern")));
    made = std::make_unique<Replace>(std::move(pattern), fields.String("content"));
  } else if (type == "Precompiled") {
    absl::StatusOr<Charsmap> map = Charsmap::FromBase64(fields.String("precompiled_charsmap"));
    if (!map.ok()) return Broken(fields.Place("precompiled_charsmap"), Cat("", std::string(map.status().message())));
    made = std::make_unique<Precompiled>(*std::move(map));
  } else if (type == "BertNormalizer") {
    const bool clean = fields.Bool("clean_text"), chinese = fields.Bool("handle_chinese_chars"), lower = fields.Bool("lowercase");
    made = std::make_unique<Bert>(clean, chinese, fields.Bool("strip_accents", lower), lower);
  } else if (type == "Sequence") {
    std::vector<Made> parts;
    for (const Json& part : fields.Array("normalizers")) {
      CM_ASSIGN_OR_RETURN(Made read, ReadNormalizer(part, Cat(where, "/normalizers/", parts.size())));
      parts.push_back(std::move(read));
    }
    made = std::make_unique<Sequence>(std::move(parts));
  } else if (json.kind == Json::kObject && json.Find("type") != nullptr) {
    return Unknown(fields.Place("type"), Cat("the normalizer '", type, "' is not known"));
  }
  CM_RETURN_IF_ERROR(fields.Done());
  return made;
}

}  // namespace countermark::hf
