// After an edit the pairs are lost that hold a changed token, and no others: tokenizers of every kind find back within a few tokens.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "countermark/tokenize/tokenizer.h"
#include "tests/tokenize/tokenize_testing.h"

namespace countermark {
namespace {

constexpr size_t kWindow = 2;
constexpr size_t kFewTokens = 8;  // beside the window

using Pair = std::vector<uint32_t>;

std::vector<Pair> PairsOf(const Tokenizer& tokenizer, const std::string& text) {
  TokenizedText tokens;
  EXPECT_TRUE(tokenizer.Encode(text, &tokens).ok());
  std::vector<Pair> pairs;
  for (size_t i = kWindow; i < tokens.ids.size(); ++i) pairs.emplace_back(tokens.ids.begin() + static_cast<std::ptrdiff_t>(i - kWindow), tokens.ids.begin() + static_cast<std::ptrdiff_t>(i + 1));
  return pairs;
}

const std::vector<std::string>& Words() {
  static const std::vector<std::string> words = {"the",      "watermark", "of",     "an",        "answer", "naïve",   "internationalisation", "is",     "lost,", "where",  "somebody", "edits.", "Привет",
                                                 "running", "12,345",    "(and)",  "quickly;",  "été",    "a",       "beautifully",          "it's",   "–",     "found",  "again",    "中文",   "e-mail"};
  return words;
}

// Words joined by spaces, and the same with an edit in the middle.
struct Edit {
  std::string before, after;
};

Edit MakeEdit(std::mt19937_64* random, int kind) {
  const auto word = [&] { return Words()[(*random)() % Words().size()]; };
  std::vector<std::string> words;
  for (int i = 0; i < 60; ++i) words.push_back(word());
  const auto join = [](const std::vector<std::string>& all) {
    std::string text;
    for (const std::string& one : all) text += (text.empty() ? "" : " ") + one;
    return text;
  };
  Edit edit{join(words), ""};
  const size_t at = 20 + (*random)() % 20;
  std::vector<std::string> changed = words;
  switch (kind) {
    case 0: changed.erase(changed.begin() + static_cast<std::ptrdiff_t>(at)); break;
    case 1: changed.insert(changed.begin() + static_cast<std::ptrdiff_t>(at), word()); break;
    case 2: changed[at] = word(); break;
    default: {  // the text cut in the middle of a word, what is before it gone
      const size_t middle = words[at].size() / 2;
      size_t cut = edit.before.size() / 3 + middle;
      while ((static_cast<unsigned char>(edit.before[cut]) & 0xC0) == 0x80) ++cut;
      edit.after = edit.before.substr(cut);
      return edit;
    }
  }
  edit.after = join(changed);
  return edit;
}

// Counts the pairs that the longest common head and tail of the two streams do not hold.
void ExpectFindsBack(const std::string& path) {
  const std::unique_ptr<Tokenizer> tokenizer = MustOpen(path);
  ASSERT_NE(tokenizer, nullptr);
  std::mt19937_64 random(17);
  for (int kind = 0; kind < 4; ++kind) {
    size_t most = 0;
    for (int round = 0; round < 200; ++round) {
      const Edit edit = MakeEdit(&random, kind);
      const std::vector<Pair> before = PairsOf(*tokenizer, edit.before), after = PairsOf(*tokenizer, edit.after);
      size_t head = 0, tail = 0;
      if (kind < 3) {
        while (head < before.size() && head < after.size() && before[head] == after[head]) ++head;
      }
      while (tail < before.size() && tail < after.size() && before[before.size() - 1 - tail] == after[after.size() - 1 - tail]) ++tail;
      // Of a cut text: pairs of what is left that the whole does not have. Else: pairs of the whole that the edited text does not have at that place.
      const size_t all = kind < 3 ? before.size() : after.size();
      const size_t lost = all > head + tail ? all - head - tail : 0;
      // The edit's own word may be of many tokens, in the old text or in the new: its pairs are lost whatever the tokenizer.
      const size_t own = kind < 3 ? (before.size() > after.size() ? before.size() - after.size() : 0) : 0;
      most = std::max(most, lost - std::min(lost, own));
    }
    EXPECT_LE(most, kWindow + kFewTokens) << path << ", edit of kind " << kind;
    std::printf("  %s, kind %d: at most %zu pairs\n", std::filesystem::path(path).filename().c_str(), kind, most);
  }
}

TEST(Resynchronisation, SentencePieceBpe) { ExpectFindsBack(ModelPath("mistral-v1.model")); }

#ifdef COUNTERMARK_TEST_LLAMA
TEST(Resynchronisation, ByteLevelBpeOfAGguf) { ExpectFindsBack(VocabularyPath("gpt-2")); }
TEST(Resynchronisation, SentencePieceOfAGguf) { ExpectFindsBack(VocabularyPath("llama-spm")); }
TEST(Resynchronisation, Llama3) { ExpectFindsBack(VocabularyPath("llama-bpe")); }
#endif

// Each model of a tokenizer.json, trained by nobody: the pieces are what the words above are cut into.
std::string JsonTokenizer(const std::string& model, const std::string& pre_tokenizer) {
  return R"({"version":"1.0","truncation":null,"padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":)" + pre_tokenizer +
         R"(,"post_processor":null,"decoder":null,"model":)" + model + "}";
}

std::vector<std::string> Pieces() {
  std::set<std::string> pieces;
  for (const std::string& word : Words()) {
    std::vector<size_t> at;
    for (size_t i = 0; i <= word.size(); ++i) {
      if (i == word.size() || (static_cast<unsigned char>(word[i]) & 0xC0) != 0x80) at.push_back(i);
    }
    for (size_t i = 0; i + 1 < at.size(); ++i) {
      for (size_t j = i + 1; j < std::min(at.size(), i + 4); ++j) pieces.insert(word.substr(at[i], at[j] - at[i]));
    }
  }
  return {pieces.begin(), pieces.end()};
}

class Written {
 public:
  Written(const std::string& name, const std::string& json) : path_(::testing::TempDir() + name) { std::ofstream(path_) << json; }
  ~Written() { std::filesystem::remove(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

TEST(Resynchronisation, UnigramOfATokenizerJson) {
  nlohmann::json vocabulary = nlohmann::json::array();
  vocabulary.push_back(nlohmann::json::array({"<unk>", 0.0}));
  vocabulary.push_back(nlohmann::json::array({"\u2581", -2.0}));
  double score = -3;
  for (const std::string& piece : Pieces()) {
    vocabulary.push_back(nlohmann::json::array({piece, score}));
    vocabulary.push_back(nlohmann::json::array({"\u2581" + piece, score - 0.5}));
    score -= 0.01;
  }
  const Written file("resync-unigram.json", JsonTokenizer(nlohmann::json({{"type", "Unigram"}, {"unk_id", 0}, {"vocab", vocabulary}, {"byte_fallback", false}}).dump(),
                                                          R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"always","split":true})"));
  ExpectFindsBack(file.path());
}

TEST(Resynchronisation, WordPieceOfATokenizerJson) {
  nlohmann::json vocabulary = {{"[UNK]", 0}};
  for (const std::string& piece : Pieces()) {
    vocabulary[piece] = vocabulary.size();
    vocabulary["##" + piece] = vocabulary.size();
  }
  const Written file("resync-wordpiece.json",
                     JsonTokenizer(nlohmann::json({{"type", "WordPiece"}, {"unk_token", "[UNK]"}, {"continuing_subword_prefix", "##"}, {"max_input_chars_per_word", 100}, {"vocab", vocabulary}}).dump(),
                                   R"({"type":"WhitespaceSplit"})"));
  ExpectFindsBack(file.path());
}

}  // namespace
}  // namespace countermark
