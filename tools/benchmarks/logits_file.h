// Rows of logits in a file: "CMLG", the vocabulary and the number of rows (32 bits each), then the rows, little endian. logits_dump writes it.
#ifndef COUNTERMARK_TOOLS_BENCHMARKS_LOGITS_FILE_H_
#define COUNTERMARK_TOOLS_BENCHMARKS_LOGITS_FILE_H_

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

namespace countermark::bench {

struct LogitsRows {
  uint32_t vocabulary = 0;
  std::vector<std::vector<float>> rows;
};

[[noreturn]] inline void Die(const std::string& message) {
  std::fprintf(stderr, "bench: error: %s\n", message.c_str());
  std::exit(2);
}

inline void WriteLogits(const std::string& path, const LogitsRows& rows) {
  std::ofstream out(path, std::ios::binary);
  const uint32_t head[2] = {rows.vocabulary, static_cast<uint32_t>(rows.rows.size())};
  out.write("CMLG", 4).write(reinterpret_cast<const char*>(head), sizeof head);
  for (const std::vector<float>& row : rows.rows) out.write(reinterpret_cast<const char*>(row.data()), static_cast<std::streamsize>(4 * row.size()));
  if (!out.flush()) Die("cannot write " + path);
}

inline LogitsRows ReadLogits(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  char magic[4];
  uint32_t head[2];
  LogitsRows all;
  if (!in.read(magic, 4) || std::memcmp(magic, "CMLG", 4) != 0 || !in.read(reinterpret_cast<char*>(head), sizeof head)) {
    Die(path + " is not a file of logits; make one with logits_dump");
  }
  all.vocabulary = head[0];
  for (uint32_t r = 0; r < head[1]; ++r) {
    std::vector<float> row(head[0]);
    if (!in.read(reinterpret_cast<char*>(row.data()), static_cast<std::streamsize>(4 * row.size()))) Die(path + " ends within row " + std::to_string(r));
    all.rows.push_back(std::move(row));
  }
  if (all.rows.empty()) Die(path + " holds no row");
  return all;
}

}  // namespace countermark::bench

#endif  // COUNTERMARK_TOOLS_BENCHMARKS_LOGITS_FILE_H_
