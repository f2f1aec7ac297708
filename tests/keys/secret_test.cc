// Secrets are wiped when they go. What they refuse to do (printing, ==, strings) is shown by the compile_fail_* tests.
#include "countermark/keys/secret.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <new>
#include <set>
#include <string>
#include <utility>

namespace countermark {
namespace {

std::array<uint8_t, 32> Pattern() {
  std::array<uint8_t, 32> bytes;
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(0xA1 + 3 * i);
  return bytes;
}

// Looks at memory through volatile, so that the compiler cannot argue that a dead object's bytes do not matter.
bool AllZero(const volatile uint8_t* p, size_t n) {
  for (size_t i = 0; i < n; ++i) {
    if (p[i] != 0) return false;
  }
  return true;
}

TEST(Secret32, IsWipedByItsDestructor) {
  alignas(Secret32) unsigned char storage[sizeof(Secret32)];
  static_assert(sizeof(Secret32) == 32);
  const std::array<uint8_t, 32> bytes = Pattern();
  Secret32* secret = new (storage) Secret32(bytes);
  ASSERT_EQ(std::memcmp(storage, bytes.data(), 32), 0);
  secret->~Secret32();
  EXPECT_TRUE(AllZero(storage, sizeof storage));
}

TEST(Secret32, ComparesInConstantTimeAndCopies) {
  std::array<uint8_t, 32> bytes = Pattern();
  const Secret32 a(bytes);
  Secret32 b = a;
  EXPECT_TRUE(Secret32::ConstantTimeEqual(a, b));
  bytes[31] ^= 1;
  b = Secret32(bytes);
  EXPECT_FALSE(Secret32::ConstantTimeEqual(a, b));
}

TEST(Secret32, RandomOnesDiffer) {
  std::set<std::string> seen;
  for (int i = 0; i < 1000; ++i) {
    const Secret32 secret = Secret32::Random();
    seen.emplace(reinterpret_cast<const char*>(secret.Reveal(SecretAccess())), 32);
  }
  EXPECT_EQ(seen.size(), 1000u);
}

TEST(SecretBytes, WipeClearsTheBuffer) {
  SecretBytes secret(std::string_view("correct horse battery staple, and a good deal more"));
  const size_t size = secret.size();
  const uint8_t* at = secret.Reveal(SecretAccess()).data();
  secret.Wipe();   // keeps the (now empty) buffer, so it may still be looked at
  EXPECT_TRUE(secret.empty());
  EXPECT_TRUE(AllZero(at, size));
}

TEST(SecretBytes, MovingLeavesNothingBehind) {
  SecretBytes from(std::string_view("passphrase"));
  const uint8_t* at = from.Reveal(SecretAccess()).data();
  SecretBytes to(std::move(from));
  EXPECT_EQ(to.Reveal(SecretAccess()).data(), at);   // the buffer itself has moved: no second copy
  EXPECT_TRUE(from.empty());                         // NOLINT: what a moved-from secret holds is the point
  SecretBytes target(std::string_view("something longer that stood here before"));
  target = std::move(to);
  EXPECT_EQ(target.size(), 10u);
  EXPECT_TRUE(to.empty());   // NOLINT
}

}  // namespace
}  // namespace countermark
