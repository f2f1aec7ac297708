// Times the row forms of the mark's words at V = 128256 under every instruction set of this machine, beside reading the row once.
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "src/mark/wide_kernels.h"
#include "tools/benchmarks/figures.h"

int main() {
  using countermark::bench::MedianSeconds;
  using countermark::wide::Kernels;
  constexpr uint32_t kVocabulary = 128256;
  countermark::bench::Figures figures;
  std::mt19937 random(1);
  uint32_t seed[8];
  for (uint32_t& word : seed) word = static_cast<uint32_t>(random());
  std::vector<uint32_t> words(kVocabulary), out(kVocabulary);
  std::vector<uint8_t> bytes(kVocabulary);
  // A row's survivors of top-p: one token in about 100, ascending.
  std::vector<uint32_t> survivors;
  for (uint32_t t = static_cast<uint32_t>(random() % 200); t < kVocabulary; t += 1 + static_cast<uint32_t>(random() % 200)) survivors.push_back(t);
  const uint32_t count = static_cast<uint32_t>(survivors.size());

  volatile uint32_t sink = 0;
  figures.Add("read the row once (sum)", 1e6 * MedianSeconds([&] {
                uint32_t sum = 0;
                for (uint32_t word : words) sum += word;
                sink = sum;
              }), "us");
  for (const char* name : {"scalar", "avx2", "avx512"}) {
    const Kernels* kernels = countermark::wide::KernelsNamed(name);
    if (kernels == nullptr) continue;
    const std::string isa = name;
    figures.Add("word row, " + isa, 1e6 * MedianSeconds([&] {
                  kernels->stream(seed, 0, 4 * kVocabulary, reinterpret_cast<uint8_t*>(words.data()));
                }), "us", "word row, scalar");
    figures.Add("byte row, " + isa, 1e6 * MedianSeconds([&] { kernels->stream(seed, 0, kVocabulary, bytes.data()); }), "us",
                "byte row, scalar");
    figures.Add(std::to_string(count) + " words of the row, " + isa, 1e6 * MedianSeconds([&] {
                  kernels->words_at(seed, survivors.data(), count, out.data());
                }), "us", "word row, " + isa);
  }
  figures.Print();
}
