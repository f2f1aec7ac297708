// Reading the known answers in tests/vectors: a JSON file by name, and hexadecimal as the numbers it stands for.
#ifndef COUNTERMARK_TESTS_MARK_VECTORS_H_
#define COUNTERMARK_TESTS_MARK_VECTORS_H_

#include <array>
#include <bit>
#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

namespace countermark::testing {

// The file tests/vectors/NAME. A missing or broken file ends the test program by an exception, which is the wish.
inline nlohmann::json LoadVectors(const std::string& name) {
  const std::string path = std::string(COUNTERMARK_TEST_VECTORS) + "/" + name;
  std::ifstream in(path);
  if (!in) throw std::runtime_error("cannot open " + path);
  return nlohmann::json::parse(in);
}

// Bytes of an even-length hexadecimal string.
inline std::vector<uint8_t> HexBytes(const std::string& hex) {
  std::vector<uint8_t> bytes;
  for (size_t i = 0; i + 1 < hex.size(); i += 2) bytes.push_back(static_cast<uint8_t>(std::stoul(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

// kWords little-endian 32-bit words from 8·kWords hexadecimal digits.
template <size_t kWords>
std::array<uint32_t, kWords> HexWords(const nlohmann::json& hex) {
  const std::vector<uint8_t> bytes = HexBytes(hex.get<std::string>());
  if (bytes.size() != 4 * kWords) throw std::runtime_error("a vector of the wrong length: " + hex.get<std::string>());
  std::array<uint32_t, kWords> words;
  for (size_t i = 0; i < kWords; ++i) {
    words[i] = bytes[4 * i] | uint32_t{bytes[4 * i + 1]} << 8 | uint32_t{bytes[4 * i + 2]} << 16 | uint32_t{bytes[4 * i + 3]} << 24;
  }
  return words;
}

// A number written as its IEEE bits, most significant digit first: 8 digits a float, 16 a double.
inline float FloatOfBits(const nlohmann::json& hex) {
  return std::bit_cast<float>(static_cast<uint32_t>(std::stoul(hex.get<std::string>(), nullptr, 16)));
}
inline double DoubleOfBits(const nlohmann::json& hex) {
  return std::bit_cast<double>(static_cast<uint64_t>(std::stoull(hex.get<std::string>(), nullptr, 16)));
}

}  // namespace countermark::testing

#endif  // COUNTERMARK_TESTS_MARK_VECTORS_H_
