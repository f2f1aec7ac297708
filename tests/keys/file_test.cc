// Whole files and hexadecimal (src/base), which every stage stands on.
#include "src/base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <string>
#include <vector>

#include "src/base/hex.h"
#include "tests/keys/test_files.h"

namespace countermark {
namespace {

TEST(Hex, EveryByteBothWays) {
  std::vector<uint8_t> all(256), back(256);
  for (size_t i = 0; i < 256; ++i) all[i] = static_cast<uint8_t>(i);
  std::string expected;
  char two[3];
  for (int i = 0; i < 256; ++i) {
    snprintf(two, sizeof two, "%02x", i);
    expected += two;
  }
  EXPECT_EQ(HexEncode(all), expected);
  ASSERT_TRUE(HexDecodeInto(expected, back));
  EXPECT_EQ(back, all);
  for (char& c : expected) c = static_cast<char>(toupper(c));
  ASSERT_TRUE(HexDecodeInto(expected, back));
  EXPECT_EQ(back, all);
}

TEST(Hex, EveryOtherCharacterIsRefused) {
  for (int c = 0; c < 256; ++c) {
    uint8_t out[1] = {7};
    const bool digit = isxdigit(c) != 0;
    EXPECT_EQ(HexDecodeInto(std::string{'0', static_cast<char>(c)}, out), digit) << c;
    EXPECT_EQ(HexDecodeInto(std::string{static_cast<char>(c), '0'}, out), digit) << c;
    EXPECT_TRUE(digit || out[0] == 0);
  }
  uint8_t out[2];
  EXPECT_FALSE(HexDecodeInto("abc", out));
  EXPECT_FALSE(HexDecodeInto("abcdef", out));
  EXPECT_FALSE(HexDecodeInto("", out));
}

TEST(File, ReadsUpToTheLimitAndNotBeyond) {
  const TestFolder folder;
  Spill(folder / "f", std::string(1000, 'x'));
  EXPECT_EQ(ReadWholeFile(folder / "f", 1000)->size(), 1000u);
  EXPECT_TRUE(absl::IsOutOfRange(ReadWholeFile(folder / "f", 999).status()));
  Spill(folder / "empty", "");
  EXPECT_EQ(*ReadWholeFile(folder / "empty", 0), "");
  EXPECT_TRUE(absl::IsOutOfRange(ReadWholeFile("/dev/zero", 100000).status()));   // a size that stat does not tell
  EXPECT_EQ(*ReadWholeFile("/dev/null", 10), "");
  EXPECT_TRUE(absl::IsNotFound(ReadWholeFile(folder / "none", 10).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadWholeFile(folder / ".", 10).status()));
}

TEST(File, ExclusiveMeansExclusive) {
  const TestFolder folder;
  ASSERT_TRUE(WriteFileExclusive(folder / "f", "one", 0600).ok());
  EXPECT_EQ(ModeOf(folder / "f"), 0600u);
  EXPECT_TRUE(absl::IsAlreadyExists(WriteFileExclusive(folder / "f", "two")));
  EXPECT_EQ(Slurp(folder / "f"), "one");
  std::filesystem::create_symlink(folder / "nowhere", folder / "dangling");
  EXPECT_TRUE(absl::IsAlreadyExists(WriteFileExclusive(folder / "dangling", "two")));
  EXPECT_TRUE(absl::IsAlreadyExists(WriteFileExclusive("/dev/full", "two")));
  EXPECT_TRUE(absl::IsNotFound(WriteFileExclusive(folder / "no/folder", "two")));
  EXPECT_EQ(folder.Count(), 2u);
}

TEST(File, ReplacingKeepsEitherWhole) {
  const TestFolder folder;
  ASSERT_TRUE(ReplaceFileAtomically(folder / "f", "one").ok());
  ASSERT_TRUE(ReplaceFileAtomically(folder / "f", std::string(1 << 20, 'b')).ok());
  EXPECT_EQ(Slurp(folder / "f").size(), 1u << 20);
  std::filesystem::create_directory(folder / "d");
  EXPECT_FALSE(ReplaceFileAtomically(folder / "d", "x").ok());
  EXPECT_EQ(folder.Count(), 2u);
}

}  // namespace
}  // namespace countermark
