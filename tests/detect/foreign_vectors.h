// The vectors that other projects' own code made (tests/vectors/foreign), read; and a format opened from a case.
#ifndef COUNTERMARK_TESTS_DETECT_FOREIGN_VECTORS_H_
#define COUNTERMARK_TESTS_DETECT_FOREIGN_VECTORS_H_

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "countermark/detect/foreign/format.h"
#include "nlohmann/json.hpp"

namespace countermark {

inline nlohmann::json ForeignVectors(const std::string& name) {
  std::ifstream in(std::string(COUNTERMARK_TEST_VECTORS) + "/foreign/" + name + ".json");
  return nlohmann::json::parse(in);
}

inline std::unique_ptr<ForeignFormat> OpenForeign(const std::string& name, nlohmann::json config) {
  auto format = OpenForeignFormat(name, config.dump(), "config.json");
  EXPECT_TRUE(format.ok()) << format.status();
  return format.ok() ? *std::move(format) : nullptr;
}

inline uint64_t Count(const ForeignScore& score, std::string_view name) {
  for (const auto& [figure, value] : score.figures) {
    if (figure == name) return std::get<uint64_t>(value);
  }
  ADD_FAILURE() << "no figure " << name;
  return 0;
}

inline double Real(const ForeignScore& score, std::string_view name) {
  for (const auto& [figure, value] : score.figures) {
    if (figure == name) return std::get<double>(value);
  }
  ADD_FAILURE() << "no figure " << name;
  return 0;
}

// Every text of every case of a file: the case, the format, the score, what the original gave (null: it refuses such a text), the draws. Returns how many texts.
using ForeignCheck = std::function<void(const nlohmann::json& one_case, const ForeignFormat&, const std::vector<uint32_t>& ids, const ForeignScore&, const nlohmann::json& original,
                                        const std::vector<ForeignDraw>& draws)>;
inline size_t ForEachForeignText(const std::string& name, const ForeignCheck& check) {
  const nlohmann::json vectors = ForeignVectors(name), texts = ForeignVectors("texts")["texts"];
  size_t compared = 0;
  for (const nlohmann::json& one : vectors["cases"]) {
    nlohmann::json config = one["config"];
    config["vocab_size"] = one["vocab_size"];
    const std::unique_ptr<ForeignFormat> format = OpenForeign(name, config);
    if (format == nullptr) continue;
    const std::unique_ptr<ForeignScorer> scorer = format->NewScorer();
    const nlohmann::json& of = one["texts"].is_null() ? texts : one["texts"];
    EXPECT_EQ(of.size(), one["results"].size());
    for (size_t i = 0; i < of.size(); ++i) {
      SCOPED_TRACE(name + " " + one["config"].dump() + " text " + std::to_string(i));
      const std::vector<uint32_t> ids = of[i].get<std::vector<uint32_t>>();
      const nlohmann::json& original = one["results"][i];
      std::vector<uint32_t> prompt;
      if (original.is_object() && original.contains("prompt")) prompt = original["prompt"].get<std::vector<uint32_t>>();
      std::vector<ForeignDraw> draws;
      const ForeignScore score = scorer->Score(ids, prompt, &draws);
      EXPECT_EQ(draws.size(), score.count.draws);
      EXPECT_LE(score.log10_p, 0);
      check(one, *format, ids, score, original, draws);
      if (!original.is_null()) ++compared;
    }
  }
  return compared;
}

}  // namespace countermark

#endif  // COUNTERMARK_TESTS_DETECT_FOREIGN_VECTORS_H_
