#include "tests/calibration/corpus.h"

#include <algorithm>
#include <fstream>
#include <random>
#include <sstream>

#include "src/base/status_macros.h"

namespace countermark::calibration {
namespace {

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) return absl::NotFoundError("cannot read " + path);
  return std::move(text).str();
}

absl::StatusOr<Kind> Tokens(std::string name, const std::string& text, const Tokenizer& tokenizer) {
  TokenizedText tokens;
  CM_RETURN_IF_ERROR(tokenizer.Encode(text, &tokens));
  return Kind{std::move(name), std::move(tokens.ids)};
}

// Pieces of the kinds so far, each said many times over.
Kind Loops(const std::vector<Kind>& kinds) {
  std::mt19937_64 random(1);
  Kind loops{"loops", {}};
  while (loops.ids.size() < 200000) {
    const std::vector<uint32_t>& from = kinds[random() % kinds.size()].ids;
    const size_t length = 3 + random() % 58;
    const size_t times = 4 + random() % 37;
    const size_t start = random() % (from.size() - length);
    for (size_t i = 0; i < times; ++i) loops.ids.insert(loops.ids.end(), from.begin() + start, from.begin() + start + length);
  }
  return loops;
}

// Repeats chosen to be as bad as they can: walks of 200 to 600 steps over 3 to 12 tokens, so that the same windows come again and again, mostly before another token, and every second
// walk said once more with one token in eight changed.
Kind Patchwork(const std::vector<Kind>& kinds) {
  std::mt19937_64 random(2);
  Kind patchwork{"patchwork", {}};
  while (patchwork.ids.size() < 200000) {
    const std::vector<uint32_t>& from = kinds[random() % kinds.size()].ids;
    std::vector<uint32_t> few(3 + random() % 10);
    for (uint32_t& token : few) token = from[random() % from.size()];
    std::vector<uint32_t> walk(200 + random() % 401);
    for (uint32_t& token : walk) token = few[random() % few.size()];
    patchwork.ids.insert(patchwork.ids.end(), walk.begin(), walk.end());
    if (random() % 2 == 0) continue;
    for (uint32_t& token : walk) token = random() % 8 == 0 ? few[random() % few.size()] : token;
    patchwork.ids.insert(patchwork.ids.end(), walk.begin(), walk.end());
  }
  return patchwork;
}

std::string Chat(const std::string& text) {
  std::string chat;
  int turn = 0;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find("\n\n", begin), text.size());
    if (turn % 6 == 0) chat += "<|im_start|>system\nYou are a helpful AI assistant.<|im_end|>\n";
    chat += turn % 2 == 0 ? "<|im_start|>user\n" : "<|im_start|>assistant\n";
    chat += text.substr(begin, end - begin) + "<|im_end|>\n";
    ++turn;
    begin = end + 2;
  }
  return chat;
}

}  // namespace

absl::StatusOr<std::vector<Kind>> LoadCorpus(const std::string& folder, const Tokenizer& tokenizer) {
  std::vector<Kind> kinds;
  std::string manual;
  for (const char* name : {"prose", "manual", "code", "tables", "cjk"}) {
    CM_ASSIGN_OR_RETURN(std::string text, ReadText(folder + "/" + name + ".txt"));
    CM_ASSIGN_OR_RETURN(Kind kind, Tokens(name, text, tokenizer));
    kinds.push_back(std::move(kind));
    if (kinds.back().name == "manual") manual = std::move(text);
  }
  Kind loops = Loops(kinds), patchwork = Patchwork(kinds);
  CM_ASSIGN_OR_RETURN(Kind chat, Tokens("chat", Chat(manual), tokenizer));
  kinds.push_back(std::move(loops));
  kinds.push_back(std::move(chat));
  kinds.push_back(std::move(patchwork));
  return kinds;
}

}  // namespace countermark::calibration
